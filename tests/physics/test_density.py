"""A cell whose density follows a schedule is a piston: it does the work that a piston does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk

from athanor.potentials.lj import LennardJones
from athanor.query import Grade
from athanor.sample import Harvest
from athanor.sample.md import MDSampler

ARGON = LennardJones(frozenset({"Ar"}), cutoff=6.5, epsilon=0.0104, sigma=3.4)
NOTHING = LennardJones(frozenset({"Ar"}), cutoff=6.5, epsilon=1e-30, sigma=3.4)
ALONE = 1e-9  # 1/ps: no heat comes from the thermostat


@dataclass
class Keeping:
    """Wants every frame, so that all of them come home."""

    seen: list[Atoms] = field(default_factory=list)

    def grade(self, structures: Sequence[Atoms]) -> list[Grade]:
        self.seen += [atoms.copy() for atoms in structures]
        return [Grade(1.0, None, "save") for _ in structures]

    def select(self, pool, grades, budget, rng) -> list[int]:  # type: ignore[no-untyped-def]  # unused
        return []


def ran(
    potential: LennardJones, density: dict, *, steps: int = 600, seed: int = 1, **keys: object
) -> tuple[Harvest, list[Atoms]]:
    warm = {"start_K": [60, 60], "end_K": [60, 60], "modulation_K": [0, 0]}
    table = {
        "steps": steps,
        "timestep_fs": 2.0,
        "friction_per_ps": ALONE,
        "schedule": warm,
        "relax_steps": 0,
        "min_distance": 0.0,
        "check_every": 2,
        "max_saved": 1000,
        "density": density,
        **keys,
    }
    query = Keeping()
    start = bulk("Ar", "fcc", a=5.5, cubic=True).repeat(2)
    sampler = MDSampler.parse(table, where="[sample]")
    harvest = sampler.run(start, potential, query, seed=seed, workdir=Path())
    assert harvest.stopped_by == "completed"
    return harvest, query.seen


def density(atoms: Atoms) -> float:
    return float(atoms.get_masses().sum() / atoms.get_volume() * 1e24 / units.mol)


def test_density_is_what_the_schedule_says() -> None:
    table = {"end": [2.2, 2.2], "modulation": [0.3, 0.3], "period_ps": [0.7, 0.7]}
    harvest, frames = ran(ARGON, table)
    found = np.array([density(atoms) for atoms in frames])
    t = harvest.trace["time_fs"]
    begin = density(bulk("Ar", "fcc", a=5.5))
    expected = begin + t / 1200 * (2.2 - begin) + 0.3 * np.sin(np.pi * t / 700) ** 2
    # the trace says the same, and only grams and moles are units of the test's own
    np.testing.assert_allclose(harvest.trace["density_g_per_cm3"], expected, rtol=1e-6)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    shape = frames[-1].cell.array / frames[-1].cell.array[0, 0]
    np.testing.assert_allclose(shape, np.eye(3), atol=1e-12)


@pytest.mark.parametrize("end", [0.4, 3.0])
def test_an_ideal_gas_keeps_temperature_over_density_to_two_thirds(end: float) -> None:
    table = {"end": [end, end], "modulation": [0.2, 0.2], "period_ps": [0.5, 0.5]}
    trace = ran(NOTHING, table)[0].trace
    constant = trace["temperature_K"] / trace["density_g_per_cm3"] ** (2 / 3)
    np.testing.assert_allclose(constant, constant[0], rtol=1e-4)
    assert not np.allclose(trace["temperature_K"], trace["temperature_K"][0], rtol=0.3)


@pytest.mark.parametrize("end", [1.3, 2.0])
def test_energy_changes_by_the_work_of_the_pressure(end: float) -> None:
    """dE = -P dV with the kinetic and the virial pressure, no heat exchanged."""
    harvest, frames = ran(ARGON, {"end": [end, end]}, steps=800)
    kinetic = 1.5 * len(frames[0]) * units.kB * harvest.trace["temperature_K"]
    volume = np.array([atoms.get_volume() for atoms in frames])
    stress = np.array([np.trace(one.stress) / 3 for one in ARGON.predict(frames)])
    pressure = 2 * kinetic / (3 * volume) - stress
    work = -np.concatenate([[0.0], np.cumsum(np.diff(volume) * (pressure[1:] + pressure[:-1]) / 2)])
    energy = kinetic + harvest.trace["energy_eV"]
    assert abs(work[-1]) > 0.05
    np.testing.assert_allclose(energy - energy[0], work, atol=0.01 * np.abs(work).max())


def test_a_thermostat_takes_the_heat_out() -> None:
    trace = ran(NOTHING, {"end": [3.0, 3.0]}, friction_per_ps=50.0, steps=2000)[0].trace
    assert trace["temperature_K"][200:].mean() == pytest.approx(60.0, rel=0.1)
