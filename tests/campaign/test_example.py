"""The example of the README, smaller: its targets are met from random disordered cells alone."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT

import athanor
from athanor.campaign import Campaign, CampaignConfig, run
from athanor.cli import main

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "aluminium.toml"


def smaller() -> CampaignConfig:
    tables = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))
    tables["sample"]["length_ps"] = 1.0
    tables["cycle"].update(initial=6, trajectories=4)
    tables["potential"].update(level=10)
    tables["stop"].update(max_cycles=4)
    runs = [
        {"structure": "fcc", "temperature_K": 600.0, "frames": 20, "atoms": 32},
        {"structure": "melt", "temperature_K": 1500.0, "frames": 20, "atoms": 32},
    ]
    for item in tables["validate"]:
        if item["kind"] == "heldout":
            item["runs"] = runs
    return CampaignConfig.of(tables)


def test_the_example_meets_its_targets(tmp_path: Path) -> None:
    folder = tmp_path / "aluminium"
    state = run(smaller(), folder)
    assert state.stopped_by in ("untriggered", "max_cycles")
    campaign = Campaign(folder)
    assert len(campaign.training()) + len(campaign.validation()) == state.labels_bought < 60
    judged = {
        quantity.name: quantity
        for result in campaign.properties
        for quantity in result.quantities
        if quantity.passed is not None
    }
    assert {"energy RMSE", "force RMSE", "fcc lattice constant"} <= judged.keys()
    assert all(quantity.passed for quantity in judged.values()), judged
    assert judged["energy RMSE"].value <= 5
    assert judged["force RMSE"].value <= 120
    assert main(["report", str(folder), "--out", str(tmp_path / "report.html")]) == 0
    assert "aluminium" in (tmp_path / "report.html").read_text(encoding="utf-8")
    # and once more without our own measuring: the potential through ASE against EMT
    potential = athanor.calculator(athanor.load(folder / "potential"))
    constants = np.linspace(3.9, 4.1, 21)
    minima = [
        float(constants[np.argmin([energy(a, calculator) for a in constants])])
        for calculator in (potential, EMT(asap_cutoff=True))
    ]
    assert abs(minima[0] - minima[1]) <= 0.021


def energy(a: float, calculator: object) -> float:
    atoms = bulk("Al", a=a)
    atoms.calc = calculator
    return float(atoms.get_potential_energy())
