"""Heating and cooling, with a reference along the run."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.io import write
from ase.units import kB
from pydantic import ValidationError

from athanor.calculator import calculator
from athanor.errors import ConfigError
from athanor.oracle.lammps import LammpsOracleConfig
from athanor.potentials.lj import LennardJones
from athanor.structure import bare
from athanor.validate._along import Along, errors_of
from athanor.validate._start import structure_of
from athanor.validate.heating import Heating

ORACLE: dict[str, Any] = {
    "kind": "lammps",
    "pair_style": "eam/fs",
    "pair_coeff": ["* * Al_mm.eam.fs Al"],
    "species": ["Al"],
}
SHORT: dict[str, Any] = {
    "element": "Al",
    "lattice": "fcc",
    "atoms": 32,
    "timestep_fs": 4.0,
    "heating_ps": 10.0,
    "holding_ps": 1.0,
    "cooling_ps": 3.0,
    "high_K": 3000.0,
    "frames": 56,
}

QUICK = SHORT | {"frames": 14, "downhill_steps": 3, "heating_ps": 4.0}


@cache
def aluminium() -> Calculator:
    recipe = {key: value for key, value in ORACLE.items() if key != "kind"}
    return LammpsOracleConfig.parse(recipe, where="").build().calculator(workdir=Path())


def other() -> Calculator:
    """Aluminium of another level, roughly."""
    return calculator(LennardJones(frozenset({"Al"}), cutoff=6.0, epsilon=0.4, sigma=2.6))


def test_a_crystal_melts_and_its_order_goes(tmp_path: Path) -> None:
    item = Heating(**(SHORT | {"atoms": 108}))
    measured = item.attempt(aluminium(), seed=1, workdir=tmp_path)
    assert measured.failures == ()
    melting = measured.values[0]
    assert melting.name == "melts on heating at"
    # this potential melts at 926 K, and is overheated at 270 K/ps
    assert 1000 < melting.value < 2800
    order = {name: np.array(line.y) for name, line in measured.panels["Order"].lines.items()}
    assert set(order) == {"fcc", "hcp", "bcc", "other"}
    np.testing.assert_allclose(sum(order.values()), 1.0)
    assert order["fcc"][:10].min() > 0.95
    assert order["other"][30:44].min() > 0.6
    for name, line in order.items():
        value = measured.value(f"{name} fraction at the end")
        assert value is not None
        assert value.value == line[-1]
    # the heat of fusion is what a liquid has over the 3/2 kT of a crystal's potential energy
    energy, temperature = (
        np.array(measured.panels[title].lines[""].y) for title in ("Energy", "Temperature")
    )
    over = energy - 1.5 * kB * temperature
    assert over[36:44].mean() - over[:12].mean() > 0.08
    assert len(measured.data["frames"]) == 56


def test_a_reference_is_asked_along_the_run_and_makes_none(tmp_path: Path) -> None:
    item = Heating(**QUICK, tolerance={"energy MAE along the run": 1.0})
    result = item.measure(aluminium(), other(), seed=1, workdir=tmp_path)
    found = {one.name: one for one in result.quantities}
    energies = found["energy MAE along the run"]
    assert energies.is_error
    assert energies.passed is False
    assert energies.unit == "meV/atom"
    lines = result.curves["Energy"]["lines"]
    mine, theirs = (np.array(lines[who][""]["y"]) for who in ("potential", "reference"))
    assert energies.value == pytest.approx(1000 * np.abs(mine - theirs).mean())
    scatter = found["energy scatter along the run"]
    assert scatter.value == pytest.approx(1000 * (mine - theirs).std())
    assert set(result.curves["Order"]["lines"]) == {"potential"}
    for title, name, unit in (
        ("Mean force", "mean force MAE along the run", 1000.0),
        ("Pressure", "pressure MAE along the run", 1.0),
    ):
        lines = result.curves[title]["lines"]
        mine, theirs = (np.array(lines[who][""]["y"]) for who in ("potential", "reference"))
        assert found[name].value == pytest.approx(unit * np.abs(mine - theirs).mean())


def test_an_oracle_of_its_own_is_asked_alike(tmp_path: Path) -> None:
    item = Heating(**QUICK, oracle=ORACLE)
    measured = item.attempt(aluminium(), seed=1, workdir=tmp_path)
    for name in ("energy MAE", "energy scatter", "mean force MAE", "pressure MAE"):
        value = measured.value(f"{name} along the run")
        assert value is not None
        assert value.value == pytest.approx(0, abs=1e-6)
    lines = measured.panels["Energy"].lines
    np.testing.assert_allclose(lines["oracle"].y, lines[""].y)
    result = item.joined(measured, None)
    assert "energy MAE along the run" in {one.name for one in result.quantities}


def test_frames_are_kept_with_what_was_said_of_them(tmp_path: Path) -> None:
    item = Heating(**(QUICK | {"pressure_GPa": None}))
    measured = item.attempt(aluminium(), seed=1, workdir=tmp_path)
    frames = [structure_of(one) for one in measured.data["frames"]]
    volumes = [frame.get_volume() for frame in frames]
    np.testing.assert_allclose(volumes, volumes[0])
    along = Along.read(measured.data["along"])
    again = Along.of(along.times, frames, aluminium())
    np.testing.assert_allclose(along.energies, again.energies)
    np.testing.assert_allclose(along.forces, again.forces)
    np.testing.assert_allclose(along.pressures, again.pressures)
    assert all(one.value == 0 for one in errors_of(along, along))


def test_what_stays_solid_is_said(tmp_path: Path) -> None:
    item = Heating(**(QUICK | {"high_K": 400.0, "heating_ps": 2.0}))
    measured = item.attempt(aluminium(), seed=1, workdir=tmp_path)
    assert measured.notes == ("It did not melt up to 400 K at this rate.",)
    assert measured.value("melts on heating at") is None


def test_what_freezes_again_is_seen() -> None:
    item = Heating(**SHORT)
    times = np.arange(0.25, 14.1, 0.25)
    order = np.ones(len(times))
    # one frame alone is a fluctuation
    order[5] = 0.1
    order[(times > 6) & (times < 12.4)] = 0.1
    values, notes = item._transitions(times, order)
    assert notes == []
    # 300 K and 270 K/ps upwards, 3000 K from 11 ps and 900 K/ps downwards
    assert {one.name: one.value for one in values} == pytest.approx(
        {"melts on heating at": 300 + 270 * 6.25, "freezes on cooling at": 3000 - 900 * 1.5}
    )


def test_an_order_that_is_not_known_is_said(tmp_path: Path) -> None:
    cell = Atoms("Al", cell=[2.7, 2.7, 2.7], pbc=True).repeat(3)
    write(tmp_path / "simple.extxyz", cell)
    given = {key: value for key, value in SHORT.items() if key not in ("element", "lattice")}
    item = Heating(
        **(given | {"file": tmp_path / "simple.extxyz", "atoms": 27, "pressure_GPa": None})
    )
    values, notes = item._transitions(np.arange(10.0), np.zeros(10))
    assert values == []
    assert "only 0 % of the atoms are seen as fcc, hcp or bcc" in notes[0]
    assert item.start(aluminium()) == bare(cell)
    assert item.title == "Heating and cooling of simple"


def test_a_reference_that_fails_is_told_and_the_rest_is_there(tmp_path: Path) -> None:
    item = Heating(**QUICK)
    foreign = calculator(LennardJones(frozenset({"Cu"}), cutoff=6.0, epsilon=0.4, sigma=2.3))
    result = item.measure(aluminium(), foreign, seed=1, workdir=tmp_path)
    assert any("Reference: " in note and "Al" in note for note in result.notes)
    assert "melts on heating at" in {one.name for one in result.quantities}
    failed = item.measure(foreign, aluminium(), seed=1, workdir=tmp_path)
    assert [one.passed for one in failed.quantities] == [False]


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"high_K": 200.0}, ValidationError, "must be above low_K = 300"),
        ({"frames": 3}, ValidationError, "frames"),
        ({"oracle": {"kind": "lamps"}}, ConfigError, "there is no kind 'lamps'"),
        ({"oracle": {}}, ConfigError, "oracle of heating: give kind = one of"),
    ],
)
def test_what_cannot_be_is_refused(
    given: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        Heating(**(SHORT | given))
