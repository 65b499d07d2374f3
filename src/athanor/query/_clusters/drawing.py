"""Which structures to take: a share of each cluster, or those farthest from each other."""

from __future__ import annotations

import math
from collections.abc import Collection, Set

import numpy as np

from athanor.errors import ConfigError
from athanor.query._clusters.spectral import IntArray
from athanor.structure import FloatArray


def draw(
    clusters: IntArray,
    fraction: float,
    *,
    taken: Set[int],
    eligible: Collection[int] | None = None,
    rng: np.random.Generator,
) -> list[tuple[int, str]]:
    """Structures to add: `fraction` of each cluster (of all its members), at random inside it.

    A cluster gives one at least, as long as it has one left; what was taken is not given again.

    Parameters
    ----------
    clusters : (n,) cluster of each structure, numbered from 0.
    fraction : I_perc, between 0 and 1.
    taken : numbers of structures that were drawn before.
    eligible : numbers of structures that may be drawn (e.g. one of each group of duplicates); all
        by default. Shares are of the eligible members.

    Returns
    -------
    Number of each structure and the reason for people, cluster by cluster.
    """
    if not 0.0 < fraction <= 1.0:
        raise ConfigError(f"a fraction of {fraction:g} is drawn; allowed is above 0 and at most 1")
    allowed = np.zeros(len(clusters), dtype=bool)
    allowed[list(range(len(clusters)) if eligible is None else eligible)] = True
    number = int(clusters.max(initial=-1)) + 1
    found: list[tuple[int, str]] = []
    for cluster in range(number):
        all_of_it = np.flatnonzero((clusters == cluster) & allowed)
        left = np.array([k for k in all_of_it if int(k) not in taken], dtype=np.int64)
        wanted = min(len(left), max(1, math.floor(fraction * len(all_of_it) + 0.5)))
        reason = f"cluster {cluster + 1} of {number}, {_count(len(all_of_it))}"
        found += [(int(k), reason) for k in np.sort(rng.permutation(left)[:wanted])]
    return found


def farthest_points(
    distances: FloatArray,
    count: int,
    rng: np.random.Generator,
    *,
    start: Collection[int] = (),
) -> list[int]:
    """Numbers of structures, each as far as can be from those before (the first at random).

    With `start`, those count as taken before and are not given again. Equal structures are taken
    only where there is nothing else left.
    """
    n = len(distances)
    chosen = list(start)
    if not chosen and count > 0 and n:
        chosen = [int(rng.integers(n))]
        first = 0
    else:
        first = len(chosen)
    away = np.full(n, np.inf)
    for number in chosen:
        np.minimum(away, distances[number], out=away)
    away[chosen] = -1.0
    while len(chosen) < min(n, first + count):
        chosen.append(int(away.argmax()))
        np.minimum(away, distances[chosen[-1]], out=away)
        away[chosen[-1]] = -1.0
    return chosen[first:]


def _count(number: int) -> str:
    return "1 structure" if number == 1 else f"{number} structures"
