"""The example of the paper's pipeline: run with little of everything, and with its values."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from athanor.campaign import Campaign, CampaignConfig, run
from athanor.campaign.harvests import read_trace
from athanor.cli import main
from athanor.potentials.ani import AniPotential
from athanor.sample.disorder import DisorderStart
from athanor.sample.md import MDSampler

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "aluminium_ani.toml"
PAPER = re.compile(
    r"^(\w+) = [^#\n]*# [^\n]*?paper: (?:about )?(\[[^\]]*\]|\d[\d.,]*\d|\d)[^\n]*$", re.MULTILINE
)


def smaller() -> CampaignConfig:
    tables: dict[str, Any] = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))
    tables["potential"].update(size=4, max_epochs=8, refit_epochs=4, angular_cutoff=4.0)
    tables["start"]["edges"] = [6.5, 7.5]
    tables["sample"]["length_ps"] = 0.1
    tables["cycle"].update(initial=10, trajectories=3, labels=4)
    tables["stop"].update(max_cycles=1)
    heldout = tables["validate"][1]
    heldout["runs"] = [{"structure": "fcc", "temperature_K": 600.0, "frames": 5, "atoms": 32}]
    tables["validate"] = [heldout]
    return CampaignConfig.of(tables)


def test_the_pipeline_runs(tmp_path: Path) -> None:
    folder = tmp_path / "aluminium"
    state = run(smaller(), folder)
    assert state.stopped_by == "max_cycles"
    campaign = Campaign(folder)
    assert len(campaign.training()) + len(campaign.validation()) == state.labels_bought > 10
    potential = campaign.load_potential()
    assert isinstance(potential, AniPotential)
    assert len(potential.members) == 4
    judged = {quantity.name for result in campaign.properties for quantity in result.quantities}
    assert {"energy RMSE", "force RMSE"} <= judged
    sampled = [one for one in state.finished_tasks.values() if one.kind == "sample"]
    assert len(sampled) == 3
    for one in sampled:
        trace = read_trace(folder / "artefacts" / one.task)
        assert {"grade", "target_K", "density_g_per_cm3"} <= trace.keys()
    assert main(["report", str(folder), "--out", str(tmp_path / "report.html")]) == 0
    assert "aluminium" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_with_the_values_behind_paper_it_is_the_papers() -> None:
    """Comments are read as the values they give; section II.B of the paper has these."""
    text = EXAMPLE.read_text(encoding="utf-8")
    changed, count = PAPER.subn(lambda one: f"{one[1]} = {one[2].replace('6,352', '6352')}", text)
    assert count == 8
    config = CampaignConfig.of(tomllib.loads(changed))
    start, sample = config.start, config.sample
    assert isinstance(start, DisorderStart)
    assert isinstance(sample, MDSampler)
    assert (start.edges, start.density) == ((10.5, 17.0), (1.80, 4.05))
    assert start.min_distance == 1.8
    assert sample.planned == 250_000
    assert sample.max_saved == 0
    schedule = sample.schedule
    assert (schedule.start_K, schedule.end_K) == ((10.0, 1000.0), (10.0, 600.0))
    assert (schedule.modulation_K, schedule.period_ps) == ((0.0, 2000.0), (10.0, 50.0))
    assert config.cycle.initial == 400
    assert (config.stop.max_cycles, config.stop.max_labels) == (50, 6352)
