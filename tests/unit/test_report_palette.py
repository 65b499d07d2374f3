"""Colours and numbers of a distillation's report, and which page is shown."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from distilled_cases import GROUPS

from athanor.distil.verdict import Verdict
from athanor.report import report_of
from athanor.report.distilled.page import interval, probability
from athanor.report.distilled.palette import colours, group_colours


def test_colours_differ() -> None:
    for count in (1, 12, 60):
        assert len(set(colours(count))) == count
    warm = group_colours(["300 K", "ramp 4000-3000 K", "4000 K", "300 K"])
    assert list(warm) == ["4000 K", "ramp 4000-3000 K", "300 K"]
    plain = group_colours(["melt", "glass", "melt"])
    assert list(plain) == ["melt", "glass"]
    assert next(iter(group_colours(list(GROUPS)))) == "_ramp 2000"


@pytest.mark.parametrize(
    ("mean", "high", "text"),
    [(None, None, "–"), (0.0042011, None, "4.201"), (0.0042011, 0.0047, "4.201 ± 0.499")],
)
def test_intervals(mean: float | None, high: float | None, text: str) -> None:
    one = Verdict("random", "energy_rmse", (), mean, None, high, None, ())
    assert interval(one, 1000.0) == text


@pytest.mark.parametrize(
    ("p", "text"), [(None, "–"), (0.04321, "0.043"), (3e-7, "< 0.0001"), (1.0, "1")]
)
def test_probabilities(p: float | None, text: str) -> None:
    assert probability(p) == text


def test_other_campaigns_have_their_own_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("athanor.distil.folder.distillation", lambda folder: None)
    monkeypatch.setattr("athanor.report.gather.content_of", lambda folder: SimpleNamespace())
    monkeypatch.setattr("athanor.report.page.render", lambda content: "the other page")
    assert report_of(Path("anywhere")) == "the other page"
