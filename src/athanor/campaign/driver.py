"""The driver of any campaign: takes the step its plan names, writes down what happened, goes on."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from athanor.campaign.artefact import Artefacts
from athanor.campaign.events import (
    CampaignStarted,
    Event,
    FailuresForgiven,
    RunOpened,
    TaskFailed,
    TaskFinished,
)
from athanor.campaign.journal import NAME as JOURNAL
from athanor.campaign.journal import Journal
from athanor.campaign.lock import NAME as LOCK
from athanor.campaign.pools import Pool, ProcessPool, WorkerLost
from athanor.campaign.progress import Progress
from athanor.campaign.sections import CampaignSection, changed_key
from athanor.campaign.state import State, apply, fold
from athanor.campaign.steps import Abort, Done, Work
from athanor.campaign.tasks import Task
from athanor.data.durable import write_file
from athanor.data.steps_log import far
from athanor.errors import AthanorError, ConfigError, FolderError, FormatError
from athanor.potentials import FIT_LOG

SOURCE = "campaign.toml"
"""The campaign file of the latest run, kept in its folder."""
TICK = 1.0
"""Seconds between two looks at the clock while tasks run."""


class Recipe(Protocol):
    """What the driver asks of a campaign file."""

    @property
    def campaign(self) -> CampaignSection: ...

    @property
    def source(self) -> str:
        """The text it was read from."""
        ...

    def as_dict(self) -> dict[str, Any]:
        """Every section with its defaults, as plain data."""
        ...


R = TypeVar("R", bound=Recipe)


class Driver(ABC, Generic[R]):
    """The one writer of a campaign's folder; a kind of campaign says what its steps are.

    Parameters
    ----------
    config, folder, journal : of the campaign.
    progress : called after every event and about once a second.
    """

    ALONE: frozenset[str] = frozenset()
    """Kinds of tasks whose refusals (AthanorError) the campaign goes on without."""
    LOSABLE: frozenset[str] = frozenset()
    """Kinds of tasks that it goes on without, whatever befell them."""
    LOST: frozenset[str] = frozenset()
    """Kinds of tasks that it goes on without when their worker process died."""
    CHANGEABLE: tuple[str, ...] = ()
    """Keys of the campaign file (or their sections) that may differ when it goes on."""

    def __init__(
        self,
        config: R,
        folder: Path,
        journal: Journal,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.config = config
        self.folder = folder
        self.journal = journal
        self.progress = progress
        self.artefacts = Artefacts(folder / "artefacts")
        self.state = fold(journal.events)
        self.step: Work | None = None
        self.pool: Pool[Task] | None = None

    @abstractmethod
    def plan(self) -> object:
        """The next step: Work, Abort, Done or one that `take` knows."""

    @abstractmethod
    def take(self, step: Any) -> None:
        """Take a step of this kind of campaign's own."""

    @abstractmethod
    def workshop(self) -> Callable[[Task], None]:
        """What performs tasks, in worker processes."""

    @abstractmethod
    def moment(self, *, now: float) -> Progress:
        """What to tell."""

    @abstractmethod
    def restore(self) -> None:
        """Hand over again what somebody took away after the campaign had ended."""

    def run(self, level: str) -> State:
        """Start or go on, to the end."""
        self._begin(level)
        step = self.plan()
        if isinstance(step, Done):
            self.restore()
            return self.state
        self.record(RunOpened(time.time(), os.getpid()))
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

    def record(self, event: Event) -> None:
        """Append to the journal, then to the state, then tell."""
        self.journal.append(event)
        self.state = apply(self.state, event)
        self._tell()

    def _begin(self, level: str) -> None:
        """Check that this is a campaign to start, or the one to carry on with."""
        config = self.config.as_dict()
        changed = self._changed(config, level) if self.journal.events else ""
        if changed is not None and not self.state.finished_tasks:
            # new, or nothing is done yet: then a mended file is simply the campaign's
            name, seed = self.config.campaign.name, self.config.campaign.seed
            self.record(CampaignStarted(time.time(), name, seed, level, config))
        elif changed is not None:
            raise ConfigError(
                f"{self.folder}: this folder's campaign was started differently: {changed}; "
                "put it back, or give another folder"
            )
        copy = self.folder / SOURCE
        text = self.config.source.encode()
        if text and not (copy.exists() and copy.read_bytes() == text):
            write_file(copy, text)

    def _changed(self, config: Mapping[str, Any], level: str) -> str | None:
        """What makes another campaign of it than the folder's, None where nothing does."""
        changed = changed_key(self.state.config, config, changeable=self.CHANGEABLE)
        if changed is None and self.state.level != level:
            return f"the oracle's level of theory was {self.state.level!r} and is now {level!r}"
        return changed

    def _take(self) -> bool:
        """Take the next step; True when there is none."""
        step = self.plan()
        match step:
            case Work():
                self._work(step)
            case Abort():
                raise AthanorError(f"{self.folder}: {step.reason}")
            case Done():
                return True
            case _:
                self.take(step)
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
            self.workshop(),
            workers=self.config.campaign.workers,
            log=self.folder / "workers.log",
        )

    def _settle(self, task: Task) -> None:
        """Write down what the task's artefact says."""
        if self.artefacts.failed(task.id).exists():
            self._failed(task, self.artefacts.reason(task.id))
            return
        result = self.artefacts.result(task.id)
        self.record(
            TaskFinished(
                time.time(), task.id, task.kind, task.cycle, result["seconds"], result["summary"]
            )
        )

    def _fail(self, task: Task, failure: BaseException) -> None:
        """Go on without the task if the campaign can, else raise."""
        if isinstance(failure, FolderError | FormatError):
            raise failure
        alone = isinstance(failure, AthanorError) and task.kind in self.ALONE
        lost = isinstance(failure, WorkerLost) and task.kind in self.LOST
        if alone or lost or task.kind in self.LOSABLE:
            self._failed(task, str(failure).strip().splitlines()[-1])
            return
        raise failure

    def _failed(self, task: Task, reason: str) -> None:
        self.record(TaskFailed(time.time(), task.id, task.kind, task.cycle, task.title, reason))

    def _forgive(self, tasks: Iterable[str]) -> None:
        for task in tasks:
            self.artefacts.forgive(task)
        self.record(FailuresForgiven(time.time(), tuple(tasks)))

    def _tell(self) -> None:
        if self.progress is None:
            return
        moment = self.moment(now=time.time())
        inside = self._inside()
        if inside:
            moment = replace(moment, detail=f"{moment.detail} ({inside})")
        self.progress(moment)

    def _inside(self) -> str:
        """How far the first of the tasks at work is that says so in its log."""
        waiting = () if self.step is None else self.state.pending(self.step.tasks)
        # no more are at work at once
        for task in waiting[: 2 * self.config.campaign.workers]:
            if said := far(self.artefacts.scratch(task.id) / FIT_LOG):
                return said
        return ""


def refuse_foreign(folder: Path) -> None:
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
