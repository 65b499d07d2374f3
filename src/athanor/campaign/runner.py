"""The driver: takes the step the plan names, writes down what happened, until it is done."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from athanor.campaign.config import CHANGEABLE, CampaignConfig
from athanor.campaign.driver import Driver, refuse_foreign
from athanor.campaign.events import CampaignFinished, SnapshotMade
from athanor.campaign.export import export_frames, export_potential
from athanor.campaign.journal import NAME as JOURNAL
from athanor.campaign.journal import Journal
from athanor.campaign.labelling import read_label
from athanor.campaign.lock import only_writer
from athanor.campaign.plan import Conclude, Freeze, Step, plan
from athanor.campaign.progress import Progress, progress_of
from athanor.campaign.state import State
from athanor.campaign.workshop import POTENTIAL, Workshop
from athanor.data.store import EMPTY, Store
from athanor.errors import ConfigError
from athanor.structure import Frame, structure_id

EXPORTED = "potential"
TRAINING = "training.extxyz"


def run(
    config: CampaignConfig,
    folder: str | Path,
    *,
    progress: Callable[[Progress], None] | None = None,
) -> State:
    """Start a campaign in `folder`, or carry on with the one that is there; return its final state.

    [campaign] name and workers, [stop] and [[validate]] may differ from the run before; any other
    change is refused, since the labels already paid for belong to the campaign they were asked by.
    `progress` is called after every event and about once a second.

    Raises
    ------
    ConfigError : the oracle cannot be built, a file that is named is not there, or the campaign
        file does not fit the folder.
    FolderError : the folder is in use, holds something else, or cannot be written.
    FormatError : the journal or an artefact is damaged.
    AthanorError : nothing can be done any more (every label failed, a fit failed), in one sentence.
    """
    folder = Path(folder).absolute()
    level = config.oracle.build().level
    refuse_foreign(folder)
    if not (folder / JOURNAL).exists():
        _check_files(config)
    with only_writer(folder), Journal(folder / JOURNAL) as journal:
        return _Furnace(config, folder, journal, progress).run(level)


class _Furnace(Driver[CampaignConfig]):
    ALONE = frozenset({"sample"})
    LOSABLE = frozenset({"validate"})
    LOST = frozenset({"label"})
    CHANGEABLE = CHANGEABLE

    @property
    def store(self) -> Store:
        return Store(self.folder / "store")

    def plan(self) -> Step:
        return plan(self.config, self.state)

    def take(self, step: Any) -> None:
        match step:
            case Freeze():
                self._freeze(step)
            case Conclude():
                self._conclude(step)

    def workshop(self) -> Workshop:
        return Workshop(self.config, self.folder)

    def moment(self, *, now: float) -> Progress:
        return progress_of(self.config, self.state, self.step, now=now)

    def restore(self) -> None:
        ended = self.state.ended
        if ended is None or all((self.folder / name).exists() for name in (EXPORTED, TRAINING)):
            return
        train, valid, _ = self.artefacts.result(ended.potential)["task"]["inputs"]
        self._export(ended.potential, train=train, valid=valid)

    def _freeze(self, step: Freeze) -> None:
        """Put new labels into the store; training or validation, by each one's own identity."""
        frames = [
            dataclasses.replace(read_label(self.artefacts.path(task)), origin=origin)
            for task, origin in step.labels
        ]
        shards: tuple[list[str], list[str]] = ([], [])
        sizes = (0, 0)
        if step.before is not None:
            made = self.state.snapshots[step.before]
            sizes = (made.n_train, made.n_valid)
            shards = list(self.store.shards(made.train)), list(self.store.shards(made.valid))
        fraction = self.config.cycle.valid_fraction
        valid = [frame for frame in frames if share(frame) < fraction]
        train = [frame for frame in frames if share(frame) >= fraction]
        if not train and not shards[0]:
            train, valid = valid, []
        for part, listed in zip((train, valid), shards, strict=True):
            if part:
                listed.append(self.store.add(part))
        names = [self.store.snapshot(listed) if listed else EMPTY for listed in shards]
        self.record(
            SnapshotMade(
                time.time(),
                step.cycle,
                train=names[0],
                valid=names[1],
                n_train=sizes[0] + len(train),
                n_valid=sizes[1] + len(valid),
                added=tuple(task for task, _ in step.labels),
            )
        )

    def _conclude(self, step: Conclude) -> None:
        self._export(step.potential, train=step.train, valid=step.valid)
        self.step = None
        self.record(
            CampaignFinished(
                time.time(), step.stopped_by, step.cycle, step.potential, step.properties
            )
        )

    def _export(self, fit: str, *, train: str, valid: str) -> None:
        """Hand over the potential and its data, once all of it was read and found whole."""
        saved = self.artefacts.path(fit) / POTENTIAL
        self.config.potential.load(saved)
        training, validation = self.store.dataset(train), self.store.dataset(valid)
        export_potential(saved, self.folder / EXPORTED)
        export_frames(training, self.folder / TRAINING)
        if len(validation):
            export_frames(validation, self.folder / "validation.extxyz")


def _check_files(config: CampaignConfig) -> None:
    """Ask before the first label what would else show only after many were paid."""
    config.potential.check()
    for section, recipe in (("start", config.start), ("sample", config.sample)):
        try:
            recipe.check()
        except ConfigError as error:
            raise ConfigError(f"[{section}] {error}") from None


def share(frame: Frame) -> float:
    """A number in [0, 1) that only the geometry decides: below valid_fraction is validation."""
    return int(structure_id(frame.atoms)[-13:], 16) / 16**13
