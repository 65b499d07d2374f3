"""Writing so that a crash or a full disk leaves either the whole file or none of it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from athanor.errors import FolderError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""The errors of a disk, a quota or a file-size limit that is used up."""


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into one sentence about `path` (FolderError)."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise FolderError(
                f"{path}: no space left to write it ({error.strerror}); nothing that was there is "
                "harmed: free some space and run the same line again"
            ) from error
        raise FolderError(
            f"{path}: cannot be written ({error.strerror or error}); "
            "give a folder on a disk you may write to"
        ) from error


@contextlib.contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Wait until nobody holds this lock file, then hold it for the block; FolderError.

    The system frees it when a process ends, however it ends.
    """
    with contextlib.ExitStack() as held:
        with writing(path):
            lock = held.enter_context(path.open("ab"))
            fcntl.flock(lock.fileno(), fcntl.LOCK_EX)
        yield


def write_file(path: Path, data: bytes) -> None:
    """Write `data` under a temporary name, fsync it, rename it to `path`, fsync the folder.

    Raises FolderError; `path` is then as it was before.
    """
    with whole_file(path) as write:
        write(data)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Callable[[bytes], None]]:
    """Yield what appends bytes to a file that is there under its name once the block has ended.

    As `write_file`, piece by piece: a block that raises or is killed leaves `path` as it was.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with writing(path):
        file = part.open("wb")

    def write(data: bytes) -> None:
        with writing(path):
            file.write(data)

    try:
        with contextlib.closing(file):
            yield write
            with writing(path):
                file.flush()
                os.fsync(file.fileno())
        with writing(path):
            part.rename(path)
            sync_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make a folder and its parents; FolderError when that cannot be."""
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Make every file and name below `folder` durable."""
    for root, _, files in os.walk(folder):
        for name in files:
            with (Path(root) / name).open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(root))
