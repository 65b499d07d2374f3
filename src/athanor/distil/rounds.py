"""The search of one cycle: rounds of proposals and trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from athanor.campaign.tasks import Task
from athanor.distil.course import Course, Reached
from athanor.distil.tasks import Chosen, propose_task, trial_task
from athanor.search.space import Point, key


@dataclass(frozen=True, slots=True)
class Winner:
    """The best trial of a cycle: its point, its score and its errors on the test structures.

    `trials` are all of the cycle, in the order in which they were proposed.
    """

    trial: Task
    point: Point
    score: float
    errors: Mapping[str, Any]
    trials: tuple[tuple[Point, Task], ...]


def searched(
    course: Course, pool: Task, digest: str, data: Chosen, *, cycle: int, start: Point | None
) -> Winner:
    """The best trial of a cycle, once all its rounds are done.

    The best point of the cycle before is tried first. Without marked fields there is one trial.
    """

    def trial(point: Point) -> Task:
        return trial_task(course.config, pool, digest, data, point, cycle=cycle)

    tried: dict[str, tuple[Point, Task]] = {}
    while points := _round(course, data, _seen(course, tried), cycle=cycle, start=start):
        tried.update({key(point): (point, trial(point)) for point in points})
        course.need([task for _, task in tried.values()], phase="trial", cycle=cycle)
    return _winner(course, tried)


def _round(
    course: Course,
    data: Chosen,
    seen: list[tuple[Point, float | None]],
    *,
    cycle: int,
    start: Point | None,
) -> list[Point]:
    """The next points to try, none at the end."""
    if course.config.space is None:
        return [] if seen else [{}]
    proposal = propose_task(course.config, cycle, data, seen, first=start)
    course.need([proposal], phase="propose", cycle=cycle)
    return [dict(point) for point in course.summary(proposal)["points"]]


def _seen(
    course: Course, tried: Mapping[str, tuple[Point, Task]]
) -> list[tuple[Point, float | None]]:
    return [(point, score_of(course, task)) for point, task in tried.values()]


def score_of(course: Course, task: Task) -> float | None:
    """None where the trial failed, had nothing to be judged on, or its errors are not finite."""
    if task.id in course.state.failed_tasks:
        return None
    errors = course.summary(task)["test"]
    return None if errors is None else course.config.search.score(errors)


def _winner(course: Course, tried: Mapping[str, tuple[Point, Task]]) -> Winner:
    scored = [(score_of(course, task), point, task) for point, task in tried.values()]
    good = [(score, point, task) for score, point, task in scored if score is not None]
    if not good:
        failed = [task for _, task in tried.values() if task.id in course.state.failed_tasks]
        if failed:
            raise Reached(course.failure(failed, "every trial of the search failed"))
        raise Reached(
            course.hopeless(
                "no trial of the search has finite errors; change the ranges of [potential] and "
                "give another folder"
            )
        )
    score, point, task = min(good, key=lambda one: one[0])
    return Winner(task, point, score, course.summary(task)["test"], tuple(tried.values()))
