"""Hulls with a known answer, and what must not change them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog

from athanor.errors import MeasurementError
from athanor.validate._hull import Hull, formula, fractions

SPECIES = ("Ag", "Pd", "Zn", "Sb")
SEEDS = range(6)


def planted(
    k: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, set[int]]:
    """Counts, energies, formation energies and ground states of a drawn pool of k elements.

    The ground states lie on a paraboloid, so that each is a corner; the rest lies above their hull.
    """
    bowl, lift = rng.uniform(0.2, 2.0), rng.normal(size=k) - 4
    drawn = rng.integers(0, 9, size=(60, k))
    drawn = drawn[drawn.sum(axis=1) > 0]
    reduced = drawn // np.gcd.reduce(drawn, axis=1)[:, None]
    states = np.unique(np.vstack([np.eye(k, dtype=int), reduced[:8]]), axis=0)
    counts = np.vstack([states * rng.integers(1, 4, size=(len(states), 1)), drawn])
    shares = fractions(counts)
    formation = bowl * ((shares**2).sum(axis=1) - 1)
    for index in range(len(states), len(counts)):
        low = lowest_mixture(counts[: len(states)], formation[: len(states)], shares[index])
        formation[index] = low + rng.uniform(0.001, 0.5)
    energies = (formation + shares @ lift) * counts.sum(axis=1)
    order = rng.permutation(len(counts))
    pure = (counts[order] > 0).sum(axis=1) == 1
    ends = {int(i) for i in np.flatnonzero((order < len(states)) & ~pure)}
    return counts[order], energies[order], formation[order], ends


def lowest_mixture(counts: np.ndarray, formation: np.ndarray, share: np.ndarray) -> float:
    """The lowest energy of any mixture of structures with these fractions, by linprog."""
    found = linprog(formation, A_eq=fractions(counts).T, b_eq=share, bounds=(0, None))
    assert found.success
    return float(found.fun)


@pytest.mark.parametrize("k", [2, 3, 4])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_planted_hull(k: int, seed: int) -> None:
    counts, energies, formation, ends = planted(k, np.random.default_rng(seed))
    hull = Hull.of(SPECIES[:k], counts, energies)
    assert set(hull.compounds) == ends
    assert hull.formation == pytest.approx(formation, abs=1e-9)
    for index in range(0, len(counts), 5):
        expected = formation[index] - lowest_mixture(counts, formation, fractions(counts)[index])
        assert hull.above[index] == pytest.approx(expected, abs=1e-8)
    assert (hull.above >= 0).all()
    assert hull.above[list(hull.corners)] == pytest.approx(0.0, abs=1e-9)
    assert hull.at(np.eye(k)) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_does_not_change_it(seed: int) -> None:
    rng = np.random.default_rng([9, seed])
    k = int(rng.integers(2, 4))
    counts, energies, _, ends = planted(k, rng)
    hull = Hull.of(SPECIES[:k], counts, energies)
    times = rng.integers(1, 5, size=len(counts))
    larger = Hull.of(SPECIES[:k], counts * times[:, None], energies * times)
    assert set(larger.compounds) == ends, "supercells"
    assert larger.above == pytest.approx(hull.above, abs=1e-9)
    turn = rng.permutation(k)
    renamed = Hull.of([SPECIES[i] for i in turn], counts[:, turn], energies)
    assert set(renamed.compounds) == ends, "the order of the elements"
    assert renamed.above == pytest.approx(hull.above, abs=1e-9)
    shifted = Hull.of(SPECIES[:k], counts, energies + counts @ rng.normal(size=k))
    assert set(shifted.compounds) == ends, "another zero of each element's energy"
    assert shifted.formation == pytest.approx(hull.formation, abs=1e-9)
    order = rng.permutation(len(counts))
    shuffled = Hull.of(SPECIES[:k], counts[order], energies[order])
    assert {int(order[i]) for i in shuffled.compounds} == ends


def test_nothing_is_stable() -> None:
    counts = np.array([[2, 0], [0, 1], [1, 1], [3, 1], [4, 0]])
    hull = Hull.of(("Ag", "Pd"), counts, np.array([-6.0, -4.0, -6.9, -12.9, -11.0]))
    assert hull.compounds == ()
    assert hull.corners == (0, 1), "the lower of the two silvers, and palladium"
    assert hull.above == pytest.approx([0, 0, 0.05, 0.025, 0.25])
    assert hull.at(np.array([[0.3, 0.7]])) == pytest.approx(0.0)


def test_one_element() -> None:
    hull = Hull.of(("Ag",), np.array([[2], [1], [4]]), np.array([-5.0, -3.0, -11.0]))
    assert hull.corners == (1,)
    assert hull.above == pytest.approx([0.5, 0.0, 0.25])


def test_energies_that_are_not_known() -> None:
    counts = np.array([[1, 0], [0, 1], [1, 1], [1, 1], [1, 2]])
    hull = Hull.of(("Ag", "Pd"), counts, np.array([-3.0, -4.0, -9.0, np.nan, np.nan]))
    assert hull.compounds == (2,)
    assert np.isnan(hull.above[[3, 4]]).all()


def test_points_on_a_line_are_no_corners() -> None:
    counts = np.array([[1, 0], [3, 1], [1, 1], [1, 3], [0, 1]])
    energies = np.array([0.0, -1.0, -1.0, -1.0, 0.0])
    assert Hull.of(("Ag", "Pd"), counts, energies).compounds == (2,)


def test_missing_elements() -> None:
    counts, energies = np.array([[1, 0], [1, 1]]), np.array([-3.0, -8.0])
    with pytest.raises(MeasurementError, match="no candidate of pure Pd has an energy"):
        Hull.of(("Ag", "Pd"), counts, energies)
    hull = Hull.of(("Ag", "Pd"), counts, energies, elements={"Pd": -4.0, "Ag": -2.5})
    assert hull.pure.tolist() == [-3.0, -4.0], "the lower of what is given and what was found"
    assert hull.compounds == (1,)
    assert hull.corners == (0, 1)
    assert hull.formation[1] == pytest.approx(-0.5)


def test_formulas() -> None:
    assert formula(("Ag", "Pd"), np.array([2, 6])) == "AgPd3"
    assert formula(("Ag", "Pd"), np.array([4, 0])) == "Ag"
    assert formula(("Al", "Ni", "O"), np.array([2, 0, 3])) == "Al2O3"
