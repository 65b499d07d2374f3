"""How far two curves lie apart: the parameter of Wright."""

from __future__ import annotations

from fnmatch import fnmatchcase

import numpy as np

from athanor.errors import MeasurementError
from athanor.structure import FloatArray
from athanor.validate import Line, Measured, Quantity, Value
from athanor.validate._curves import line_of

Span = tuple[float, float]


def wright(mine: FloatArray, true: FloatArray) -> float:
    """R_X in percent of two curves (n,) at the same places (Shuaib et al. 2024, eq. 15).

    The root of the sum of squared differences over the sum of squares of `true`. Raises
    MeasurementError where that is zero.
    """
    scale = float((true**2).sum())
    if not scale > 0:
        raise MeasurementError("the curve to compare with is zero everywhere; there is no R_X")
    return 100 * float(np.sqrt(((mine - true) ** 2).sum() / scale))


def distance(name: str, mine: Line, true: Line, span: Span | None) -> Value:
    """R_X of two lines at the places of `mine` that `true` reaches, within `span`.

    The uncertainty is the R_X that the statistical errors of both lines alone would give, taken as
    independent from place to place; None where `mine` has none. Raises MeasurementError where they
    have fewer than 5 places in common.
    """
    x, y, places = np.array(mine.x), np.array(mine.y), np.array(true.x)
    low, high = span or (-np.inf, np.inf)
    kept = (x >= max(low, places[0])) & (x <= min(high, places[-1]))
    if kept.sum() < 5:
        raise MeasurementError(
            f"{name}: the curves have {kept.sum()} places in common, at least 5 are needed; "
            "give another r_range or curves that reach further"
        )
    other = np.interp(x[kept], places, true.y)
    noise = None
    if mine.error is not None:
        squares = np.array(mine.error)[kept] ** 2
        if true.error is not None:
            squares = squares + np.interp(x[kept], places, true.error) ** 2
        noise = wright(other + np.sqrt(squares), other)
    return Value(name, wright(y[kept], other), "%", noise)


def compared_lines(
    names: dict[str, str],
    mine: Measured,
    theirs: Measured,
    *,
    line: str,
    span: Span | None,
    tolerance: dict[str, float],
) -> tuple[Quantity, ...]:
    """R_X of the `line` of each panel (-> name of the quantity) that both have.

    `tolerance` may hold the most it may be, by name with * for any characters.
    """
    found = []
    for panel, name in names.items():
        my, true = line_of(mine, panel, line), line_of(theirs, panel, line)
        if my is None or true is None or len(my.x) == 0 or len(true.x) == 0:
            continue
        try:
            value = distance(name, my, true, span)
        except MeasurementError:  # boxes too different: there is nothing to compare
            continue
        allowed = next((most for key, most in tolerance.items() if fnmatchcase(name, key)), None)
        passed = None if allowed is None else value.value <= allowed
        found.append(
            Quantity(
                name,
                value.value,
                "%",
                uncertainty=value.uncertainty,
                passed=passed,
                is_error=True,
            )
        )
    return tuple(found)
