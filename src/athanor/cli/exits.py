"""From what went wrong to one sentence and an exit code."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer

from athanor.errors import AthanorError

BAD_INPUT = 1
INTERNAL = 3
INTERRUPTED = 130

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_PLACE = frozenset(
    {
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.EISDIR,
        errno.ENOTDIR,
        errno.ENOENT,
        errno.EEXIST,
        errno.ENAMETOOLONG,
        errno.EFBIG,
    }
)


def guarded(build: Callable[[], Any], argv: Sequence[str] | None) -> int:
    """Build the command, run it on `argv` and turn every exception into an exit code.

    Nothing but the message reaches the user: a traceback is printed with `--debug`, else written
    to a file that the message names.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        result = build().main(args=args, prog_name="athanor", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        result = INTERRUPTED
    except BrokenPipeError:
        # the reader of our output went away (athanor ... | head): nobody is left to be told
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BAD_INPUT
    except Exception as error:
        return _explain(error, debug="--debug" in args)
    if result == INTERRUPTED:
        _say("interrupted; start the same line again to carry on")
        return INTERRUPTED
    return result if isinstance(result, int) else 0


def _explain(error: Exception, *, debug: bool) -> int:
    """Print one sentence about `error` and return the exit code it means."""
    if debug:
        traceback.print_exception(error)
    if isinstance(error, AthanorError):
        _say(f"error: {error}")
        return error.exit_code
    if isinstance(error, typer.Exit):
        return error.exit_code
    usage = getattr(error, "format_message", None)
    if callable(usage):  # click's own: an unknown option, a missing argument, a wrong type
        _say(f"error: {str(usage()).rstrip('.')}; {_where_help_is(error)} lists what is allowed")
        return BAD_INPUT
    if isinstance(error, OSError) and (sentence := _of_the_disk(error)):
        _say(f"error: {sentence}")
        return BAD_INPUT
    if isinstance(error, MemoryError):
        _say("error: out of memory: give fewer or smaller structures, or use a larger machine")
        return BAD_INPUT
    _say(
        f"internal error ({type(error).__name__}: {error}): this is a bug in athanor; "
        + ("the traceback is above" if debug else _keep_traceback(error))
    )
    return INTERNAL


def _where_help_is(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    return f"{getattr(context, 'command_path', 'athanor')} --help"


def _of_the_disk(error: OSError) -> str | None:
    """Return a sentence when the disk or its permissions are to blame, None when we are."""
    where = error.filename or "the disk"
    if isinstance(where, bytes):
        where = os.fsdecode(where)
    if error.errno in _FULL:
        return f"no space left while writing to {where}: free some and start the same line again"
    if error.errno in _PLACE and error.filename is not None:
        return f"{where}: {error.strerror}; check the path and its permissions"
    return None


def _keep_traceback(error: Exception) -> str:
    """Write the traceback beside the user's work and return where it is."""
    text = "".join(traceback.format_exception(error))
    for folder in (Path.cwd(), Path(tempfile.gettempdir())):
        try:
            handle, name = tempfile.mkstemp(
                prefix="athanor-traceback-", suffix=".txt", dir=folder, text=True
            )
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
        except OSError:
            continue
        return f"please report it with the traceback in {name}"
    return "run the same line with  athanor --debug VERB ...  to see the traceback"


def _say(sentence: str) -> None:
    """One line on stderr, whatever the message held."""
    print(f"athanor: {' '.join(sentence.split())}", file=sys.stderr)
