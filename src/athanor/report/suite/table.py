"""The table of a suite: each number of each subject beside the reference's and the literature's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from athanor.report.page import quantity, rounded, written
from athanor.report.suite.content import PropertyStory, SuiteStory
from athanor.validate import Quantity
from athanor.validate._contract import FAILED

FEW = 8
"""Numbers of one property that are not too many for a summary."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of one subject, as text.

    Attributes
    ----------
    value, difference : with the uncertainty; from the reference, else from the literature.
    verdict : "ok" or "no" where there is a tolerance; "lost" where it was not measured.
    """

    value: str
    difference: str = ""
    verdict: Literal["ok", "no", "lost", ""] = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One number of a property, `cells` in the order of the potentials.

    `headline`: it is judged, published, an error or lost: what the summary shows.
    """

    name: str
    unit: str
    cells: tuple[Cell, ...]
    reference: str
    literature: str
    headline: bool


def rows_of(story: PropertyStory, suite: SuiteStory) -> list[Row]:
    """Every number of a property that any subject has, in the order they come."""
    found = {
        subject: {one.name: one for one in some if one.name != FAILED}
        for subject, some in story.quantities.items()
    }
    names = dict.fromkeys(name for subject in suite.subjects for name in found.get(subject, {}))
    return [_row(name, found, story, suite) for name in names]


def headlines(rows: Sequence[Row]) -> list[Row]:
    """What the summary shows of a property: what stands out, and the first of the others."""
    others = [row.name for row in rows if not row.headline]
    room = max(0, FEW - (len(rows) - len(others)))
    return [row for row in rows if row.headline or row.name in others[:room]]


def _row(
    name: str,
    found: dict[str, dict[str, Quantity]],
    story: PropertyStory,
    suite: SuiteStory,
) -> Row:
    known = [some[name] for some in found.values() if name in some]
    own = found.get(suite.reference, {}).get(name) if suite.reference is not None else None
    literature = next((one.literature for one in known if one.literature is not None), None)
    unit = known[0].unit
    cells = tuple(_cell(found.get(who, {}).get(name), who, story) for who in suite.potentials)
    told = literature is not None or any(one.is_error for one in known)
    return Row(
        name,
        unit,
        cells,
        _reference(own, known, unit),
        quantity(literature, unit),
        told or any(cell.verdict for cell in cells),
    )


def _reference(own: Quantity | None, known: Sequence[Quantity], unit: str) -> str:
    """The reference's own number; what the others were compared with where it has none."""
    if own is not None:
        return written(own.value, own.uncertainty, unit)
    told = next((one for one in known if one.reference is not None), None)
    if told is None:
        return "–"
    return written(told.reference, told.reference_uncertainty, unit)


def _cell(one: Quantity | None, subject: str, story: PropertyStory) -> Cell:
    if one is None:
        return Cell("not measured", "", "lost") if subject in story.failed else Cell("–")
    true = one.reference if one.reference is not None else one.literature
    difference = "" if true is None or one.is_error else _difference(one, true)
    verdict = {True: "ok", False: "no", None: ""}[one.passed]
    return Cell(written(one.value, one.uncertainty, one.unit), difference, verdict)  # type: ignore[arg-type]  # of a table of literals


def _difference(one: Quantity, true: float) -> str:
    """With its sign, to as many digits as the number itself has."""
    off = one.value - true
    if one.value == int(one.value) and not one.unit:
        return f"{off:+g}".replace("-", "−")
    spread = math.hypot(one.uncertainty or 0.0, one.reference_uncertainty or 0.0)
    if spread == 0:
        return f"{off:+.3g}".replace("-", "−")
    text = rounded(off, spread)
    return text if text.startswith("−") else f"+{text}"
