"""Density by dynamics at constant pressure."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.calculators.calculator import Calculator
from ase.io import write
from pydantic import ValidationError

from athanor.data.durable import make_folder
from athanor.dynamics import Leg, Snapshot, engine_of, mean_of
from athanor.errors import ConfigError
from athanor.oracle.lammps import LammpsOracleConfig
from athanor.sample._density import density_of
from athanor.validate import _driven
from athanor.validate._course import to_density
from athanor.validate._displacement import stirring
from athanor.validate.density import Density

ARGON: dict[str, Any] = {"element": "Ar", "lattice": "fcc", "atoms": 108, "timestep_fs": 10.0}


@cache
def argon() -> Calculator:
    recipe = LammpsOracleConfig(
        pair_style="lj/cut 8.5", pair_coeff=("* * 0.0103 3.4",), species=("Ar",)
    )
    return recipe.build().calculator(workdir=Path())


def liquid(**others: Any) -> Density:
    given = {
        "temperatures_K": (110.0,),
        "melt_temperature_K": 200.0,
        "melt_ps": 10.0,
        "pressure_GPa": 0.05,
        "sampling_ps": 20.0,
        "interval_ps": 0.1,
    }
    return Density(**(ARGON | given | others))


def test_the_pressure_at_that_density_is_the_pressure_asked_for(tmp_path: Path) -> None:
    measured = liquid().attempt(argon(), seed=1, workdir=tmp_path)
    assert measured.failures == ()
    (density,) = measured.values
    assert density.name == "density at 110 K"
    assert density.uncertainty is not None
    assert 0 < density.uncertainty < 0.02 * density.value
    # the same liquid at constant volume, from another start
    start = to_density(liquid().start(argon()), density.value)
    hot = engine_of(argon()).run(start, Leg(1000, 10.0, 250.0), seed=7)
    cool = engine_of(argon()).run(hot, Leg(1000, 10.0, (250.0, 110.0)), seed=8)
    shown: list[Snapshot] = []

    def watch(snapshot: Snapshot) -> bool:
        shown.append(snapshot)
        return False

    engine_of(argon()).run(cool, Leg(3000, 10.0, 110.0, every=10), seed=9, watch=watch)
    assert stirring([one.atoms for one in shown]) > 0.5
    pressure = mean_of([one.pressure_GPa for one in shown])
    # one standard deviation of the density is one in pressure by the bulk modulus, here 0.6 GPa
    error = np.hypot(pressure.error, 0.6 * density.uncertainty / density.value)
    assert pressure.value == pytest.approx(0.05, abs=4 * error)
    assert error < 0.02


def test_liquids_expand_and_the_expansion_is_the_slope(tmp_path: Path) -> None:
    item = liquid(temperatures_K=(100.0, 120.0, 140.0), sampling_ps=10.0)
    measured = item.attempt(argon(), seed=2, workdir=tmp_path)
    names = [f"density at {temperature} K" for temperature in (140, 120, 100)]
    assert [one.name for one in measured.values] == [*names, "thermal expansion"]
    values = [one.value for one in measured.values[:3]]
    assert values == sorted(values)
    slope = np.polyfit([140, 120, 100], values, 1)[0]
    expansion = measured.values[3]
    assert expansion.value == pytest.approx(-1e6 * slope / np.mean(values))
    assert expansion.value > 3 * (expansion.uncertainty or np.inf)
    line = measured.panels["Density"].lines[""]
    assert line.x == (100.0, 120.0, 140.0)
    assert line.y == tuple(reversed(values))


def test_a_run_that_was_killed_goes_on_to_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_driven, "PIECE", 200)
    item = liquid(sampling_ps=4.0, melt_ps=5.0, equilibration_ps=1.0)
    whole = item.attempt(argon(), seed=3, workdir=tmp_path / "whole")
    told: list[float] = []

    def killed(share: float, words: str) -> None:
        told.append(share)
        if share > 0.7:
            raise KeyboardInterrupt

    make_folder(tmp_path / "part")
    with pytest.raises(KeyboardInterrupt):
        item.alone(argon(), seed=3, workdir=tmp_path / "part", tell=killed)
    first = len(told)
    again = item.attempt(
        argon(), seed=3, workdir=tmp_path / "part", tell=lambda share, words: told.append(share)
    )
    assert again.values == whole.values
    # of what was there nothing was run again
    assert min(told[first:]) > 0.5
    assert told[-1] == pytest.approx(1.0)


def test_what_does_not_melt_is_a_failure_with_the_reason(tmp_path: Path) -> None:
    item = liquid(melt_temperature_K=20.0, melt_ps=4.0)
    measured = item.attempt(argon(), seed=1, workdir=tmp_path)
    assert measured.values == ()
    (failure,) = measured.failures
    assert "melting at 20 K: it is no liquid" in failure
    assert "100 % are fcc; give a higher melt_temperature_K" in failure


def test_what_boils_is_a_failure_and_the_rest_is_measured(tmp_path: Path) -> None:
    item = liquid(temperatures_K=(110.0, 3000.0), sampling_ps=10.0)
    measured = item.attempt(argon(), seed=1, workdir=tmp_path)
    assert [one.name for one in measured.values] == ["density at 110 K"]
    (failure,) = measured.failures
    assert failure.startswith("3000 K: the dynamics are lost at step")
    assert "flies apart" in failure


def test_a_crystal_is_measured_where_nothing_is_molten(tmp_path: Path) -> None:
    item = liquid(
        temperatures_K=(20.0,), melt_temperature_K=None, pressure_GPa=0.0, sampling_ps=4.0
    )
    measured = item.attempt(argon(), seed=1, workdir=tmp_path)
    cold = density_of(item.start(argon()))
    assert measured.failures == ()
    # solid argon expands by some per cent up to a quarter of its melting point
    assert 0.95 * cold < measured.values[0].value < cold
    assert item.title == "Density of fcc Ar at 0 GPa"


def test_a_file_is_a_start(tmp_path: Path) -> None:
    atoms = liquid().start(argon())
    write(tmp_path / "one.extxyz", atoms)
    item = Density(file=tmp_path / "one.extxyz", temperatures_K=(100.0,))
    assert len(item.start(argon())) == 108
    item = Density(file=tmp_path / "one.extxyz", temperatures_K=(100.0,), atoms=900)
    assert len(item.start(argon())) == 864
    assert Density(file=tmp_path / "one.extxyz", temperatures_K=(1.0,), atoms=9).start(
        argon()
    ).positions == pytest.approx(atoms.positions)
    write(tmp_path / "two.extxyz", [atoms, atoms])
    item = Density(file=tmp_path / "two.extxyz", temperatures_K=(100.0,))
    with pytest.raises(ConfigError, match="holds 2 structures, dynamics start from one"):
        item.start(argon())


@pytest.mark.parametrize("temperatures", [(), (0.0,), (-5.0,)])
def test_temperatures_are_above_zero(temperatures: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError, match="temperatures_K"):
        liquid(temperatures_K=temperatures)
