"""The oracle's units and signs are checked before anything is bought, when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from athanor.campaign import Campaign, CampaignConfig, run
from athanor.errors import AthanorError
from athanor.testing.fakes import calls

Make = Callable[..., CampaignConfig]


def test_a_sound_oracle_is_checked_once(make: Make, tmp_path: Path) -> None:
    log = tmp_path / "log"
    config = make(log=log, oracle={"selfcheck": True})
    state = run(config, tmp_path / "folder")
    assert state.stopped_by == "max_cycles"
    assert len(calls(log)) == state.labels_bought + 9
    assert run(config, tmp_path / "folder") == state
    assert len(calls(log)) == state.labels_bought + 9


def test_wrong_units_end_it_before_anything_is_bought(make: Make, tmp_path: Path) -> None:
    config = make(oracle={"selfcheck": True, "trick": "hartree"})
    with pytest.raises(AthanorError, match=r"cannot be trusted.*hartree"):
        run(config, tmp_path / "folder")
    assert Campaign(tmp_path / "folder").state.labels_bought == 0


def test_what_the_reference_alone_decides_is_kept(make: Make, tmp_path: Path) -> None:
    """A property's folder depends on the reference and the property, not on the potential."""
    folder = tmp_path / "folder"
    run(make(stop={"max_cycles": 1, "untriggered_cycles": None}), folder)
    first = sorted(path.name for path in (folder / "references").iterdir())
    run(make(stop={"max_cycles": 2, "untriggered_cycles": None}), folder)
    assert sorted(path.name for path in (folder / "references").iterdir()) == first
    assert len(first) == 1
