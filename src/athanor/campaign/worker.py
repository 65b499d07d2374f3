"""What runs in a worker process: take a task, perform it, say so, until the driver is gone."""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from multiprocessing.connection import Connection
from typing import Any

from athanor.errors import AthanorError

COMMAND = "import sys; from athanor.campaign.worker import main; main(int(sys.argv[1]))"
"""For `python -c`: a worker never runs the driver's own script again."""


def main(handle: int) -> None:
    """Serve the driver at the other end of the socket `handle`.

    When the driver dies, the kernel closes its end: the task at hand is finished (a label in
    progress is money), its artefact is there for the next run, and the process ends because
    there is nobody left to report to.
    """
    with Connection(handle) as connection:
        try:
            sys.path[:] = connection.recv()
            target = connection.recv()
            while True:
                connection.send(_perform(target, connection.recv()))
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return


def _perform(target: Any, item: Any) -> BaseException | None:
    """Run one item; give the exception back instead of raising it."""
    try:
        target(item)
    except Exception as error:
        return _portable(error)
    return None


def _portable(error: Exception) -> Exception:
    """The exception when it is one of ours and survives pickling, else its traceback as text."""
    if isinstance(error, MemoryError):
        return AthanorError(
            "a worker ran out of memory: make structures or potential smaller, or lower [campaign] "
            "workers, and run the same line again"
        )
    if isinstance(error, AthanorError):
        try:
            copy = pickle.loads(pickle.dumps(error))
        except Exception:
            return RuntimeError(_text(error))
        if type(copy) is type(error) and str(copy) == str(error):
            return error
    return RuntimeError(_text(error))


def _text(error: Exception) -> str:
    trace = "".join(traceback.format_exception(error))
    return f"in worker process {os.getpid()}:\n{trace}"
