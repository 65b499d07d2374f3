"""The clusters of a pool at one delta."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from athanor.errors import ConfigError, StructureError
from athanor.query._clusters.convergence import (
    energy_spreads,
    mean_distance,
    mean_within,
    settled_at,
)
from athanor.query._clusters.spectral import Embedding, IntArray, assign, assign_from, embed
from athanor.query._similarity.extra import extra
from athanor.query._similarity.kernels import distance
from athanor.structure import FloatArray

if TYPE_CHECKING:
    from athanor.query.clustering import ClusteringConfig

STARTS = 5
"""Random starts of k-means by which the uncertainty is shown."""


@dataclass(frozen=True, slots=True)
class Partition:
    """Clusters of n structures, and how sure their number is.

    Attributes
    ----------
    clusters : (n,) cluster of each structure, numbered from 0 in the order of first members.
    n_clusters : how many there are.
    numbers : (m,) numbers of clusters that were tried, 2 to max_clusters or half of the different
        structures.
    mean_distances : (m,) mean distance between clusters (eq. 13) for each, no unit, below sqrt 2.
    uncertainty : standard deviation of the mean distance at the number chosen, over random starts
        of k-means: what d_tol should not be far below.
    range : least and greatest number of clusters at which those starts settle.
    converged : whether the mean distance settled before the most clusters were reached.
    energy_spread : mean over clusters of the standard deviation of their energy, eV/atom, clusters
        of one left out (section 3.1); None without energies, or where each has one member.
    energy_spread_by_structure : the same with each structure standing for its cluster, so that
        large clusters count more; the best delta goes by it.
    separation : mean distance between clusters over mean distance within them; None without either.
    ari : adjusted Rand index against given groups; None without.
    note : a sentence for people where the pool is out of the ordinary.
    """

    clusters: IntArray
    n_clusters: int
    numbers: IntArray
    mean_distances: FloatArray
    uncertainty: float
    range: tuple[int, int]
    converged: bool
    energy_spread: float | None = None
    energy_spread_by_structure: float | None = None
    separation: float | None = None
    ari: float | None = None
    note: str = ""


def partition(
    kernel: FloatArray,
    energies_per_atom: Sequence[float] | FloatArray | None,
    config: ClusteringConfig,
    *,
    groups: Sequence[object] | None = None,
) -> Partition:
    """Cluster structures by a similarity (eq. 11), (n, n), into as many as eq. 13 asks for.

    Raises
    ------
    StructureError : a similarity that is not finite.
    ConfigError : energies, groups or matrix of different lengths; no structures.
    """
    n = _checked(kernel, energies_per_atom, groups)
    distances = distance(kernel)
    distinct = _distinct(distances)
    # with fewer than two structures to a cluster there is nothing to choose among
    most = min(config.max_clusters, max(2, distinct // 2))
    if distinct < 2:
        found = _one(n)
    else:
        embedding = embed(distances if config.affinity == "distance" else kernel, most)
        found = _settled(embedding, distances, config)
    return _judged(found, distances, energies_per_atom, groups)


def divided(kernel: FloatArray, number: int, config: ClusteringConfig) -> IntArray:
    """Clusters, (n,), at most `number` of them, whatever the mean distance does."""
    distances = distance(kernel)
    number = min(number, _distinct(distances))
    if number < 2:
        return np.zeros(len(kernel), dtype=np.int64)
    affinity = distances if config.affinity == "distance" else kernel
    return assign(embed(affinity, number), number)


def _settled(embedding: Embedding, distances: FloatArray, config: ClusteringConfig) -> Partition:
    """The partition where the mean distance settles, else that of the most clusters."""
    most = embedding.vectors.shape[1]
    numbers = np.arange(2, most + 1)
    labels = [assign(embedding, int(number)) for number in numbers]
    means = np.array([mean_distance(distances, found) for found in labels])
    place = settled_at(means, config.d_tol, config.patience, least=embedding.parts)
    chosen = len(numbers) - 1 if place is None else place - 2
    trials, reached = _starts(embedding, distances, config, chosen)
    uncertainty = float(np.std(trials))
    return Partition(
        clusters=labels[chosen],
        n_clusters=int(labels[chosen].max()) + 1,
        numbers=numbers,
        mean_distances=means,
        uncertainty=uncertainty,
        range=(min(reached), max(reached)),
        converged=place is not None,
        note=_doubt(config, uncertainty, reached, place, most),
    )


def _doubt(
    config: ClusteringConfig, uncertainty: float, reached: list[int], place: int | None, most: int
) -> str:
    """What to know about the number of clusters; nothing where it is sure."""
    if place is None:
        return (
            f"the mean distance between clusters still changes by more than d_tol {config.d_tol:g} "
            f"at {most} clusters; raise d_tol"
            + (", or max_clusters" if most == config.max_clusters else ", or add structures")
        )
    if uncertainty > config.d_tol:
        return (
            f"random starts of k-means alone change the mean distance between clusters by "
            f"{uncertainty:.1g}, more than d_tol {config.d_tol:g}: {min(reached)} to "
            f"{max(reached)} clusters are as good; raise d_tol if that is too wide"
        )
    return ""


def _starts(
    embedding: Embedding, distances: FloatArray, config: ClusteringConfig, chosen: int
) -> tuple[list[float], list[int]]:
    """By random start: the mean distance at the number chosen, and the number where it settles."""
    trials, reached = [], []
    for seed in range(STARTS):
        rng = np.random.default_rng(seed)
        curve: list[float] = []
        for mean in _curve(embedding, distances, rng):
            curve.append(mean)
            place = settled_at(curve, config.d_tol, config.patience, least=embedding.parts)
            if place is not None and len(curve) > chosen:
                break
        trials.append(curve[chosen])
        reached.append(len(curve) + 1 if place is None else place)
    return trials, reached


def _curve(
    embedding: Embedding, distances: FloatArray, rng: np.random.Generator
) -> Iterator[float]:
    for number in range(2, embedding.vectors.shape[1] + 1):
        yield mean_distance(distances, assign_from(embedding, number, rng))


def _judged(
    found: Partition,
    distances: FloatArray,
    energies: Sequence[float] | FloatArray | None,
    groups: Sequence[object] | None,
) -> Partition:
    """The same with what energies and groups say about it."""
    clusters = found.clusters
    within = mean_within(distances, clusters)
    between = mean_distance(distances, clusters)
    spreads = (
        None if energies is None else energy_spreads(np.asarray(energies, np.float64), clusters)
    )
    return replace(
        found,
        energy_spread=None if spreads is None else spreads[0],
        energy_spread_by_structure=None if spreads is None else spreads[1],
        separation=between / within if within > 0 and between > 0 else None,
        ari=None if groups is None else rand_index(groups, clusters),
    )


def rand_index(groups: Sequence[object], clusters: IntArray) -> float:
    """Adjusted Rand index: 1 for the same partition, about 0 for an unrelated one."""
    with extra("sklearn"):
        from sklearn.metrics import adjusted_rand_score
    names = {str(group): number for number, group in enumerate(dict.fromkeys(map(str, groups)))}
    return float(adjusted_rand_score([names[str(group)] for group in groups], clusters))


def _one(n: int) -> Partition:
    """All structures together: there is one, or they are all the same."""
    what = "there is one structure" if n == 1 else f"all {n} structures are the same"
    return Partition(
        clusters=np.zeros(n, dtype=np.int64),
        n_clusters=1,
        numbers=np.zeros(0, dtype=np.int64),
        mean_distances=np.zeros(0),
        uncertainty=0.0,
        range=(1, 1),
        converged=True,
        note=f"{what}, so there is one cluster; add structures that differ",
    )


def _distinct(distances: FloatArray) -> int:
    """How many structures differ from all before them."""
    return sum(1 for number, row in enumerate(distances) if number == 0 or row[:number].min() > 0.0)


def _checked(
    kernel: FloatArray,
    energies: Sequence[float] | FloatArray | None,
    groups: Sequence[object] | None,
) -> int:
    n = len(kernel)
    if n == 0 or kernel.shape != (n, n):
        raise ConfigError(
            f"a similarity of shape {kernel.shape} was given; clusters need a square one of one "
            "structure at least"
        )
    bad = [number for number, row in enumerate(kernel) if not np.isfinite(row).all()]
    if bad:
        raise StructureError(
            f"structure {bad[0]}: a similarity of it is not finite; leave the structure out"
        )
    for what, values in (("energies", energies), ("groups", groups)):
        if values is not None and len(values) != n:
            raise ConfigError(
                f"{len(values)} {what} were given for {n} structures; give one for each, or none"
            )
    if energies is not None and not np.isfinite(np.asarray(energies, np.float64)).all():
        number = int(np.flatnonzero(~np.isfinite(np.asarray(energies, np.float64)))[0])
        raise StructureError(
            f"structure {number}: its energy is not finite; mend it or leave the structure out"
        )
    return n
