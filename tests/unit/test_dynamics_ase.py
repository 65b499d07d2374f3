"""Dynamics of any ASE calculator."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT

from athanor.calculator import calculator
from athanor.dynamics import Leg, Snapshot, engine_of, mean_of
from athanor.dynamics._ase import AseEngine
from athanor.dynamics._piston import Piston
from athanor.errors import ConfigError, MeasurementError, OracleError
from athanor.potentials.lj import LennardJones

ARGON = LennardJones(frozenset({"Ar"}), cutoff=7.0, epsilon=0.0104, sigma=3.4)


class Free(Calculator):
    """Atoms that do not see each other."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces", "stress"]

    def calculate(
        self, atoms: Any = None, properties: Any = (), system_changes: Any = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        zero = np.zeros((len(self.atoms), 3))
        self.results = {"energy": 0.0, "forces": zero, "stress": np.zeros(6)}


class Springs(Free):
    """Each atom on a spring of 2 eV/Å² to where it began; no stress."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, sites: np.ndarray) -> None:
        super().__init__()
        self.sites = sites

    def calculate(
        self, atoms: Any = None, properties: Any = (), system_changes: Any = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        off = self.atoms.positions - self.sites
        self.results = {"energy": float((off**2).sum()), "forces": -2 * off}


class Refusing(Free):
    """Gives up after some steps."""

    def calculate(
        self, atoms: Any = None, properties: Any = (), system_changes: Any = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        if self.atoms.positions[0, 0] > 1.0:
            raise OracleError("it gave up")


def argon(seed: int = 0, repeat: int = 2) -> Atoms:
    atoms = bulk("Ar", "fcc", a=5.4, cubic=True).repeat(repeat)
    atoms.rattle(0.05, rng=np.random.default_rng(seed))
    return atoms


def run(atoms: Atoms, calc: Calculator, leg: Leg, seed: int = 1) -> tuple[Atoms, list[Snapshot]]:
    shown: list[Snapshot] = []

    def watch(snapshot: Snapshot) -> bool:
        shown.append(snapshot)
        return False

    return engine_of(calc).run(atoms, leg, seed=seed, watch=watch), shown


def energies(shown: list[Snapshot]) -> np.ndarray:
    return np.array([one.energy + one.atoms.get_kinetic_energy() for one in shown])


def column(shown: list[Snapshot], name: str) -> np.ndarray:
    return np.array([getattr(one, name) for one in shown])


def gas(count: int, seed: int = 0) -> Atoms:
    rng = np.random.default_rng(seed)
    return Atoms(f"Ar{count}", rng.uniform(0, 250, (count, 3)), cell=[250] * 3, pbc=True)


def test_energy_is_conserved_to_the_square_of_the_step() -> None:
    calc = calculator(ARGON)
    start, _ = run(argon(), calc, Leg(50, 4.0, 60.0))
    drifts = []
    for timestep in (8.0, 4.0):
        _, shown = run(start, calc, Leg(int(400 / timestep), timestep, every=int(16 / timestep)))
        drifts.append(energies(shown).std())
    assert drifts[1] < 1e-4 * start.get_kinetic_energy()
    assert drifts[0] / drifts[1] == pytest.approx(4, rel=0.2)


def test_a_leg_can_be_cut_in_two() -> None:
    calc = calculator(ARGON)
    start, _ = run(argon(), calc, Leg(20, 4.0, 60.0))
    whole, _ = run(start, calc, Leg(30, 4.0))
    half, _ = run(start, calc, Leg(15, 4.0))
    ended, _ = run(half, calc, Leg(15, 4.0))
    np.testing.assert_allclose(ended.get_momenta(), whole.get_momenta(), atol=1e-10)
    np.testing.assert_allclose(ended.positions, whole.positions, atol=1e-10)


def test_a_harmonic_crystal_has_the_canonical_energies() -> None:
    """3N/2 kT of potential and of kinetic energy, the variance of each 3N/2 (kT)²."""
    atoms = bulk("Cu", cubic=True)
    leg = Leg(4000, 4.0, 500.0, every=8, thermostat_ps=0.05)
    _, shown = run(atoms, Springs(atoms.positions.copy()), leg)
    potential, half = column(shown[50:], "energy"), 3 * len(atoms) / 2
    heat = units.kB * 500
    kinetic, mean = mean_of(column(shown[50:], "temperature_K")), mean_of(potential)
    assert kinetic.value == pytest.approx(500, abs=4 * kinetic.error)
    assert mean.value == pytest.approx(half * heat, abs=4 * mean.error)
    assert mean.error < 0.05 * mean.value
    assert potential.std() == pytest.approx(np.sqrt(half) * heat, rel=0.15)


def test_rescaled_velocities_have_the_canonical_spread() -> None:
    """The total momentum stays zero, so 3N - 3 degrees of freedom share the heat."""
    atoms = gas(9)
    leg = Leg(2000, 4.0, 500.0, every=4, thermostat="global", thermostat_ps=0.02)
    end, shown = run(atoms, Free(), leg)
    found = mean_of(column(shown, "temperature_K"))
    assert found.value == pytest.approx(500, abs=4 * found.error)
    assert found.error < 15
    spread = 500 * np.sqrt(2 / (3 * 9 - 3))
    assert column(shown, "temperature_K").std() == pytest.approx(spread, rel=0.15)
    np.testing.assert_allclose(end.get_momenta().sum(axis=0), 0, atol=1e-9)


@pytest.mark.parametrize("axes", ["iso", "z"])
def test_an_ideal_gas_has_the_volumes_of_its_ensemble(axes: str) -> None:
    """V^N exp(-PV/kT): the mean is (N + 1) kT/P, the variance (N + 1) (kT/P)²."""
    count, temperature = 8, 300.0
    atoms = gas(count)
    pressure = count * units.kB * temperature / atoms.get_volume()
    leg = Leg(
        3000,
        20.0,
        temperature,
        pressure / units.GPa,
        axes=axes,
        every=5,
        thermostat_ps=0.05,
        barostat_ps=0.1,
    )
    end, shown = run(atoms, Free(), leg)
    volumes = column(shown, "volume") * pressure / (units.kB * temperature)
    mean = mean_of(volumes)
    assert mean.error < 0.4
    assert mean.value == pytest.approx(count + 1, abs=3 * mean.error)
    assert volumes.std() == pytest.approx(np.sqrt(count + 1), rel=0.15)
    temperatures = mean_of(column(shown, "temperature_K"))
    assert temperatures.value == pytest.approx(temperature, abs=4 * temperatures.error)
    lengths = end.cell.lengths()
    if axes == "z":
        np.testing.assert_array_equal(lengths[:2], 250.0)
    else:
        np.testing.assert_allclose(lengths, lengths[0])


@pytest.mark.parametrize("axes", ["iso", "aniso", "z"])
def test_enthalpy_is_conserved_without_a_thermostat(axes: str) -> None:
    calc = calculator(ARGON)
    moving, _ = run(argon(), calc, Leg(100, 4.0, 50.0))
    moving.calc = calc
    pressure = 0.1
    start = moving.cell.lengths()
    leg = Leg(200, 4.0, None, pressure, axes=axes, barostat_ps=0.5)
    piston = Piston(moving, leg, np.random.default_rng(0))
    work, enthalpy = [], []
    for _ in range(leg.steps):
        piston.step()
        work.append(pressure * units.GPa * moving.get_volume())
        own = np.sum(np.square(piston.p_eps)) / (2 * piston.barostat_mass)
        enthalpy.append(moving.get_total_energy() + work[-1] + own)
    assert np.std(work) > 5e-3
    assert np.ptp(enthalpy) < 0.02 * np.ptp(work)
    moved = np.abs(moving.cell.lengths() - start) > 1e-3
    assert moved.tolist() == [axes != "z", axes != "z", True]


def test_a_ramp_ends_at_its_end() -> None:
    atoms = bulk("Cu", cubic=True).repeat(2)
    for thermostat in ("local", "global"):
        leg = Leg(4000, 4.0, (100.0, 900.0), every=10, thermostat=thermostat, thermostat_ps=0.05)
        _, shown = run(atoms, Springs(atoms.positions.copy()), leg)
        found = column(shown, "temperature_K").reshape(4, -1).mean(axis=1)
        np.testing.assert_allclose(found, [200, 400, 600, 800], rtol=0.15)


def test_frozen_atoms_stay_and_the_others_have_the_temperature() -> None:
    calc = calculator(ARGON)
    atoms = argon()
    frozen = np.arange(len(atoms)) < 10
    for thermostat in ("local", "global"):
        leg = Leg(500, 8.0, 40.0, every=5, frozen=frozen, thermostat=thermostat, thermostat_ps=0.1)
        end, shown = run(atoms, calc, leg)
        off = end.get_scaled_positions() - atoms.get_scaled_positions()
        moved = np.abs(off - np.round(off)).max(axis=1)
        assert moved[frozen].max() < 1e-12
        assert moved[~frozen].min() > 1e-4
        np.testing.assert_array_equal(end.get_momenta()[frozen], 0.0)
        found = mean_of(column(shown[10:], "temperature_K"))
        assert found.value == pytest.approx(40, abs=4 * found.error)
        assert found.error < 3


def test_a_seed_decides_everything_and_the_start_is_left_alone() -> None:
    calc, atoms = calculator(ARGON), argon()
    before = atoms.copy()
    leg = Leg(30, 4.0, 60.0, 0.0, every=10)
    (one, shown), (same, again), (other, _) = (run(atoms, calc, leg, s) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.positions, same.positions)
    np.testing.assert_array_equal(one.get_momenta(), same.get_momenta())
    assert np.abs(one.positions - other.positions).max() > 1e-3
    assert atoms == before
    assert not atoms.has("momenta")
    assert one.calc is None
    assert [one.step for one in shown] == [10, 20, 30]
    assert shown[-1].time_ps == pytest.approx(0.12)
    assert shown[-1].volume == pytest.approx(one.get_volume())
    assert [s.energy for s in shown] == [s.energy for s in again]


def test_drawn_velocities_have_the_temperature_and_no_drift() -> None:
    atoms = argon(repeat=5)
    end, _ = run(atoms, Free(), Leg(0, 1.0, 300.0))
    np.testing.assert_allclose(end.get_momenta().sum(axis=0), 0, atol=1e-9)
    assert end.get_temperature() == pytest.approx(300, rel=0.1)
    rest, _ = run(atoms, Free(), Leg(3, 1.0))
    np.testing.assert_array_equal(rest.get_momenta(), 0.0)


def test_a_watch_ends_the_leg() -> None:
    shown: list[int] = []

    def watch(snapshot: Snapshot) -> bool:
        shown.append(snapshot.step)
        return snapshot.step >= 20

    AseEngine(calculator(ARGON)).run(argon(), Leg(100, 4.0, 60.0, every=10), seed=1, watch=watch)
    assert shown == [10, 20]


def test_the_pressure_of_a_snapshot_is_that_of_the_ideal_gas() -> None:
    atoms = gas(50)
    _, shown = run(atoms, Free(), Leg(200, 10.0, 300.0, every=20, thermostat_ps=0.1))
    ideal = 50 * units.kB * column(shown, "temperature_K") / atoms.get_volume() / units.GPa
    np.testing.assert_allclose(column(shown, "pressure_GPa"), ideal)
    springs = bulk("Cu", cubic=True)
    _, shown = run(springs, Springs(springs.positions.copy()), Leg(2, 1.0, 300.0, every=1))
    assert np.isnan(column(shown, "pressure_GPa")).all()


def test_a_run_that_explodes_is_lost_at_a_step() -> None:
    atoms = argon()
    atoms.positions[1] = atoms.positions[0] + [1.0, 0, 0]
    with pytest.raises(MeasurementError, match=r"lost at step \d+: .*(exploded|finite|Å)"):
        run(atoms, calculator(ARGON), Leg(200, 10.0, 60.0))


def test_atoms_on_top_of_each_other_end_a_run() -> None:
    atoms = gas(2)
    atoms.positions[1] = atoms.positions[0] + [0.2, 0, 0]
    with pytest.raises(MeasurementError, match=r"step 10: two atoms are 0\.20 Å from each other"):
        run(atoms, Free(), Leg(10, 1.0))


def test_a_liquid_that_boils_is_lost() -> None:
    with pytest.raises(MeasurementError, match=r"volume became .* so the structure flies apart"):
        run(argon(), calculator(ARGON), Leg(5000, 10.0, 1000.0, 0.0, barostat_ps=0.2))


def test_a_crystal_that_is_crushed_is_lost() -> None:
    with pytest.raises(MeasurementError, match="so the structure collapses"):
        run(gas(8), Free(), Leg(5000, 10.0, 300.0, 1.0, barostat_ps=0.2))


def test_what_the_calculator_says_is_said_with_the_step() -> None:
    atoms = Atoms("Ar", positions=[[0.5, 0.0, 0.0]], cell=[9, 9, 9], pbc=True)
    atoms.set_velocities([[0.03, 0, 0]])
    with pytest.raises(MeasurementError, match=r"lost at step \d+: it gave up"):
        run(atoms, Refusing(), Leg(500, 1.0))


def test_a_barostat_needs_a_stress() -> None:
    atoms = bulk("Cu", cubic=True)
    with pytest.raises(MeasurementError, match="has no stress, which a barostat needs"):
        run(atoms, Springs(atoms.positions.copy()), Leg(5, 1.0, 300.0, 0.0))


@pytest.mark.parametrize(
    ("leg", "words"),
    [
        ({"pressure_GPa": 0.0, "axes": "z"}, "needs cell vectors along x, y and z"),
        ({"frozen": np.zeros(3, bool)}, r"has shape \(3,\), the structure 4 atoms"),
    ],
)
def test_a_leg_that_does_not_fit_the_structure_is_refused(leg: dict[str, Any], words: str) -> None:
    atoms = bulk("Cu").repeat((2, 2, 1))
    with pytest.raises(ConfigError, match=words):
        run(atoms, EMT(), Leg(5, 1.0, 300.0, **leg))


def test_what_is_not_periodic_has_no_pressure() -> None:
    atoms = Atoms("Cu2", [[0, 0, 0], [2.5, 0, 0]])
    with pytest.raises(ConfigError, match="periodic in all three directions"):
        run(atoms, EMT(), Leg(5, 1.0, 300.0, 0.0))
    end, shown = run(atoms, EMT(), Leg(5, 1.0, 300.0, every=5))
    assert np.isnan(shown[0].pressure_GPa)
    assert not end.pbc.any()


def test_what_is_at_rest_cannot_be_rescaled() -> None:
    atoms = argon()
    atoms.set_momenta(np.zeros((len(atoms), 3)))
    with pytest.raises(ConfigError, match="velocities of zero cannot be rescaled"):
        run(atoms, calculator(ARGON), Leg(5, 1.0, 300.0, thermostat="global"))


@pytest.mark.parametrize(
    ("leg", "words"),
    [
        ({"steps": -1}, "give at least 0 and 1"),
        ({"steps": 5, "every": 0}, "give at least 0 and 1"),
        ({"steps": 5, "timestep_fs": 0.0}, "must be above zero"),
        ({"steps": 5, "barostat_ps": -1.0}, "must be above zero"),
        ({"steps": 5, "temperature_K": (300.0, 0.0)}, "a temperature above 0 K"),
    ],
)
def test_a_leg_that_makes_no_sense_is_refused(leg: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Leg(**leg)


def test_langevin_dynamics_hold_the_temperature_of_configurations() -> None:
    """Velocities at the ends of steps are colder by (omega dt / 2)^2: exact for springs."""
    atoms = bulk("Al", a=8.0, cubic=True).repeat(8)
    springs, step, temperature = Springs(atoms.positions.copy()), 25.0, 300.0
    square = 2 * (step * units.fs) ** 2 / atoms.get_masses()[0]
    off: list[float] = []
    cold: list[float] = []

    def watch(snapshot: Snapshot) -> bool:
        off.append(2 * snapshot.energy / (3 * len(atoms) * units.kB))
        cold.append(snapshot.temperature_K)
        return False

    leg = Leg(600, step, temperature, thermostat_ps=0.2, every=4)
    AseEngine(springs).run(atoms, leg, seed=1, watch=watch)
    off, cold = off[50:], cold[50:]
    assert np.mean(off) == pytest.approx(temperature, rel=0.02)
    assert np.mean(cold) == pytest.approx(temperature * (1 - square / 4), rel=0.02)
    assert square / 4 > 0.1
