"""The NumPy twin: every derivative against finite differences, pairs against brute force."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from ase import Atoms

from athanor.errors import StructureError, UnknownElementError
from athanor.potentials._mtp.basis import basis
from athanor.potentials._mtp.model import MtpModel
from athanor.potentials._mtp.twin import (
    design,
    features,
    find_pairs,
    predict,
    radial_basis,
    site_energies,
    surroundings,
)
from athanor.structure import FloatArray

SPECIES = ("Al", "Ni")
CASES = [(1, 6), (1, 10), (2, 8), (2, 12)]


def random_model(n_species: int, level: int, *, seed: int) -> MtpModel:
    """Random coefficients; energies and forces of order one."""
    rng = np.random.default_rng(seed)
    tables = basis(level)
    return MtpModel(
        species=SPECIES[:n_species],
        tables=tables,
        min_dist=1.7,
        max_dist=3.6,
        scaling=0.3,
        radial=rng.normal(size=(n_species, n_species, tables.n_radial, 5)),
        species_coeffs=rng.normal(size=n_species),
        moment_coeffs=rng.normal(size=len(tables.mapping)) * 0.1,
    )


def random_atoms(n_species: int, *, seed: int, pbc: tuple[bool, ...] = (True,) * 3) -> Atoms:
    """A few atoms in a skew cell smaller than the cutoff, some of them outside it."""
    rng = np.random.default_rng(seed)
    cell = np.diag(rng.uniform(2.8, 3.4, 3)) + rng.uniform(-0.4, 0.4, (3, 3))
    sites = np.array([[0, 0, 0], [0.5, 0.5, 0.1], [0.1, 0.5, 0.6]])
    scaled = sites + rng.uniform(-0.05, 0.05, (3, 3)) + rng.integers(-2, 3, (3, 3)) * pbc
    symbols = [SPECIES[number] for number in rng.permutation([0, n_species - 1, 0])]
    return Atoms(symbols, scaled_positions=scaled, cell=cell, pbc=pbc)


def parameters(model: MtpModel) -> FloatArray:
    return np.concatenate([model.radial.ravel(), model.species_coeffs, model.moment_coeffs])


def with_parameters(model: MtpModel, theta: FloatArray) -> MtpModel:
    n_radial, n_species = model.radial.size, len(model.species)
    return replace(
        model,
        radial=theta[:n_radial].reshape(model.radial.shape),
        species_coeffs=theta[n_radial : n_radial + n_species],
        moment_coeffs=theta[n_radial + n_species :],
    )


def slope(function: Callable[[float], FloatArray | float], step: float) -> FloatArray | float:
    """Central difference of fourth order at zero."""
    near = np.subtract(function(step), function(-step))
    far = np.subtract(function(2 * step), function(-2 * step))
    result: FloatArray | float = (8 * near - far) / (12 * step)
    return result


def strained(atoms: Atoms, strain: FloatArray) -> Atoms:
    deformed = atoms.copy()
    deformed.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return deformed


@pytest.mark.parametrize(("n_species", "level"), CASES)
def test_forces_are_minus_the_slope_of_the_energy(n_species: int, level: int) -> None:
    model = random_model(n_species, level, seed=level)
    atoms = random_atoms(n_species, seed=level)
    labels = predict(model, atoms)

    def energy(atom: int, axis: int, shift: float) -> float:
        moved = atoms.copy()
        moved.positions[atom, axis] += shift
        return predict(model, moved).energy

    expected = np.array(
        [
            [-slope(lambda h, n=n, x=x: energy(n, x, h), 1e-4) for x in range(3)]
            for n in range(len(atoms))
        ]
    )
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(labels.forces, expected, atol=1e-8 * np.abs(expected).max())


@pytest.mark.parametrize(("n_species", "level"), CASES)
def test_stress_is_the_slope_by_strain(n_species: int, level: int) -> None:
    model = random_model(n_species, level, seed=level)
    atoms = random_atoms(n_species, seed=level + 1)
    stress = predict(model, atoms).stress
    assert stress is not None
    for one, other in product(range(3), repeat=2):
        strain = np.zeros((3, 3))
        strain[one, other] = 1.0
        by_strain = slope(
            lambda h, strain=strain: predict(model, strained(atoms, h * strain)).energy, 1e-4
        )
        scale = np.abs(stress).max()
        assert abs(stress[one, other] - by_strain / atoms.get_volume()) < 1e-8 * scale


@pytest.mark.parametrize(("n_species", "level"), CASES)
def test_every_parameter_derivative(n_species: int, level: int) -> None:
    model = random_model(n_species, level, seed=level)
    atoms = random_atoms(n_species, seed=level + 2)
    theta, volume = parameters(model), atoms.get_volume()
    rows, sites = design(model, atoms), features(model, atoms)

    def everything(number: int, shift: float) -> FloatArray:
        changed = theta.copy()
        changed[number] += shift
        moved = with_parameters(model, changed)
        labels = predict(moved, atoms)
        assert labels.stress is not None
        parts = [site_energies(moved, atoms), labels.forces.ravel(), labels.stress.ravel() * volume]
        return np.concatenate(parts)

    expected = np.stack(
        [slope(lambda h, n=n: everything(n, h), 1e-3) for n in range(len(theta))], axis=-1
    )
    n_parameters = sites.shape[1]
    assert n_parameters == len(theta)
    ours = np.concatenate(
        [sites, rows.forces.reshape(-1, n_parameters), rows.virial.reshape(9, n_parameters)]
    )
    scale = np.maximum(np.abs(expected).max(axis=0), 1e-3)
    np.testing.assert_allclose(ours / scale, expected / scale, atol=1e-7)
    np.testing.assert_allclose(rows.energy, sites.sum(axis=0), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_the_energy_is_linear_in_species_and_moment_coefficients(seed: int) -> None:
    model = random_model(2, 10, seed=seed)
    atoms = random_atoms(2, seed=seed)
    rows, labels = design(model, atoms), predict(model, atoms)
    linear = parameters(model)[model.radial.size :]
    assert labels.stress is not None
    np.testing.assert_allclose(rows.energy[model.radial.size :] @ linear, labels.energy, rtol=1e-10)
    np.testing.assert_allclose(
        rows.forces[..., model.radial.size :] @ linear, labels.forces, rtol=1e-9, atol=1e-10
    )
    np.testing.assert_allclose(
        rows.virial[..., model.radial.size :] @ linear,
        labels.stress * atoms.get_volume(),
        rtol=1e-9,
        atol=1e-10,
    )


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_radial_basis_is_the_chebyshev_series_times_the_cutoff(size: int) -> None:
    model = random_model(1, 4, seed=0)
    model = replace(model, radial=np.ones((1, 1, 1, size)))
    r = np.random.default_rng(size).uniform(1.0, 3.6, 20)  # below min_dist too
    values, slopes = radial_basis(model, r)
    xi = (2 * r - 1.7 - 3.6) / (3.6 - 1.7)
    expected = 0.3 * np.polynomial.chebyshev.chebvander(xi, size - 1) * (r[:, None] - 3.6) ** 2
    np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-12)
    numeric = slope(lambda h: radial_basis(model, r + h)[0], 1e-3)
    np.testing.assert_allclose(slopes, numeric, atol=1e-6 * np.abs(numeric).max())


def brute_force(atoms: Atoms, cutoff: float, *, reach: int) -> set[tuple[float, ...]]:
    """Rounded (i, j, x, y, z) of every pair among `reach` images to each side."""
    ranges = [range(-reach, reach + 1) if periodic else (0,) for periodic in atoms.pbc]
    found = set()
    for shift in product(*ranges):
        vectors = atoms.positions[None] + shift @ atoms.cell.array - atoms.positions[:, None]
        lengths = np.linalg.norm(vectors, axis=2)
        for i, j in zip(*np.nonzero((lengths < cutoff) & (lengths > 1e-9)), strict=True):
            found.add((i, j, *(np.round(vectors[i, j], 7) + 0.0)))
    return found


@pytest.mark.parametrize("seed", range(16))
def test_pairs_are_those_of_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pbc = rng.random(3) < 0.6
    cell = np.diag(rng.uniform(2, 5, 3)) + rng.normal(size=(3, 3)) * 0.4
    if seed % 2:
        cell[~pbc] = 0.0  # no vector at all where there is no periodicity
    if seed % 3 == 0:
        cell[[0, 1]] = cell[[1, 0]]  # left-handed
        pbc[[0, 1]] = pbc[[1, 0]]
    n_atoms = int(rng.integers(1, 5))
    atoms = Atoms(["Al"] * n_atoms, positions=rng.uniform(-6, 6, (n_atoms, 3)), cell=cell, pbc=pbc)
    pairs = find_pairs(atoms, 4.0)
    ours = [
        (i, j, *(np.round(vector, 7) + 0.0))
        for i, j, vector in zip(pairs.i, pairs.j, pairs.vectors, strict=True)
    ]
    assert len(ours) == len(set(ours))
    assert set(ours) == brute_force(atoms, 4.0, reach=12)
    np.testing.assert_allclose(np.linalg.norm(pairs.vectors, axis=1), pairs.distances)


@pytest.mark.parametrize("pbc", list(product([False, True], repeat=3)))
def test_stress_is_there_only_with_full_periodicity(pbc: tuple[bool, ...]) -> None:
    labels = predict(random_model(2, 8, seed=1), random_atoms(2, seed=5, pbc=pbc))
    assert (labels.stress is not None) == all(pbc)
    assert np.isfinite(labels.forces).all()
    np.testing.assert_allclose(labels.forces.sum(axis=0), 0.0, atol=1e-10)


def test_an_isolated_atom_has_the_energy_of_its_species() -> None:
    model = random_model(2, 8, seed=2)
    atoms = Atoms("NiAl", positions=[[0, 0, 0], [9, 0, 0]])
    labels, rows = predict(model, atoms), design(model, atoms)
    np.testing.assert_array_equal(site_energies(model, atoms), model.species_coeffs[::-1])
    assert labels.energy == model.species_coeffs.sum()
    assert not labels.forces.any()
    assert not rows.forces.any()
    assert not rows.virial.any()
    n_radial = model.radial.size
    assert rows.energy[n_radial : n_radial + 2].tolist() == [1.0, 1.0]
    assert not np.delete(rows.energy, [n_radial, n_radial + 1]).any()


def test_the_central_species_comes_first_in_radial_coefficients() -> None:
    model = random_model(2, 2, seed=3)
    only = np.zeros_like(model.radial)
    only[1, 0] = model.radial[1, 0]  # Ni in the middle, Al around
    model = replace(model, radial=only, species_coeffs=np.zeros(2))
    energies = site_energies(model, Atoms("AlNi", positions=[[0, 0, 0], [2.3, 0, 0]]))
    assert energies[0] == 0.0
    assert energies[1] != 0.0


def test_the_bonds_of_an_atom_add_up_to_its_basic_moments() -> None:
    model = random_model(2, 10, seed=4)
    atoms = random_atoms(2, seed=6)
    found = surroundings(model, atoms)
    n_basic = len(model.tables.basic)
    for atom in range(len(atoms)):
        own = found.bond[found.pairs.i == atom].sum(axis=0)
        np.testing.assert_allclose(found.moments[atom, :n_basic], own, rtol=1e-12, atol=1e-13)


def test_coincident_atoms_are_refused() -> None:
    atoms = Atoms("Al2", positions=[[0, 0, 0], [0, 0, 5e-4]])
    with pytest.raises(StructureError, match=r"Al2: atoms . and . are 5.0e-04 Å apart"):
        predict(random_model(1, 4, seed=0), atoms)


def test_an_element_the_model_does_not_know_is_refused() -> None:
    with pytest.raises(UnknownElementError, match="Ni"):
        features(random_model(1, 4, seed=0), Atoms("AlNi", positions=[[0, 0, 0], [0, 0, 2]]))


def test_positions_that_are_not_finite_are_refused() -> None:
    with pytest.raises(StructureError, match="not finite"):
        design(random_model(1, 4, seed=0), Atoms("Al", positions=[[0, np.nan, 0]]))
