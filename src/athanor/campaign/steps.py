"""The steps a plan can name, whatever it plans."""

from __future__ import annotations

from dataclasses import dataclass

from athanor.campaign.tasks import Task


@dataclass(frozen=True, slots=True)
class Work:
    """Tasks that can all run now, in any order."""

    cycle: int
    phase: str
    tasks: tuple[Task, ...]
    planned: int
    """Tasks of this phase, done ones included."""


@dataclass(frozen=True, slots=True)
class Abort:
    """Nothing can be done, for a reason; `tasks` failed and may be tried again in a later run."""

    reason: str
    tasks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Done:
    """The campaign has ended and everything is in place."""
