"""The examples on silica, run with little of everything."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from athanor.cli import main
from athanor.data.formats import read_frames
from athanor.distil import DistilConfig, Distillation, run

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SMALL: dict[str, dict[str, Any]] = {
    "silica_pool.toml": {"n_max": 2, "l_max": 2, "n_sparse": 20, "pair_n_sparse": 10},
    "silica_pool_mtp.toml": {"level": 4, "starts": 1, "steps": 3},
}


def smaller(name: str) -> DistilConfig:
    tables: dict[str, Any] = tomllib.loads((EXAMPLES / name).read_text(encoding="utf-8"))
    tables["pool"].update(
        atoms=12, temperatures_K=[3000, 300], plateau_ps=0.3, equilibration_ps=0.0, ramp_ps=0.1
    )
    tables["pool"].update(melt_ps=0.1, interval=10)
    tables["query"].update(basis="gto", n_max=2, l_max=2, cutoff=4.0, delta=0.5, max_clusters=4)
    tables["potential"].update(SMALL[name])
    tables["search"].update(trials=2, initial=1, later_trials=1)
    tables["cycle"]["fraction"] = 0.3
    tables["stop"].update(max_cycles=1, max_fraction=1.0)
    tables["compare"] = {"seeds": 2, "arms": ["clusters", "random"]}
    return DistilConfig.of(tables)


@pytest.mark.parametrize("name", SMALL)
def test_the_example_runs(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "silica"
    state = run(smaller(name), folder)
    assert state.stopped_by in ("max_cycles", "tolerance")
    told = json.loads((folder / "certificate.json").read_text())
    assert told["pool"]["groups"] == ["plateau 300 K", "plateau 3000 K", "ramp 3000-300 K"]
    whole = read_frames(folder / "pool.extxyz")
    assert len(whole) == told["pool"]["n"]
    assert {frame.atoms.get_chemical_formula("hill") for frame in whole} == {"O8Si4"}
    found = Distillation(folder)
    assert {one.arm for one in found.comparison} == {"clusters", "random"}
    assert all(one.errors is not None for one in found.comparison)
    assert main(["report", str(folder), "--out", str(tmp_path / "report.html")]) == 0


@pytest.mark.parametrize("name", SMALL)
def test_the_example_keeps_its_promises(name: str) -> None:
    config = DistilConfig.read(EXAMPLES / name)
    assert config.stop.energy_rmse_meV == 2.0
    assert config.stop.max_fraction == 0.15
    assert config.compare is not None
    assert config.query.deltas == tuple(round(0.1 * k, 1) for k in range(11))
    assert config.space is not None
