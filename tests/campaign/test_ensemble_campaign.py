"""Campaigns of ensembles: by committee and by D-optimality, with members of two kinds."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from test_real_kinds import TEXT

from athanor.campaign import Campaign, CampaignConfig, run
from athanor.campaign.config import CHANGEABLE
from athanor.campaign.sections import changed_key
from athanor.errors import ConfigError
from athanor.loading import load
from athanor.potentials.ensemble import Ensemble, Spread

LJ = '{ kind = "lj" }'
MTP = '{ kind = "mtp", level = 4, radial_basis_size = 4, steps = 2, starts = 1, max_dist = 4.5 }'


def campaign(*, member: str, query: str) -> str:
    ensemble = f'[potential]\nkind = "ensemble"\nsize = 3\nmember = {member}\n'
    text = TEXT.replace('[potential]\nkind = "lj"\n', ensemble)
    return text.replace('[query]\nkind = "doptimality"\n', f"[query]\n{query}\n")


@pytest.mark.parametrize("member", [LJ, MTP], ids=["lj", "mtp"])
@pytest.mark.parametrize(
    "query",
    ['kind = "committee"', 'kind = "doptimality"'],
    ids=["committee", "doptimality"],
)
def test_a_campaign_runs_and_exports_its_ensemble(tmp_path: Path, member: str, query: str) -> None:
    path, folder = tmp_path / "campaign.toml", tmp_path / "folder"
    path.write_text(campaign(member=member, query=query), encoding="utf-8")
    state = run(CampaignConfig.read(path), folder)
    assert state.stopped_by == "max_cycles"
    assert state.labels_bought > 4
    potential = load(folder / "potential")
    assert isinstance(potential, Ensemble)
    assert len(potential.members) == 3
    training = Campaign(folder).training()
    (each,) = potential.predict_each(training.structures[:1])
    assert Spread.of(each).energy > 0


def test_a_committee_of_one_potential_is_refused_before_anything_runs() -> None:
    text = TEXT.replace('"doptimality"', '"committee"')
    with pytest.raises(ConfigError, match=r"needs ensemble, but .* 'lj' provides features"):
        CampaignConfig.of(tomllib.loads(text))


def test_another_member_is_another_campaign() -> None:
    text = campaign(member=LJ, query='kind = "committee"')
    changed = text.replace(LJ, '{ kind = "lj", cutoff = 5.0 }')
    one, two = (CampaignConfig.of(tomllib.loads(each)).as_dict() for each in (text, changed))
    assert changed_key(one, one, changeable=CHANGEABLE) is None
    assert (
        changed_key(one, two, changeable=CHANGEABLE)
        == "potential.member.cutoff was 6.0 and is now 5.0"
    )
