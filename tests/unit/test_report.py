"""The report: what it shows, that it is safe, self-contained and the same each time."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from athanor.errors import FormatError
from athanor.report import figures, report_of
from athanor.report.content import (
    Choice,
    Content,
    CycleStory,
    Failure,
    Panel,
    Parity,
    Run,
    Series,
)
from athanor.report.gather import held_out
from athanor.report.page import duration, number, quantity, render
from athanor.validate import Line, Measured, PropertyResult, Quantity, panels_of
from athanor.validate import Panel as Panels

EVIL = '<script>alert("x")</script>'


def series(seed: int, *, count: int = 30, name: str = "") -> Series:
    rng = np.random.default_rng(seed)
    reference = rng.normal(size=count)
    return Series(
        name=name, reference=reference, predicted=reference + rng.normal(0, 0.01, size=count)
    )


def lattices() -> PropertyResult:
    x = np.linspace(14, 18, 5)
    curves = panels_of(
        {
            subject: Measured(
                panels={
                    f"curves {EVIL}": Panels(
                        "volume",
                        "energy",
                        {
                            name: Line.of(x, 10 * (x - 16) ** 2 + up)
                            for name, up in (("fcc", off), ("hcp", off + 5), (EVIL, 300))
                        },
                    )
                }
            )
            for subject, off in (("potential", 1.0), ("reference", 0.0))
        }
    )
    return PropertyResult(
        kind="eos",
        title="Lattices",
        quantities=(
            Quantity("fcc lattice constant", 4.0231, "Å", 4.02, passed=True),
            Quantity("fcc below the others", -3.0, "meV/atom", 5.0, passed=False),
            Quantity("bulk modulus", 41.0, "GPa", 40.0, uncertainty=0.5),
        ),
        curves=curves,
        notes=(f"A note {EVIL}.",),
    )


def whole() -> Content:
    """A campaign with everything in it, and markup wherever a user can write."""
    rng = np.random.default_rng(7)
    runs = tuple(Run(s, stop, 2 * s, 2.0) for s, stop in ((1.0, "completed"), (0.3, "grade")))
    return Content(
        name=f"name {EVIL}",
        folder=f"/home/{EVIL}",
        state="converged",
        sentence=f"sentence {EVIL}",
        potential=f"/home/{EVIL}/potential",
        elements=("Al",),
        elapsed=200.0,
        cycles=(
            CycleStory(number=0, bought=2, training_size=2, seconds={"labels": 0.5}),
            CycleStory(
                number=1,
                runs=runs,
                candidates=4,
                bought=1,
                failed=1,
                energy_rmse=12.0,
                force_rmse=150.0,
                training_size=3,
                seconds={"dynamics": 3.0, "fits": 2.0},
            ),
        ),
        choices=(
            Choice(cycle=0, formula="Al12", n_atoms=12, reason="start 1", seconds=0.02),
            Choice(cycle=1, formula="Al14", n_atoms=14, reason=EVIL, grade=12.5, seconds=0.03),
        ),
        failures=(Failure(1, f"labels: {EVIL}", f"did not converge {EVIL}"),),
        properties=(lattices(),),
        grades=np.exp(rng.normal(1, 1, 200)),
        save=2.1,
        halt=10.0,
        parities=(
            Parity(
                of=f"Frames {EVIL}",
                panels=(
                    Panel(title="energy", unit="eV/atom", series=(series(1),), rmse=0.0031),
                    Panel(title="force", unit="eV/Å", series=(series(2, name="melt"),), rmse=0.09),
                ),
            ),
        ),
        config=f"# {EVIL}",
        version="0.1.0",
    )


def nothing() -> Content:
    return Content(name="young", folder="/f", state="unfinished", sentence="It has not ended.")


class Page(HTMLParser):
    """The tags, attributes and words of a page, and whether every tag is closed."""

    VOID = frozenset({"meta", "br", "img", "link", "path", "use", "image", "rect"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def test_everything_is_there() -> None:
    page = Page(render(whole()))
    assert page.open == []
    assert page.tags.count("figure") == 7
    for words in (
        "converged",
        "1/2",
        "targets met",
        "4.023",
        "✓ met",
        "✗ missed",
        "41.00 ± 0.50",
        "1 of 2",
        "12.50",
        "20 ms",
        "did not converge",
        "athanor.load(",
        "athanor evaluate",
        "3 min 20 s",
        "3.1",
        "frames",
        "Everything that was measured (3 quantities)",
    ):
        assert words in page.words


def test_text_of_the_user_is_escaped() -> None:
    text = render(whole())
    assert "<script" not in text
    assert Page(text).words.count(EVIL) >= 9


@pytest.mark.parametrize("content", [whole(), nothing()], ids=["whole", "nothing"])
def test_the_page_opens_offline(content: Content) -> None:
    text = render(content)
    page = Page(text)
    assert not {"script", "link", "iframe", "object", "embed"} & set(page.tags)
    for tag, name, value in page.attributes:
        if name in {"src", "href", "xlink:href", "data", "srcset", "action"}:
            assert value.startswith(("#", "data:image/png;base64,")), (tag, name, value)
    assert "url(http" not in text
    assert "@import" not in text
    links = re.findall(r"https?://[^\s\"'<>]+", text)
    # names of XML vocabularies, which nothing fetches
    assert {link.split("/")[2] for link in links} <= {
        "www.w3.org",
        "purl.org",
        "creativecommons.org",
        "matplotlib.org",
    }


def test_ids_are_used_once() -> None:
    page = Page(render(whole()))
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    for _, name, value in page.attributes:
        if name in {"href", "xlink:href"} and value.startswith("#"):
            assert value[1:] in ids


def test_equal_content_gives_equal_bytes() -> None:
    assert render(whole()) == render(whole())


def test_an_empty_campaign_says_so() -> None:
    page = Page(render(nothing()))
    assert "unfinished" in page.words
    assert "It has not ended." in page.words
    assert "None: every label that was asked for arrived." in page.words
    assert "athanor.load(" not in page.words
    assert "figure" not in page.tags


def test_the_state_of_a_limit() -> None:
    assert "stopped by a limit" in render(dataclasses.replace(nothing(), state="limit"))


def test_survival_without_times_is_in_percent() -> None:
    runs = (Run(0.4, "grade"), Run(1.0, "completed"))
    content = dataclasses.replace(nothing(), cycles=(CycleStory(number=1, runs=runs),))
    assert render(content).count("<figure>") == 1


def test_tiles_without_targets() -> None:
    assert "targets met" not in render(dataclasses.replace(whole(), properties=()))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (1234567, "1\u202f234\u202f567"),
        (0.0, "0"),
        (4.0231, "4.023"),
        (88.0, "88.00"),
        (12345.0, "12345"),
        (-0.5, "−0.5000"),
        (2.5e-7, "2.500e−07"),
        (float("inf"), "∞"),
        (float("nan"), "not finite"),
    ],
)
def test_number(value: float | None, text: str) -> None:
    assert number(value) == text


def test_quantity_counts_what_has_no_unit() -> None:
    assert quantity(200.0, "") == "200"
    assert quantity(0.5, "") == "0.5000"
    assert quantity(200.0, "GPa") == "200.0"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.0123, "12.3 ms"),
        (7.9, "7.9 s"),
        (125.0, "2 min 05 s"),
        (4800.0, "1 h 20 min"),
    ],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_many_points_become_a_picture() -> None:
    few = Panel(title="force", unit="eV/Å", series=(series(3, count=100),), rmse=0.1)
    many = Panel(title="force", unit="eV/Å", series=(series(3, count=5000),), rmse=0.1)
    assert "data:image/png" not in figures.parity([few], name="few")
    assert "data:image/png" in figures.parity([many], name="many")


def test_figures_bear_extremes() -> None:
    assert "<svg" in figures.grade_histogram(np.array([1e-9, 1e12]), save=2.1, halt=10.0)
    assert "<svg" in figures.grade_histogram(np.array([1.0]))
    assert "<svg" in figures.errors_per_cycle([None, 3.0], [0.0, 4000.0])
    assert "<svg" in figures.errors_per_cycle([None], [None])
    assert "<svg" in figures.errors_per_cycle([3.0], [70.0], energy_target=5.0, force_target=120.0)
    flat = Panel(
        title="energy",
        unit="eV/atom",
        series=(Series(name="", reference=np.zeros(1), predicted=np.zeros(1)),),
        rmse=0.0,
    )
    assert "<svg" in figures.parity([flat], name="flat")


def test_panels_of_any_property_are_drawn() -> None:
    x = [14.0, 16.0, 18.0]
    measured = [
        Measured(
            panels={
                title: Panels("volume", "energy", {n: Line.of(x, [y, 0.0, y]) for n in "ab"})
                for title in titles
            }
        )
        for y, titles in ((3.0, ("one", "two")), (4.0, ("one",)))
    ]
    curves = panels_of(dict(zip(("potential", "reference"), measured, strict=True)))
    several = PropertyResult("x", f"Several {EVIL}", (), curves)
    alone = PropertyResult("y", "Alone", (), {"one": curves["one"]})
    page = Page(render(dataclasses.replace(nothing(), properties=(several, alone, lattices()))))
    assert page.tags.count("figure") == 4
    assert page.tags.count("figcaption") == 2, "what is alone has the property's title"
    assert f"Several {EVIL}" in page.words
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_held_out_points_are_found() -> None:
    result = PropertyResult(
        kind="heldout",
        title="Held out",
        quantities=(Quantity("energy RMSE", 4.0, "meV/atom"),),
        curves={
            "energy, fcc": _line("energy", "eV/atom", [1.0], [1.1]),
            "energy, melt": _line("energy", "eV/atom", [2.0], [2.2]),
            "force, fcc": _line("force", "eV/Å", [0.0, 1.0], [0.3, 1.4]),
        },
    )
    parity = held_out(result)
    assert parity is not None
    energy, force = parity.panels
    assert [one.name for one in energy.series] == ["fcc", "melt"]
    assert energy.rmse == pytest.approx(0.004)  # as it was measured, on all points
    assert force.rmse == pytest.approx((0.25 / 2) ** 0.5)
    assert held_out(lattices()) is None


def _line(
    name: str, unit: str, reference: list[float], predicted: list[float]
) -> dict[str, object]:
    return {"quantity": name, "unit": unit, "reference": reference, "potential": predicted}


def test_a_folder_without_a_campaign(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="there is no campaign here"):
        report_of(tmp_path)
