"""What to do next: a pure function of the campaign file and the state.

The plan walks from the first structures through the cycles; the first thing on the way that is
not done yet is the step to take.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from athanor.campaign.config import CampaignConfig
from athanor.campaign.events import CampaignFinished, SnapshotMade
from athanor.campaign.gate import gate_task
from athanor.campaign.state import State
from athanor.campaign.steps import Abort, Done, Work
from athanor.campaign.tasks import Task

BARREN = 2
"""Cycles in a row whose every label failed before the campaign gives up."""


@dataclass(frozen=True, slots=True)
class Freeze:
    """Put these labels (task id, origin) into the store, after the snapshot of cycle `before`."""

    cycle: int
    labels: tuple[tuple[str, str], ...]
    before: int | None


@dataclass(frozen=True, slots=True)
class Conclude:
    """Export the potential of this fit and its training set, and write that the campaign ended."""

    stopped_by: str
    cycle: int
    potential: str
    train: str
    valid: str
    properties: tuple[str, ...]


Step = Work | Freeze | Conclude | Abort | Done


@dataclass(frozen=True, slots=True)
class Generation:
    """A potential and what led to it: the fit's id, its snapshots, and what stops a campaign.

    `promoted` is the latest one that the regression gate let pass; None before any was judged.
    """

    cycle: int
    fit: str
    train: str
    valid: str
    frozen: int
    bought: int
    quiet: int = 0
    barren: int = 0
    promoted: Generation | None = None


def plan(config: CampaignConfig, state: State) -> Step:
    """The next step of the campaign."""
    reached = _first(config, state)
    while isinstance(reached, Generation):
        stop = stopped_by(config, state, reached)
        if stop is not None:
            return _end(config, state, reached, stop)
        reached = _measured(config, state, reached)
        if isinstance(reached, Generation):
            reached = _turn(config, state, reached)
    return reached


def stopped_by(config: CampaignConfig, state: State, now: Generation) -> str | None:
    """The stopping rule that holds at this generation, if any."""
    stop = config.stop
    if stop.untriggered_cycles is not None and now.quiet >= stop.untriggered_cycles:
        return "untriggered"
    if stop.max_labels is not None and now.bought >= stop.max_labels:
        return "max_labels"
    if stop.max_cycles is not None and now.cycle >= stop.max_cycles:
        return "max_cycles"
    if stop.max_hours is not None and state.elapsed_s >= 3600 * stop.max_hours:
        # the clock only counts where the next cycle has not begun, or a rerun would go back
        begun = any(task.id in state.finished_tasks for task in sample_tasks(config, now))
        return None if begun else "max_hours"
    return None


def draw_task(config: CampaignConfig) -> Task:
    """Draw the structures that are labelled first."""
    start = config.start.model_dump(mode="json")
    count = config.cycle.initial
    payload = {"start": start, "count": count}
    seed = config.campaign.seed
    return Task("draw", payload, seed=seed, title=f"{count} starting structures")


def selfcheck_task(state: State, first: dict[str, Any]) -> Task:
    """Compare the oracle's forces and stress with differences of its energy, on one structure."""
    hints = {"artefact": first["artefact"], "index": first["index"]}
    payload = {"level": state.level}
    return Task("selfcheck", payload, (first["structure"],), title="the oracle", hints=hints)


def label_task(state: State, cycle: int, chosen: dict[str, Any]) -> Task:
    """Label one structure; nothing but the structure and the level of theory is in the identity."""
    return Task(
        "label",
        {"level": state.level},
        (chosen["structure"],),
        cycle=cycle,
        title=chosen["reason"],
        hints={"artefact": chosen["artefact"], "index": chosen["index"]},
    )


def fit_task(config: CampaignConfig, cycle: int, train: str, valid: str, before: str) -> Task:
    """Fit to a snapshot, warm from the potential of the fit `before` ('' for none)."""
    payload = {"potential": config.potential.model_dump(mode="json")}
    inputs = (train, valid, before)
    seed = config.campaign.seed
    return Task("fit", payload, inputs, seed=seed, cycle=cycle, title="the potential")


def sample_tasks(config: CampaignConfig, now: Generation) -> list[Task]:
    """The trajectories of the cycle after this generation."""
    cycle = now.cycle + 1
    recipes = {
        name: getattr(config, name).model_dump(mode="json") for name in ("start", "sample", "query")
    }
    return [
        Task(
            "sample",
            {**recipes, "cycle": cycle, "trajectory": number},
            (now.fit, now.train),
            seed=config.campaign.seed,
            cycle=cycle,
            title=f"trajectory {number}",
        )
        for number in range(1, config.cycle.trajectories + 1)
    ]


def select_task(
    config: CampaignConfig, state: State, now: Generation, harvests: list[str], budget: int
) -> Task:
    """Choose at most `budget` of the harvested structures that are neither labelled nor failed."""
    failed = {
        f.task for f in state.failed_tasks.values() if f.kind == "label" and f.cycle <= now.cycle
    }
    payload = {
        "query": config.query.model_dump(mode="json"),
        "budget": budget,
        "level": state.level,
        "failed": sorted(failed),
    }
    inputs = (now.fit, now.train, now.valid, *harvests)
    seed = config.campaign.seed
    return Task("select", payload, inputs, seed=seed, cycle=now.cycle + 1, title="candidates")


def check_task(cycle: int, fit: str, labels: list[str]) -> Task:
    """Compare the potential with labels it was not trained on."""
    return Task("test", {}, (fit, *labels), cycle=cycle, title="errors on the new labels")


def validate_tasks(config: CampaignConfig, now: Generation) -> list[Task]:
    """Measure every property with a potential and with the oracle."""
    oracle = config.oracle.model_dump(mode="json")
    return [
        Task(
            "validate",
            {"property": item.identity, "oracle": oracle},
            (now.fit,),
            seed=config.campaign.seed,
            cycle=now.cycle,
            title=str(getattr(item, "kind", type(item).__name__)),
            hints={"number": number},
        )
        for number, item in enumerate(config.validate)
    ]


def _first(config: CampaignConfig, state: State) -> Step | Generation:
    """From nothing to the first potential."""
    draw = draw_task(config)
    if pending := state.pending([draw]):
        return Work(0, "start", pending, 1)
    chosen = [
        {"structure": name, "artefact": draw.id, "index": index, "reason": f"start {index + 1}"}
        for index, name in enumerate(state.summary(draw.id)["structures"])
    ]
    if config.oracle.selfcheck:
        check = selfcheck_task(state, chosen[0])
        if pending := state.pending([check]):
            return Work(0, "selfcheck", pending, 1)
        if check.id in state.failed_tasks:
            return _all_failed(state, [check], "the oracle cannot be trusted")
    if config.stop.max_labels is not None:
        chosen = chosen[: config.stop.max_labels]
    tasks = _distinct([label_task(state, 0, one) for one in chosen])
    if pending := state.pending(tasks):
        return Work(0, "label", pending, len(tasks))
    good = [task for task in tasks if task.id in state.finished_tasks]
    if not good:
        return _all_failed(state, tasks, "every label of the first structures failed")
    made = _snapshot(state, 0, good)
    if made is None:
        return _freeze(0, good, None)
    fit = fit_task(config, 0, made.train, made.valid, "")
    if pending := state.pending([fit]):
        return Work(0, "fit", pending, 1)
    return Generation(0, fit.id, made.train, made.valid, 0, len(good))


def _turn(config: CampaignConfig, state: State, now: Generation) -> Step | Generation:
    """One cycle: sample and select, then learn."""
    tasks = sample_tasks(config, now)
    if pending := state.pending(tasks):
        return Work(now.cycle + 1, "sample", pending, len(tasks))
    runs = [task for task in tasks if task.id in state.finished_tasks]
    if not runs:
        return _all_failed(state, tasks, f"every trajectory of cycle {now.cycle + 1} failed")
    whole = len(runs) == len(tasks) and not any(_halted(state.summary(task.id)) for task in runs)
    after = dataclasses.replace(now, cycle=now.cycle + 1, quiet=now.quiet + 1 if whole else 0)
    harvests = [task.id for task in runs if state.summary(task.id)["candidates"]]
    if not harvests:
        return after
    budget = config.cycle.labels
    if config.stop.max_labels is not None:
        budget = min(budget, config.stop.max_labels - now.bought)
    select = select_task(config, state, now, harvests, budget)
    if pending := state.pending([select]):
        return Work(after.cycle, "select", pending, 1)
    found = state.summary(select.id)
    # what is not offered has its label, as validation frames of a pool may, or cannot have one
    if found["offered"] and config.stop.trigger == "save":
        after = dataclasses.replace(after, quiet=0)
    return _learn(config, state, after, found["chosen"]) if found["chosen"] else after


def _learn(
    config: CampaignConfig, state: State, now: Generation, chosen: list[dict[str, Any]]
) -> Step | Generation:
    """The second half of a cycle: label, compare, refit."""
    tasks = _distinct([label_task(state, now.cycle, one) for one in chosen])
    if pending := state.pending(tasks):
        return Work(now.cycle, "label", pending, len(tasks))
    good = [task for task in tasks if task.id in state.finished_tasks]
    if not good:
        if now.barren + 1 >= BARREN:
            return _all_failed(state, tasks, f"every label failed in {BARREN} cycles in a row")
        return dataclasses.replace(now, barren=now.barren + 1)
    made = _snapshot(state, now.cycle, good)
    if made is None:
        return _freeze(now.cycle, good, now.frozen)
    check = check_task(now.cycle, now.fit, [task.id for task in good])
    fit = fit_task(config, now.cycle, made.train, made.valid, now.fit)
    if pending := state.pending([check, fit]):
        return Work(now.cycle, "fit", pending, 2)
    return dataclasses.replace(
        now,
        fit=fit.id,
        train=made.train,
        valid=made.valid,
        frozen=now.cycle,
        bought=now.bought + len(good),
        barren=0,
    )


def _snapshot(state: State, cycle: int, good: list[Task]) -> SnapshotMade | None:
    """The snapshot of a cycle, if it holds just these labels.

    A label budget that was raised since may have bought the cycle more of them.
    """
    made = state.snapshots.get(cycle)
    return made if made is not None and made.added == tuple(task.id for task in good) else None


def _freeze(cycle: int, good: list[Task], before: int | None) -> Freeze:
    return Freeze(cycle, tuple((task.id, f"cycle {cycle}: {task.title}") for task in good), before)


def _measured(config: CampaignConfig, state: State, now: Generation) -> Step | Generation:
    """Between two cycles: measure what is due, and let the gate judge."""
    every = zip(config.validate, validate_tasks(config, now), strict=True)
    due = [task for item, task in every if item.every and now.cycle and not now.cycle % item.every]
    if pending := state.pending(due):
        return Work(now.cycle, "validate", pending, len(due))
    return _judged(config, state, now)


def _judged(config: CampaignConfig, state: State, now: Generation) -> Work | Generation:
    """What the gate makes of a potential, once all that it is judged by was measured."""
    tasks = validate_tasks(config, now)
    before = now.promoted
    older = [None] * len(tasks) if before is None else validate_tasks(config, before)
    gates = [
        (item, new, old)
        for item, new, old in zip(config.validate, tasks, older, strict=True)
        if item.gate
    ]
    same = before is not None and before.fit == now.fit
    if not gates or same or state.pending(new for _, new, _ in gates):
        return now
    against = None if before is None else before.cycle
    gate = gate_task(gates, state, cycle=now.cycle, fit=now.fit, against=against)
    if pending := state.pending([gate]):
        return Work(now.cycle, "gate", pending, 1)
    if state.summary(gate.id)["reasons"]:
        return now
    return dataclasses.replace(now, promoted=dataclasses.replace(now, promoted=None))


def _end(config: CampaignConfig, state: State, now: Generation, stop: str) -> Step:
    """Validate, judge, export what was promoted, done."""
    tasks = validate_tasks(config, now)
    if pending := state.pending(tasks):
        return Work(now.cycle, "validate", pending, len(tasks))
    judged = _judged(config, state, now)
    if isinstance(judged, Work):
        return judged
    given = judged.promoted or judged
    tasks = validate_tasks(config, given)
    if pending := state.pending(tasks):
        return Work(now.cycle, "validate", pending, len(tasks))
    measured = tuple(task.id for task in tasks)
    if _same_end(state.ended, stop, now.cycle, given.fit, measured):
        return Done()
    return Conclude(stop, now.cycle, given.fit, given.train, given.valid, measured)


def _same_end(
    ended: CampaignFinished | None, stop: str, cycle: int, fit: str, measured: tuple[str, ...]
) -> bool:
    if ended is None:
        return False
    found = (ended.stopped_by, ended.cycle, ended.potential, ended.properties)
    return found == (stop, cycle, fit, measured)


def _halted(summary: Any) -> bool:
    return bool(summary["stopped_by"] != "completed" or summary["steps"] < summary["planned"])


def _all_failed(state: State, tasks: list[Task], what: str) -> Abort:
    first = state.failed_tasks[tasks[0].id].reason
    return Abort(
        f"{what}; the first said: {first}; mend that and run the same line again",
        tuple(task.id for task in tasks),
    )


def _distinct(tasks: list[Task]) -> list[Task]:
    """Without repetitions, in order."""
    return list({task.id: task for task in tasks}.values())
