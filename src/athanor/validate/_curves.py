"""How far the curves of two calculators are from each other."""

from __future__ import annotations

import numpy as np

from athanor.validate._contract import Quantity
from athanor.validate._measured import Line, Measured

SAME = 1e-6
"""Places this near are the same, as a part of the longest."""


def line_of(measured: Measured, panel: str, line: str) -> Line | None:
    """A line of a panel; None where it was not measured."""
    return measured.panels[panel].lines.get(line) if panel in measured.panels else None


def rms_difference(
    name: str,
    unit: str,
    mine: Line | None,
    theirs: Line | None,
    *,
    tolerance: dict[str, float],
) -> tuple[Quantity, ...]:
    """Root mean square of mine - theirs over equal places; nothing where there are none.

    `tolerance` may hold the most it may be, by `name`.
    """
    if mine is None or theirs is None or len(mine.x) != len(theirs.x) or len(mine.x) == 0:
        return ()
    x = np.array(mine.x)
    if np.abs(x - theirs.x).max() > SAME * max(np.abs(x).max(), 1.0):
        return ()
    value = float(np.sqrt(np.mean((np.array(mine.y) - theirs.y) ** 2)))
    allowed = tolerance.get(name)
    passed = None if allowed is None else value <= allowed
    return (Quantity(name, value, unit, passed=passed, is_error=True),)
