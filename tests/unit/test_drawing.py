"""Shares of clusters, farthest points and the map of a pool."""

from __future__ import annotations

import numpy as np
import pytest

from athanor.errors import ConfigError
from athanor.query._clusters.drawing import draw, farthest_points
from athanor.query._clusters.mapping import mds
from athanor.structure import FloatArray


def distances_of(points: FloatArray) -> FloatArray:
    return np.sqrt(((points[:, None] - points) ** 2).sum(axis=2))


def test_each_cluster_gives_its_share() -> None:
    rng = np.random.default_rng(0)
    clusters = rng.permutation(np.repeat(np.arange(4), [41, 20, 3, 1]))
    found = draw(clusters, 0.1, taken=set(), rng=np.random.default_rng(5))
    counts = np.bincount(clusters[[number for number, _ in found]], minlength=4)
    assert counts.tolist() == [4, 2, 1, 1]
    assert len({number for number, _ in found}) == len(found)
    for number, reason in found:
        size = int((clusters == clusters[number]).sum())
        what = "1 structure" if size == 1 else f"{size} structures"
        assert reason == f"cluster {clusters[number] + 1} of 4, {what}"
    again = draw(clusters, 0.1, taken=set(), rng=np.random.default_rng(5))
    assert again == found
    assert draw(clusters, 0.1, taken=set(), rng=np.random.default_rng(6)) != found


def test_what_was_taken_or_may_not_be_taken_is_not_drawn() -> None:
    clusters = np.repeat(np.arange(3), 10)
    eligible = set(range(25)) - {0, 1}
    taken: set[int] = set()
    rng = np.random.default_rng(1)
    for _ in range(12):
        new = [number for number, _ in draw(clusters, 0.2, taken=taken, eligible=eligible, rng=rng)]
        assert not taken & set(new)
        assert set(new) <= eligible
        taken |= set(new)
    assert taken == eligible
    assert draw(clusters, 1.0, taken=taken, eligible=eligible, rng=rng) == []
    everything = draw(clusters, 1.0, taken=set(), rng=rng)
    assert [number for number, _ in everything] == list(range(30))
    assert {reason for _, reason in draw(clusters, 1.0, taken=set(), eligible=[3], rng=rng)} == {
        "cluster 1 of 3, 1 structure"
    }


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.01, float("nan")])
def test_a_fraction_that_is_none_is_refused(fraction) -> None:
    with pytest.raises(ConfigError, match="allowed is above 0 and at most 1"):
        draw(np.zeros(3, dtype=int), fraction, taken=set(), rng=np.random.default_rng(0))


def test_inside_a_cluster_all_are_drawn_alike() -> None:
    counts = np.zeros(20)
    for seed in range(600):
        found = draw(np.zeros(20, dtype=int), 0.25, taken=set(), rng=np.random.default_rng(seed))
        counts[[number for number, _ in found]] += 1
    # 150 expected each, with a standard deviation of 10.6
    assert np.abs(counts - 150).max() < 50


def test_farthest_points_are_each_as_far_as_can_be() -> None:
    rng = np.random.default_rng(2)
    apart = distances_of(rng.standard_normal((30, 3)))
    found = farthest_points(apart, 8, np.random.default_rng(7))
    assert len(set(found)) == 8
    for count in range(1, 8):
        nearest = apart[found[:count]].min(axis=0)
        assert nearest[found[count]] == nearest.max()
    assert found == farthest_points(apart, 8, np.random.default_rng(7))
    begun = farthest_points(apart, 5, np.random.default_rng(0), start=found[:3])
    assert begun == found[3:8]
    assert sorted(farthest_points(apart, 99, rng)) == list(range(30))
    assert farthest_points(apart, 0, rng) == []
    assert farthest_points(apart, 0, rng, start=[3]) == []
    assert farthest_points(np.zeros((0, 0)), 3, rng) == []


def test_equal_structures_are_taken_last() -> None:
    rng = np.random.default_rng(3)
    points = rng.standard_normal((6, 2))[[0, 1, 2, 0, 1, 3, 0, 4, 5]]
    found = farthest_points(distances_of(points), 9, rng)
    assert len({tuple(points[k]) for k in found[:6]}) == 6
    assert sorted(found) == list(range(9))


@pytest.mark.parametrize("n", [3, 40, 600])
def test_points_of_a_plane_come_back(n) -> None:
    """Distances of points in a plane are met exactly, by both ways of finding eigenvectors."""
    points = np.random.default_rng(n).standard_normal((n, 2)) * [3.0, 1.0]
    apart = distances_of(points)
    found = mds(apart)
    np.testing.assert_allclose(distances_of(found), apart, atol=1e-6)
    np.testing.assert_allclose(found.mean(axis=0), 0.0, atol=1e-9)
    assert (found[np.abs(found).argmax(axis=0), [0, 1]] > 0).all()
    assert np.array_equal(found, mds(apart))


def test_majorisation_lowers_the_stress() -> None:
    apart = distances_of(np.random.default_rng(4).standard_normal((60, 8)))

    def stress(points: FloatArray) -> float:
        return float(((distances_of(points) - apart) ** 2).sum())

    plain, refined = mds(apart), mds(apart, rounds=30)
    assert stress(refined) < 0.7 * stress(plain)
    np.testing.assert_allclose(refined.mean(axis=0), 0.0, atol=1e-9)


def test_few_or_equal_structures_have_a_map() -> None:
    assert mds(np.zeros((0, 0))).shape == (0, 2)
    assert mds(np.zeros((1, 1))).tolist() == [[0.0, 0.0]]
    assert mds(np.array([[0.0, 3.0], [3.0, 0.0]])).tolist() == [[1.5, 0.0], [-1.5, 0.0]]
    for rounds in (0, 3):
        assert np.abs(mds(np.zeros((5, 5)), rounds=rounds)).max() < 1e-12
