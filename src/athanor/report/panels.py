"""Plots of any property, any number of subjects: what `panels_of` puts together, as SVG text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from athanor.report.canvas import (
    COOL,
    EMBER,
    FAINT,
    INK,
    LATTICE_COLOURS,
    PALE_COLOURS,
    STYLE,
    figure_of,
    svg,
)

WIDE, NARROW = (7.4, 3.1), (4.55, 3.3)
"""Inches: a plot alone in its row, and one of two."""
DASHES: Sequence[Any] = ("-", (0, (5, 2)), (0, (1, 1.4)), (0, (6, 1.6, 1, 1.6)), (0, (9, 3)))
MARKERS = "os^DvPX*"
MOST_NAMES = 8
"""Lines of one subject beyond which their names are not told apart (bands, branches)."""
KEYS = frozenset({"xlabel", "ylabel", "style", "ticks", "lines"})


def is_panel(data: object) -> bool:
    """Whether this is one entry of what `panels_of` gives."""
    return isinstance(data, Mapping) and data.keys() >= KEYS


def subject_colours(names: Sequence[str], *, reference: str | None) -> dict[str, str]:
    """Subject -> colour, the reference in ink."""
    others = [name for name in names if name != reference]
    wheel = (EMBER, COOL, *LATTICE_COLOURS[2:], *PALE_COLOURS)
    colours = dict(zip(others, wheel * (1 + len(others) // len(wheel)), strict=False))
    return colours if reference is None else {**colours, reference: INK}


def panel(
    data: Mapping[str, Any],
    *,
    name: str,
    colours: Mapping[str, str],
    reference: str | None = None,
    wide: bool = True,
) -> str:
    """Draw one entry of `panels_of`; '' where it has no point.

    A subject is a colour, a line's name a dash or a marker; where there is one subject alone, its
    lines are colours. The reference is thin, its markers open. `name` keeps a page's figures apart.
    """
    lines = {
        subject: {label: line for label, line in some.items() if len(line["x"])}
        for subject, some in data["lines"].items()
    }
    lines = {subject: some for subject, some in lines.items() if some}
    if not lines:
        return ""
    with matplotlib.rc_context(STYLE):
        figure, (axes,) = figure_of(*(WIDE if wide else NARROW))
        keys = list(_drawn(axes, lines, data["style"], colours, reference))
        _axes(axes, data)
        _legend(figure, keys, wide=wide)
        return svg(figure, name)


def _drawn(
    axes: Axes,
    lines: Mapping[str, Mapping[str, Mapping[str, Any]]],
    style: str,
    colours: Mapping[str, str],
    reference: str | None,
) -> Iterator[Line2D]:
    """Draw every line; yields what the legend is to show."""
    names = list(dict.fromkeys(name for some in lines.values() for name in some))
    looks = _looks(names)
    alone = len(lines) == 1 and _told_apart(names)
    wheel = (*LATTICE_COLOURS, *PALE_COLOURS)
    below = {reference} if len(lines) > 1 else set()
    for subject, some in lines.items():
        for label, line in some.items():
            dash, marker = ("-", "o") if alone else looks[label]
            colour = wheel[names.index(label)] if alone else colours.get(subject, FAINT)
            _line(axes, line, style, colour, dash, marker, hollow=subject in below)
    if not alone:
        for subject in lines:
            hollow = subject in below
            yield _key(subject, style, colours.get(subject, FAINT), "-", "o", hollow=hollow)
    for label in names if _told_apart(names) else ():
        dash, marker = ("-", "o") if alone else looks[label]
        colour = wheel[names.index(label)] if alone else FAINT
        yield _key(label, style, colour, dash, marker, hollow=False)


def _told_apart(names: Sequence[str]) -> bool:
    """Whether the names of lines say something: bands are many, or numbers."""
    return 1 < len(names) <= MOST_NAMES and not all(name.isdecimal() for name in names)


def _looks(names: Sequence[str]) -> dict[str, tuple[Any, str]]:
    """Name of a line -> its dashes and marker."""
    if not _told_apart(names):
        return dict.fromkeys(names, ("-", "o"))
    return {
        name: (DASHES[number % len(DASHES)], MARKERS[number % len(MARKERS)])
        for number, name in enumerate(names)
    }


def _line(
    axes: Axes,
    line: Mapping[str, Any],
    style: str,
    colour: str,
    dash: Any,
    marker: str,
    *,
    hollow: bool,
) -> None:
    x, y = np.asarray(line["x"], float), np.asarray(line["y"], float)
    error = None if line["error"] is None else np.asarray(line["error"], float)
    front = 3 if hollow else 2
    if style == "lines" or (style == "both" and not hollow):
        # in front, and thin enough to see what it is compared with
        axes.plot(x, y, ls=dash, color=colour, lw=0.9 if hollow else 1.7, zorder=front)
    if style != "lines":
        axes.plot(x, y, ls="none", zorder=front + 0.1, **_marker(marker, colour, hollow=hollow))
    if error is None:
        return
    if style == "lines":
        axes.fill_between(x, y - error, y + error, color=colour, alpha=0.18, lw=0, zorder=1)
    else:
        axes.errorbar(x, y, error, fmt="none", ecolor=colour, elinewidth=1.1, capsize=2.5, zorder=1)


def _marker(marker: str, colour: str, *, hollow: bool) -> dict[str, Any]:
    face = "white" if hollow else colour
    edge = colour if hollow else "white"
    return {"marker": marker, "mfc": face, "mec": edge, "mew": 1.1 if hollow else 0.6, "ms": 5}


def _key(label: str, style: str, colour: str, dash: Any, marker: str, *, hollow: bool) -> Line2D:
    looks = {} if style == "lines" else _marker(marker, colour, hollow=hollow)
    ls = "none" if style == "points" or (style == "both" and hollow) else dash
    return Line2D([], [], color=colour, ls=ls, lw=0.9 if hollow else 1.7, label=label, **looks)


def _axes(axes: Axes, data: Mapping[str, Any]) -> None:
    axes.set(xlabel=data["xlabel"], ylabel=data["ylabel"])
    path = data["ticks"] and data["style"] == "lines"
    axes.margins(x=0.0 if path else 0.02)
    if not data["ticks"]:
        return
    places = [float(place) for place, _ in data["ticks"]]
    axes.set_xticks(places, [str(word) for _, word in data["ticks"]])
    axes.grid(False, axis="x")
    for place in places if path else ():
        axes.axvline(place, color=FAINT, lw=0.6, zorder=0.5)


def _legend(figure: Figure, keys: Sequence[Line2D], *, wide: bool) -> None:
    """What colours and dashes mean: beside a plot that is alone, below one of two."""
    if not keys:
        return
    if wide:
        figure.legend(handles=keys, loc="outside right upper")
    else:
        longest = max(len(str(key.get_label())) for key in keys)
        columns = max(1, min(len(keys), 52 // (longest + 6)))
        figure.legend(handles=keys, loc="outside lower center", ncols=columns)
