"""A small campaign of the kinds that users have: Lennard-Jones learns from EMT by D-optimality."""

from __future__ import annotations

from pathlib import Path

from athanor.campaign import Campaign, CampaignConfig, run
from athanor.loading import load

TEXT = """
[campaign]
name = "lj-aluminium"
seed = 1
workers = 2

[potential]
kind = "lj"

[query]
kind = "doptimality"

[start]
kind = "disorder"
composition = "Al"
edges = [7.0, 9.0]

[sample]
kind = "md"
steps = 40

[oracle]
kind = "ase"
calculator = "emt"

[cycle]
initial = 4
trajectories = 2
labels = 3

[stop]
max_cycles = 1
"""


def test_a_campaign_file_as_users_write_it(tmp_path: Path) -> None:
    path, folder = tmp_path / "campaign.toml", tmp_path / "folder"
    path.write_text(TEXT, encoding="utf-8")
    state = run(CampaignConfig.read(path), folder)
    assert state.stopped_by == "max_cycles"
    campaign = Campaign(folder)
    assert campaign.source == TEXT
    assert [len(cycle.trajectories) for cycle in campaign.cycles] == [0, 2]
    training = campaign.training()
    assert len(training) + len(campaign.validation()) == state.labels_bought >= 4
    ours, exported = campaign.load_potential(), load(folder / "potential")
    a, b = (potential.predict(training.structures) for potential in (ours, exported))
    assert [one.energy for one in a] == [one.energy for one in b]
    assert campaign.status().as_dict()["stopped_by"] == "max_cycles"
    path.write_text(TEXT + f"max_labels = {state.labels_bought}\n", encoding="utf-8")
    assert run(CampaignConfig.read(path), folder).stopped_by == "max_labels"
    assert Campaign(folder).status().progress.max_labels == state.labels_bought
