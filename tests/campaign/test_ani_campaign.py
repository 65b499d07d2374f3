"""A small campaign of an ANI ensemble that samples its own weaknesses."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_real_kinds import TEXT

from athanor.campaign import Campaign, CampaignConfig, run
from athanor.loading import load
from athanor.potentials.ani import AniPotential
from athanor.potentials.ensemble import Spread

ANI = """[potential]
kind = "ani"
size = 2
layers = [8, 6]
radial_cutoff = 4.5
angular_cutoff = 3.5
n_radial = 6
n_shells = 2
n_angles = 2
max_epochs = 3
"""


@pytest.mark.parametrize("query", ["committee", "doptimality"])
def test_a_campaign_of_networks(tmp_path: Path, query: str) -> None:
    path, folder = tmp_path / "campaign.toml", tmp_path / "folder"
    text = TEXT.replace('[potential]\nkind = "lj"\n', ANI).replace("steps = 40", "steps = 10")
    text = text.replace("workers = 2", "workers = 1")
    path.write_text(text.replace('"doptimality"', f'"{query}"'), encoding="utf-8")
    state = run(CampaignConfig.read(path), folder)
    assert state.stopped_by == "max_cycles"
    assert state.labels_bought > 4
    potential = load(folder / "potential")
    assert isinstance(potential, AniPotential)
    assert len(potential.members) == 2
    (each,) = potential.predict_each(Campaign(folder).training().structures[:1])
    assert Spread.of(each).energy > 0
