"""The driver: takes the step the plan names, writes down what happened, until it is done."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path

from athanor.campaign.artefact import Artefacts
from athanor.campaign.config import CampaignConfig, changed_key
from athanor.campaign.events import (
    CampaignFinished,
    CampaignStarted,
    Event,
    FailuresForgiven,
    RunOpened,
    SnapshotMade,
    TaskFailed,
    TaskFinished,
)
from athanor.campaign.export import export_frames, export_potential
from athanor.campaign.folder import SOURCE
from athanor.campaign.journal import NAME as JOURNAL
from athanor.campaign.journal import Journal
from athanor.campaign.lock import NAME as LOCK
from athanor.campaign.lock import only_writer
from athanor.campaign.plan import Abort, Conclude, Done, Freeze, Work, plan
from athanor.campaign.pools import Pool, ProcessPool, WorkerLost
from athanor.campaign.progress import Progress, progress_of
from athanor.campaign.state import State, apply, fold
from athanor.campaign.tasks import Task
from athanor.campaign.workshop import POTENTIAL, Workshop, read_label
from athanor.data.durable import write_file
from athanor.data.store import EMPTY, Store
from athanor.errors import AthanorError, ConfigError, FolderError, FormatError
from athanor.structure import Frame, structure_id

EXPORTED = "potential"
TRAINING = "training.extxyz"

TICK = 1.0
"""Seconds between two looks at the clock while tasks run."""


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
    _refuse_foreign(folder)
    if not (folder / JOURNAL).exists():
        _check_files(config)
    with only_writer(folder), Journal(folder / JOURNAL) as journal:
        return _Driver(config, folder, journal, progress).run(level)


class _Driver:
    def __init__(
        self,
        config: CampaignConfig,
        folder: Path,
        journal: Journal,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.config = config
        self.folder = folder
        self.journal = journal
        self.progress = progress
        self.artefacts = Artefacts(folder / "artefacts")
        self.store = Store(folder / "store")
        self.state = fold(journal.events)
        self.step: Work | None = None
        self.pool: Pool[Task] | None = None

    def run(self, level: str) -> State:
        self._begin(level)
        step = plan(self.config, self.state)
        if isinstance(step, Done):
            self._restore()
            return self.state
        self._record(RunOpened(time.time(), os.getpid()))
        if isinstance(step, Abort):
            self._forgive(step.tasks)
        try:
            while not self._take():
                pass
        finally:
            if self.pool is not None:
                # a label in progress is money: its worker ends it, and the next run adopts it
                self.pool.stop(lambda task: task.kind == "label")
        return self.state

    def _begin(self, level: str) -> None:
        """Check that this is a campaign to start, or the one to carry on with."""
        config = self.config.as_dict()
        if not self.journal.events:
            name, seed = self.config.campaign.name, self.config.campaign.seed
            self._record(CampaignStarted(time.time(), name, seed, level, config))
        changed = changed_key(self.state.config, config)
        if changed is None and self.state.level != level:
            changed = f"the oracle's level of theory was {self.state.level!r} and is now {level!r}"
        if changed is not None:
            raise ConfigError(
                f"{self.folder}: this folder's campaign was started differently: {changed}; "
                "put it back, or give another folder"
            )
        copy = self.folder / SOURCE
        text = self.config.source.encode()
        if text and not (copy.exists() and copy.read_bytes() == text):
            write_file(copy, text)

    def _take(self) -> bool:
        """Take the next step; True when there is none."""
        step = plan(self.config, self.state)
        match step:
            case Work():
                self._work(step)
            case Freeze():
                self._freeze(step)
            case Conclude():
                self._conclude(step)
            case Abort():
                raise AthanorError(f"{self.folder}: {step.reason}")
            case Done():
                return True
        return False

    def _work(self, step: Work) -> None:
        self.step = step
        self._tell()
        running: dict[Future[None], Task] = {}
        for task in step.tasks:
            if self.artefacts.settled(task.id):
                self._settle(task)
                continue
            if self.pool is None:
                self.pool = self._hire()
            running[self.pool.submit(task)] = task
        while running:
            done, _ = wait(running, timeout=TICK, return_when=FIRST_COMPLETED)
            for future in done:
                task = running.pop(future)
                failure = future.exception()
                if failure is None:
                    self._settle(task)
                else:
                    self._fail(task, failure)
            if not done:
                self._tell()

    def _hire(self) -> Pool[Task]:
        return ProcessPool(
            Workshop(self.config, self.folder),
            workers=self.config.campaign.workers,
            log=self.folder / "workers.log",
        )

    def _settle(self, task: Task) -> None:
        """Write down what the task's artefact says."""
        if self.artefacts.failed(task.id).exists():
            self._failed(task, self.artefacts.reason(task.id))
            return
        result = self.artefacts.result(task.id)
        self._record(
            TaskFinished(
                time.time(), task.id, task.kind, task.cycle, result["seconds"], result["summary"]
            )
        )

    def _fail(self, task: Task, failure: BaseException) -> None:
        """Go on without the task if the campaign can, else raise."""
        if isinstance(failure, FolderError | FormatError):
            raise failure
        alone = isinstance(failure, AthanorError) and task.kind == "sample"
        if alone or task.kind == "validate" or (task.kind == "label" and _lost(failure)):
            self._failed(task, str(failure).strip().splitlines()[-1])
            return
        raise failure

    def _failed(self, task: Task, reason: str) -> None:
        self._record(TaskFailed(time.time(), task.id, task.kind, task.cycle, task.title, reason))

    def _forgive(self, tasks: Iterable[str]) -> None:
        for task in tasks:
            self.artefacts.forgive(task)
        self._record(FailuresForgiven(time.time(), tuple(tasks)))

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
        self._record(
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
        self._record(
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

    def _restore(self) -> None:
        """Hand over again what somebody took away after the campaign had ended."""
        ended = self.state.ended
        if ended is None or all((self.folder / name).exists() for name in (EXPORTED, TRAINING)):
            return
        last = max(cycle for cycle in self.state.snapshots if cycle <= ended.cycle)
        made = self.state.snapshots[last]
        self._export(ended.potential, train=made.train, valid=made.valid)

    def _record(self, event: Event) -> None:
        """Append to the journal, then to the state, then tell."""
        self.journal.append(event)
        self.state = apply(self.state, event)
        self._tell()

    def _tell(self) -> None:
        if self.progress is not None:
            self.progress(progress_of(self.config, self.state, self.step, now=time.time()))


def _check_files(config: CampaignConfig) -> None:
    """Ask before the first label what would else show only after many were paid."""
    for section, recipe in (("start", config.start), ("sample", config.sample)):
        try:
            recipe.check()
        except ConfigError as error:
            raise ConfigError(f"[{section}] {error}") from None


def share(frame: Frame) -> float:
    """A number in [0, 1) that only the geometry decides: below valid_fraction is validation."""
    return int(structure_id(frame.atoms)[-13:], 16) / 16**13


def _lost(failure: BaseException) -> bool:
    return isinstance(failure, WorkerLost)


def _refuse_foreign(folder: Path) -> None:
    """Refuse a folder that holds something else than a campaign."""
    if folder.exists() and not folder.is_dir():
        raise FolderError(f"{folder}: this is a file; give a folder for the campaign")
    if not folder.exists() or (folder / JOURNAL).exists():
        return
    others = sorted(item.name for item in folder.iterdir() if item.name != LOCK)
    if others:
        raise FolderError(
            f"{folder}: it holds {others[0]!r} but no {JOURNAL}; give an empty or a new folder"
        )
