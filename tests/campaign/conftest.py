"""A small campaign made of fakes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_campaign import PLUGIN, tables

from athanor.campaign import CampaignConfig

Make = Callable[..., CampaignConfig]


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
