"""How many clusters: the mean distance between them settles (eqs 13 and 14)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from athanor.query._clusters.spectral import IntArray, members
from athanor.structure import FloatArray


def mean_distance(distances: FloatArray, clusters: IntArray) -> float:
    """Eq. 13: the mean over pairs of clusters of their mean distance (14); 0 for one cluster.

    Each pair counts once, so that it is a mean (as printed, eq. 13 counts it twice).
    """
    number = int(clusters.max()) + 1
    if number < 2:
        return 0.0
    between = _between(distances, clusters, number)
    return float(between[np.triu_indices(number, 1)].mean())


def mean_within(distances: FloatArray, clusters: IntArray) -> float:
    """Mean distance of two structures of one cluster; 0 where no cluster has two."""
    own = members(clusters, int(clusters.max()) + 1)
    counts = np.bincount(clusters)
    pairs = float((counts * (counts - 1)).sum())
    return float((own.T @ (own @ distances)).diagonal().sum()) / pairs if pairs else 0.0


def settled_at(
    mean_distances: Sequence[float] | FloatArray, d_tol: float, patience: int
) -> int | None:
    """Position of the first mean distance from which `patience` steps change less than `d_tol`.

    None where it does not settle. One step is the paper's rule; its change may pass through zero
    by chance.
    """
    small = np.abs(np.diff(np.asarray(mean_distances, dtype=np.float64))) < d_tol
    for first in range(len(small) - patience + 1):
        if small[first : first + patience].all():
            return first
    return None


def energy_spread(energies: FloatArray, clusters: IntArray) -> float | None:
    """Mean over clusters of the standard deviation of their energies (section 3.1).

    Clusters of one have none and do not count: as zeros they would make the finest partition the
    best. None where all clusters have one member.
    """
    counts = np.bincount(clusters)
    means = np.bincount(clusters, weights=energies) / counts
    squares = np.bincount(clusters, weights=(energies - means[clusters]) ** 2) / counts
    several = counts > 1
    return float(np.sqrt(squares[several]).mean()) if several.any() else None


def _between(distances: FloatArray, clusters: IntArray, number: int) -> FloatArray:
    """(number, number) mean distances of the members of two clusters, eq. 14."""
    own = members(clusters, number)
    counts = np.bincount(clusters, minlength=number)
    sums = np.asarray((own @ distances) @ own.T)
    return sums / np.outer(counts, counts)
