"""The comparison: as many structures chosen otherwise, fitted with the hyperparameters found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from athanor.campaign.tasks import Task
from athanor.distil.course import Course
from athanor.distil.rounds import Winner
from athanor.distil.tasks import Chosen, draw_task, held_out_task, trial_task

ONCE = frozenset({"everything"})
"""Arms in which nothing is drawn."""


def arms_of(course: Course) -> list[tuple[str, int]]:
    """(arm, seed) of every fit of the comparison; seeds count from the campaign's own."""
    compare = course.config.compare
    if compare is None:
        return []
    first = course.config.campaign.seed
    return [
        (arm, first + number)
        for arm in compare.arms
        for number in range(1 if arm in ONCE else compare.seeds)
    ]


@dataclass(frozen=True, slots=True)
class Entry:
    """One fit of the comparison; `test` is '' where the fit failed."""

    arm: str
    seed: int
    draw: str
    trial: str
    test: str


def compare(
    course: Course,
    *,
    pool: Task,
    found: Mapping[str, Any],
    similarity: Task,
    clusters: Mapping[str, tuple[Task | None, float]],
    draw: Task,
    winner: Winner,
) -> tuple[Entry, ...]:
    """Every fit of the comparison, once all are done.

    It needs labels of all the pool, and held-out structures; without, there is none. `clusters`
    has for each arm the partition it draws from, if any, and the delta it measures with.
    """
    if not can_compare(course, found):
        return ()
    cycle = draw.cycle
    arms = [(arm, seed) for arm, seed in arms_of(course) if arm != "soap" or clusters[arm][0]]
    draws = [
        _drawn(course, pool, similarity, arm=arm, seed=seed, clusters=clusters[arm], like=draw)
        for arm, seed in arms
    ]
    course.need(draws, phase="compare", cycle=cycle)
    trials = [_fit(course, pool, found, one, winner) for one in draws]
    done = {task.id for task in course.need(trials, phase="compare", cycle=cycle)}
    tests = {
        trial.id: held_out_task(pool, found["digest"], trial, found["held_out"], cycle)
        for trial in trials
        if trial.id in done
    }
    course.need(list(tests.values()), phase="compare", cycle=cycle)
    return tuple(
        Entry(arm, seed, one.id, trial.id, tests[trial.id].id if trial.id in tests else "")
        for (arm, seed), one, trial in zip(arms, draws, trials, strict=True)
    )


def _drawn(
    course: Course,
    pool: Task,
    similarity: Task,
    *,
    arm: str,
    seed: int,
    clusters: tuple[Task | None, float],
    like: Task,
) -> Task:
    partition, delta = clusters
    return draw_task(
        course.config,
        pool,
        similarity,
        arm=arm,
        seed=seed,
        cycle=like.cycle,
        partition=partition,
        delta=delta,
        like=like,
    )


def can_compare(course: Course, found: Mapping[str, Any]) -> bool:
    """Whether there is a comparison: it was asked for, and everything has labels."""
    wanted = course.config.compare is not None
    return wanted and bool(found["held_out"]) and not found["unlabelled"]


def _fit(course: Course, pool: Task, found: Mapping[str, Any], draw: Task, winner: Winner) -> Task:
    chosen = course.summary(draw)["chosen"]
    parts = {
        part: tuple(sorted(one["index"] for one in chosen if one["part"] == part))
        for part in ("train", "test")
    }
    data = Chosen(parts["train"], parts["test"], {})
    return trial_task(course.config, pool, found["digest"], data, winner.point, cycle=draw.cycle)
