"""What to try next: a pure function of the space, the results so far and a seed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from scipy.stats import qmc

from athanor.search._optuna import model_of, require_extra
from athanor.search.config import SearchConfig
from athanor.search.space import Point, SearchSpace, key

Result = tuple[Mapping[str, Any], float | None]
"""A point that was tried, and its score; None when the trial failed."""

_SPREAD = 1024
"""Points of the even sequence that are looked through for one that is new and allowed."""
_ENUMERATED = 4096
"""Spaces of up to so many points are looked through to the last one."""


def propose(
    space: SearchSpace,
    seen: Sequence[Result],
    config: SearchConfig,
    *,
    seed: int,
    first: Sequence[Mapping[str, Any]] = (),
) -> list[Point]:
    """The points to try next: none of `seen`, none twice; none at all when the search has ended.

    Rounds: `initial` points spread evenly, then `batch` at a time, each chosen from the results of
    the rounds before it, up to `trials`. Order within a round does not matter, and of a round that
    is half done the rest comes: a search that was cut short goes on as if it had not been.

    `seen` lists finished rounds before later ones. A failed trial counts as bad as the worst.
    `first` are points to begin with, such as the best of an earlier search; they count as initial.
    Fewer or no points come when a space has no more of them.

    Raises ConfigError for results of another space, MissingExtraError without Optuna (or torch).
    """
    require_extra(config.method)
    seen = [(space.canonical(point), score) for point, score in seen]
    begin = [space.canonical(point) for point in first]
    room = config.trials - len(seen)
    if room <= 0:
        return []
    known = {key(point) for point, _ in seen}
    begun = _begun(len(seen), config)
    points = _round(space, seen[:begun], config, seed=seed, first=begin)
    new = [point for point in points if key(point) not in known]
    if not new and begun < len(seen):
        # the round was filled by results that were not proposed here
        new = _round(space, seen, config, seed=seed, first=begin)
    return new[:room]


def best(seen: Sequence[Result]) -> tuple[Point, float] | None:
    """The point with the lowest score, the first of equals; None when no trial succeeded."""
    good = [(dict(point), score) for point, score in seen if score is not None]
    good = [(point, score) for point, score in good if math.isfinite(score)]
    return min(good, key=lambda one: one[1]) if good else None


def _begun(count: int, config: SearchConfig) -> int:
    """How many results there were when the round began that `count` results belong to."""
    if count < config.initial:
        return 0
    return count - (count - config.initial) % config.batch


def _round(
    space: SearchSpace,
    seen: Sequence[Result],
    config: SearchConfig,
    *,
    seed: int,
    first: Sequence[Point],
) -> list[Point]:
    """The whole round that follows these results."""
    known = {key(point) for point, _ in seen}
    if len(seen) < config.initial:
        even = itertools.chain(first, _candidates(space, seed=seed))
        return list(itertools.islice(_fresh(even, space, known), config.initial - len(seen)))
    own = int(np.random.SeedSequence([seed, len(seen)]).generate_state(1)[0])
    others = list(_candidates(space, seed=own))
    model = model_of(space, _scored(seen), config.method, seed=own)
    chosen: list[Point] = []
    for _ in range(config.batch):
        wanted = _around(space, model.ask(), others) if model else iter(others)
        point = next(_fresh(wanted, space, known), None)
        if point is None:
            break
        chosen.append(point)
        known.add(key(point))
        if model:
            model.expect(point)
    return chosen


def _around(space: SearchSpace, point: Point, others: Sequence[Point]) -> Iterator[Point]:
    """The point, then the others from near to far: what to take when it is known or refused."""
    yield point
    yield from sorted(others, key=partial(space.distance, point))


def _candidates(space: SearchSpace, *, seed: int) -> Iterator[Point]:
    """Points spread evenly over the space (a scrambled Sobol sequence), then all of a small one."""
    sobol = qmc.Sobol(len(space.dimensions), seed=seed)
    for shares in sobol.random(_SPREAD):
        yield space.at(shares.tolist())
    if space.size is not None and space.size <= _ENUMERATED:
        yield from space.points()


def _fresh(points: Iterable[Point], space: SearchSpace, known: set[str]) -> Iterator[Point]:
    """Those that are new, each once, and that the recipe takes."""
    given: set[str] = set()
    for point in points:
        name = key(point)
        if name not in known and name not in given and space.allows(point):
            given.add(name)
            yield point


def _scored(seen: Sequence[Result]) -> list[tuple[Point, float]]:
    """Results in an order of their own, failures at the worst score; none without a success.

    Positive scores are errors, of which logarithms spread more evenly: a model of them is not
    ruled by the few that are far worse than the rest.
    """
    scores = [score for _, score in seen if score is not None and math.isfinite(score)]
    if not scores:
        return []
    worst, positive = max(scores), min(scores) > 0
    found = []
    for point, score in sorted(seen, key=lambda one: key(one[0])):
        value = score if score is not None and math.isfinite(score) else worst
        found.append((dict(point), math.log(value) if positive else value))
    return found
