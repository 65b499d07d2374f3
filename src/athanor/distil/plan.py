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

    soap: Task | None
    """The partition at delta = 0, where it is compared with."""


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
    turn, stop = _turns(course, ground, passed)
    passed.entries = compare(
        course,
        pool=ground.pool,
        found=ground.found,
        similarity=ground.similarity,
        clusters={
            "clusters": (ground.partition, ground.delta),
            "soap": (ground.soap, 0.0),
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


def _turns(course: Course, ground: Ground, passed: Passed) -> tuple[Turn, str]:
    """The last cycle, and the rule that ended it."""
    last: Turn | None = None
    while True:
        turn = _turn(course, ground, last)
        if turn is None:
            if last is None:
                raise Reached(course.hopeless(_too_many(course)))
            return last, "max_fraction"
        passed.turns.append(turn)
        stop = stopped_by(course, ground, turn)
        if stop is not None:
            return turn, stop
        last = turn


def _too_many(course: Course) -> str:
    limit = course.config.stop.max_fraction
    return (
        f"the first cycle alone takes more than [stop] max_fraction = {limit:g} of the pool, since "
        "it takes one structure of each cluster at least; raise that, or lower [cycle] fraction or "
        "[query] max_clusters and give another folder"
    )


def _ground(course: Course) -> Ground:
    """The pool, its similarity and its clusters."""
    config = course.config
    pool = pool_task(config, course.state.level)
    if not course.need([pool], phase="pool"):
        raise Reached(course.failure([pool], "the pool could not be made"))
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
    alone = [partition_task(config, pool, similarity, 0.0, affinity=mine)] if _soap(config) else []
    course.need([*parts, *others, *alone], phase="partition")
    best = chosen_delta([course.summary(part) for part in parts])
    plane = map_task(similarity, scan[best])
    course.need([plane], phase="map")
    return Ground(
        pool,
        found,
        similarity,
        partition=parts[best],
        delta=scan[best],
        partitions=tuple(parts),
        others=tuple(others),
        map=plane,
        soap=alone[0] if alone else None,
    )


def _soap(config: DistilConfig) -> bool:
    return config.compare is not None and "soap" in config.compare.arms


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


def _turn(course: Course, ground: Ground, last: Turn | None) -> Turn | None:
    """One cycle: draw, buy, search, measure. None where its draw is more than may be used."""
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
    chosen = course.summary(draw)["chosen"]
    if len(chosen) > course.config.stop.max_fraction * ground.found["n"]:
        return None
    data = _bought(course, ground, chosen, number)
    best = None if last is None else last.winner.point
    winner = searched(course, ground.pool, ground.found["digest"], data, cycle=number, start=best)
    frames = ground.found["held_out"]
    if not frames:
        return Turn(number, draw, data, winner, None)
    test = held_out_task(ground.pool, ground.found["digest"], winner.trial, frames, number)
    course.need([test], phase="test", cycle=number)
    return Turn(number, draw, data, winner, test)


def _bought(
    course: Course, ground: Ground, chosen: Sequence[Mapping[str, Any]], cycle: int
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
    if not (parts["train"] and parts["test"]):
        raise Reached(
            course.hopeless(
                f"cycle {cycle} has {len(parts['train'])} structures to train on and "
                f"{len(parts['test'])} to judge by, at least one of each is needed; raise [cycle] "
                "fraction and give another folder"
            )
        )
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
    # structures whose label failed count: there is nothing left to draw either way
    drawn = len(course.summary(now.draw)["chosen"])
    if drawn >= len(ground.found["eligible"]):
        return "whole_pool"
    if drawn >= stop.max_fraction * ground.found["n"]:
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
