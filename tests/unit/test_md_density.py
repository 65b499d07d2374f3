"""Dynamics in a cell whose density follows a schedule."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from scripted import ARGON, COLD, Scripted, crystal, ran

from athanor.errors import ConfigError
from athanor.sample._density import GRAM_PER_CM3
from athanor.sample.md import MDSampler


def density(atoms: Atoms) -> float:
    return float(atoms.get_masses().sum() / atoms.get_volume() / GRAM_PER_CM3)


def test_density_is_led_from_the_start_to_the_end_and_told() -> None:
    query = Scripted([3.0])
    table = {"end": [2.0, 2.0]}
    harvest = ran(query, density=table, save_every=1, max_saved=99, relax_steps=5)
    begin = density(crystal())
    found = [density(atoms) for atoms in harvest.structures]
    assert found == pytest.approx([begin, *np.linspace(begin, 2.0, 11)], rel=1e-12)
    assert harvest.trace["density_g_per_cm3"] == pytest.approx(found, rel=1e-12)
    assert harvest.reasons[-1].endswith(" K, 2.00 g/cm³")
    told = ran(query, density={"start": [1.5, 1.5], **table}, save_every=1, max_saved=99)
    assert density(told.structures[0]) == pytest.approx(1.5, rel=1e-12)


def test_without_a_density_the_same_seed_gives_the_same_temperatures() -> None:
    """What the density is drawn from comes after what was drawn before there was one."""
    keys = {"schedule": {"start_K": [10, 500], "period_ps": [0.01, 0.1]}}
    plain, led = (
        ran(Scripted([1.0]), **keys, **more) for more in ({}, {"density": {"end": [2, 3]}})
    )
    assert plain.trace["target_K"].tobytes() == led.trace["target_K"].tobytes()
    assert "density_g_per_cm3" not in plain.trace


def test_compression_beyond_reason_ends_at_the_distance() -> None:
    harvest = ran(Scripted([1.0]), density={"end": [30.0, 30.0]}, check_every=2, min_distance=2.6)
    assert harvest.stopped_by == "distance"
    assert len(harvest.structures) == 3


@pytest.mark.parametrize("pbc", [False, [True, True, False]])
def test_what_is_not_periodic_has_no_density(pbc: object) -> None:
    start = crystal()
    start.pbc = pbc
    with pytest.raises(
        ConfigError, match="Ar32 is not periodic in all three directions, so it has"
    ):
        ran(Scripted([1.0]), start=start, density={"end": [2.0, 2.0]})
    assert ran(Scripted([1.0]), start=start).stopped_by == "completed"


def test_labels_are_of_the_cell_that_moves() -> None:
    """A single atom at the origin stays where it is while its images come nearer."""
    atom = bulk("Ar", "fcc", a=5.3)
    keys = {"start": atom, "density": {"end": [2.5, 2.5]}, "schedule": {**COLD}}
    trace = ran(Scripted([1.0]), **keys).trace
    for at, energy in zip(trace["density_g_per_cm3"], trace["energy_eV"], strict=True):
        a = 5.3 * (density(atom) / at) ** (1 / 3)
        assert energy == pytest.approx(ARGON.predict([bulk("Ar", "fcc", a=a)])[0].energy, rel=1e-6)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"start": [1, 2]}, "the key 'density.end' is missing"),
        ({"end": [1, 2], "stop": [1, 2]}, "unknown key 'density.stop'"),
        ({"end": [2, 1]}, "density.end: the range .* is upside down"),
    ],
)
def test_wrong_densities(table: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        MDSampler.parse({"steps": 5, "density": table}, where="[sample]")
