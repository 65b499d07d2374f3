"""Writing a saved potential: whole or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from athanor.data.durable import sync_folder, sync_tree, writing
from athanor.errors import FolderError


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `folder` that becomes `folder` when the block ends well.

    Every file in it is made durable before the rename, so a crash leaves nothing or everything.

    Raises
    ------
    FolderError : `folder` exists already, or its place is not writable or full.
    """
    if folder.exists() or folder.is_symlink():
        raise FolderError(f"{folder} exists already; a potential is saved only into a new folder")
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.part")
    with writing(folder):
        try:
            temporary.mkdir(parents=True)
            yield temporary
            sync_tree(temporary)
            os.rename(temporary, folder)
            sync_folder(folder.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
