"""The page of a suite: what it shows, that it is safe, self-contained and the same each time."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from test_report import Page

from athanor.errors import FormatError
from athanor.report.page import written
from athanor.report.panels import is_panel, panel, subject_colours
from athanor.report.suite import render_suite
from athanor.report.suite.content import SuiteStory
from athanor.validate import Line, Measured, Panel, Quantity, panels_of
from athanor.validate._contract import FAILED

EVIL = '<script>alert("x")</script>'
SUBJECTS = ("mtp-16", f"ani {EVIL}", "EAM")


def measured(shift: float) -> Measured:
    x = np.linspace(14, 18, 9)
    volumes = {
        name: Line.of(x, 10 * (x - 16 - shift) ** 2 + up, 2 + 0 * x)
        for name, up in (("fcc", 0.0), ("hcp", 12.0), ("bcc", 90.0))
    }
    q = np.linspace(0, 2, 60)
    bands = {f"{k}": Line.of(q, (k + 1 + shift) * abs(np.sin(np.pi * q))) for k in range(12)}
    ticks = ((0.0, "Γ"), (1.0, "X"), (2.0, "K"))
    liquid = Line.of([900, 1000, 1100], np.array([2.4, 2.35, 2.3]) + shift, [0.02] * 3)
    return Measured(
        panels={
            "Energy and volume": Panel("volume, Å³", "energy, meV/atom", volumes, style="both"),
            "Bands": Panel("wave vector", "frequency, THz", bands, ticks=ticks),
            "Density": Panel("temperature, K", "density, g/cm³", {"": liquid}, style="points"),
            "g(r)": Panel("r, Å", "g(r)", {"": Line.of(x, np.cos(x) + 1, 0.1 + 0 * x)}),
        }
    )


def quantities(shift: float, *, judged: bool) -> list[dict[str, Any]]:
    rng = np.random.default_rng(5)
    true = rng.normal(117.0, 0.1)
    more: dict[str, Any] = {}
    if judged:
        more = {"reference": true, "reference_uncertainty": 0.3, "passed": abs(shift) < 0.5}
    return [
        asdict(Quantity("C11", true + shift, "GPa", uncertainty=1.234, literature=114.0, **more)),
        asdict(Quantity(f"a {EVIL}", 4.0231, "Å", literature=4.05)),
        asdict(Quantity("RMSE", 12.0, "meV", is_error=True)),
        asdict(Quantity("defects", 3.0, "", reference=1.0)),
    ]


def summary() -> dict[str, Any]:
    shifts = dict(zip(SUBJECTS, (0.2, -4.0, 0.0), strict=True))
    by_subject = {name: measured(shift / 10) for name, shift in shifts.items()}
    failed = asdict(Quantity(FAILED, 0.0, "", 1.0, passed=False))
    numbers = {name: quantities(shift, judged=name != "EAM") for name, shift in shifts.items()}
    lone = {"density": by_subject["EAM"].panels["Energy and volume"]}
    return {
        "name": f"suite {EVIL}",
        "subjects": [{"name": name, "level": "x"} for name in SUBJECTS],
        "reference": "EAM",
        "properties": [
            {
                "kind": "eos",
                "title": f"Energy and volume {EVIL}",
                "quantities": numbers,
                "panels": panels_of(by_subject),
                "seconds": dict.fromkeys(SUBJECTS, 2.5),
                "notes": {"mtp-16": [f"a note {EVIL}"]},
                "failed": {},
                "settings": {"element": "Al", "lattices": ["fcc", EVIL]},
            },
            {
                "kind": "elastic",
                "title": "Elastic constants",
                "quantities": {"mtp-16": numbers["mtp-16"][:1], SUBJECTS[1]: [failed]},
                "panels": panels_of({"EAM": Measured(panels=lone)}),
                "seconds": {"mtp-16": 1.0},
                "notes": {},
                "failed": {SUBJECTS[1]: [f"C44 is negative {EVIL}"]},
                "settings": {},
            },
        ],
        "machine": {"processor": EVIL},
        "passed": 2,
        "of": 4,
        "failures": 1,
    }


def bare() -> dict[str, Any]:
    """One potential, nothing to compare with, a property without a number."""
    return {
        "name": "bare",
        "subjects": ["one"],
        "reference": None,
        "properties": [{"kind": "rdf", "title": "RDF", "quantities": {"one": []}}],
    }


@pytest.fixture(scope="module")
def whole() -> str:
    return render_suite(summary())


def test_everything_is_there(whole: str) -> None:
    page = Page(whole)
    assert page.open == []
    assert page.tags.count("figure") == 5
    for words in (
        "What could not be measured",
        "C44 is negative",
        "not everything as it should be",
        "2/4",
        "± 1.2",
        "+0.2",
        "−4.0",
        "✓ met",
        "✗ missed",
        "not measured",
        "114.0",
        "1 measurement failed",
        "2.5 s",
        "a note",
        '["fcc", ',
        "published",
        "processor",
    ):
        assert words in page.words, words
    assert FAILED not in page.words, "the reason is there instead"


def test_regressions_are_told(whole: str) -> None:
    told = {**bare(), "regressions": {"one": ["C11 is off by 9 GPa"]}}
    page = Page(render_suite(told))
    assert "What got worse than before" in page.words
    assert "one: C11 is off by 9 GPa" in page.words
    assert "one got worse than before." in page.words.replace("One", "one")
    for told in (whole, render_suite({**bare(), "regressions": {"one": []}})):
        assert "got worse than before" not in Page(told).words


def test_text_of_the_user_is_escaped(whole: str) -> None:
    assert "<script" not in whole
    assert Page(whole).words.count(EVIL) >= 9


def test_the_page_opens_offline(whole: str) -> None:
    page = Page(whole)
    assert not {"script", "link", "iframe", "object", "embed"} & set(page.tags)
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    for tag, name, value in page.attributes:
        if name in {"src", "href", "xlink:href", "data", "srcset", "action"}:
            assert value.startswith(("#", "data:image/png;base64,")), (tag, name, value)
            assert value[1:] in ids or value.startswith("data:")
    assert not re.search(r"url\(http|@import", whole)


def test_equal_summaries_give_equal_bytes(whole: str) -> None:
    assert render_suite(json.loads(json.dumps(summary()))) == whole


def test_a_bare_suite() -> None:
    page = Page(render_suite(bare()))
    assert "measured, nothing judged" in page.words
    assert "1 property of one." in page.words
    assert "no numbers" in page.words
    assert "figure" not in page.tags


def test_a_long_property_has_headlines_in_the_summary() -> None:
    modes = [asdict(Quantity(f"mode {k}", 1.0 + k, "THz")) for k in range(20)]
    known = asdict(Quantity("C11", 116.0, "GPa", literature=114.0))
    told = bare()
    told["properties"][0]["quantities"]["one"] = [*modes, known]
    page = Page(render_suite(told))
    assert page.words.count("C11, GPa") == 2, "in the summary and in its own section"
    assert page.words.count("mode 6, THz") == 2, "and the first of the others"
    assert page.words.count("mode 7, THz") == 1
    assert "and 13 more numbers" in page.words
    told["properties"][0]["quantities"]["one"] = modes
    page = Page(render_suite(told))
    assert page.words.count("mode 7, THz") == 2
    assert "and 12 more numbers" in page.words


def test_all_is_well() -> None:
    told = summary()
    told["properties"] = told["properties"][:1]
    told["properties"][0]["quantities"] = {"mtp-16": quantities(0.1, judged=True)}
    told["properties"][0]["panels"] = {}
    page = Page(render_suite(told))
    assert "all within tolerance" in page.words
    assert "What could not be measured" not in page.words


def test_a_property_of_two_is_drawn_for_each_subject() -> None:
    line = {"quantity": "energy", "unit": "eV/atom", "reference": [0.0, 1.0]}
    curves = {"energy, melt": {**line, "potential": [0.1, 1.1]}}
    told = bare()
    told["properties"][0]["curves"] = {"one": curves, "two": curves, "three": {"distance": [2.8]}}
    assert Page(render_suite(told)).tags.count("figure") == 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"subjects": None}, "'NoneType' object is not iterable"),
        ({"reference": "none such"}, "its reference 'none such' is none of its subjects"),
        ({"properties": [{"kind": "x"}]}, "'title' is missing"),
        ({"properties": [3]}, "subscriptable"),
    ],
)
def test_what_is_no_summary(change: dict[str, Any], says: str) -> None:
    with pytest.raises(FormatError, match=rf"s\.json: this is no summary of a suite: .*{says}"):
        render_suite({**summary(), **change}, where="s.json")
    broken = copy.deepcopy(summary())
    del broken["name"]
    with pytest.raises(FormatError, match="'name' is missing"):
        SuiteStory.read(broken)


@pytest.mark.parametrize(
    ("value", "uncertainty", "text"),
    [
        (114.234, 1.34, "114.2 ± 1.3"),
        (114.0, 25.0, "114 ± 25"),
        (12345.0, 250.0, "12340 ± 250"),
        (-0.0123, 0.00045, "−0.01230 ± 0.00045"),
        (4.0231, None, "4.023"),
        (4.0231, 0.0, "4.023"),
        (None, 1.0, "–"),
    ],
)
def test_numbers_with_uncertainties(
    value: float | None, uncertainty: float | None, text: str
) -> None:
    assert written(value, uncertainty, "GPa") == text


def drawn(panels: Mapping[str, Any], title: str, *subjects: str, wide: bool = True) -> str:
    data = {**panels[title], "lines": {s: panels[title]["lines"][s] for s in subjects}}
    colours = subject_colours(subjects, reference="EAM" if "EAM" in subjects else None)
    return panel(data, name="x", colours=colours, reference="EAM", wide=wide)


@pytest.mark.parametrize("title", list(measured(0.0).panels))
@pytest.mark.parametrize("wide", [True, False])
def test_subjects_have_their_colours(title: str, wide: bool) -> None:
    panels = panels_of({name: measured(0.1) for name in SUBJECTS})
    colours = subject_colours(SUBJECTS, reference="EAM")
    assert len(set(colours.values())) == 3
    three = drawn(panels, title, *SUBJECTS, wide=wide)
    assert all(colour in three for colour in colours.values())
    two = drawn(panels, title, "mtp-16", "EAM", wide=wide)
    assert len(two) < len(three)


def test_one_subject_alone_has_a_colour_for_each_name() -> None:
    panels = panels_of({"mtp-16": measured(0.0)})
    alone = drawn(panels, "Energy and volume", "mtp-16")
    assert all(colour in alone for colour in ("#c2501f", "#1f6f8b", "#7a5ba6"))
    assert "#7a5ba6" not in drawn(panels, "Bands", "mtp-16"), "bands are one colour"
    few = {str(k): Line.of([0.0, 1.0], [k, k]) for k in range(3)}
    three = panels_of({"mtp-16": Measured(panels={"Bands": Panel("q", "THz", few)})})
    assert "#7a5ba6" not in drawn(three, "Bands", "mtp-16"), "three are, too"


def test_error_bars_and_bands_are_drawn() -> None:
    panels = panels_of({"mtp-16": measured(0.0)})
    for title in ("Density", "g(r)", "Energy and volume"):
        sure = copy.deepcopy(panels)
        for line in sure[title]["lines"]["mtp-16"].values():
            line["error"] = None
        assert len(drawn(panels, title, "mtp-16")) > len(drawn(sure, title, "mtp-16"))


def test_a_panel_without_points_is_none() -> None:
    empty = Panel("x", "y", {"": Line.of([], [])})
    found = panels_of({"a": Measured(panels={"t": empty}), "b": Measured()})
    assert is_panel(found["t"])
    assert not is_panel({"x": [1.0], "potential": [1.0]})
    assert not is_panel("volume")
    assert panel(found["t"], name="t", colours={}) == ""
