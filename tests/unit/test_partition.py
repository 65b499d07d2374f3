"""Spectral clusters: against plain loops and scikit-learn, on data whose clusters are known."""

from __future__ import annotations

import itertools
import sys
from dataclasses import fields

import numpy as np
import pytest
from sklearn.cluster import SpectralClustering
from sklearn.metrics import adjusted_rand_score

from athanor.errors import ConfigError, MissingExtraError, StructureError
from athanor.query._clusters import spectral
from athanor.query._clusters.convergence import (
    energy_spreads,
    mean_distance,
    mean_within,
    settled_at,
)
from athanor.query._clusters.partition import Partition, divided, partition, rand_index
from athanor.query._clusters.spectral import assign, assign_from, embed, renumbered, settled
from athanor.query._similarity.kernels import distance
from athanor.query.clustering import ClusteringConfig
from athanor.structure import FloatArray

CONFIG = ClusteringConfig()


def similarity(points: FloatArray, *, reach: float = 1.0) -> FloatArray:
    """Gaussian similarity of points."""
    squares = ((points[:, None] - points) ** 2).sum(axis=2)
    return np.exp(-squares / (2 * reach**2))


def heaps(
    rng: np.random.Generator, *, number: int, each: int = 12, away: float = 8.0
) -> tuple[FloatArray, FloatArray]:
    """Points around centres that are far from each other, in random order, and their heaps."""
    grid = np.array(list(itertools.product(range(3), repeat=3)), dtype=float) * away
    centres = grid[rng.permutation(len(grid))[:number]]
    labels = rng.permutation(np.repeat(np.arange(number), each))
    return centres[labels] + 0.5 * rng.standard_normal((len(labels), 3)), labels


def normalised_cut(kernel: FloatArray, clusters: FloatArray) -> float:
    total = 0.0
    for cluster in set(clusters.tolist()):
        own = clusters == cluster
        volume = kernel[own].sum() - np.trace(kernel[np.ix_(own, own)])
        total += kernel[np.ix_(own, ~own)].sum() / volume
    return total


def same(first: FloatArray, second: FloatArray) -> bool:
    return adjusted_rand_score(first, second) == 1.0


@pytest.mark.parametrize("number", [2, 3, 7, 12])
def test_clusters_that_are_there_are_found(number) -> None:
    rng = np.random.default_rng(number)
    points, labels = heaps(rng, number=number)
    kernel = similarity(points, reach=2.0)
    assert same(divided(kernel, number, CONFIG), labels)
    energies = labels + 0.01 * rng.standard_normal(len(labels))
    found = partition(kernel, energies, CONFIG, groups=[f"heap {k}" for k in labels])
    assert same(assign(embed(kernel, 30), number), labels)
    assert found.n_clusters == found.clusters.max() + 1
    assert found.ari == pytest.approx(adjusted_rand_score(labels, found.clusters))
    # the mean distance settles later than that: the first split of a heap changes it by much
    assert embed(kernel, 30).parts == number <= found.n_clusters <= len(labels) // 2


def test_one_decomposition_serves_every_number() -> None:
    """The partition is that of an embedding made for its number alone."""
    points, _ = heaps(np.random.default_rng(3), number=6)
    kernel = similarity(points, reach=4.0)
    all_of_them = embed(kernel, 20)
    for number in (2, 5, 6, 13):
        alone = embed(kernel, number)
        assert same(assign(all_of_them, number), assign(alone, number))
        np.testing.assert_allclose(all_of_them.values[:number], alone.values, atol=1e-12)


def test_eigenvectors_are_those_of_the_normalised_laplacian() -> None:
    rng = np.random.default_rng(5)
    kernel = similarity(rng.standard_normal((40, 3)))
    graph = kernel - np.diag(np.diag(kernel))
    root = np.sqrt(graph.sum(axis=1))
    laplacian = np.eye(40) - graph / np.outer(root, root)
    found = embed(kernel, 8)
    np.testing.assert_allclose(found.values, np.linalg.eigvalsh(laplacian)[:8], atol=1e-12)
    np.testing.assert_allclose(laplacian @ found.vectors, found.vectors * found.values, atol=1e-12)
    np.testing.assert_allclose(found.vectors.T @ found.vectors, np.eye(8), atol=1e-12)


def test_the_iterative_way_for_many_structures_gives_the_same(monkeypatch) -> None:
    points, labels = heaps(np.random.default_rng(9), number=8, each=20)
    kernel = similarity(points, reach=3.0)
    before = kernel.copy()
    dense = embed(kernel, 12)
    monkeypatch.setattr(spectral, "DENSE", 100)
    iterative = embed(kernel, 12)
    assert np.array_equal(kernel, before)
    np.testing.assert_allclose(iterative.values, dense.values, atol=1e-8)
    assert same(assign(iterative, 8), labels)
    assert np.array_equal(embed(kernel, 12).vectors, iterative.vectors)


def test_where_iterations_do_not_converge_all_is_decomposed(monkeypatch) -> None:
    import scipy.sparse.linalg

    def hopeless(*_: object, **__: object) -> None:
        raise scipy.sparse.linalg.ArpackNoConvergence("no", np.zeros(0), np.zeros((0, 0)))

    points, labels = heaps(np.random.default_rng(9), number=8, each=20)
    monkeypatch.setattr(spectral, "DENSE", 100)
    monkeypatch.setattr(scipy.sparse.linalg, "eigsh", hopeless)
    assert same(assign(embed(similarity(points, reach=3.0), 8), 8), labels)


def test_partitions_are_as_good_as_refitted_ones() -> None:
    """By the normalised cut and by eq. 13, summed over numbers of clusters and sets."""
    ours, theirs = np.zeros(2), np.zeros(2)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        points = rng.standard_normal((120, 4)) * [3.0, 2.0, 1.0, 0.5]
        kernel = similarity(points, reach=2.0)
        distances = distance(kernel)
        embedding = embed(kernel, 15)
        for number in (3, 6, 10, 15):
            mine = assign(embedding, number)
            refit = SpectralClustering(number, affinity="precomputed", random_state=seed)
            refitted = refit.fit(kernel).labels_
            for total, found in ((ours, mine), (theirs, refitted)):
                total += [normalised_cut(kernel, found), -mean_distance(distances, found)]
    assert ours[0] < 1.03 * theirs[0]
    assert ours[1] < 0.98 * theirs[1]  # mean distances are counted negative


def test_k_means_never_climbs() -> None:
    rng = np.random.default_rng(12)
    maps = rng.standard_normal((80, 5))
    centres = maps[rng.permutation(80)[:6]]

    def cost(clusters: FloatArray) -> float:
        return sum(
            ((maps[clusters == k] - maps[clusters == k].mean(axis=0)) ** 2).sum()
            for k in set(clusters.tolist())
        )

    start = ((maps[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    found = settled(maps, centres)
    assert cost(found) < cost(start)
    means = np.array([maps[found == k].mean(axis=0) for k in range(6)])
    assert np.array_equal(((maps[:, None] - means) ** 2).sum(axis=2).argmin(axis=1), found)


def test_mean_distances_are_the_paper_s_formulas() -> None:
    rng = np.random.default_rng(7)
    distances = distance(similarity(rng.standard_normal((17, 2))))
    clusters = np.concatenate([np.arange(5), rng.integers(0, 5, 12)])

    def between(s: int, t: int) -> float:
        pairs = [
            distances[a, b]
            for a in range(17)
            for b in range(17)
            if (clusters[a], clusters[b]) == (s, t)
        ]
        return sum(pairs) / len(pairs)

    expected = sum(between(s, t) for s in range(5) for t in range(s)) * 2 / (5 * 4)
    assert mean_distance(distances, clusters) == pytest.approx(expected, abs=1e-12)
    inside = [
        distances[a, b]
        for a in range(17)
        for b in range(17)
        if a != b and clusters[a] == clusters[b]
    ]
    assert mean_within(distances, clusters) == pytest.approx(np.mean(inside), abs=1e-12)
    assert mean_distance(distances, np.zeros(17, dtype=int)) == 0.0
    assert mean_within(distances, np.arange(17)) == 0.0


def test_energy_spreads_leave_out_clusters_of_one() -> None:
    energies = np.array([1.0, 3.0, 5.0, 7.0, 100.0])
    clusters = np.array([0, 0, 0, 1, 2])
    deviation = np.std([1.0, 3.0, 5.0])
    assert energy_spreads(energies, clusters) == pytest.approx((deviation, deviation * 3 / 5))
    assert energy_spreads(energies, np.arange(5)) is None
    both = np.array([0, 0, 0, 1, 1])
    assert energy_spreads(energies, both) == pytest.approx(
        ((deviation + 46.5) / 2, (3 * deviation + 2 * 46.5) / 5)
    )


def test_the_stopping_rule_averages_over_the_next_numbers() -> None:
    curve = [1.0, 0.7, 0.7004, 0.4, 0.41, 0.39, 0.4, 0.4]
    assert settled_at(curve, 1e-3, 1) == 3  # by chance: the paper's rule stops here
    assert settled_at(curve, 1e-3, 3) == 5
    assert settled_at(curve, 1e-3, 1, least=4) == 8
    assert settled_at(curve, 1e-3, 1, least=9) is None
    assert settled_at(curve, 1e-9, 1) == 8
    assert settled_at(curve[:3], 1e-6, 1) is None
    assert settled_at(curve[:3], 1.0, 3) is None
    assert settled_at([], 1.0, 1) is None


def test_the_number_chosen_is_where_the_rule_stops() -> None:
    points = np.random.default_rng(2).standard_normal((90, 3))
    kernel = similarity(points, reach=2.0)
    for d_tol, patience in ((1e-2, 1), (1e-3, 1), (3e-3, 3)):
        config = ClusteringConfig(d_tol=d_tol, patience=patience, max_clusters=40)
        found = partition(kernel, None, config)
        assert found.numbers.tolist() == list(range(2, 41))
        expected = [
            mean_distance(distance(kernel), assign(embed(kernel, 40), number))
            for number in found.numbers.tolist()
        ]
        np.testing.assert_allclose(found.mean_distances, expected, atol=1e-12)
        place = settled_at(expected, d_tol, patience)
        assert embed(kernel, 40).parts == 1
        assert found.converged is (place is not None)
        assert found.n_clusters == (40 if place is None else place)
        assert found.range[0] <= found.range[1]
        assert found.energy_spread is found.energy_spread_by_structure is found.ari is None


def test_it_is_deterministic_and_does_not_touch_its_input() -> None:
    rng = np.random.default_rng(8)
    kernel = similarity(rng.standard_normal((60, 3)))
    energies = rng.standard_normal(60)
    before = kernel.copy()
    first = partition(kernel, energies, CONFIG, groups=list(range(60)))
    second = partition(kernel.copy(), energies, CONFIG, groups=list(range(60)))
    assert np.array_equal(kernel, before)
    for field in fields(Partition):
        assert np.array_equal(getattr(first, field.name), getattr(second, field.name))


def test_clusters_do_not_depend_on_the_order_of_the_pool() -> None:
    rng = np.random.default_rng(14)
    points, _ = heaps(rng, number=9)
    kernel = similarity(points, reach=3.0)
    order = rng.permutation(len(points))
    first = divided(kernel, 9, CONFIG)
    assert same(first[order], divided(kernel[np.ix_(order, order)], 9, CONFIG))


def test_clusters_are_numbered_by_their_first_members() -> None:
    assert renumbered(np.array([7, 2, 7, 0, 2])).tolist() == [0, 1, 0, 2, 1]


def test_uncertainty_is_seen_where_k_means_is_not_sure() -> None:
    rng = np.random.default_rng(4)
    points, _ = heaps(rng, number=4, each=25, away=30.0)
    sure = ClusteringConfig(max_clusters=4, patience=1, d_tol=0.9)
    assert partition(similarity(points, reach=6.0), None, sure).uncertainty < 1e-12
    blob = similarity(rng.standard_normal((100, 6)), reach=1.5)
    unsure = partition(blob, None, ClusteringConfig(d_tol=1e-4, patience=3))
    assert unsure.uncertainty > 1e-4
    assert unsure.range[0] < unsure.range[1]
    if unsure.converged:
        assert "clusters are as good" in unsure.note
    never = partition(blob, None, ClusteringConfig(d_tol=1e-12, max_clusters=5, patience=1))
    assert not never.converged
    assert never.n_clusters == 5
    assert "still changes by more than d_tol 1e-12 at 5 clusters" in never.note


def test_random_starts_differ_and_repeat() -> None:
    embedding = embed(similarity(np.random.default_rng(1).standard_normal((150, 6))), 12)
    found = [assign_from(embedding, 12, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


@pytest.mark.parametrize("affinity", ["similarity", "distance"])
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_few_structures(affinity, n) -> None:
    config = ClusteringConfig(affinity=affinity)
    kernel = similarity(np.random.default_rng(n).standard_normal((n, 2)))
    found = partition(kernel, np.arange(float(n)), config, groups=["a"] * n)
    assert np.isfinite(found.mean_distances).all()
    assert np.isfinite([found.uncertainty, found.ari]).all()
    assert 1 <= found.n_clusters <= n
    if n == 1:
        assert found.note.startswith("there is one structure")
        assert (found.n_clusters, found.range, found.converged) == (1, (1, 1), True)


@pytest.mark.parametrize("affinity", ["similarity", "distance"])
def test_duplicates_share_a_cluster(affinity) -> None:
    config = ClusteringConfig(affinity=affinity)
    alike = partition(np.ones((5, 5)), [1.0] * 5, config)
    assert alike.clusters.tolist() == [0] * 5
    assert alike.energy_spread == alike.energy_spread_by_structure == 0.0
    assert "all 5 structures are the same, so there is one cluster" in alike.note
    rng = np.random.default_rng(6)
    points = rng.standard_normal((6, 2))[rng.integers(6, size=20)]
    kernel = similarity(points)
    kernel[distance(kernel) < 1e-7] = 1.0
    found = partition(kernel, None, config)
    distinct = len(np.unique(points, axis=0))
    assert found.numbers.tolist() == list(range(2, distinct // 2 + 1))
    for number in range(2, distinct + 1):
        clusters = divided(kernel, number, config)
        assert clusters.max() < number
        if affinity == "similarity":
            for a, b in itertools.combinations(range(20), 2):
                if kernel[a, b] == 1.0:
                    assert clusters[a] == clusters[b]


def test_parts_without_any_similarity_are_clusters() -> None:
    """A graph of several components, one of them a single structure: no NaN, no warning."""
    rng = np.random.default_rng(10)
    sizes = [9, 14, 6, 1]
    labels = np.repeat(np.arange(4), sizes)
    kernel = np.where(labels[:, None] == labels, similarity(rng.standard_normal((30, 2))), 0.0)
    np.fill_diagonal(kernel, 1.0)
    assert same(divided(kernel, 4, CONFIG), labels)
    found = partition(kernel, labels * 1.0, CONFIG)
    assert np.isfinite(found.mean_distances).all()
    nothing = partition(np.eye(6), None, CONFIG)
    assert np.isfinite(nothing.mean_distances).all()
    assert nothing.separation is None or np.isfinite(nothing.separation)


def test_what_cannot_be_clustered_is_refused() -> None:
    kernel = np.eye(3)
    with pytest.raises(ConfigError, match=r"shape \(0, 0\).*one structure at least"):
        partition(np.zeros((0, 0)), None, CONFIG)
    with pytest.raises(ConfigError, match=r"shape \(2, 3\)"):
        partition(np.zeros((2, 3)), None, CONFIG)
    with pytest.raises(ConfigError, match="2 energies were given for 3 structures"):
        partition(kernel, [1.0, 2.0], CONFIG)
    with pytest.raises(ConfigError, match="1 groups were given for 3 structures"):
        partition(kernel, None, CONFIG, groups=["a"])
    with pytest.raises(StructureError, match="structure 2: its energy is not finite"):
        partition(kernel, [1.0, 2.0, np.nan], CONFIG)
    kernel[1, 2] = np.nan
    with pytest.raises(StructureError, match="structure 1: a similarity of it is not finite"):
        partition(kernel, None, CONFIG)
    with pytest.raises(StructureError, match="a similarity is not finite"):
        embed(kernel, 2)


def test_the_rand_index_is_scikit_learn_s(monkeypatch) -> None:
    groups = ["300 K", "300 K", "ramp", 1000.0, 1000.0, "ramp"]
    clusters = np.array([0, 0, 1, 2, 2, 2])
    numbers = [0, 0, 1, 2, 2, 1]
    assert rand_index(groups, clusters) == adjusted_rand_score(numbers, clusters)
    assert rand_index(groups, np.array(numbers)) == 1.0
    monkeypatch.setitem(sys.modules, "sklearn.metrics", None)
    with pytest.raises(MissingExtraError, match=r"athanor\[clustering\]"):
        rand_index(groups, clusters)


def test_many_structures_need_one_matrix_beside_the_kernel() -> None:
    """What the forecast counts on: of 10,000 structures a matrix is 0.8 GB."""
    import tracemalloc

    n = spectral.DENSE + 100
    points, labels = heaps(np.random.default_rng(1), number=4, each=n // 4)
    kernel = similarity(points, reach=3.0)
    tracemalloc.start()
    found = partition(kernel, labels * 1.0, ClusteringConfig(max_clusters=5))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.25 * 8 * n**2
    assert energy_spreads(labels * 1.0, found.clusters) is not None
    assert same(divided(kernel, 4, CONFIG), labels)
