"""What a campaign tells while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from athanor.campaign.config import CampaignConfig
from athanor.campaign.state import State
from athanor.campaign.steps import Work


@dataclass(frozen=True, slots=True)
class Progress:
    """A moment of a running campaign.

    Attributes
    ----------
    cycle, phase : where it is; start, selfcheck, label, fit, sample, select, validate, done.
    detail : what is being worked on, for people ("trajectory 3").
    done, planned : tasks of this phase.
    survival : (cycle, shares): share of the schedule that each finished trajectory of the latest
        sampled cycle lived, 0 to 1.
    labels, failed_labels, max_labels : labels bought and refused so far, and the budget if any.
    errors : errors on the latest new labels before they were trained on (eV/atom, eV/Å, eV/Å³;
        keys energy_mae, energy_rmse, energy_max, forces_.., stress_.., frames); None before any.
    elapsed_s : seconds of work over all runs.
    remaining_s : seconds still expected at most, None while there is nothing to judge by.
    errors_on : what `errors` were found on, for people.
    stopped_by : set when the campaign has ended.
    """

    cycle: int
    phase: str
    detail: str
    done: int
    planned: int
    survival: tuple[int, tuple[float, ...]]
    labels: int
    failed_labels: int
    max_labels: int | None
    errors: Mapping[str, float | None] | None
    elapsed_s: float
    remaining_s: float | None
    stopped_by: str | None
    errors_on: str = "the newest labels before training on them"

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON data with the names of the attributes."""
        return asdict(self)


def progress_of(config: CampaignConfig, state: State, step: Work | None, *, now: float) -> Progress:
    """Describe a state while the tasks of `step` are being done (None: between steps, or ended)."""
    waiting = state.pending(step.tasks) if step is not None else ()
    elapsed = state.elapsed_s
    if step is not None and state.last_at is not None:
        elapsed += max(0.0, now - state.last_at)
    cycle = step.cycle if step is not None else state.cycle
    failed = [failure for failure in state.failed_tasks.values() if failure.kind == "label"]
    ended = state.ended if step is None else None
    return Progress(
        cycle=cycle,
        phase=step.phase if step is not None else "done" if ended else "idle",
        detail=", ".join(task.title for task in waiting[: config.campaign.workers]),
        done=step.planned - len(waiting) if step is not None else 0,
        planned=step.planned if step is not None else 0,
        survival=_survival(state),
        labels=state.labels_bought,
        failed_labels=len(failed),
        max_labels=config.stop.max_labels,
        errors=_errors(state),
        elapsed_s=elapsed,
        remaining_s=None if ended else _remaining(config, state, step, elapsed),
        stopped_by=ended.stopped_by if ended else None,
    )


def _survival(state: State) -> tuple[int, tuple[float, ...]]:
    runs = [record for record in state.finished_tasks.values() if record.kind == "sample"]
    last = max((record.cycle for record in runs), default=0)
    shares = [
        record.summary["steps"] / max(record.summary["planned"], 1)
        for record in runs
        if record.cycle == last
    ]
    return last, tuple(shares)


def _errors(state: State) -> Mapping[str, float | None] | None:
    tests = [record for record in state.finished_tasks.values() if record.kind == "test"]
    return max(tests, key=lambda record: record.cycle).summary if tests else None


def _remaining(
    config: CampaignConfig, state: State, step: Work | None, elapsed: float
) -> float | None:
    """At most so many seconds: the limits that are nearest, at the pace of the cycles so far."""
    stop = config.stop
    turns = state.cycle if step is None else step.cycle + _share(step, state)
    bounds = []
    if turns >= 1:
        pace = elapsed / turns
        if stop.max_cycles is not None:
            bounds.append(max(0.0, stop.max_cycles + 1 - turns) * pace)
        if stop.max_labels is not None:
            left = max(0, stop.max_labels - state.labels_bought)
            bounds.append(left / config.cycle.labels * pace)
    if stop.max_hours is not None:
        bounds.append(max(0.0, 3600 * stop.max_hours - elapsed))
    return min(bounds, default=None)


def _share(step: Work, state: State) -> float:
    """How much of its cycle is behind a step, roughly: sampling is half of a cycle."""
    begin, end = {
        "sample": (0.0, 0.5),
        "select": (0.5, 0.55),
        "label": (0.55, 0.8),
        "fit": (0.8, 1.0),
        "validate": (1.0, 1.0),
    }.get(step.phase, (0.0, 0.0))
    done = 1 - len(state.pending(step.tasks)) / step.planned
    return begin + (end - begin) * done
