"""The active-learning set: a campaign from random disordered cells, the teacher as its oracle."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from athanor.campaign.config import CampaignConfig
from athanor.campaign.folder import Campaign
from athanor.campaign.progress import Progress
from athanor.campaign.runner import run
from athanor.data.dataset import Dataset
from athanor.structure import Frame
from teacher.settings import Settings

PAPER_LENGTH_PS = 250.0
TELL_EVERY = 60.0
"""Seconds between two lines."""


def config_of(settings: Settings, teacher: Path, *, workers: int, hours: float) -> CampaignConfig:
    """Section II.B of the paper within the budget: cells, schedules, committee, stop."""
    scale = settings.length_ps / PAPER_LENGTH_PS
    recipe = settings.recipe(settings.initial)
    return CampaignConfig.of(
        {
            "campaign": {"name": "aluminium by teacher", "seed": settings.seed, "workers": workers},
            "potential": recipe.model_dump(mode="json"),
            "query": settings.query(),
            "start": {
                "kind": "disorder",
                "composition": "Al",
                "edges": [settings.shortest, settings.longest],
            },
            "sample": {
                "kind": "md",
                "length_ps": settings.length_ps,
                "schedule": {"period_ps": [10.0 * scale, 50.0 * scale]},
            },
            "oracle": {"kind": "potential", "path": str(teacher)},
            "cycle": {
                "initial": settings.initial,
                "trajectories": settings.trajectories,
                "labels": settings.per_cycle,
                "valid_fraction": 0.1,
            },
            "stop": {"max_labels": settings.labels, "max_hours": hours},
        }
    )


def bought(config: CampaignConfig, folder: Path) -> Dataset:
    """Run the campaign, or go on with it; every label in the order in which they were asked for."""
    teller = _Teller()
    run(config, folder, progress=teller)
    campaign = Campaign(folder)
    purchases = sorted(campaign.purchases, key=lambda one: (one.cycle, one.task))
    frames: Sequence[Frame] = [campaign.frame(one.task) for one in purchases]
    return Dataset.of(frames, where="the campaign")


def history(folder: Path) -> list[dict[str, object]]:
    """What each cycle was like: labels, trajectories, why they ended, errors on the new labels."""
    rows = []
    for cycle in Campaign(folder).cycles:
        ends = [one.stopped_by for one in cycle.trajectories]
        rows.append(
            {
                "cycle": cycle.number,
                "labels": len(cycle.labels),
                "mean_atoms": sum(one.n_atoms for one in cycle.labels) / max(len(cycle.labels), 1),
                "ends": {end: ends.count(end) for end in sorted(set(ends))},
                "survival": sum(one.survival for one in cycle.trajectories) / max(len(ends), 1),
                "errors_on_new": None if cycle.errors is None else dict(cycle.errors),
                "seconds": dict(cycle.seconds),
            }
        )
    return rows


class _Teller:
    """A line about the campaign now and then."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, now: Progress) -> None:
        if time.monotonic() - self._last < TELL_EVERY:
            return
        self._last = time.monotonic()
        lived = now.survival[1]
        share = f", lived {100 * sum(lived) / len(lived):.0f} %" if lived else ""
        print(
            f"campaign: cycle {now.cycle}, {now.phase} {now.done}/{now.planned}, "
            f"{now.labels} labels{share}, {now.elapsed_s / 60:.0f} min",
            flush=True,
        )
