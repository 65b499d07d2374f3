"""The state of a campaign: a pure fold of its events."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

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
from athanor.campaign.tasks import Task


@dataclass(frozen=True, slots=True)
class State:
    """What has happened so far.

    Attributes
    ----------
    name, seed, level, config : as it was started; `level` is the oracle's level of theory.
    finished_tasks : task id -> its record.
    failed_tasks : task id -> its failure.
    snapshots : cycle -> the store's snapshot made of its labels.
    ended : how the campaign ended, None while it has not or goes on.
    elapsed_s : seconds spent, over all runs, without the pauses between them.
    """

    name: str = ""
    seed: int = 0
    level: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    finished_tasks: Mapping[str, TaskFinished] = field(default_factory=dict)
    failed_tasks: Mapping[str, TaskFailed] = field(default_factory=dict)
    snapshots: Mapping[int, SnapshotMade] = field(default_factory=dict)
    ended: CampaignFinished | None = None
    elapsed_s: float = 0.0
    last_at: float | None = None

    @property
    def stopped_by(self) -> str | None:
        """untriggered, max_cycles, max_labels, max_hours; None while it has not ended."""
        return None if self.ended is None else self.ended.stopped_by

    @property
    def labels_bought(self) -> int:
        """Labels that the oracle gave."""
        return sum(record.kind == "label" for record in self.finished_tasks.values())

    @property
    def cycle(self) -> int:
        """The latest cycle anything happened in."""
        cycles = [record.cycle for record in self.finished_tasks.values()]
        return max([*cycles, *(failure.cycle for failure in self.failed_tasks.values())], default=0)

    def pending(self, tasks: Iterable[Task]) -> tuple[Task, ...]:
        """Those tasks that neither finished nor failed."""
        known = self.finished_tasks.keys() | self.failed_tasks.keys()
        return tuple(task for task in tasks if task.id not in known)

    def summary(self, task: str) -> Mapping[str, Any]:
        """What the finished task reported."""
        return self.finished_tasks[task].summary


def apply(state: State, event: Event) -> State:
    """The state after one more event."""
    state = _passed(state, event)
    match event:
        case CampaignStarted():
            return dataclasses.replace(
                state, name=event.name, seed=event.seed, level=event.level, config=event.config
            )
        case RunOpened():
            # only a run that has something left to do is opened
            return dataclasses.replace(state, ended=None)
        case TaskFinished():
            tasks = {**state.finished_tasks, event.task: event}
            return dataclasses.replace(state, finished_tasks=tasks)
        case TaskFailed():
            failed = {**state.failed_tasks, event.task: event}
            return dataclasses.replace(state, failed_tasks=failed)
        case FailuresForgiven():
            kept = {k: v for k, v in state.failed_tasks.items() if k not in event.tasks}
            return dataclasses.replace(state, failed_tasks=kept)
        case SnapshotMade():
            snapshots = {**state.snapshots, event.cycle: event}
            return dataclasses.replace(state, snapshots=snapshots)
        case CampaignFinished():
            return dataclasses.replace(state, ended=event)


def fold(events: Iterable[Event]) -> State:
    """The state after all events, from nothing."""
    state = State()
    for event in events:
        state = apply(state, event)
    return state


def _passed(state: State, event: Event) -> State:
    """Count the time since the last event, unless nobody was working in between."""
    idle = isinstance(event, CampaignStarted | RunOpened) or state.last_at is None
    spent = 0.0 if idle or state.last_at is None else max(0.0, event.at - state.last_at)
    return dataclasses.replace(state, elapsed_s=state.elapsed_s + spent, last_at=event.at)
