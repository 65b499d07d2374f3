"""What a distillation tells while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from athanor.campaign.progress import Progress
from athanor.campaign.state import State
from athanor.campaign.steps import Work
from athanor.campaign.tasks import Task
from athanor.distil.config import DistilConfig


def progress_of(config: DistilConfig, state: State, step: Work | None, *, now: float) -> Progress:
    """Describe a state while the tasks of `step` are being done (None: between steps, or ended)."""
    waiting = state.pending(step.tasks) if step is not None else ()
    elapsed = state.elapsed_s
    if step is not None and state.last_at is not None:
        elapsed += max(0.0, now - state.last_at)
    ended = state.ended if step is None else None
    failed = [failure for failure in state.failed_tasks.values() if failure.kind == "label"]
    return Progress(
        cycle=step.cycle if step is not None else state.cycle,
        phase=step.phase if step is not None else "done" if ended else "idle",
        detail=_detail(config, state, waiting),
        done=step.planned - len(waiting) if step is not None else 0,
        planned=step.planned if step is not None else 0,
        survival=(0, ()),
        labels=state.labels_bought,
        failed_labels=len(failed),
        max_labels=None,
        errors=_errors(state)[0],
        elapsed_s=elapsed,
        remaining_s=None if ended else _remaining(config, state, step, elapsed),
        stopped_by=ended.stopped_by if ended else None,
        errors_on=_errors(state)[1],
    )


def _detail(config: DistilConfig, state: State, waiting: Sequence[Task]) -> str:
    """What is being worked on; of similarities rather what they take in all."""
    if waiting and waiting[0].kind in ("describe", "distances"):
        pools = [r for r in state.finished_tasks.values() if r.kind == "pool"]
        return str(pools[-1].summary["forecast"])
    return ", ".join(task.title for task in waiting[: config.campaign.workers])


def _errors(state: State) -> tuple[Mapping[str, Any] | None, str]:
    """The errors to show and what they are on: the latest held-out ones, or the best trial's."""
    tests = [record for record in state.finished_tasks.values() if record.kind == "test"]
    trials = [record for record in state.finished_tasks.values() if record.kind == "trial"]
    latest = max((record.cycle for record in trials), default=0)
    if tests and tests[-1].cycle == latest:
        return tests[-1].summary, "held-out structures"
    found = [r.summary["test"] for r in trials if r.cycle == latest and r.summary["test"]]
    good = [errors for errors in found if errors["energy_rmse"] is not None]
    best = min(good, key=lambda errors: errors["energy_rmse"], default=None)
    return best, f"test structures by the best of {len(found)} trials so far"


def _remaining(
    config: DistilConfig, state: State, step: Work | None, elapsed: float
) -> float | None:
    """Seconds that the tasks of this phase still take, at their pace so far; at most max_hours."""
    bounds = []
    if config.stop.max_hours is not None:
        bounds.append(max(0.0, 3600 * config.stop.max_hours - elapsed))
    if step is not None:
        kinds = {task.kind for task in step.tasks}
        took = [r.seconds for r in state.finished_tasks.values() if r.kind in kinds]
        if took:
            left = len(state.pending(step.tasks)) / config.campaign.workers
            bounds.append(left * sum(took) / len(took))
    return min(bounds, default=None)
