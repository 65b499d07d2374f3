"""A campaign ends when trajectories reach their full length and nobody in the committee objects."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_real_kinds import TEXT

from athanor.campaign import Campaign, CampaignConfig, run
from athanor.campaign.harvests import read_trace

MEASURES = ["energy", "force_max", "force_mean"]
STEPS = 40


def config(*, limit: float) -> CampaignConfig:
    tables: dict[str, Any] = tomllib.loads(TEXT)
    tables["potential"] = {"kind": "ensemble", "size": 3, "member": {"kind": "lj"}}
    tables["query"] = {
        "kind": "committee",
        "measure": MEASURES,
        "save": [limit / 2] * 3,
        "halt": [limit] * 3,
        "min_distance": 0.5,
    }
    tables["sample"]["density"] = {"end": [1.8, 2.6], "modulation": [0.0, 0.2]}
    tables["cycle"]["trajectories"] = 3
    tables["stop"] = {"untriggered_cycles": 2, "trigger": "save", "max_cycles": 3}
    return CampaignConfig.of(tables)


@pytest.mark.parametrize(("limit", "ends"), [(1e9, "untriggered"), (1e-9, "max_cycles")])
def test_full_length_without_a_trigger_ends_it(tmp_path: Path, limit: float, ends: str) -> None:
    state = run(config(limit=limit), tmp_path)
    assert state.stopped_by == ends
    campaign = Campaign(tmp_path)
    sampled = [one for cycle in campaign.cycles for one in cycle.trajectories]
    if ends == "untriggered":
        assert state.cycle == 2
        assert [(one.stopped_by, one.steps) for one in sampled] == [("completed", STEPS)] * 6
        traces = [
            read_trace(tmp_path / "artefacts" / done.task)
            for done in state.finished_tasks.values()
            if done.kind == "sample"
        ]
        # trajectories of one cycle differ, and so do their densities
        assert len({trace["density_g_per_cm3"][-1] for trace in traces}) == 6
        assert all(np.isfinite(trace["density_g_per_cm3"]).all() for trace in traces)
    else:
        assert {(one.stopped_by, one.steps) for one in sampled} == {("grade", 0)}
        assert state.labels_bought > 4
