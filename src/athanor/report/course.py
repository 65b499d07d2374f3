"""How chosen values went from cycle to cycle, as panels."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from athanor.campaign.folder import Campaign
from athanor.validate import PropertyResult, Quantity

MOST = 8
"""Values of one property that are drawn."""
Course = tuple[tuple[int, PropertyResult], ...]


def courses_of(campaign: Campaign) -> dict[str, dict[str, Any]]:
    """Title of a property -> panels of its values by cycle; only of what was measured twice.

    What the gate judges is drawn, else what has a tolerance.
    """
    found: dict[str, dict[str, Any]] = {}
    for number, item in enumerate(campaign.config.validate):
        course = campaign.history(number)
        if len(course) < 2:
            continue
        names = dict.fromkeys(q.name for _, result in course for q in result.quantities)
        judged = {q.name for _, result in course for q in result.quantities if q.passed is not None}
        chosen = [
            name
            for name in names
            if (any(fnmatchcase(name, p) for p in item.gate) if item.gate else name in judged)
        ]
        panels = found.setdefault(course[-1][1].title, {})
        panels.update({name: _panel(name, course) for name in chosen[:MOST]})
    return {title: panels for title, panels in found.items() if panels}


def _panel(name: str, course: Course) -> dict[str, Any]:
    points = [
        (cycle, quantity)
        for cycle, result in course
        for quantity in result.quantities
        if quantity.name == name
    ]
    true = [(cycle, q.reference) for cycle, q in points if q.reference is not None]
    lines: dict[str, Any] = {
        "potential": {"": _line([(cycle, q.value) for cycle, q in points], _spreads(points))}
    }
    if true:
        lines["reference"] = {"": _line(true, None)}
    cycles = [cycle for cycle, _ in points]
    return {
        "xlabel": "cycle",
        "ylabel": points[0][1].unit,
        "style": "both",
        "ticks": [(cycle, str(cycle)) for cycle in cycles[:: max(1, -(-len(cycles) // 15))]],
        "lines": lines,
    }


def _line(points: Sequence[tuple[int, float]], error: list[float] | None) -> dict[str, Any]:
    return {"x": [x for x, _ in points], "y": [y for _, y in points], "error": error}


def _spreads(points: Sequence[tuple[int, Quantity]]) -> list[float] | None:
    given = [q.uncertainty for _, q in points]
    known = [one for one in given if one is not None]
    return known if len(known) == len(given) else None
