"""SOAP and Coulomb kernels: against plain loops over the paper's formulas, and their symmetries."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from ase import Atoms

from athanor.errors import MissingExtraError, StructureError, UnknownElementError
from athanor.query._similarity import extra, kernels
from athanor.query._similarity.coulomb import coulomb_distances
from athanor.query._similarity.kernels import (
    coulomb_kernel,
    distance,
    first_equal,
    hybrid,
    normalised,
    pair_kernel,
    slope_of,
    soap_kernel,
    soap_similarities,
    unified,
    zeta_of,
)
from athanor.query._similarity.soap import (
    atom_fingerprints,
    fingerprints,
    n_features,
    species_of,
)
from athanor.query.clustering import ClusteringConfig
from athanor.testing import structures as made

SMALL = ClusteringConfig(cutoff=4.0, n_max=4, l_max=3, basis="polynomial")
GTO = SMALL.model_copy(update={"basis": "gto"})
SPECIES = ("O", "Si")


def of_all_kinds(rng: np.random.Generator) -> list[Atoms]:
    """Cells of several sizes and compositions, with open directions, a cluster and one atom."""
    return [
        made.dense(SPECIES, rng),
        made.dense(("Si",), rng, repeats=(1, 2, 1)),
        made.left_handed(("O",), rng),
        made.open_along((2,), SPECIES, rng),
        made.open_along((0, 1), SPECIES, rng),
        made.open_along((0, 1, 2), SPECIES, rng),
        made.tiny(("O",), rng),
        made.isolated("Si"),
    ]


@pytest.fixture(scope="module")
def some() -> list[Atoms]:
    return of_all_kinds(np.random.default_rng(3))


def test_the_power_of_the_mean_is_the_paper_s_formula(some) -> None:
    rows = fingerprints(some, SMALL, species=SPECIES)
    atoms = atom_fingerprints(some, SMALL, species=SPECIES)
    slope = slope_of((rows**2).sum(axis=1))

    def raw(a: int, b: int) -> float:
        first = sum(atoms[a]) / len(some[a])
        second = sum(atoms[b]) / len(some[b])
        return (slope * sum(x * y for x, y in zip(first, second, strict=True)) + 1.0) ** 4

    expected = [
        [raw(a, b) / np.sqrt(raw(a, a) * raw(b, b)) for b in range(len(some))]
        for a in range(len(some))
    ]
    found = soap_kernel(rows, SMALL)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)
    assert np.array_equal(found, found.T)
    between = soap_similarities(rows[:3], rows, SMALL, slope=slope)
    np.testing.assert_allclose(between, np.array(expected)[:3], rtol=0, atol=1e-10)


@pytest.mark.parametrize(("degree", "c0", "slope"), [(4, 1.0, None), (2, 0.3, 0.01), (3, 0.0, 2.0)])
def test_the_mean_of_powers_is_the_paper_s_formula(some, degree, c0, slope) -> None:
    config = SMALL.model_copy(update={"degree": degree, "c0": c0, "slope": slope})
    atoms = atom_fingerprints(some, config, species=SPECIES)
    ell = slope or 1.0 / np.mean([p @ p for table in atoms for p in table])

    def raw(a: int, b: int) -> float:
        total = 0.0
        for p in atoms[a]:
            for q in atoms[b]:
                total += (ell * float(p @ q) + c0) ** degree
        return total / (len(atoms[a]) * len(atoms[b]))

    expected = [
        [raw(a, b) / np.sqrt(raw(a, a) * raw(b, b)) for b in range(len(some))]
        for a in range(len(some))
    ]
    overlaps = np.concatenate([(table**2).sum(axis=1) for table in atoms])
    found = pair_kernel(atoms, atoms, config, slope=slope or slope_of(overlaps))
    np.testing.assert_allclose(normalised(found), expected, rtol=0, atol=1e-10)


def test_both_means_are_not_the_same(some) -> None:
    """Why eq. 9 has two names here: its equality holds for degree 1 only."""
    atoms = atom_fingerprints(some, SMALL, species=SPECIES)
    rows = np.array([table.mean(axis=0) for table in atoms])
    slope = slope_of((rows**2).sum(axis=1))
    linear = SMALL.model_copy(update={"degree": 1})
    for config, equal in ((linear, True), (SMALL, False)):
        pairs = normalised(pair_kernel(atoms, atoms, config, slope=slope))
        means = soap_kernel(rows, config, slope=slope)
        assert np.allclose(pairs, means, rtol=0, atol=1e-10) is equal


def test_coulomb_hybrid_and_distance_are_the_paper_s_formulas(some) -> None:
    apart = coulomb_distances(some, some, size=8)
    zeta = 1.0 / np.median([apart[a, b] for a in range(8) for b in range(a)])
    sizes = [len(atoms) for atoms in some]
    soap = soap_kernel(fingerprints(some, SMALL, species=SPECIES), SMALL)

    def raw(a: int, b: int) -> float:
        return np.exp(-zeta * apart[a, b]) / (sizes[a] * sizes[b])

    coulomb = np.array(
        [[raw(a, b) / np.sqrt(raw(a, a) * raw(b, b)) for b in range(8)] for a in range(8)]
    )
    np.testing.assert_allclose(coulomb_kernel(apart), coulomb, rtol=0, atol=1e-10)
    np.testing.assert_allclose(coulomb_kernel(apart, 2 * zeta), coulomb**2, rtol=0, atol=1e-10)
    for delta in (0.0, 0.3, 1.0):
        mixed = (1 - delta) * soap + delta * coulomb
        np.testing.assert_allclose(hybrid(soap, coulomb, delta), mixed, rtol=0, atol=1e-10)
        apart_12 = distance(hybrid(soap, coulomb, delta))
        np.testing.assert_allclose(apart_12**2, 2 - 2 * mixed, rtol=0, atol=1e-10)


@pytest.mark.parametrize("delta", [0.0, 0.1, 0.3, 0.7, 1.0])
def test_duplicates_are_exactly_one(delta: float) -> None:
    rng = np.random.default_rng(11)
    pool = [made.dense(SPECIES, rng) for _ in range(9)]
    pool = [pool[k] for k in rng.integers(9, size=23)]
    rows = fingerprints(pool, SMALL, species=SPECIES)
    soap = soap_kernel(rows, SMALL)
    coulomb = coulomb_kernel(coulomb_distances(pool, pool, size=4))
    kernel = hybrid(soap, coulomb, delta)
    equal = np.array([[a is b for b in pool] for a in pool])
    assert equal.sum() > len(pool)
    assert (kernel[equal] == 1.0).all()
    assert (distance(kernel)[equal] == 0.0).all()
    assert (kernel[~equal] < 1.0).all()
    assert np.array_equal(kernel, kernel.T)


def test_equal_rows_are_made_equal_even_where_a_product_rounds_them_differently() -> None:
    rng = np.random.default_rng(5)
    rows = rng.standard_normal((5, 7))[[0, 1, 0, 2, 1, 3, 4]]
    assert first_equal(rows).tolist() == [0, 1, 0, 3, 1, 5, 6]
    kernel = normalised(rows @ rows.T + 1e-15 * rng.standard_normal((7, 7)))
    found = unified(kernel.copy(), first_equal(rows))
    assert found[0, 2] == found[2, 0] == found[1, 4] == found[4, 1] == 1.0
    assert np.array_equal(found[0], found[2])
    np.testing.assert_allclose(found, kernel, rtol=0, atol=1e-13)


def moved(atoms: Atoms, rng: np.random.Generator) -> dict[str, Atoms]:
    """The same structure in other words."""
    turn = made.rotation(rng)
    rotated = atoms.copy()
    rotated.set_cell(atoms.cell.array @ turn)
    rotated.positions = atoms.positions @ turn
    wrapped = atoms.copy()
    wrapped.positions += np.where(atoms.pbc, rng.integers(-3, 4, (len(atoms), 3)), 0) @ (
        atoms.cell.array
    )
    shifted = atoms.copy()
    shifted.positions += rng.uniform(-9, 9, 3)
    return {
        "permuted": atoms[rng.permutation(len(atoms))],
        "rotated": rotated,
        "wrapped": wrapped,
        "shifted": shifted,
    }


@pytest.mark.parametrize("config", [SMALL, GTO], ids=["polynomial", "gto"])
@pytest.mark.parametrize("how", ["permuted", "rotated", "wrapped", "shifted"])
def test_the_same_structure_in_other_words_is_as_similar(config, how) -> None:
    rng = np.random.default_rng(21)
    for atoms in of_all_kinds(rng)[:-1]:
        pool = [atoms, moved(atoms, rng)[how], made.dense(SPECIES, rng)]
        soap = soap_kernel(fingerprints(pool, config, species=SPECIES), config)
        assert soap[0, 1] == pytest.approx(1.0, abs=1e-8)
        assert soap[0, 2] == pytest.approx(soap[1, 2], abs=1e-8)
        for ordering in ("sorted", "eigenvalues"):
            apart = coulomb_distances(pool, pool, size=8, ordering=ordering)
            coulomb = coulomb_kernel(apart)
            assert coulomb[0, 1] == pytest.approx(1.0, abs=1e-8)
            assert coulomb[0, 2] == pytest.approx(coulomb[1, 2], abs=1e-8)


def test_a_repeated_cell_and_a_slab_in_more_vacuum_are_the_same_to_soap() -> None:
    rng = np.random.default_rng(2)
    crystal = made.dense(SPECIES, rng)
    slab = made.open_along((2,), SPECIES, rng)
    in_vacuum = slab.copy()
    in_vacuum.cell[2] = in_vacuum.cell.array[2] * 7
    bottomless = slab.copy()
    bottomless.cell[2] = 0.0
    periodic = slab.copy()
    # far more than the cutoff lies between its images
    periodic.cell[2] = (
        np.cross(*slab.cell.array[:2]) / np.linalg.norm(np.cross(*slab.cell.array[:2])) * 60.0
    )
    periodic.pbc = True
    rows = fingerprints(
        [crystal, crystal.repeat((2, 1, 2)), slab, in_vacuum, bottomless, periodic],
        SMALL,
        species=SPECIES,
    )
    np.testing.assert_allclose(rows[0], rows[1], rtol=1e-9, atol=1e-9)
    for row in rows[3:]:
        np.testing.assert_allclose(rows[2], row, rtol=1e-9, atol=1e-9)
    finite = made.open_along((0, 1, 2), SPECIES, rng)
    boxed = finite.copy()
    boxed.set_cell(np.eye(3) * 90.0)
    boxed.pbc = True
    first, second = fingerprints([finite, boxed], SMALL, species=SPECIES)
    np.testing.assert_allclose(first, second, rtol=1e-9, atol=1e-9)


def test_default_parameters_come_from_the_data() -> None:
    rng = np.random.default_rng(8)
    rows = rng.standard_normal((12, 30))
    slope = 1.0 / np.mean((rows**2).sum(axis=1))
    explicit = SMALL.model_copy(update={"slope": slope})
    np.testing.assert_allclose(soap_kernel(rows, SMALL), soap_kernel(rows, explicit), atol=1e-14)
    assert slope_of(np.zeros(0)) == slope_of(np.zeros(3)) == 1.0
    apart = np.array([[0.0, 2.0, 4.0], [2.0, 0.0, 0.0], [4.0, 0.0, 0.0]])
    assert zeta_of(apart) == 1.0 / 3.0  # the pair at 0 is a duplicate and says nothing
    assert zeta_of(np.zeros((3, 3))) == zeta_of(np.zeros((1, 1))) == 1.0


def test_a_fingerprint_does_not_depend_on_its_neighbours_in_the_batch(some) -> None:
    rows = fingerprints(some, SMALL, species=("Si", "O"))
    assert rows.shape == (len(some), n_features(SMALL, 2))
    for atoms, row in zip(some, rows, strict=True):
        (alone,) = fingerprints([atoms], SMALL, species=SPECIES)
        assert np.array_equal(alone, row)
    assert fingerprints([], SMALL, species=SPECIES).shape == (0, n_features(SMALL, 2))
    assert species_of(some) == SPECIES


def test_the_structures_are_left_as_they_were(some) -> None:
    before = [(atoms.positions.copy(), atoms.cell.array.copy()) for atoms in some]
    fingerprints(some, SMALL, species=SPECIES)
    coulomb_distances(some, some, size=8)
    for atoms, (positions, cell) in zip(some, before, strict=True):
        assert np.array_equal(atoms.positions, positions)
        assert np.array_equal(atoms.cell.array, cell)


def test_what_cannot_be_described_is_named(some, monkeypatch) -> None:
    with pytest.raises(UnknownElementError, match=r"structure 0: it holds O.*measured for Si"):
        fingerprints(some, SMALL, species=("Si",))
    broken = some[0].copy()
    broken.positions[1, 2] = np.nan
    with pytest.raises(StructureError, match="structure 1: the position of atom 1 is not finite"):
        fingerprints([some[0], broken], SMALL, species=SPECIES)
    for described in (fingerprints, atom_fingerprints):
        with pytest.raises(
            StructureError, match=r"^frame 40: the position of atom 1 is not finite"
        ):
            described([some[0], broken], SMALL, species=SPECIES, names=["frame 3", "frame 40"])
        with pytest.raises(UnknownElementError, match=r"^frame 3: it holds O"):
            described(some[:1], SMALL, species=("Si",), names=["frame 3"])
    rows = np.ones((3, 4))
    rows[2, 1] = np.inf
    with pytest.raises(StructureError, match="structure 2: a SOAP fingerprint is not finite"):
        soap_kernel(rows, SMALL)
    with pytest.raises(StructureError, match="structure 2: a distance of Coulomb matrices"):
        coulomb_kernel(rows)
    nothing = SMALL.model_copy(update={"c0": 0.0})
    with pytest.raises(StructureError, match="structure 1: its similarity with itself is 0"):
        soap_kernel(np.array([[1.0], [0.0]]), nothing)
    with pytest.raises(StructureError, match=r"^frame 9: its similarity with itself is 0"):
        soap_kernel(np.array([[1.0], [0.0]]), nothing, names=["frame 4", "frame 9"])


def test_a_fingerprint_that_is_not_finite_is_refused(some, monkeypatch) -> None:
    from dscribe.descriptors import SOAP

    def infinite(self: SOAP, system: Atoms) -> np.ndarray:
        return np.full(n_features(SMALL, 2), np.inf)

    monkeypatch.setattr(SOAP, "create_single", infinite)
    with pytest.raises(StructureError, match="structure 0: its SOAP fingerprint is not finite"):
        fingerprints(some, SMALL, species=SPECIES)


@pytest.mark.parametrize(("library", "package"), [("dscribe", "dscribe"), ("sklearn", "scikit-l")])
def test_a_missing_library_names_the_extra(library, package, monkeypatch, some) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=rf"{package}.*athanor\[clustering\]"):
        extra.require_extra()
    with pytest.raises(MissingExtraError, match=r"athanor\[clustering\]"), extra.extra(library):
        __import__("importlib").import_module(library)


def test_a_library_that_is_not_imported_yet_is_found_or_not(monkeypatch) -> None:
    monkeypatch.setattr(extra, "_LIBRARIES", ("athanor_is_no_such_library",))
    with pytest.raises(MissingExtraError, match="athanor_is_no_such_library"):
        extra.require_extra()
    monkeypatch.setattr(extra, "_LIBRARIES", ("colorsys",))
    extra.require_extra()


def test_memory_of_a_kernel_is_its_own(monkeypatch) -> None:
    """No second matrix is made on the way, where it would be too large."""
    import tracemalloc

    rows = np.random.default_rng(0).standard_normal((700, 20))
    tracemalloc.start()
    soap_kernel(rows, SMALL)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.3 * 8 * 700**2
    assert kernels.distance(np.eye(2)).tolist() == [[0.0, np.sqrt(2)], [np.sqrt(2), 0.0]]
