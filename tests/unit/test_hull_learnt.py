"""The example of silver and palladium, smaller: a learnt hull is the oracle's, for few labels."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np

from athanor.calculator import calculator
from athanor.campaign import Campaign, CampaignConfig, run
from athanor.sample.enumeration import EnumerationStart
from athanor.validate.hull import ConvexHull

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "silver_palladium.toml"


def smaller() -> CampaignConfig:
    tables = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))
    tables["potential"].update(level=8, starts=1, steps=8)
    tables["start"].update(lattices=["fcc", "bcc"], max_atoms=4, scales=[0.97, 1.03], batch=58)
    tables["cycle"].update(initial=12, trajectories=2, labels=16)
    return CampaignConfig.of(tables)


def test_a_learnt_hull(tmp_path: Path) -> None:
    config = smaller()
    state = run(config, tmp_path / "campaign")
    assert state.stopped_by == "untriggered"
    assert isinstance(config.start, EnumerationStart)
    one = ConvexHull(enumeration=config.start, smax_GPa=0.05)
    oracle = config.oracle.build().calculator(workdir=tmp_path)
    learnt = calculator(Campaign(tmp_path / "campaign").load_potential())
    theirs, mine = (
        one.attempt(each, seed=0, workdir=tmp_path / str(number))
        for number, each in enumerate((oracle, learnt))
    )
    assert state.labels_bought < 0.1 * theirs.data["evaluations"]
    found = {q.name: q for q in one.joined(mine, theirs).quantities}
    shared = found["ground states shared with the reference"]
    assert shared.value == shared.reference
    assert shared.reference is not None
    assert shared.reference >= 2
    assert found["largest difference of the hulls"].value < 2
    apart = np.subtract(mine.data["formation"], theirs.data["formation"])
    assert np.median(np.abs(apart)) < 0.002
