"""What a distillation does next: a pure function of the campaign file and the state.

The plan is written as it would be done by one who never waits; where something on the way is not
done yet, `Course.need` leaves it with that step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from athanor.campaign.plan import label_task
from athanor.campaign.state import State
from athanor.campaign.steps import Abort, Done, Work
from athanor.campaign.tasks import Task
from athanor.distil.comparison import Entry, compare
from athanor.distil.config import DistilConfig
from athanor.distil.course import Course, Reached
from athanor.distil.rounds import Winner, searched
from athanor.distil.tasks import (
    Chosen,
    describe_tasks,
    distance_tasks,
    draw_task,
    held_out_task,
    map_task,
    partition_task,
    pool_task,
    similarity_task,
)
from athanor.query.clustering import DELTA


@dataclass(frozen=True, slots=True)
class Handover:
    """Hand over what came out, and write that the distillation ended."""

    stopped_by: str
    cycle: int
    trial: str
    draw: str
    comparison: tuple[str, ...]


Step = Work | Handover | Abort | Done


@dataclass(frozen=True, slots=True)
class Ground:
    """What every cycle stands on: the pool, its similarity, and its clusters at the best delta."""

    pool: Task
    found: Mapping[str, Any]
    similarity: Task
    partition: Task
    delta: float
    partitions: tuple[Task, ...]
    others: tuple[Task, ...]
    """The same with the other affinity, for the report."""
    map: Task

    @property
    def soap(self) -> Task | None:
        """The partition at delta = 0, where one was made."""
        at_zero = [part for part in self.partitions if part.payload["delta"] == 0.0]
        return at_zero[0] if at_zero else None


@dataclass(frozen=True, slots=True)
class Turn:
    """A cycle that is over."""

    number: int
    draw: Task
    data: Chosen
    winner: Winner
    held_out: Task | None
    """The test on held-out structures, None without any."""


@dataclass(slots=True)
class Passed:
    """What a plan went through on its way, and the step it came to."""

    ground: Ground | None = None
    turns: list[Turn] = field(default_factory=list)
    entries: tuple[Entry, ...] = ()
    step: Step = field(default_factory=Done)


def plan(config: DistilConfig, state: State) -> Step:
    """The next step of the distillation."""
    return retrace(config, state).step


def retrace(config: DistilConfig, state: State) -> Passed:
    """All that is done, in the order of the plan, and the next step."""
    passed = Passed()
    try:
        passed.step = _distil(Course(config, state), passed)
    except Reached as reached:
        passed.step = reached.step
    return passed


def _distil(course: Course, passed: Passed) -> Step:
    ground = passed.ground = _ground(course)
    turn = _turn(course, ground, None)
    passed.turns.append(turn)
    while (stop := stopped_by(course, ground, turn)) is None:
        turn = _turn(course, ground, turn)
        passed.turns.append(turn)
    soap = ground.soap
    passed.entries = compare(
        course,
        pool=ground.pool,
        found=ground.found,
        similarity=ground.similarity,
        clusters={
            "clusters": (ground.partition, ground.delta),
            "soap": (soap, 0.0),
            "farthest": (None, ground.delta),
            "random": (None, 0.0),
            "everything": (None, 0.0),
        },
        draw=turn.draw,
        winner=turn.winner,
    )
    tests = tuple(one.test for one in passed.entries)
    over = Handover(stop, turn.number, turn.winner.trial.id, turn.draw.id, tests)
    return Done() if _same(course.state, over) else over


def _ground(course: Course) -> Ground:
    """The pool, its similarity and its clusters."""
    config = course.config
    pool = pool_task(config, course.state.level)
    course.need([pool], phase="pool")
    found = course.summary(pool)
    described = course.need(describe_tasks(config, pool, found), phase="describe")
    apart = course.need(distance_tasks(config, pool, found, described), phase="distances")
    similarity = similarity_task(config, found, described, apart)
    course.need([similarity], phase="similarity")
    scan = _deltas(config, found)
    mine = config.query.affinity
    parts, others = (
        [partition_task(config, pool, similarity, delta, affinity=affinity) for delta in scan]
        for affinity in (mine, "distance" if mine == "similarity" else "similarity")
    )
    course.need([*parts, *others], phase="partition")
    best = chosen_delta([course.summary(part) for part in parts])
    plane = map_task(similarity, scan[best])
    course.need([plane], phase="map")
    best_part, delta = parts[best], scan[best]
    return Ground(pool, found, similarity, best_part, delta, tuple(parts), tuple(others), plane)


def _deltas(config: DistilConfig, found: Mapping[str, Any]) -> tuple[float, ...]:
    """What is scanned; without energies there is nothing to choose a delta by."""
    if config.query.delta is None and found["unlabelled"]:
        return (DELTA,)
    return config.query.deltas


def chosen_delta(partitions: Sequence[Mapping[str, Any]]) -> int:
    """Number of the best partition: one that settled, with the lowest energy spread of clusters.

    The spread is a mean over structures: the paper's, over clusters, is lowered by outliers that
    have a cluster of their own.
    """
    spreads = [part["energy_spread_by_structure"] for part in partitions]
    order = [
        (spread is None, not part["converged"], 0.0 if spread is None else spread)
        for part, spread in zip(partitions, spreads, strict=True)
    ]
    return order.index(min(order))


def _turn(course: Course, ground: Ground, last: Turn | None) -> Turn:
    """One cycle: draw, buy, search, measure."""
    number = 1 if last is None else last.number + 1
    draw = draw_task(
        course.config,
        ground.pool,
        ground.similarity,
        arm="clusters",
        seed=course.config.campaign.seed,
        cycle=number,
        partition=ground.partition,
        delta=ground.delta,
        before=None if last is None else last.draw,
    )
    course.need([draw], phase="draw", cycle=number)
    data = _bought(course, ground, course.summary(draw)["chosen"], draw, number)
    best = None if last is None else last.winner.point
    winner = searched(course, ground.pool, ground.found["digest"], data, cycle=number, start=best)
    frames = ground.found["held_out"]
    if not frames:
        return Turn(number, draw, data, winner, None)
    test = held_out_task(ground.pool, ground.found["digest"], winner.trial, frames, number)
    course.need([test], phase="test", cycle=number)
    return Turn(number, draw, data, winner, test)


def _bought(
    course: Course, ground: Ground, chosen: Sequence[Mapping[str, Any]], draw: Task, cycle: int
) -> Chosen:
    """The structures of a draw, with labels bought for those that have none."""
    bare = set(ground.found["unlabelled"])
    wanted = [one for one in chosen if one["index"] in bare]
    tasks = {
        one["index"]: replace(
            label_task(course.state, one["cycle"], {**one, "artefact": ground.pool.id}),
            title=one["reason"],
        )
        for one in wanted
    }
    done = {task.id for task in course.need(list(tasks.values()), phase="label", cycle=cycle)}
    if tasks and not done:
        raise Reached(course.failure(list(tasks.values()), "every label failed"))
    lost = {index for index, task in tasks.items() if task.id not in done}
    parts: dict[str, list[int]] = {"train": [], "test": []}
    for one in chosen:
        if one["index"] not in lost:
            parts[one["part"]].append(one["index"])
    labels = {index: task.id for index, task in tasks.items() if index not in lost}
    return Chosen(tuple(sorted(parts["train"])), tuple(sorted(parts["test"])), labels)


def stopped_by(course: Course, ground: Ground, now: Turn) -> str | None:
    """The stopping rule that holds after this cycle, if any."""
    stop = course.config.stop
    own = now.winner.errors
    apart = own if now.held_out is None else course.summary(now.held_out)
    wanted = {"test": [own], "held_out": [apart], "both": [own, apart]}[stop.judged_on]
    errors = [one["energy_rmse"] for one in wanted]
    if all(error is not None and 1000 * error <= stop.energy_rmse_meV for error in errors):
        return "tolerance"
    used = len(now.data.train) + len(now.data.test)
    if used >= len(ground.found["eligible"]):
        return "whole_pool"
    if used >= stop.max_fraction * ground.found["n"]:
        return "max_fraction"
    if stop.max_cycles is not None and now.number >= stop.max_cycles:
        return "max_cycles"
    if stop.max_hours is not None and course.state.elapsed_s >= 3600 * stop.max_hours:
        begun = course.state.cycle > now.number
        return None if begun else "max_hours"
    return None


def _same(state: State, over: Handover) -> bool:
    ended = state.ended
    if ended is None:
        return False
    found = (ended.stopped_by, ended.cycle, ended.potential, ended.properties)
    return found == (over.stopped_by, over.cycle, over.trial, (over.draw, *over.comparison))
