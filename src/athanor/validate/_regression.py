"""Whether a potential got worse: its errors beside those of an older one, with their noise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from athanor.validate._contract import FAILED, Quantity

NOISE = 2.0
"""Standard deviations of the difference that are still chance."""
ROUNDING = 1e-6
"""Part of a value below which a difference is none: what another processor would round."""


def regressions(
    old: Sequence[Quantity],
    new: Sequence[Quantity],
    patterns: Sequence[str],
    *,
    margin: Mapping[str, float] | None = None,
) -> list[str]:
    """Say which of the chosen quantities got worse, a sentence each; empty where none did.

    A quantity is worse when it is farther from the truth than it was by more than
    2 sqrt(u_new² + u_old² + u_reference²) and its margin, or when it cannot be measured any more.
    The truth is the reference, else the literature; an RMSE and its like are errors themselves.
    What the older one has not, or what has no truth, is not judged.

    Parameters
    ----------
    patterns : names of quantities, * for any characters.
    margin : name or pattern -> what is allowed beside the noise, in the quantity's unit; the first
        that fits counts.
    """
    now = {one.name: one for one in new}
    before = {one.name: one for one in old}
    said = [
        sentence
        for name, one in before.items()
        if _chosen(name, patterns)
        and (sentence := _worse(one, now.get(name), allowed_for(name, margin or {})))
    ]
    if FAILED in now and FAILED not in before and _chosen(FAILED, patterns):
        said.append("it is not measured without failure any more")
    return said


def unmatched(quantities: Sequence[Quantity], patterns: Sequence[str]) -> list[str]:
    """The patterns that name nothing that can be judged: misspelt, or not measured."""
    names = [one.name for one in quantities if truth(one) is not None]
    return [p for p in patterns if not any(fnmatchcase(name, p) for name in names)]


def truth(*quantities: Quantity | None) -> float | None:
    """What a quantity should be: the first reference there is, else literature, 0 for an error."""
    given = [one for one in quantities if one is not None]
    known = [one.reference for one in given] + [one.literature for one in given]
    zero = [0.0 for one in given if one.is_error]
    return next((value for value in (*known, *zero) if value is not None), None)


def allowed_for(name: str, table: Mapping[str, float]) -> float:
    """The first value whose name or pattern fits, 0 where none does."""
    return next((most for pattern, most in table.items() if fnmatchcase(name, pattern)), 0.0)


def _chosen(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _worse(old: Quantity, new: Quantity | None, margin: float) -> str:
    """A sentence where it got worse, '' where it did not or nobody can tell."""
    true = truth(new, old)
    if true is None or old.name == FAILED:
        return ""
    unit = f" {old.unit}" if old.unit else ""
    if new is None:
        return f"{old.name} could not be measured any more; it was {old.value:.4g}{unit}"
    was, now = abs(old.value - true), abs(new.value - true)
    spread = [new.uncertainty, old.uncertainty, new.reference_uncertainty]
    noise = NOISE * math.hypot(*(one or 0.0 for one in spread))
    rounding = ROUNDING * max(abs(old.value), abs(new.value), abs(true))
    if now - was <= noise + margin + rounding:
        return ""
    return (
        f"{old.name} is off by {now:.4g}{unit} and was off by {was:.4g}"
        f" ({noise + margin:.2g} more would be allowed)"
    )
