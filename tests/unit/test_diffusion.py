"""Mean-square displacement and self-diffusion."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator
from pydantic import ValidationError

from athanor.oracle.lammps import LammpsOracleConfig
from athanor.testing.structures import rotation
from athanor.validate._displacement import mean_square_displacement, unwrapped
from athanor.validate.diffusion import Diffusion, Spread

MOLTEN: dict[str, Any] = {
    "element": "Ar",
    "lattice": "fcc",
    "atoms": 108,
    "timestep_fs": 10.0,
    "melt_temperature_K": 200.0,
    "melt_ps": 10.0,
    "pressure_GPa": 0.05,
    "interval_ps": 0.1,
}


@cache
def argon() -> Calculator:
    recipe = LammpsOracleConfig(
        pair_style="lj/cut 8.5", pair_coeff=("* * 0.0103 3.4",), species=("Ar",)
    )
    return recipe.build().calculator(workdir=Path())


def test_displacements_are_those_of_the_definition() -> None:
    positions = np.random.default_rng(0).normal(size=(23, 5, 3)).cumsum(axis=0)
    expected = [
        np.mean(((positions[lag:] - positions[: len(positions) - lag]) ** 2).sum(axis=2))
        for lag in range(12)
    ]
    np.testing.assert_allclose(
        mean_square_displacement(positions, longest=11), expected, atol=1e-10
    )


def test_a_random_walk_has_its_diffusion() -> None:
    """Steps of variance s² in each direction, one every 0.1 ps: D = s² / (2 * 0.1 ps)."""
    steps = np.random.default_rng(1).normal(scale=0.2, size=(5000, 60, 3))
    positions = steps.cumsum(axis=0)
    pieces = [mean_square_displacement(one, longest=20) for one in np.array_split(positions, 5)]
    value, error = Spread(0.1 * np.arange(21), np.array(pieces)).diffusion((0.5, 2.0))
    # 1 Å²/ps is 10 of the unit 1e-9 m²/s
    assert value == pytest.approx(10 * 0.2**2 / 0.2, abs=4 * error)
    assert error < 0.03 * value


@pytest.mark.parametrize("seed", range(3))
def test_wrapping_is_undone_and_a_drift_taken_out(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cell = (np.diag([6.0, 7.0, 8.0]) + rng.uniform(-1, 1, (3, 3))) @ rotation(rng)
    path = rng.normal(scale=0.4, size=(200, 7, 3)).cumsum(axis=0)
    masses = Atoms("AlSi3O3").get_masses()
    frames = []
    for number, positions in enumerate(path):
        atoms = Atoms("AlSi3O3", positions + 0.3 * number, cell=cell, pbc=True)
        atoms.wrap()
        frames.append(atoms)
    found = unwrapped(frames)
    centre = np.average(path, axis=1, weights=masses)
    expected = path - centre[:, None]
    np.testing.assert_allclose(found - found[0], expected - expected[0], atol=1e-9)


def test_liquid_argon_diffuses_as_a_lennard_jones_liquid(tmp_path: Path) -> None:
    """D* = 0.030 of 108 atoms at the density 0.8442 and the temperature 0.722 (0.033 of many)."""
    density = 0.8442 * 39.948 / 3.4**3 * 1.66054
    item = Diffusion(
        **(MOLTEN | {"interval_ps": 0.05}),
        temperatures_K=(0.722 * 0.0103 / 8.617333e-5,),
        density=density,
        sampling_ps=100.0,
        window_ps=(2.0, 6.0),
    )
    measured = item.attempt(argon(), seed=1, workdir=tmp_path)
    assert measured.failures == ()
    (found,) = measured.values
    assert found.name == "diffusion of Ar at 86.2982 K"
    assert found.unit == "1e-9 m²/s"
    # sigma sqrt(epsilon / m), in 1e-9 m²/s
    reduced = 3.4 * np.sqrt(0.0103 * 9648.533 / 39.948) * 10
    assert found.uncertainty is not None
    assert found.uncertainty < 0.12 * found.value
    assert found.value / reduced == pytest.approx(0.030, abs=3 * found.uncertainty / reduced)
    line = measured.panels["Mean-square displacement"].lines["Ar, 86.2982 K"]
    assert line.x[0] == line.y[0] == 0
    assert np.all(np.diff(line.y) > 0)


def test_it_is_faster_when_hotter_with_an_activation_energy(tmp_path: Path) -> None:
    item = Diffusion(
        **MOLTEN,
        temperatures_K=(100.0, 130.0, 170.0),
        sampling_ps=20.0,
        window_ps=(1.0, 3.0),
        blocks=4,
        density=1.3,
    )
    measured = item.attempt(argon(), seed=1, workdir=tmp_path)
    values = [one.value for one in measured.values[:3]]
    assert [one.name for one in measured.values[:3]] == [
        f"diffusion of Ar at {t} K" for t in (170, 130, 100)
    ]
    assert values == sorted(values, reverse=True)
    activation = measured.values[3]
    assert activation.name == "activation energy of Ar"
    kelvin = 8.617333e-5 * np.array([170, 130, 100])
    slope = np.polyfit(-1 / kelvin, np.log(values), 1)[0]
    assert activation.value == pytest.approx(slope, rel=1e-6)
    assert activation.unit == "eV"


def test_in_a_crystal_nothing_diffuses(tmp_path: Path) -> None:
    item = Diffusion(
        **(MOLTEN | {"melt_temperature_K": None}),
        temperatures_K=(30.0,),
        sampling_ps=20.0,
        window_ps=(1.0, 3.0),
        blocks=4,
    )
    measured = item.attempt(argon(), seed=1, workdir=tmp_path)
    (found,) = measured.values
    assert abs(found.value) < 0.02
    assert measured.failures == ()
    assert "30 K: it is no liquid, its atoms went" in measured.notes[0]
    assert "100 % are fcc" in measured.notes[0]


def test_what_freezes_is_a_failure_where_a_liquid_is_asked_for(tmp_path: Path) -> None:
    item = Diffusion(
        **MOLTEN, temperatures_K=(5.0,), sampling_ps=20.0, window_ps=(1.0, 3.0), blocks=4
    )
    measured = item.attempt(argon(), seed=1, workdir=tmp_path)
    assert measured.values == ()
    assert measured.failures[0].startswith("5 K: it is no liquid")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"window_ps": (3.0, 1.0)}, r"must be \[shorter, longer\] lags"),
        ({"window_ps": (1.0, 1.15)}, "holds fewer than three lags"),
        ({"sampling_ps": 10.0}, "too short for lags of 4 ps; sample 30 ps or more"),
        ({"temperatures_K": ()}, "temperatures_K"),
    ],
)
def test_what_cannot_give_a_slope_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Diffusion(**(MOLTEN | {"temperatures_K": (100.0,)} | given))
