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
    if not pairs:
        return 0.0
    sums = np.asarray(own @ distances)
    return float(sums[clusters, np.arange(len(clusters))].sum()) / pairs


def settled_at(
    mean_distances: Sequence[float] | FloatArray, d_tol: float, patience: int, *, least: int = 2
) -> int | None:
    """Number of clusters from which on the mean distance changes by less than `d_tol` each.

    The change is averaged over the next `patience` clusters (one is the paper's rule): which
    outlier has a cluster of its own makes single changes rise and fall by more than d_tol, so that
    one of them is small, or none of several is, by chance. None where it does not settle.

    Parameters
    ----------
    mean_distances : of 2, 3, 4 ... clusters.
    least : number of clusters below which it is not asked. Parts that have nothing in common are
        all equally far from each other, and their mean distance is settled from the beginning.
    """
    means = np.asarray(mean_distances, dtype=np.float64)
    small = np.abs(means[patience:] - means[:-patience]) < patience * d_tol
    small[: max(0, least - 2)] = False
    return 2 + int(small.argmax()) if small.any() else None


def energy_spreads(energies: FloatArray, clusters: IntArray) -> tuple[float, float] | None:
    """Mean standard deviation of the energies of a cluster (section 3.1), in two ways.

    First over clusters, as the paper has it; clusters of one have no deviation and do not count,
    for as zeros they would make the finest partition the best. Second over structures, each
    standing for its cluster: a few outliers beside one large cluster do not look orderly then.
    None where all clusters have one member.
    """
    counts = np.bincount(clusters)
    means = np.bincount(clusters, weights=energies) / counts
    squares = np.bincount(clusters, weights=(energies - means[clusters]) ** 2) / counts
    deviations, several = np.sqrt(squares), counts > 1
    if not several.any():
        return None
    by_structure = float((deviations * counts).sum() / counts.sum())
    return float(deviations[several].mean()), by_structure


def _between(distances: FloatArray, clusters: IntArray, number: int) -> FloatArray:
    """(number, number) mean distances of the members of two clusters, eq. 14."""
    own = members(clusters, number)
    counts = np.bincount(clusters, minlength=number)
    sums = np.asarray((own @ distances) @ own.T)
    return sums / np.outer(counts, counts)
