"""What a campaign hands over at its end: the potential's folder and its data as extxyz."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from athanor.data.dataset import Dataset
from athanor.data.durable import sync_folder, sync_tree, writing


def export_potential(saved: Path, folder: Path) -> None:
    """Put a copy of a saved potential at `folder`, in the place of an older one if there is one."""
    part = folder.with_name(f".{folder.name}.part")
    old = folder.with_name(f".{folder.name}.old")
    with writing(folder):
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
        shutil.copytree(saved, part)
        sync_tree(part)
        if folder.exists():
            folder.rename(old)
        part.rename(folder)
        sync_folder(folder.parent)
        shutil.rmtree(old, ignore_errors=True)


def export_frames(
    dataset: Dataset, path: Path, *, info: Sequence[Mapping[str, Any]] | None = None
) -> None:
    """Write labelled frames with their origin, level and `info`, under a temporary name first."""
    # ASE's readers take as long to import as all the rest, and no worker process needs them
    from athanor.data.formats import write_structures

    part = path.with_name(f".part-{path.name}")
    with writing(path):
        part.unlink(missing_ok=True)
        write_structures(
            part,
            dataset.structures,
            labels=dataset.labels,
            info=[
                {"origin": frame.origin, "level": frame.level, **more}
                for frame, more in zip(dataset, info or [{}] * len(dataset), strict=True)
            ],
        )
        with part.open("rb"):
            part.rename(path)
        sync_folder(path.parent)
