"""Where a fit works: a folder beside what it will write, kept when it is interrupted."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from athanor.data.durable import make_folder, writing
from athanor.errors import AthanorError, FolderError

_MARK = "athanor-fit.lock"


@contextmanager
def workplace(out: Path) -> Iterator[Path]:
    """Yield the folder OUT.part; it is removed unless the block is interrupted or the disk is full.

    What an earlier, interrupted fit left in it stays when this one is refused. The same line then
    finds it again. Raises FolderError when another process is at work there, or something else is
    in the way.
    """
    folder = out.with_name(f"{out.name}.part")
    if folder.is_symlink() or (folder.exists() and not (folder / _MARK).is_file()):
        raise FolderError(
            f"{folder} is in the way and was not left by a fit; move it or choose another --out"
        )
    make_folder(folder)
    with writing(folder):
        handle = os.open(folder / _MARK, os.O_RDWR | os.O_CREAT, 0o644)
    left = False
    try:
        _lock(handle, out)
        left = any(path.name != _MARK for path in folder.iterdir())
        if left:
            print(f"going on with what an interrupted fit of these left in {folder}, if it did")
        yield folder
    except AthanorError as error:
        if not left and not isinstance(error, FolderError):
            shutil.rmtree(folder, ignore_errors=True)
        raise
    else:
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(handle)


def _lock(handle: int, out: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            return  # a file system without locks
        raise FolderError(
            f"another fit is writing {out}; wait until it has ended or choose another --out"
        ) from None
