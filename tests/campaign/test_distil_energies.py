"""Distillations of a pool with energies alone: for recipes that take them, refused by others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ase.io import read, write
from distilled_cases import EACH, GROUPS, write_pool

import athanor
from athanor.cli import main
from athanor.data.formats import read_frames
from athanor.distil import DistilConfig, Distillation, run
from athanor.errors import ConfigError

TEXT = """
[campaign]
seed = 3
workers = 1
[pool]
kind = "file"
path = "energies.extxyz"
[query]
kind = "clustering"
cutoff = 4.0
n_max = 2
l_max = 2
basis = "gto"
delta = 0.5
max_clusters = 6
[potential]
KIND
[cycle]
fraction = 0.3
[stop]
max_cycles = 1
"""
GAP = """kind = "gap"
cutoff = 4.0
n_max = 2
l_max = 1
n_sparse = 10
pair_cutoff = 4.5
pair_n_sparse = 8"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    frames = read(write_pool(tmp_path / "pool.extxyz"), ":")
    for atoms in frames:
        energy = atoms.get_potential_energy()
        atoms.calc = None
        atoms.info["energy"] = energy
    write("energies.extxyz", frames)
    (tmp_path / "gap.toml").write_text(TEXT.replace("KIND", GAP))
    (tmp_path / "lj.toml").write_text(TEXT.replace("KIND", 'kind = "lj"'))
    return tmp_path


def test_energies_are_enough_where_the_recipe_says_so(home: Path) -> None:
    assert main(["run", "gap.toml"]) in (0, 2)
    found = Distillation("gap.athanor")
    (cycle,) = found.cycles
    assert cycle.test["energy_rmse"] is not None
    assert cycle.test["forces_rmse"] is None
    parity = found.parity()
    assert parity is not None
    assert len(parity.energy) == round(0.2 * EACH * len(GROUPS))
    assert len(parity.forces) == len(parity.forces_predicted) == 0
    # what is handed over is read again, and has no forces that are none
    chosen = read_frames("gap.athanor/selected.extxyz", forces_optional=True)
    assert not any(frame.labels.has_forces for frame in chosen)
    assert "nan" not in Path("gap.athanor/selected.extxyz").read_text(encoding="utf-8").lower()
    assert json.loads(Path("gap.athanor/certificate.json").read_text())["errors"]["test"]
    assert athanor.load("gap.athanor/potential").elements == {"Al"}


def test_others_refuse_before_anything_is_computed(home: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"frame 0 of energies\.extxyz has an energy and no forces"
    ):
        run(DistilConfig.read("lj.toml"), "lj.athanor")
    assert not Distillation("lj.athanor").state.finished_tasks


def test_a_file_that_is_not_there_is_said_once(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "energies.extxyz").unlink()
    assert main(["run", "gap.toml"]) == 1
    err = capsys.readouterr().err
    assert err.count("[pool]") == 1
    assert f"there is no file {home / 'energies.extxyz'}" in err
    assert not (home / "gap.athanor").exists()
