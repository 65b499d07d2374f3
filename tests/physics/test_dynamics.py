"""Dynamics keep what they must: the thermostat its temperature, Newton's equations the energy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.md.verlet import VelocityVerlet

from athanor.calculator import calculator
from athanor.potentials.lj import LennardJones
from athanor.query import Grade
from athanor.sample._velocities import thermalise
from athanor.sample.md import MDSampler

ARGON = LennardJones(frozenset({"Ar"}), cutoff=6.5, epsilon=0.0104, sigma=3.4)


class Trusting:
    """A query that never minds."""

    def grade(self, structures: Sequence[Atoms]) -> list[Grade]:
        return [Grade(0.0, None, "keep") for _ in structures]

    def select(self, pool, grades, budget, rng) -> list[int]:  # type: ignore[no-untyped-def]  # unused
        return []


def crystal() -> Atoms:
    return bulk("Ar", "fcc", a=5.3, cubic=True).repeat(2)


def standard_error(values: np.ndarray) -> float:
    """Of the mean of a correlated series, from the means of 16 blocks."""
    blocks = values[: len(values) // 16 * 16].reshape(16, -1).mean(axis=1)
    return float(blocks.std(ddof=1) / np.sqrt(16))


@pytest.mark.parametrize("target", [20.0, 60.0])
def test_langevin_keeps_the_temperature(target: float) -> None:
    fixed = {"start_K": [target] * 2, "end_K": [target] * 2, "modulation_K": [0, 0]}
    sampler = MDSampler.parse(
        {
            "steps": 6000,
            "timestep_fs": 4.0,
            "friction_per_ps": 5.0,
            "schedule": fixed,
            "relax_steps": 0,
            "min_distance": 0.0,
        },
        where="[sample]",
    )
    harvest = sampler.run(crystal(), ARGON, Trusting(), seed=1, workdir=Path())
    assert harvest.stopped_by == "completed"
    # the first 2 ps bring a perfect crystal to its temperature
    settled = harvest.trace["temperature_K"][50:]
    assert settled.mean() == pytest.approx(target, abs=5 * standard_error(settled))
    # and the canonical ensemble fixes the fluctuations: var T = 2 T² / 3N
    assert settled.std() == pytest.approx(target * np.sqrt(2 / 96), rel=0.2)


def test_the_thermostat_follows_the_schedule() -> None:
    ramp = {"start_K": [10, 10], "end_K": [80, 80], "modulation_K": [0, 0]}
    sampler = MDSampler(
        steps=3000, timestep_fs=4.0, schedule=ramp, friction_per_ps=20.0, relax_steps=0
    )
    trace = sampler.run(crystal(), ARGON, Trusting(), seed=2, workdir=Path()).trace
    slope, _ = np.polyfit(trace["target_K"][30:], trace["temperature_K"][30:], 1)
    assert slope == pytest.approx(1.0, abs=0.15)


def test_energy_is_conserved_to_second_order_in_the_timestep() -> None:
    def drift(timestep_fs: float) -> float:
        atoms = crystal()
        thermalise(atoms, 40.0, np.random.default_rng(3))
        atoms.calc = calculator(ARGON)
        dynamics = VelocityVerlet(atoms, timestep_fs * units.fs)
        energies = []
        for _ in range(20):
            dynamics.run(round(40 / timestep_fs))
            energies.append(atoms.get_total_energy())
        return float(np.ptp(energies))

    coarse, fine = drift(10.0), drift(5.0)
    assert fine < 2e-3
    assert coarse / fine == pytest.approx(4.0, rel=0.4)


def test_momenta_are_maxwells_with_no_drift() -> None:
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True).repeat(6)
    thermalise(atoms, 500.0, np.random.default_rng(4))
    assert np.abs(atoms.get_momenta().sum(axis=0)).max() < 1e-9
    # 3N - 3 degrees of freedom share the energy, by element as well
    n = len(atoms)
    assert atoms.get_temperature() == pytest.approx(500, abs=5 * 500 * np.sqrt(2 / (3 * n)))
    for symbol in ("Na", "Cl"):
        one = atoms[atoms.symbols == symbol]
        assert one.get_temperature() == pytest.approx(
            500, abs=5 * 500 * np.sqrt(2 / (3 * len(one)))
        )
    lonely = Atoms("Ar")
    thermalise(lonely, 300.0, np.random.default_rng(5))
    assert np.abs(lonely.get_momenta()).max() == 0.0
