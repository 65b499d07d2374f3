"""Running a suite: every property of every subject is a task, done once and kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from athanor.campaign.driver import Driver, refuse_foreign
from athanor.campaign.journal import NAME as JOURNAL
from athanor.campaign.journal import Journal
from athanor.campaign.lock import only_writer
from athanor.campaign.progress import Progress
from athanor.campaign.state import State
from athanor.campaign.steps import Done, Work
from athanor.campaign.tasks import Task
from athanor.data.durable import write_file
from athanor.errors import FolderError
from athanor.suite.baseline import worse
from athanor.suite.bench import SuiteBench
from athanor.suite.config import SuiteConfig
from athanor.suite.summary import summary
from athanor.validate import AloneConfig, PropertyConfig

SUMMARY = "suite.json"
LEVEL = "suite"
"""What a suite's journal says in place of a level of theory; no campaign goes on from it."""


def run(
    config: SuiteConfig,
    folder: str | Path,
    *,
    baseline: Mapping[str, Any] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> dict[str, Any]:
    """Measure what has not been measured yet in `folder`; return and write the summary.

    Anything may differ from the run before: what is asked for is looked up, and measured only where
    it is new. What could not be measured is in the summary with its reason; a measurement whose
    process died is tried again by the next run. With the summary of an older suite as `baseline`,
    "regressions" says what got worse.

    Raises
    ------
    ConfigError : an oracle cannot be built; the baseline is of something else.
    FolderError : the folder is in use, holds something else, or cannot be written.
    FormatError : the journal or an artefact is damaged.
    """
    folder = Path(folder).absolute()
    refuse_foreign(folder)
    with only_writer(folder), Journal(folder / JOURNAL) as journal:
        driver = _Suite(config, folder, journal, progress)
        if journal.events and driver.state.level != LEVEL:
            raise FolderError(f"{folder}: it holds a campaign; give the suite a folder of its own")
        driver.run(LEVEL)
        found = summary(config, driver.tasks, driver.artefacts)
        if baseline is not None:
            found["regressions"] = worse(config, found, baseline)
        text = json.dumps(found, indent=1, allow_nan=False).encode()
        path = folder / SUMMARY
        if not (path.exists() and path.read_bytes() == text):
            write_file(path, text)
    return found


def tasks_of(config: SuiteConfig) -> list[Task]:
    """One task for each property of each subject it can be measured of, in the file's order."""
    reference = config.reference
    tasks = []
    for number, item in enumerate(config.properties):
        alone = isinstance(item, AloneConfig)
        for subject in config.subjects:
            if not alone and (reference is None or subject.is_reference):
                continue
            inputs: tuple[str, ...] = (subject.level,)
            if not alone and reference is not None:
                inputs += (reference.level,)
            tasks.append(
                Task(
                    "measure",
                    _identity(item),
                    inputs,
                    seed=config.campaign.seed,
                    title=f"{item.kind_name} of {subject.name}",
                    hints={"property": number, "subject": subject.name},
                )
            )
    return tasks


def _identity(item: PropertyConfig) -> dict[str, Any]:
    """What a measurement depends on: its fields, and what the files hold that they name."""
    named = [one for value in dict(item).values() for one in _paths(value)]
    contents = {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        for path in named
        if path.is_file()
    }
    return {**item.identity, "contents": contents}


def _paths(value: Any) -> list[Path]:
    if isinstance(value, Path):
        return [value]
    return [one for part in value for one in _paths(part)] if isinstance(value, tuple) else []


class _Suite(Driver[SuiteConfig]):
    LOSABLE = frozenset({"measure"})
    CHANGEABLE = ("",)

    @cached_property
    def tasks(self) -> list[Task]:
        """What is asked for, with the files as they were when the run began."""
        return tasks_of(self.config)

    def run(self, level: str) -> State:
        again = [task.id for task in self.tasks if task.id in self.state.failed_tasks]
        if again:
            self._forgive(again)
        return super().run(level)

    def plan(self) -> object:
        pending = self.state.pending(self.tasks)
        return Work(0, "measure", pending, len(self.tasks)) if pending else Done()

    def take(self, step: Any) -> None:
        raise TypeError(f"a suite has no step {step!r}")

    def workshop(self) -> SuiteBench:
        return SuiteBench(self.config, self.folder)

    def restore(self) -> None:
        return

    def moment(self, *, now: float) -> Progress:
        waiting = self.state.pending(self.step.tasks) if self.step is not None else ()
        planned = 0 if self.step is None else self.step.planned
        elapsed = self.state.elapsed_s
        if self.step is not None and self.state.last_at is not None:
            elapsed += max(0.0, now - self.state.last_at)
        took = [one.seconds for one in self.state.finished_tasks.values()]
        left = None
        if took and waiting:
            left = sum(took) / len(took) * len(waiting) / self.config.campaign.workers
        return Progress(
            cycle=0,
            phase="measure",
            detail=", ".join(task.title for task in waiting[: self.config.campaign.workers]),
            done=planned - len(waiting),
            planned=planned,
            survival=(0, ()),
            labels=0,
            failed_labels=0,
            max_labels=None,
            errors=None,
            elapsed_s=elapsed,
            remaining_s=left,
            stopped_by=None if waiting else "measured",
        )
