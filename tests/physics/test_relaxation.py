"""What a relaxation must find, whatever the optimiser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.units import GPa
from scipy.optimize import minimize_scalar
from scipy.spatial.transform import Rotation

from athanor.errors import ConfigError
from athanor.potentials.lj import LennardJones
from athanor.potentials.mtp import MomentTensorPotential
from athanor.sample._landscape import Cell, Landscape
from athanor.sample.relax import RelaxOptions, relax
from athanor.structure import bare

AL = LennardJones(frozenset({"Al"}), cutoff=6.0, epsilon=0.2, sigma=2.55)
TIGHT = RelaxOptions(fmax=1e-5, smax=1e-4 * GPa)
MODES: tuple[Cell, ...] = ("fixed", "free", "hydrostatic", "volume")


def drawn(seed: int, *, strain: float = 0.03, shake: float = 0.15) -> Atoms:
    """A strained, shaken cell of aluminium, sometimes with a vacancy, in a random orientation."""
    rng = np.random.default_rng(seed)
    atoms = bulk("Al", a=4.0, cubic=bool(rng.integers(2))).repeat((2, 2, int(rng.integers(2, 4))))
    if rng.uniform() < 0.5:
        del atoms[int(rng.integers(len(atoms)))]
    turn = Rotation.random(rng=rng).as_matrix()
    cell = atoms.cell.array @ (np.eye(3) + rng.normal(0, strain, (3, 3))) @ turn
    atoms.set_cell(cell, scale_atoms=True)
    atoms.positions += rng.normal(0, shake, (len(atoms), 3))
    return atoms


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(3))
def test_the_gradient_is_that_of_the_enthalpy(mode: Cell, seed: int) -> None:
    atoms = bare(drawn(seed))
    rng = np.random.default_rng(seed)
    landscape = Landscape(atoms, lambda one: AL.predict([one])[0], cell=mode, pressure=3 * GPa)
    point = landscape.point
    for _ in range(3):  # away from the start, where F is 1
        landscape.move(point)
        point = point - 0.01 * landscape.gradient() / np.abs(landscape.gradient()).max()
    rows = rng.normal(size=(len(point) // 3, 3))
    if mode != "fixed":
        rows[-3:] = rows[-3:] + rows[-3:].T if mode != "hydrostatic" else np.eye(3) * rng.normal()
    step = 1e-5 * rows.ravel()
    landscape.move(point)
    expected = float(landscape.gradient() @ step)
    values = []
    for sign in (1, -1):
        landscape.move(point + sign * step)
        values.append(landscape.value())
    assert (values[0] - values[1]) / 2 == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(4))
def test_no_step_goes_uphill_or_too_far(mode: Cell, seed: int) -> None:
    start = drawn(seed, shake=0.3)
    pressure = 0.0 if mode == "volume" else 2 * GPa
    options = RelaxOptions(cell=mode, pressure=pressure, max_step=0.1, path=True)
    result = relax(start, AL, options=options)
    assert result.converged
    assert result.fmax < options.fmax
    enthalpies = [
        step.labels.energy + (pressure * step.atoms.get_volume() if mode != "fixed" else 0.0)
        for step in result.path
    ]
    assert len(enthalpies) == result.harvest.steps + 1
    assert np.diff(enthalpies).max() <= 0.0
    assert result.path[0].atoms == bare(start)
    for one, other in zip(result.path, result.path[1:], strict=False):
        # without the deformation of the cell
        there = other.atoms.get_scaled_positions(wrap=False) @ one.atoms.cell.array
        longest = np.linalg.norm(there - one.atoms.positions, axis=1).max()
        assert longest <= 0.1 * 1.1  # coordinates are those of the undeformed cell


@pytest.mark.parametrize("pressure_GPa", [0.0, 10.0])
def test_the_lattice_constant_is_where_the_enthalpy_is_least(pressure_GPa: float) -> None:
    def enthalpy(a: float) -> float:
        atoms = bulk("Al", a=a)
        return AL.predict([atoms])[0].energy + pressure_GPa * GPa * float(atoms.get_volume())

    least = minimize_scalar(enthalpy, bounds=(3.3, 4.4), method="bounded", options={"xatol": 1e-9})
    for seed in range(2):
        rng = np.random.default_rng(seed)
        atoms = bulk("Al", a=4.0, cubic=True)
        strain = rng.normal(0, 0.04, (3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain + strain.T), scale_atoms=True)
        atoms.positions += rng.normal(0, 0.1, (4, 3))
        options = replace(TIGHT, cell="free", pressure=pressure_GPa * GPa)
        result = relax(atoms, AL, options=options)
        assert result.converged
        assert result.atoms.get_volume() / 4 == pytest.approx(least.x**3 / 4, rel=1e-6)
        np.testing.assert_allclose(result.atoms.cell.lengths(), least.x, rtol=1e-5)
        np.testing.assert_allclose(result.atoms.cell.angles(), 90.0, atol=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_the_stress_is_the_outer_one(seed: int) -> None:
    pressure = np.random.default_rng(seed).uniform(-1, 20) * GPa
    result = relax(drawn(seed), AL, options=replace(TIGHT, cell="free", pressure=pressure))
    assert result.converged
    assert result.labels.stress is not None
    np.testing.assert_allclose(result.labels.stress, -pressure * np.eye(3), atol=1e-4 * GPa)
    assert result.smax < 1e-4 * GPa


@pytest.mark.parametrize("seed", range(3))
def test_what_the_cell_keeps(seed: int) -> None:
    start = drawn(seed)
    result = relax(start, AL, options=replace(TIGHT, cell="volume"))
    assert result.converged
    assert result.atoms.get_volume() == pytest.approx(start.get_volume(), rel=1e-12)
    assert result.labels.stress is not None
    deviator = result.labels.stress - np.trace(result.labels.stress) / 3 * np.eye(3)
    assert np.abs(deviator).max() < 1e-4 * GPa
    result = relax(start, AL, options=replace(TIGHT, cell="hydrostatic", pressure=GPa))
    assert result.converged
    np.testing.assert_allclose(result.atoms.cell.angles(), start.cell.angles(), rtol=1e-12)
    ratio = result.atoms.cell.lengths() / start.cell.lengths()
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-12)
    assert result.labels.stress is not None
    assert np.trace(result.labels.stress) / 3 == pytest.approx(-GPa, abs=1e-4 * GPa)


@pytest.mark.parametrize("seed", range(3))
def test_a_turned_and_renumbered_crystal_relaxes_alike(seed: int) -> None:
    rng = np.random.default_rng(seed)
    start = drawn(seed)
    turn = Rotation.random(rng=rng).as_matrix()
    order = rng.permutation(len(start))
    other = Atoms(
        numbers=start.numbers[order],
        positions=start.positions[order] @ turn,
        cell=start.cell.array @ turn,
        pbc=True,
    )
    options = replace(TIGHT, cell="free")
    one, two = (relax(atoms, AL, options=options) for atoms in (start, other))
    assert one.converged
    assert two.converged
    assert one.labels.energy == pytest.approx(two.labels.energy, abs=1e-7)
    np.testing.assert_allclose(one.atoms.cell.array @ turn, two.atoms.cell.array, atol=1e-3)
    np.testing.assert_allclose(one.atoms.positions[order] @ turn, two.atoms.positions, atol=3e-3)


def test_molecules_chains_and_slabs_relax_their_positions() -> None:
    methane_like = Atoms("Al5", molecule("CH4").positions * 2.4)
    slab = fcc111("Al", (2, 2, 3), a=4.0, vacuum=6.0)
    chain = Atoms("Al4", [[0, 0, 2.9 * k] for k in range(4)], cell=[0, 0, 11.2], pbc=[0, 0, 1])
    rng = np.random.default_rng(0)
    for atoms in (methane_like, slab, chain):
        atoms.positions += rng.normal(0, 0.1, (len(atoms), 3))
        result = relax(atoms, AL, options=replace(TIGHT, smax=1.0))
        assert result.converged
        assert result.labels.energy < AL.predict([atoms])[0].energy
        assert np.abs(result.labels.forces).max() < 1e-5
        assert np.array_equal(result.atoms.cell.array, atoms.cell.array)
    with pytest.raises(ConfigError, match="no cell to relax"):
        relax(slab, AL, options=RelaxOptions(cell="free"))


def test_a_published_potential_relaxes_molybdenum(reference: Path) -> None:
    path = reference / "mtp" / "pots" / "Mo_L12.mtp"
    potential = MomentTensorPotential.from_mlip(path, ["Mo"])
    perfect = relax(bulk("Mo", cubic=True), potential, options=replace(TIGHT, cell="free"))
    rng = np.random.default_rng(3)
    atoms = bulk("Mo", cubic=True).repeat(2)
    strain = rng.normal(0, 0.02, (3, 3))
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain + strain.T), scale_atoms=True)
    atoms.positions += rng.normal(0, 0.15, atoms.positions.shape)
    result = relax(atoms, potential, options=replace(TIGHT, cell="free"))
    assert result.converged
    assert result.labels.energy / 16 == pytest.approx(perfect.labels.energy / 2, abs=1e-8)
