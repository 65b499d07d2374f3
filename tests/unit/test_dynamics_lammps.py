"""Dynamics of LAMMPS' potentials: the same as ASE's, in the caller's frame."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk

from athanor.dynamics import Leg, Snapshot, engine_of, mean_of
from athanor.dynamics._ase import AseEngine
from athanor.dynamics._lammps import LammpsEngine
from athanor.errors import MeasurementError
from athanor.oracle.lammps import LammpsCalculator, LammpsOracleConfig
from athanor.testing.structures import rotation


@cache
def aluminium() -> LammpsCalculator:
    recipe = LammpsOracleConfig(
        pair_style="eam/fs", pair_coeff=("* * Al_mm.eam.fs Al",), species=("Al",)
    )
    found = recipe.build().calculator(workdir=Path())
    assert isinstance(found, LammpsCalculator)
    return found


def crystal(seed: int = 0) -> Atoms:
    atoms = bulk("Al", cubic=True).repeat(2)
    atoms.rattle(0.05, rng=np.random.default_rng(seed))
    return atoms


def moving(atoms: Atoms, seed: int = 5) -> Atoms:
    """With velocities of some 400 K."""
    return AseEngine(aluminium()).run(atoms, Leg(0, 1.0, 400.0), seed=seed)


def askew(seed: int) -> Atoms:
    """A cell with vectors in no particular direction, some atoms outside of it."""
    rng = np.random.default_rng(seed)
    atoms = bulk("Al").repeat((3, 3, 3))
    # the same lattice by longer vectors, which lean over
    cell = np.array([[1, 0, 0], [1, 1, 0], [-1, 1, 1]]) @ atoms.cell.array
    atoms.set_cell(cell)
    atoms.set_cell(cell @ rotation(rng), scale_atoms=True)
    atoms.rattle(0.05, rng=rng)
    atoms.positions += rng.integers(-2, 3, (len(atoms), 3)) @ atoms.cell.array
    return atoms


def both(atoms: Atoms, leg: Leg) -> tuple[Atoms, Atoms, list[Snapshot], list[Snapshot]]:
    shown: tuple[list[Snapshot], list[Snapshot]] = ([], [])
    ends = []
    for engine, into in zip((engine_of(aluminium()), AseEngine(aluminium())), shown, strict=True):

        def watch(snapshot: Snapshot, into: list[Snapshot] = into) -> bool:
            into.append(snapshot)
            return False

        ends.append(engine.run(atoms, leg, seed=3, watch=watch))
    return ends[0], ends[1], *shown


def apart(one: Atoms, other: Atoms) -> float:
    """Largest distance in Å between equal atoms, images apart."""
    off = one.get_scaled_positions() - other.get_scaled_positions()
    return float(np.abs((off - np.round(off)) @ one.cell.array).max())


def test_it_is_chosen_for_its_own_calculator() -> None:
    assert isinstance(engine_of(aluminium()), LammpsEngine)


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_constant_energy_is_the_same_trajectory(seed: int | None) -> None:
    start = moving(crystal() if seed is None else askew(seed))
    mine, theirs, shown, expected = both(start, Leg(20, 2.0, every=10))
    assert apart(mine, theirs) < 1e-8
    np.testing.assert_allclose(mine.get_momenta(), theirs.get_momenta(), atol=1e-6)
    np.testing.assert_allclose(mine.cell.array, start.cell.array, atol=1e-10)
    assert [one.step for one in shown] == [10, 20]
    for one, other in zip(shown, expected, strict=True):
        assert one.energy == pytest.approx(other.energy, abs=1e-6)
        assert one.temperature_K == pytest.approx(other.temperature_K, abs=1e-3)
        assert one.pressure_GPa == pytest.approx(other.pressure_GPa, abs=1e-4)
        assert one.time_ps == other.time_ps


@pytest.mark.parametrize(
    ("axes", "seed"), [("iso", 4), ("iso", None), ("aniso", None), ("z", None)]
)
def test_constant_enthalpy_moves_the_cell_alike(axes: str, seed: int | None) -> None:
    start = moving(crystal() if seed is None else askew(seed))
    leg = Leg(20, 2.0, None, 2.0, axes=axes, every=20, barostat_ps=0.2)
    mine, theirs, _, _ = both(start, leg)
    moved = np.abs(theirs.cell.array - start.cell.array).max()
    assert moved > 0.02
    # the pistons have degrees of freedom counted and steps split in another way
    np.testing.assert_allclose(mine.cell.array, theirs.cell.array, atol=0.02 * moved)
    assert apart(mine, theirs) < 1e-3


def test_energy_is_conserved() -> None:
    start = moving(crystal())
    shown: list[Snapshot] = []

    def watch(snapshot: Snapshot) -> bool:
        shown.append(snapshot)
        return False

    engine_of(aluminium()).run(start, Leg(400, 2.0, every=20), seed=1, watch=watch)
    energies = [one.energy + one.atoms.get_kinetic_energy() for one in shown]
    assert np.std(energies) < 1e-3 * start.get_kinetic_energy()


def series(leg: Leg, name: str, *, cut: int = 20) -> np.ndarray:
    shown: list[Snapshot] = []

    def watch(snapshot: Snapshot) -> bool:
        shown.append(snapshot)
        return False

    engine_of(aluminium()).run(crystal(), leg, seed=1, watch=watch)
    return np.array([getattr(one, name) for one in shown[cut:]])


@pytest.mark.parametrize("thermostat", ["local", "global"])
@pytest.mark.parametrize("pressure", [None, 1.0])
def test_the_thermostat_has_its_temperature(thermostat: str, pressure: float | None) -> None:
    leg = Leg(2500, 3.0, 500.0, pressure, every=10, thermostat=thermostat, barostat_ps=0.3)
    found = mean_of(series(leg, "temperature_K"))
    assert found.error < 15
    assert found.value == pytest.approx(500, abs=4 * found.error)


def test_volumes_are_those_of_ase() -> None:
    leg = Leg(800, 5.0, 400.0, 1.0, every=4, barostat_ps=0.2)
    _, _, *shown = both(crystal(), leg)
    mine, theirs = (mean_of([one.volume for one in some[50:]]) for some in shown)
    assert mine.value == pytest.approx(theirs.value, abs=4 * np.hypot(mine.error, theirs.error))
    assert theirs.error < 0.005 * theirs.value
    pressures = mean_of([one.pressure_GPa for one in shown[0][50:]])
    assert pressures.value == pytest.approx(1.0, abs=4 * pressures.error)


def test_a_ramp_ends_at_its_end() -> None:
    leg = Leg(3000, 2.0, (100.0, 900.0), every=10, thermostat_ps=0.05)
    found = series(leg, "temperature_K", cut=0).reshape(4, -1).mean(axis=1)
    np.testing.assert_allclose(found, [200, 400, 600, 800], rtol=0.12)


@pytest.mark.parametrize("thermostat", ["local", "global"])
def test_frozen_atoms_stay_and_the_others_have_the_temperature(thermostat: str) -> None:
    atoms = crystal()
    frozen = np.random.default_rng(0).permutation(len(atoms)) < 10
    shown: list[Snapshot] = []

    def watch(snapshot: Snapshot) -> bool:
        shown.append(snapshot)
        return False

    leg = Leg(2000, 3.0, 500.0, every=10, frozen=frozen, thermostat=thermostat)
    end = engine_of(aluminium()).run(atoms, leg, seed=2, watch=watch)
    assert apart(end[frozen], atoms[frozen]) < 1e-9
    assert apart(end, atoms) > 0.05
    np.testing.assert_array_equal(end.get_momenta()[frozen], 0.0)
    found = mean_of([one.temperature_K for one in shown[20:]])
    assert found.value == pytest.approx(500, abs=4 * found.error)
    assert found.error < 15


def test_a_seed_decides_everything_and_snapshots_change_nothing() -> None:
    engine = engine_of(aluminium())
    one, same, other = (
        engine.run(crystal(), Leg(40, 2.0, 500.0, 0.0, every=every), seed=seed)
        for seed, every in ((1, 40), (1, 7), (2, 40))
    )
    np.testing.assert_allclose(one.positions, same.positions, atol=1e-9)
    assert apart(one, other) > 1e-3


def test_what_is_not_periodic_runs_with_forces_of_lammps() -> None:
    atoms = crystal()
    atoms.center(vacuum=4.0)
    atoms.pbc = False
    mine, theirs, shown, _ = both(atoms, Leg(10, 2.0, 300.0, every=10))
    np.testing.assert_array_equal(mine.positions, theirs.positions)
    assert np.isnan(shown[0].pressure_GPa)


def test_other_masses_are_kept() -> None:
    atoms = crystal()
    atoms.set_masses(np.full(len(atoms), 54.0))
    mine, theirs, _, _ = both(atoms, Leg(10, 2.0, 300.0, every=10))
    np.testing.assert_array_equal(mine.get_masses(), 54.0)
    np.testing.assert_array_equal(mine.positions, theirs.positions)


def test_a_run_that_lammps_gives_up_is_lost_at_a_step() -> None:
    atoms = crystal()
    atoms.set_velocities(np.random.default_rng(0).normal(size=(len(atoms), 3)) * 40 / units.fs)
    with pytest.raises(MeasurementError, match=r"lost at step \d+: "):
        engine_of(aluminium()).run(atoms, Leg(100, 2.0), seed=1)


def test_what_lammps_cannot_evaluate_is_told_before_it_starts() -> None:
    atoms = bulk("Cu", cubic=True).repeat(2)
    with pytest.raises(MeasurementError, match="step 0: the structure holds Cu"):
        engine_of(aluminium()).run(atoms, Leg(10, 2.0), seed=1)


def test_langevin_dynamics_hold_the_temperature_of_velocities() -> None:
    """At the ends of steps; in their middle they are hotter, as configurations are."""
    temperature, step = 300.0, 10.0
    leg = Leg(500, step, temperature, thermostat_ps=0.2)
    engine = engine_of(aluminium())
    settled = engine.run(bulk("Al", cubic=True).repeat(5), leg, seed=1)
    ends: list[float] = []
    kicks: list[float] = []

    def watch(snapshot: Snapshot) -> bool:
        forces = aluminium().get_forces(snapshot.atoms) * step * units.fs / 2
        kicks.append(float(np.mean(forces**2) / snapshot.atoms.get_masses()[0] / units.kB))
        ends.append(snapshot.temperature_K)
        return False

    engine.run(
        settled, Leg(4000, step, temperature, thermostat_ps=0.2, every=40), seed=2, watch=watch
    )
    assert np.mean(ends) == pytest.approx(temperature, rel=0.02)
    assert np.mean(kicks) > 0.025 * temperature
