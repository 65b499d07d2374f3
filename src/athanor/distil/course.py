"""The course of a distillation through what is done already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from athanor.campaign.state import State
from athanor.campaign.steps import Abort, Work
from athanor.campaign.tasks import Task
from athanor.distil.config import DistilConfig


class Reached(Exception):
    """The plan has come to a step that is to be taken first."""

    def __init__(self, step: Work | Abort) -> None:
        super().__init__()
        self.step = step


@dataclass(frozen=True, slots=True)
class Course:
    """The campaign file and the state, read by a plan."""

    config: DistilConfig
    state: State

    def need(self, tasks: Sequence[Task], *, phase: str, cycle: int = 0) -> list[Task]:
        """Those of the tasks that finished, once none is left to do; else leaves with the work."""
        distinct = list({task.id: task for task in tasks}.values())
        if pending := self.state.pending(distinct):
            raise Reached(Work(cycle, phase, pending, len(distinct)))
        return [task for task in distinct if task.id in self.state.finished_tasks]

    def summary(self, task: Task) -> Mapping[str, Any]:
        """What a finished task reported."""
        return self.state.summary(task.id)

    def failure(self, tasks: Sequence[Task], what: str) -> Abort:
        """Nothing of this could be done; the tasks are tried again in a later run."""
        first = self.state.failed_tasks[tasks[0].id].reason
        return Abort(
            f"{what}; the first said: {first}; mend that and run the same line again",
            tuple(task.id for task in tasks),
        )

    def hopeless(self, what: str) -> Abort:
        """Nothing failed, and nothing came out that could be used."""
        return Abort(what, ())
