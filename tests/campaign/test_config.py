"""Campaign files: every mistake is one sentence, before anything runs."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_campaign import tables

from athanor.campaign import CampaignConfig
from athanor.campaign.config import CHANGEABLE
from athanor.campaign.sections import changed_key
from athanor.errors import ConfigError, FormatError

TEXT = """
[campaign]
name = "grün"
seed = 3

[potential]
kind = "fake"

[query]
kind = "hungry"

[start]
kind = "crystal"

[sample]
kind = "walk"
steps = 4

[oracle]
kind = "tricky"

[cycle]
initial = 3
trajectories = 2
labels = 2

[stop]
max_cycles = 1

[[validate]]
kind = "dimer"

[[validate]]
kind = "dimer"
distance = 3.0
"""


def test_read(plugin: Path, tmp_path: Path) -> None:
    path = tmp_path / "campaign.toml"
    path.write_text(TEXT, encoding="utf-8")
    config = CampaignConfig.read(path)
    assert (config.campaign.name, config.campaign.seed, config.campaign.workers) == ("grün", 3, 2)
    assert config.cycle.valid_fraction == 0.1
    assert [item.as_tuple() for item in map(Kinds, config.validate)] == [
        ("dimer", 2.8),
        ("dimer", 3),
    ]
    assert config.source == TEXT
    assert pickle.loads(pickle.dumps(config)) == config
    assert CampaignConfig.of(json.loads(json.dumps(config.as_dict()))) == config


class Kinds:
    """The two fields of a dimer."""

    def __init__(self, item: Any) -> None:
        self.item = item

    def as_tuple(self) -> tuple[str, float]:
        return self.item.kind, self.item.distance


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.pop("oracle"), r"the section \[oracle\] is missing"),
        (lambda t: t.update(cicle={}), r"unknown section \[cicle\] \(did you mean 'cycle'\?\)"),
        (lambda t: t.update(cycle=3), r"cycle is to be a section \[cycle\], found 3"),
        (lambda t: t["sample"].update(stepz=3), r"\[sample\]: unknown key 'stepz' \(did you mean"),
        (lambda t: t["stop"].update(max_cycle=3), r"\[stop\]: unknown key 'max_cycle' \(did you"),
        (lambda t: t["campaign"].update(workers=0), r"\[campaign\]: workers = 0 is not allowed"),
        (lambda t: t["campaign"].update(name=""), r"\[campaign\]: name = '' is not allowed"),
        (lambda t: t["cycle"].update(labels=0), r"\[cycle\]: labels = 0 is not allowed"),
        (lambda t: t["cycle"].update(valid_fraction=1), r"\[cycle\]: valid_fraction = 1 is not"),
        (lambda t: t["cycle"].pop("initial"), r"\[cycle\]: the key 'initial' is missing"),
        (lambda t: t["stop"].pop("max_cycles"), r"\[stop\]: .*give at least one of max_cycles"),
        (lambda t: t["potential"].update(kind="fale"), r"no kind 'fale' \(did you mean 'fake'\?\)"),
        (lambda t: t["start"].update(kind="walk"), r"\[start\]: there is no kind 'walk'"),
        (lambda t: t["query"].pop("kind"), r"\[query\]: give kind = one of"),
        (
            lambda t: t.update(validate={"kind": "dimer"}),
            r"each property as a section \[\[validate",
        ),
        (lambda t: t["validate"].append({"kind": "x"}), r"\[\[validate\]\] number 2: there is no"),
        (
            lambda t: t["query"].update(kind="choosy"),
            r"\[query\] kind = 'choosy' needs variance, but \[potential\] kind = 'fake' provides",
        ),
    ],
)
def test_mistakes(plugin: Path, change: Callable[[dict[str, Any]], Any], says: str) -> None:
    table = tables()
    change(table)
    with pytest.raises(ConfigError, match=says) as caught:
        CampaignConfig.of(table, where="here.toml")
    assert str(caught.value).startswith("here.toml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "line", "says"),
    [
        (b"[campaign]\nname = \n", 2, "not TOML"),
        (b"[campaign]\n\n[campaign\n", 3, "not TOML"),
        (b'[campaign]\nname = "a', 2, "not TOML"),
        (b"\xff\xfe\x00", None, "not UTF-8"),
    ],
)
def test_bad_toml(tmp_path: Path, data: bytes, line: int | None, says: str) -> None:
    path = tmp_path / "campaign.toml"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=says) as caught:
        CampaignConfig.read(path)
    assert caught.value.line == line


def test_unreadable(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.toml", tmp_path):
        with pytest.raises(FormatError, match="cannot be read"):
            CampaignConfig.read(path)


def test_what_may_change(make: Callable[..., CampaignConfig]) -> None:
    old = make().as_dict()
    same = make(campaign={"workers": 5, "name": "b"}, stop={"max_labels": 9}, validate=[])
    assert changed_key(old, same.as_dict(), changeable=CHANGEABLE) is None
    assert (
        changed_key(old, make(sample={"steps": 9}).as_dict(), changeable=CHANGEABLE)
        == "sample.steps was 5 and is now 9"
    )
    assert changed_key(old, make(campaign={"seed": 1}).as_dict(), changeable=CHANGEABLE) == (
        "campaign.seed was 7 and is now 1"
    )
