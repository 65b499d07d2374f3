"""Coulomb matrices: against plain loops over eq. 5 and every periodic image, and their order."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from athanor.errors import ConfigError, StructureError
from athanor.query._similarity import memory
from athanor.query._similarity.coulomb import (
    coulomb_distances,
    coulomb_matrix,
    coulomb_rows,
    minimum_image,
)
from athanor.query._similarity.memory import blocks, check_memory, forecast, spectra_bytes
from athanor.query._similarity.soap import n_features
from athanor.query.clustering import ClusteringConfig
from athanor.structure import FloatArray
from athanor.testing import structures as made

ELEMENTS = ("O", "Si", "Te")


def nearest_image(atoms: Atoms, first: int, second: int) -> float:
    """Shortest distance over all images near enough to matter, by trying them."""
    vector = atoms.positions[first] - atoms.positions[second]
    ranges = [range(-4, 5) if along else range(1) for along in atoms.pbc]
    return min(
        float(np.linalg.norm(vector + np.array(shift) @ atoms.cell.array))
        for shift in itertools.product(*ranges)
    )


def by_hand(atoms: Atoms) -> FloatArray:
    n = len(atoms)
    matrix = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            charge = float(atoms.numbers[i])
            matrix[i, j] = (
                0.5 * charge**2.4
                if i == j
                else charge * float(atoms.numbers[j]) / nearest_image(atoms, i, j)
            )
    return matrix


def skewed(rng: np.random.Generator) -> Atoms:
    """Few atoms in a cell whose own vectors are far from the shortest ones."""
    atoms = made.dense(ELEMENTS, rng, repeats=(2, 2, 1))
    cell = atoms.cell.array
    atoms.set_cell(np.array([cell[0], cell[1] + 2 * cell[0], cell[2] - cell[1]]))
    atoms.wrap()
    return atoms


@pytest.fixture(scope="module")
def some() -> list[Atoms]:
    rng = np.random.default_rng(17)
    tilted = made.open_along((2,), ELEMENTS, rng)
    tilted.cell[2] = tilted.cell.array[2] + 3 * tilted.cell.array[0]
    return [
        made.dense(ELEMENTS, rng),
        skewed(rng),
        made.left_handed(ELEMENTS, rng),
        made.open_along((1,), ELEMENTS, rng),
        tilted,
        made.open_along((0, 2), ELEMENTS, rng),
        made.open_along((0, 1, 2), ELEMENTS, rng),
        made.isolated("Te"),
    ]


def test_a_matrix_is_the_paper_s_formula_with_the_nearest_images(some) -> None:
    for atoms in some:
        np.testing.assert_allclose(coulomb_matrix(atoms), by_hand(atoms), rtol=1e-12)


def test_minimum_images_of_vectors_far_outside_the_cell() -> None:
    rng = np.random.default_rng(4)
    for pbc in itertools.product((False, True), repeat=3):
        atoms = skewed(rng)
        atoms.pbc = pbc
        atoms.positions += np.where(pbc, rng.integers(-1, 2, (len(atoms), 3)), 0) @ atoms.cell.array
        first, second = np.tril_indices(len(atoms), -1)
        found = minimum_image(atoms, atoms.positions[first] - atoms.positions[second])
        expected = [nearest_image(atoms, i, j) for i, j in zip(first, second, strict=True)]
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def padded(matrix: FloatArray, size: int) -> FloatArray:
    full = np.zeros((size, size))
    full[: len(matrix), : len(matrix)] = matrix
    return full


def test_sorted_distances_are_the_plain_sum(some) -> None:
    size = 9
    ordered = []
    for atoms in some:
        matrix = by_hand(atoms)
        order = np.argsort(-np.linalg.norm(matrix, axis=1), kind="stable")
        ordered.append(padded(matrix[order][:, order], size))
    expected = np.zeros((len(some), len(some)))
    for a, b in itertools.product(range(len(some)), repeat=2):
        for i, j in itertools.product(range(size), repeat=2):
            expected[a, b] += abs(ordered[a][i, j] - ordered[b][i, j])
    found = coulomb_distances(some, some, size=size)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)
    other = coulomb_distances(some[:3], list(some), size=size + 4)
    np.testing.assert_allclose(other, expected[:3], rtol=1e-10, atol=1e-10)
    assert (np.diag(other) == 0.0).all()


def test_distances_of_eigenvalues_are_the_plain_sum(some) -> None:
    values = []
    for atoms in some:
        found = np.linalg.eigvalsh(by_hand(atoms))
        found = found[np.argsort(-np.abs(found))]
        values.append(np.concatenate([found, np.zeros(9 - len(found))]))
    expected = [[float(np.abs(a - b).sum()) for b in values] for a in values]
    found = coulomb_distances(some, some, size=9, ordering="eigenvalues")
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-9)


def test_a_row_of_a_small_structure_is_padded_with_zeros(some) -> None:
    small = coulomb_rows(some[:1], size=len(some[0]))
    large = coulomb_rows(some[:1], size=11)
    assert np.array_equal(large[0, : small.shape[1]], small[0])
    assert not large[0, small.shape[1] :].any()
    assert coulomb_rows([], size=3).shape == (0, 6)
    assert coulomb_rows([], size=3, ordering="eigenvalues").shape == (0, 3)


def test_ties_of_norms_keep_the_atoms_order() -> None:
    """All atoms of a perfect crystal are alike: moving it may not shuffle its matrix."""
    rng = np.random.default_rng(6)
    crystal = bulk("Si", cubic=True)
    crystal.positions += 0.3
    rotated = crystal.copy()
    turn = made.rotation(rng)
    rotated.set_cell(crystal.cell.array @ turn)
    rotated.positions = crystal.positions @ turn
    wrapped = crystal.copy()
    wrapped.positions += rng.integers(-2, 3, (8, 3)) @ crystal.cell.array
    pool = [crystal, rotated, wrapped]
    assert coulomb_distances(pool, pool, size=8).max() < 1e-8
    # what the documentation warns of: another order of equal atoms is another sorted matrix,
    # and the same eigenvalues
    shuffled = [crystal] + [crystal[rng.permutation(8)] for _ in range(5)]
    assert coulomb_distances(shuffled, shuffled, size=8)[0].max() > 1.0
    assert coulomb_distances(shuffled, shuffled, size=8, ordering="eigenvalues").max() < 1e-8


def test_what_has_no_matrix_is_refused(some) -> None:
    doubled = some[0] + some[0][:1]
    with pytest.raises(StructureError, match="structure 0: atoms 0 and 4 are at the same place"):
        coulomb_distances([doubled], some, size=9)
    through_the_wall = some[0] + some[0][:1]
    through_the_wall.positions[-1] += some[0].cell.array[1]
    with pytest.raises(StructureError, match="at the same place"):
        coulomb_matrix(through_the_wall)
    with pytest.raises(StructureError, match=r"8 atoms does not fit into Coulomb matrices of 5"):
        coulomb_distances(some, some, size=5)
    broken = some[0].copy()
    broken.positions[0] = np.nan
    with pytest.raises(StructureError, match="structure 1: the position of atom 0 is not finite"):
        coulomb_distances(some[:1], [some[1], broken], size=9)
    names = (["frame 7"], ["frame 8", "frame 9 of melt.xyz"])
    with pytest.raises(StructureError, match=r"^frame 9 of melt\.xyz: the position of atom 0"):
        coulomb_distances(some[:1], [some[1], broken], size=9, names=names)
    with pytest.raises(StructureError, match=r"^frame 7: atoms 0 and 4 are at the same place"):
        coulomb_distances([doubled], some[:2], size=9, names=names)


def test_blocks_cover_the_pool_within_the_memory() -> None:
    rng = np.random.default_rng(1)
    for _ in range(30):
        n, size = int(rng.integers(1, 400)), int(rng.integers(1, 60))
        memory, least = float(rng.uniform(1e-5, 1e-2)), int(rng.integers(1, 9))
        ranges = blocks(n, size, memory, least=least)
        assert [k for part in ranges for k in part] == list(range(n))
        assert len(ranges) >= min(n, least)
        lengths = [len(part) for part in ranges]
        assert max(lengths) - min(lengths) <= 1
        assert max(lengths) == 1 or 16 * max(lengths) * size * (size + 1) / 2 <= memory * 1e9
    assert blocks(0, 10) == []


def test_blocks_leave_room_for_spectra_of_atoms() -> None:
    pairs = ClusteringConfig(average="pairs")
    rng = np.random.default_rng(2)
    for _ in range(30):
        n, size, species = int(rng.integers(1, 4000)), int(rng.integers(1, 60)), 2
        memory = float(rng.uniform(1e-3, 1e-1))
        spectra = spectra_bytes(pairs, size, species)
        assert spectra == 8 * size * n_features(pairs, species)
        ranges = blocks(n, size, memory, ordering="eigenvalues", spectra=spectra)
        assert [k for part in ranges for k in part] == list(range(n))
        width = max(map(len, ranges))
        assert width == 1 or 2 * width * (8 * size + spectra) <= memory * 1e9
        told = forecast(n, size, pairs, n_species=species, memory_GB=memory).worker_bytes
        assert told == 2 * width * (8 * size + spectra) + 16 * width**2
    assert spectra_bytes(ClusteringConfig(), 60, 2) == 0


def test_the_forecast_of_a_large_pool_fits_eight_gigabytes() -> None:
    config = ClusteringConfig()
    said = forecast(10_000, 300, config, n_species=2)
    assert 3.2e9 < said.bytes < 8e9
    by_entries = forecast(10_000, 300, ClusteringConfig(coulomb="sorted"), n_species=2)
    assert said.worker_bytes < by_entries.worker_bytes < 1.2e9
    assert said.seconds["coulomb"] < by_entries.seconds["coulomb"]
    assert set(said.seconds) == {"fingerprints", "coulomb", "partitions"}
    sentence = said.sentence()
    assert sentence.startswith("expected: ")
    assert "GB" in sentence
    pairs = forecast(10_000, 300, ClusteringConfig(average="pairs"), n_species=2)
    assert pairs.seconds["fingerprints"] > 100 * said.seconds["fingerprints"]
    assert " h," in pairs.sentence()
    little = forecast(10, 8, ClusteringConfig(basis="gto"))
    assert "MB" in little.sentence()
    assert " s" in little.sentence()
    assert " min" in forecast(1000, 300, config, n_species=2).sentence()
    for n in (1, 2, 100):
        assert forecast(n, 50, config).bytes <= forecast(n + 1, 50, config).bytes


def test_a_pool_that_does_not_fit_is_refused_before_it_begins(monkeypatch) -> None:
    said = forecast(10_000, 300, ClusteringConfig(), n_species=2)
    for free in (None, said.bytes, 10 * said.bytes):
        monkeypatch.setattr(memory, "free_memory", lambda free=free: free)
        check_memory(said, 10_000)
    for free, fitting in ((said.bytes // 4, 4500), (10**6, 0)):
        monkeypatch.setattr(memory, "free_memory", lambda free=free: free)
        with pytest.raises(ConfigError, match=r"10000 structures need 3\.5 GB") as found:
            check_memory(said, 10_000)
        told = int(str(found.value).split("at most about ")[1].split(",")[0])
        assert told == pytest.approx(fitting, abs=300)
        assert forecast(told, 300, ClusteringConfig(), n_species=2).bytes <= free or told == 0
