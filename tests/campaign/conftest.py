"""A small campaign made of fakes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from athanor.campaign import CampaignConfig

PLUGIN = Path(__file__).parent / "plugin"

Make = Callable[..., CampaignConfig]


def tables(log: Path | None = None) -> dict[str, Any]:
    """The tables of a small campaign file."""
    oracle = {"kind": "tricky"} if log is None else {"kind": "tricky", "log": str(log)}
    return {
        "campaign": {"name": "small", "seed": 7, "workers": 1},
        "potential": {"kind": "fake", "size": 4},
        "query": {"kind": "hungry"},
        "start": {"kind": "crystal"},
        "sample": {"kind": "walk"},
        "oracle": oracle,
        "cycle": {"initial": 3, "trajectories": 2, "labels": 2, "valid_fraction": 0.3},
        "stop": {"untriggered_cycles": 1, "max_cycles": 2},
        "validate": [{"kind": "dimer"}],
    }


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have the fakes found, in this process and in its workers."""
    monkeypatch.syspath_prepend(str(PLUGIN))
    return PLUGIN


@pytest.fixture
def make(plugin: Path) -> Make:
    """Make a small campaign; keywords are sections whose keys replace the usual ones."""

    def made(*, log: Path | None = None, **sections: Any) -> CampaignConfig:
        found = tables(log)
        for name, keys in sections.items():
            new = isinstance(keys, list) or keys.get("kind") not in (None, found[name].get("kind"))
            found[name] = keys if new else {**found[name], **keys}
        return CampaignConfig.of(found)

    return made
