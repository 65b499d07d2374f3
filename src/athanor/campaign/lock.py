"""The lock of a campaign folder: one writer at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from athanor.data.durable import make_folder, writing
from athanor.errors import FolderError

NAME = "lock"


@contextlib.contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold the folder for the block; FolderError with the process id when another run has it.

    The kernel releases the lock when the process ends, however it ends.
    """
    make_folder(folder)
    path = folder / NAME
    with writing(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _taken(handle):
            holder = writer(folder)
            raise FolderError(
                f"{folder}: in use by another run (process {holder or 'unknown'}); "
                "wait for it, stop it, or give another folder"
            )
        with writing(path):
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def _taken(handle: int) -> bool:
    """Try for a second: `writer` holds a shared lock for an instant, which is no other run."""
    for _ in range(20):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(0.05)
        else:
            return True
    return False


def writer(folder: Path) -> int | None:
    """The process id of the run that holds the folder now, None when nobody does."""
    try:
        with (folder / NAME).open("rb") as file:
            try:
                fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                text = file.read(32).decode("ascii", "replace").strip()
                return int(text) if text.isdigit() else 0
    except OSError:
        return None
    return None
