"""What `athanor relax` writes: everything beside its place first, then all of it into place."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from athanor.cli.files import refuse_existing
from athanor.data.durable import make_folder, sync_folder, write_file, writing
from athanor.errors import ConfigError, FolderError

if TYPE_CHECKING:
    from athanor.campaign._ended import Ended
    from athanor.campaign.relaxations import Relaxations
    from athanor.data.writer import StructureWriter

PLACING = "placing"
"""In the folder of a job: all is written, and is being put into these places."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where results go.

    Attributes
    ----------
    out : every structure; only the converged ones, where `unrelaxed` gets the others.
    candidates, trajectories : None where nothing is graded.
    """

    out: Path
    unrelaxed: Path | None
    candidates: Path | None
    trajectories: Path | None

    @property
    def part(self) -> Path:
        """The folder of the unfinished job."""
        return self.out.with_name(f"{self.out.name}.part")

    @property
    def files(self) -> list[Path]:
        return [one for one in (self.unrelaxed, self.candidates, self.out) if one is not None]

    def check(self) -> None:
        """Raise ConfigError or FolderError where something cannot be written there."""
        from athanor.data.writer import SUFFIXES

        named = [*self.files, *([self.trajectories] if self.trajectories else [])]
        if len({one.absolute() for one in named}) < len(named):
            raise ConfigError("two results have the same name; give each of them its own")
        for one in self.files:
            if one.suffix not in SUFFIXES:
                raise ConfigError(
                    f"{one}: relaxed structures have labels, which can be written only to "
                    f"{', '.join(SUFFIXES)}; give the file such a suffix"
                )
        before = self.begun()
        if before == self.by_option():
            return
        self.refuse_placed(before)
        for one in named:
            refuse_existing(one)

    def by_option(self) -> dict[str, str]:
        """Option -> its place as seen from the folder of `out`; only those that are given."""
        given = {
            "--trajectories": self.trajectories,
            "--unrelaxed": self.unrelaxed,
            "--candidates": self.candidates,
            "--out": self.out,
        }
        home = self.out.parent.resolve()
        return {
            option: os.path.relpath(one.parent.resolve() / one.name, home)
            for option, one in given.items()
            if one is not None
        }

    def begun(self) -> dict[str, str]:
        """As `by_option`, of the run that was killed while it put results into place, if any."""
        try:
            found = json.loads((self.part / PLACING).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        if not isinstance(found, dict):
            return {}
        return {str(option): str(place) for option, place in found.items()}

    def refuse_placed(self, before: dict[str, str]) -> None:
        """Raise FolderError where results are in place already under names other than these."""
        targets = {option: self.out.parent / place for option, place in before.items()}
        placed = [one for one in targets.values() if one.exists() and not _staged(one).exists()]
        now = self.by_option()
        if not placed or before == now:
            return
        wanted = [f"{option} {one}" for option, one in targets.items() if option != "--out"]
        left_out = [f"without {option}" for option in now if option not in before]
        raise FolderError(
            f"{placed[0]} holds results of this job already, which was begun with other places: "
            f"finish it with the same line {' '.join([*wanted, *left_out])}"
        )


@dataclass(slots=True)
class Summary:
    """What has been written."""

    ends: Counter[str] = field(default_factory=Counter)
    candidates: int = 0
    trajectories: int = 0
    failed: list[tuple[int, str]] = field(default_factory=list)

    def take(self, one: Ended) -> None:
        """Count one more."""
        self.ends[one.info["stopped_by"]] += 1
        self.candidates += len(one.candidates)
        self.trajectories += bool(one.path)
        if one.info["stopped_by"] == "failed":
            self.failed.append((one.index, one.info["error"]))


def write(
    places: Places, done: Relaxations, count: int, *, species: tuple[str, ...] | None
) -> Summary:
    """Write the results in the order of the input, remove the job's folder, and sum them up.

    Nothing is at its place before everything is written; a run that was killed in between goes on
    here. Raises FolderError.
    """
    before, now = places.begun(), places.by_option()
    places.refuse_placed(before)
    if before != now or not all(one.exists() or _staged(one).exists() for one in places.files):
        _forget(places, before)
        _stage(places, done, count, species=species)
        write_file(places.part / PLACING, json.dumps(now).encode())
    summary = Summary()
    for index in range(count):
        summary.take(done[index])
    targets = [one for one in (places.trajectories, *places.files) if one is not None]
    for target in targets:
        _place(target)
    _finish(places.part)
    return summary


def _forget(places: Places, before: dict[str, str]) -> None:
    """Remove what was staged for these places, and then what says that it is whole."""
    for place in before.values():
        staged = _staged(places.out.parent / place)
        with writing(staged):
            if staged.is_dir():
                shutil.rmtree(staged)
            else:
                staged.unlink(missing_ok=True)
    with writing(places.part):
        (places.part / PLACING).unlink(missing_ok=True)


def _finish(part: Path) -> None:
    """Remove the job's folder, first of all what says that its results are in place."""
    (part / PLACING).unlink()
    # a worker whose driver was killed may still be writing there; what is left does no harm
    shutil.rmtree(part, ignore_errors=True)


def _staged(target: Path) -> Path:
    """Beside its place, so that it gets there by a rename."""
    return target.with_name(f".{target.stem}.written{target.suffix}")


def _stage(
    places: Places, done: Relaxations, count: int, *, species: tuple[str, ...] | None
) -> None:
    from athanor.data.writer import structure_writer

    with contextlib.ExitStack() as stack:
        writers: dict[Path, StructureWriter] = {}
        for target in places.files:
            _staged(target).unlink(missing_ok=True)
            writers[target] = stack.enter_context(
                structure_writer(_staged(target), species=species)
            )
        if places.trajectories is not None:
            shutil.rmtree(_staged(places.trajectories), ignore_errors=True)
        for index in range(count):
            one = done[index]
            apart = places.unrelaxed if not one.info["converged"] else None
            writers[apart or places.out].write(one.atoms, labels=one.labels, info=one.info)
            if places.candidates is not None:
                for atoms, info in one.candidates:
                    writers[places.candidates].write(atoms, info=info)
            if places.trajectories is not None and one.path:
                _write_path(one, _staged(places.trajectories))


def _write_path(one: Ended, folder: Path) -> None:
    from athanor.data.writer import structure_writer

    make_folder(folder)
    with structure_writer(folder / f"{one.index:06d}.extxyz") as writer:
        for frame, info in one.path:
            writer.write(frame.atoms, labels=frame.labels, info=info)


def _place(target: Path) -> None:
    """Rename what is staged to its place; what is not staged is there already, or was not made."""
    staged = _staged(target)
    if not staged.exists():
        return
    refuse_existing(target)
    with writing(target):
        staged.rename(target)
        sync_folder(target.parent)
