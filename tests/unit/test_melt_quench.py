"""Melt-quench cycles by a schedule."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.calculators.calculator import Calculator
from ase.io import read
from pydantic import ValidationError

from athanor.errors import ConfigError, FormatError
from athanor.oracle.lammps import LammpsOracleConfig
from athanor.sample._density import density_of
from athanor.validate import _driven
from athanor.validate._cna import crystal_fractions
from athanor.validate._start import structure_of
from athanor.validate.melt_quench import MeltQuench, Stage

ALUMINIUM: dict[str, Any] = {"element": "Al", "lattice": "fcc", "atoms": 108, "timestep_fs": 3.0}
STAGES = (
    {"temperature_K": 2500.0, "ps": 3.0, "pressure_GPa": 0.0},
    {"temperature_K": 2500.0, "to_K": 300.0, "rate_K_per_ps": 1100.0, "pressure_GPa": 0.0},
    {"temperature_K": 300.0, "ps": 3.0, "pressure_GPa": 0.0},
)
SCHEDULE = """
[[stage]]
temperature_K = 2500.0
ps = 3.0
pressure_GPa = 0.0

[[stage]]
temperature_K = 2500.0
to_K = 300.0
rate_K_per_ps = 1100.0
pressure_GPa = 0.0

[[stage]]
temperature_K = 300.0
ps = 3.0
pressure_GPa = 0.0
"""


@cache
def aluminium() -> Calculator:
    recipe = LammpsOracleConfig(
        pair_style="eam/fs", pair_coeff=("* * Al_mm.eam.fs Al",), species=("Al",)
    )
    return recipe.build().calculator(workdir=Path())


def test_a_quench_gives_a_glass_with_its_density_and_energy(tmp_path: Path) -> None:
    item = MeltQuench(**ALUMINIUM, stages=STAGES)
    start = item.start(aluminium())
    measured = item.attempt(aluminium(), seed=1, workdir=tmp_path)
    assert measured.failures == ()
    density, energy, crystalline = measured.values
    assert (density.name, density.unit) == ("density at the end", "g/cm³")
    assert (energy.name, energy.unit) == ("energy at the end", "eV/atom")
    assert crystalline.name == "crystalline fraction at the end"
    # a glass is less dense and higher in energy than the crystal, by some tenths of an eV at most
    assert 0.85 * density_of(start) < density.value < density_of(start)
    cold = aluminium().get_potential_energy(start) / len(start)
    assert 0.05 < energy.value - cold < 0.3
    assert density.uncertainty is not None
    assert 0 < density.uncertainty < 0.02 * density.value
    assert crystalline.value < 0.5
    (end,) = (structure_of(one) for one in measured.data["structures"])
    written = read(tmp_path / "structures.extxyz")
    np.testing.assert_array_equal(written.positions, end.positions)
    assert crystalline.value == pytest.approx(1 - crystal_fractions(end)["other"])
    assert density_of(end) == pytest.approx(density.value, rel=0.02)


def test_the_panels_follow_the_schedule(tmp_path: Path) -> None:
    item = MeltQuench(**(ALUMINIUM | {"atoms": 32}), stages=STAGES, cycles=2)
    measured = item.attempt(aluminium(), seed=1, workdir=tmp_path)
    assert set(measured.panels) == {"Temperature", "Energy", "Pressure", "Density"}
    line = measured.panels["Temperature"].lines[""]
    times, temperatures = np.array(line.x), np.array(line.y)
    assert times[-1] == pytest.approx(16.0, abs=0.1)
    assert np.all(np.diff(times) > 0)
    hot, cold = (times > 1) & (times < 3), (times > 6) & (times < 8)
    assert temperatures[hot].mean() == pytest.approx(2500, rel=0.1)
    assert temperatures[cold].mean() == pytest.approx(300, rel=0.1)
    assert temperatures[(times > 9) & (times < 11)].mean() == pytest.approx(2500, rel=0.1)
    assert [one.name for one in measured.values][::3] == [
        "density after cycle 1",
        "density after cycle 2",
    ]
    assert len(measured.data["structures"]) == 2


def test_a_schedule_file_is_the_same_as_its_stages(tmp_path: Path) -> None:
    path = tmp_path / "schedule.toml"
    path.write_text(SCHEDULE, encoding="utf-8")
    stages = MeltQuench(**ALUMINIUM, stages=STAGES)
    file = MeltQuench(**ALUMINIUM, schedule=path)
    assert file.plan == stages.plan
    assert file.identity == stages.identity
    assert [one.length_ps for one in file.plan] == [3.0, 2.0, 3.0]
    assert [one.name for one in file.plan] == ["2500 K", "2500 to 300 K", "300 K"]
    path.write_text(SCHEDULE.replace("1100", "2200"), encoding="utf-8")
    assert MeltQuench(**ALUMINIUM, schedule=path).identity != file.identity


def test_a_density_is_kept_through_its_stages(tmp_path: Path) -> None:
    stages = (
        {"temperature_K": 2000.0, "ps": 0.3, "density": 2.2},
        {"temperature_K": 2000.0, "to_K": 1000.0, "ps": 0.3},
    )
    item = MeltQuench(**(ALUMINIUM | {"atoms": 32}), stages=stages)
    measured = item.attempt(aluminium(), seed=1, workdir=tmp_path)
    np.testing.assert_allclose(measured.panels["Density"].lines[""].y, 2.2)
    density, energy = measured.values[:2]
    assert density.value == pytest.approx(2.2)
    # the end of a ramp is one place, not a mean
    assert density.uncertainty is energy.uncertainty is None


def test_a_run_that_was_killed_goes_on_to_the_same_structure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_driven, "PIECE", 100)
    stages = ({"temperature_K": 2000.0, "to_K": 300.0, "ps": 1.5},)
    item = MeltQuench(**(ALUMINIUM | {"atoms": 32}), stages=stages)
    whole = item.attempt(aluminium(), seed=2, workdir=tmp_path / "whole")

    def killed(share: float, words: str) -> None:
        if share > 0.5:
            raise KeyboardInterrupt

    (tmp_path / "part").mkdir()
    with pytest.raises(KeyboardInterrupt):
        item.alone(aluminium(), seed=2, workdir=tmp_path / "part", tell=killed)
    kept = len([*(tmp_path / "part").glob("leg-*.npz")])
    assert 0 < kept < 5
    again = item.attempt(aluminium(), seed=2, workdir=tmp_path / "part")
    assert again == whole


def test_a_run_that_is_lost_says_where(tmp_path: Path) -> None:
    stages = ({"temperature_K": 90_000.0, "ps": 3.0, "pressure_GPa": 0.0},)
    item = MeltQuench(**(ALUMINIUM | {"atoms": 32}), stages=stages)
    measured = item.attempt(aluminium(), seed=2, workdir=tmp_path)
    assert measured.values == ()
    assert measured.failures[0].startswith("90000 K, cycle 1: the dynamics are lost at step")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stage = ", "it is no TOML"),
        ("", "the key 'stage' is missing"),
        ("[[stage]]\ntemperature_K = 300.0\n", "give ps, or rate_K_per_ps"),
        ("[[stage]]\ntemperature_K = 300.0\nps = 1.0\nrate = 1\n", "unknown key"),
    ],
)
def test_a_file_that_is_no_schedule_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "schedule.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=words):
        MeltQuench(**ALUMINIUM, schedule=path).plan  # noqa: B018 - reading it is what raises


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be read"):
        MeltQuench(**ALUMINIUM, schedule=tmp_path / "none.toml").plan  # noqa: B018 - as above


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ({"temperature_K": 300.0}, "give ps, or rate_K_per_ps of a ramp"),
        ({"temperature_K": 300.0, "ps": 1.0, "rate_K_per_ps": 1.0}, "a stage has a length"),
        ({"temperature_K": 300.0, "rate_K_per_ps": 1.0}, "give to_K, another temperature"),
        (
            {"temperature_K": 300.0, "ps": 1.0, "density": 2.0, "pressure_GPa": 0.0},
            "a density or a pressure, not both",
        ),
    ],
)
def test_a_stage_that_makes_no_sense_is_refused(stage: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Stage(**stage)


@pytest.mark.parametrize("given", [{}, {"stages": STAGES, "schedule": "file.toml"}])
def test_there_is_one_schedule(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="give stages, or a schedule file, and not both"):
        MeltQuench(**ALUMINIUM, **given)
