"""What can happen in a campaign: the typed, immutable lines of its journal."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class CampaignStarted:
    """A new campaign; `config` is the whole file with its defaults, `level` the oracle's."""

    at: float
    name: str
    seed: int
    level: str
    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RunOpened:
    """A process took up the campaign; the time since the event before was spent by nobody."""

    at: float
    pid: int


@dataclass(frozen=True, slots=True)
class TaskFinished:
    """A task's artefact is durable; `summary` is what planning and people need of it."""

    at: float
    task: str
    kind: str
    cycle: int
    seconds: float
    summary: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TaskFailed:
    """A task gave nothing, for a reason; the campaign goes on without it."""

    at: float
    task: str
    kind: str
    cycle: int
    title: str
    reason: str


@dataclass(frozen=True, slots=True)
class FailuresForgiven:
    """These failed tasks are to be tried again (all had failed, and the campaign was run again)."""

    at: float
    tasks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SnapshotMade:
    """The labels of a cycle are in the store; `train` and `valid` name its snapshots.

    `n_train`, `n_valid` count the frames of the whole snapshots, `added` are the label tasks.
    """

    at: float
    cycle: int
    train: str
    valid: str
    n_train: int
    n_valid: int
    added: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CampaignFinished:
    """The campaign ended; `potential` is a fit's id, `properties` are validations' ids."""

    at: float
    stopped_by: str
    cycle: int
    potential: str
    properties: tuple[str, ...]


Event = (
    CampaignStarted
    | RunOpened
    | TaskFinished
    | TaskFailed
    | FailuresForgiven
    | SnapshotMade
    | CampaignFinished
)

NAMES: Mapping[str, type[Event]] = {
    "started": CampaignStarted,
    "opened": RunOpened,
    "task": TaskFinished,
    "failed": TaskFailed,
    "forgiven": FailuresForgiven,
    "snapshot": SnapshotMade,
    "finished": CampaignFinished,
}
"""The name of each event in the journal."""


def encode(event: Event) -> tuple[str, dict[str, Any]]:
    """An event as its name and plain data."""
    name = next(name for name, kind in NAMES.items() if kind is type(event))
    return name, {f.name: getattr(event, f.name) for f in dataclasses.fields(event)}


def decode(name: str, data: Mapping[str, Any]) -> Event:
    """The event of a journal line; ValueError when there is none or its data do not fit."""
    kind = NAMES.get(name)
    if kind is None:
        raise ValueError(f"there is no event {name!r}; the events are {', '.join(NAMES)}")
    fields = {f.name for f in dataclasses.fields(kind)}
    if set(data) != fields:
        raise ValueError(f"event {name!r} has {sorted(data)}, expected {sorted(fields)}")
    build: Any = kind
    event: Event = build(**{k: tuple(v) if isinstance(v, list) else v for k, v in data.items()})
    return event
