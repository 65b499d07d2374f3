"""The page of a suite as one HTML file that opens offline."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from markupsafe import Markup

import athanor
from athanor.report import figures
from athanor.report.gather import held_out
from athanor.report.page import duration, number, template
from athanor.report.panels import is_panel, panel, subject_colours
from athanor.report.suite.content import PropertyStory, SuiteStory
from athanor.report.suite.table import Row, headlines, rows_of
from athanor.validate import PropertyResult


class _Head(NamedTuple):
    """What the frame of every page asks for."""

    name: str
    state: str
    sentence: str
    version: str


class Section(NamedTuple):
    """One property on the page."""

    anchor: str
    story: PropertyStory
    rows: list[Row]
    headlines: list[Row]
    plots: list[tuple[str, Markup]]
    wide: bool
    settings: list[tuple[str, str]]


def render(suite: SuiteStory) -> str:
    """Return the page; every text of the user's is escaped, nothing is linked from outside."""
    state, badge = _state(suite)
    colours = subject_colours(suite.subjects, reference=suite.reference)
    return template("suite.html.j2").render(
        c=_Head(suite.name, state, _sentence(suite), athanor.__version__),
        badge=badge,
        suite=suite,
        tiles=_tiles(suite),
        colours=colours,
        sections=[
            _section(number, story, suite, colours)
            for number, story in enumerate(suite.properties, start=1)
        ],
    )


def _state(suite: SuiteStory) -> tuple[str, str]:
    """Colour and words of the badge."""
    if suite.failures or suite.regressions or not all(suite.verdicts):
        return "missed", "not everything as it should be"
    if not suite.verdicts:
        return "unfinished", "measured, nothing judged"
    return "reached", "all within tolerance"


def _sentence(suite: SuiteStory) -> str:
    what = f"{_counted(len(suite.properties), 'property', 'properties')} of {_and(suite.subjects)}"
    if suite.reference is not None and suite.potentials:
        what += f", compared with {suite.reference}"
    said = []
    if suite.failures:
        told = _counted(len(suite.failures), "measurement", "measurements")
        said.append(f"{told} failed, with the reasons below")
    missed = suite.verdicts.count(False)
    if missed:
        said.append(f"{missed} of {_counted(len(suite.verdicts), 'verdict', 'verdicts')} not met")
    if suite.regressions:
        said.append(f"{_and(tuple(suite.regressions))} got worse than before")
    return f"{what}. {'; '.join(said).capitalize()}." if said else f"{what}."


def _and(names: tuple[str, ...]) -> str:
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _tiles(suite: SuiteStory) -> list[tuple[str, str, str]]:
    """The numbers at the top: (value, what it is, a remark)."""
    tiles = []
    if suite.verdicts:
        met = suite.verdicts.count(True)
        tiles.append((f"{met}/{len(suite.verdicts)}", "targets met", ""))
    tiles.append((number(len(suite.failures)), "failures", ""))
    tiles.append((number(len(suite.properties)), "properties", ""))
    against = "" if suite.reference is None else "and a reference"
    tiles.append((number(len(suite.potentials)), "potentials", against))
    if suite.seconds:
        tiles.append((duration(suite.seconds), "of work", "all processes together"))
    return tiles


def _section(
    place: int, story: PropertyStory, suite: SuiteStory, colours: Mapping[str, str]
) -> Section:
    panels = {title: one for title, one in story.panels.items() if is_panel(one)}
    wide = len(panels) == 1
    drawn = [
        (
            title,
            panel(
                one,
                name=f"{place} {title}",
                colours=colours,
                reference=suite.reference,
                wide=wide,
            ),
        )
        for title, one in panels.items()
    ]
    drawn += _of_two(place, story)
    rows = rows_of(story, suite)
    return Section(
        f"property-{place}",
        story,
        rows,
        headlines(rows),
        [(title, Markup(svg)) for title, svg in drawn if svg],
        wide,
        [(key, _plain(value)) for key, value in story.settings.items()],
    )


def _of_two(place: int, story: PropertyStory) -> list[tuple[str, str]]:
    """Figures of a property that compares two by itself, one for each subject."""
    drawn = []
    for subject, curves in story.curves.items():
        quantities = story.quantities.get(subject, ())
        result = PropertyResult(story.kind, story.title, quantities, dict(curves))
        if (points := held_out(result)) is not None:
            drawn.append((subject, figures.parity(points.panels, name=f"{place} {subject}")))
    return drawn


def _plain(value: Any) -> str:
    """A setting as the suite file has it."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
