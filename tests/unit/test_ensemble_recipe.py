"""The recipe of an ensemble: nested recipes, and what a misspelt one is told."""

from __future__ import annotations

from typing import Any

import pytest

from athanor.component import choose
from athanor.errors import ConfigError
from athanor.potentials import PotentialConfig
from athanor.potentials.ensemble import EnsembleConfig


@pytest.mark.parametrize(
    ("member", "words"),
    [
        ({"kind": "mtp", "levle": 8}, r"member: kind 'mtp': unknown key 'levle' .*'level'"),
        ({"kind": "mpt"}, "member: kind 'mpt': there is no kind 'mpt' .*'mtp'"),
        ({"level": 8}, "member: this table: give kind = one of"),
        ({"kind": "mtp", "level": 99}, "member: kind 'mtp': level = 99 is not allowed"),
        ({"kind": "ensemble", "member": {"kind": "lj"}}, "'ensemble' is an ensemble by itself"),
        ("mtp", "member = 'mtp' is not allowed"),
    ],
)
def test_a_misspelt_member_is_refused_in_one_sentence(member: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=r"^\[potential\]: .*" + words):
        choose(
            "athanor.potentials",
            PotentialConfig,
            {"kind": "ensemble", "member": member},
            where="[potential]",
        )


def test_misspelt_keys_of_the_ensemble_itself() -> None:
    for table, words in (
        ({"member": {"kind": "lj"}, "sise": 4}, "unknown key 'sise' .*'size'"),
        ({"member": {"kind": "lj"}, "resample": "boot"}, "resample = 'boot' is not allowed"),
        ({"member": {"kind": "lj"}, "size": 1}, "size = 1 is not allowed"),
        ({}, "the key 'member' is missing"),
    ):
        with pytest.raises(ConfigError, match=words):
            EnsembleConfig.parse(table, where="[potential]")


def test_the_keys_of_the_member_are_part_of_the_recipe() -> None:
    """Another member is another campaign: its keys must be in what a campaign compares."""
    one = EnsembleConfig.parse({"member": {"kind": "mtp", "level": 8}}, where="")
    dumped = one.model_dump(mode="json")
    assert dumped["member"]["kind"] == "mtp"
    assert dumped["member"]["level"] == 8
    assert EnsembleConfig.parse(dumped, where="") == one
