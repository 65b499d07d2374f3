"""Draws: which structures a way of choosing takes, and which of them are for training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from athanor.query._clusters.drawing import draw, farthest_points
from athanor.query._clusters.spectral import IntArray
from athanor.structure import FloatArray

Choice = dict[str, Any]
"""index (in the pool), reason, part ("train" or "test"), cycle."""


def add_from_clusters(
    clusters: IntArray,
    before: Sequence[Choice],
    *,
    eligible: IntArray,
    fraction: float,
    train_fraction: float,
    cycle: int,
    rng: np.random.Generator,
) -> list[Choice]:
    """What was chosen before, and `fraction` of each cluster more.

    Parameters
    ----------
    clusters : (n,) cluster of each eligible structure. eligible : (n,) its number in the pool.
    """
    place = {int(index): k for k, index in enumerate(eligible)}
    taken = {place[one["index"]] for one in before}
    drawn = draw(clusters, fraction, taken=taken, rng=rng)
    new = [(int(eligible[k]), reason) for k, reason in drawn]
    return [*before, *_divided(new, train_fraction, cycle=cycle, rng=rng)]


def choose_like(
    arm: str,
    like: Sequence[Choice],
    *,
    eligible: IntArray,
    clusters: IntArray | None,
    distances: FloatArray | None,
    fraction: float,
    cycle: int,
    rng: np.random.Generator,
) -> list[Choice]:
    """As many structures for training and for testing as `like` has, chosen another way."""
    if arm == "everything":
        return [_choice(int(i), "all of the pool", "train", cycle) for i in eligible]
    count = len(like)
    if arm == "random":
        numbers = [int(k) for k in rng.permutation(len(eligible))[:count]]
        reasons = ["by chance"] * count
    elif arm == "farthest":
        numbers = farthest_points(_required(distances), count, rng)
        reasons = ["farthest from those before"] * count
    else:
        numbers, reasons = _clustered(_required(clusters), count, fraction, rng)
    n_train = sum(one["part"] == "train" for one in like)
    order = rng.permutation(len(numbers))
    for_training = {int(k) for k in order[:n_train]}
    return [
        _choice(int(eligible[k]), reason, "train" if i in for_training else "test", cycle)
        for i, (k, reason) in enumerate(zip(numbers, reasons, strict=True))
    ]


def _clustered(
    clusters: IntArray, count: int, fraction: float, rng: np.random.Generator
) -> tuple[list[int], list[str]]:
    """Cycle after cycle of `fraction` of each cluster, until there are as many."""
    found: dict[int, str] = {}
    while len(found) < min(count, len(clusters)):
        new = draw(clusters, fraction, taken=found.keys(), rng=rng)
        keep = rng.permutation(len(new))[: count - len(found)]
        found.update(new[int(k)] for k in sorted(keep))
    return list(found), list(found.values())


def _divided(
    new: Sequence[tuple[int, str]], train_fraction: float, *, cycle: int, rng: np.random.Generator
) -> list[Choice]:
    """70/30 of what is added; each part gets one where there are two."""
    n_train = round(train_fraction * len(new))
    if len(new) > 1:
        n_train = min(max(n_train, 1), len(new) - 1)
    for_training = {int(k) for k in rng.permutation(len(new))[: max(n_train, len(new) == 1)]}
    return [
        _choice(index, reason, "train" if k in for_training else "test", cycle)
        for k, (index, reason) in enumerate(new)
    ]


def _choice(index: int, reason: str, part: str, cycle: int) -> Choice:
    return {"index": index, "reason": reason, "part": part, "cycle": cycle}


def _required(array: Any) -> Any:
    if array is None:
        raise ValueError("this way of choosing needs clusters or distances")
    return array


def counts(chosen: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many structures are for training and for testing."""
    return {part: sum(one["part"] == part for one in chosen) for part in ("train", "test")}
