"""Measures of disagreement with their thresholds, one or several at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator

from athanor.component import nearest
from athanor.potentials.ensemble import Spread
from athanor.query import Verdict

Measure = Literal["force_max", "force_mean", "energy"]

DEFAULTS: dict[Measure, tuple[float, float]] = {
    "force_max": (0.05, 0.2),
    "force_mean": (0.02, 0.1),
    "energy": (0.01, 0.05),
}
"""save and halt where none are given: eV/Å for forces as DP-GEN takes them for metals (Zhang et al.
2019), eV for the energy over the root of the number of atoms (0.23 kcal/mol, Smith et al. 2018).
They are customary, and not those of the aluminium of 2021, which are not published."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """A measure with its two thresholds, in its unit: eV/Å, and eV for the energy."""

    measure: Measure
    save: float
    halt: float

    def of(self, spread: Spread) -> float:
        """The measure of a spread."""
        if self.measure == "energy":
            return spread.energy
        return spread.force_max if self.measure == "force_max" else spread.force_mean

    def told(self, value: float) -> str:
        """In words, which threshold a value is above."""
        unit = "eV" if self.measure == "energy" else "eV/Å"
        name, limit = ("halt", self.halt) if value > self.halt else ("save", self.save)
        return f"{self.measure} {value:.3g} {unit} above {name} {limit:.3g}"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What several criteria say of one structure: verdict, and the grade's value and words."""

    value: float
    verdict: Verdict
    because: str


def judged(criteria: Sequence[Criterion], spread: Spread) -> Judgement:
    """Judge a spread: to halt where one measure is above its halt, to save where one is above save.

    The value of a single criterion is its measure; of several, the largest ratio of a measure to
    its `save`, so that a structure is saved above 1.
    """
    values = [one.of(spread) for one in criteria]
    if len(criteria) == 1:
        (only,), (value,) = criteria, values
        verdict: Verdict = "halt" if value > only.halt else "save" if value > only.save else "keep"
        return Judgement(value, verdict, "")
    shares = [value / one.save for one, value in zip(criteria, values, strict=True)]
    worst = max(shares)
    halting = [k for k, one in enumerate(criteria) if values[k] > one.halt]
    if not halting and not worst > 1.0:
        return Judgement(worst, "keep", "")
    which = max(halting or range(len(criteria)), key=lambda k: shares[k])
    return Judgement(worst, "halt" if halting else "save", criteria[which].told(values[which]))


def thresholds_of(criteria: Sequence[Criterion]) -> tuple[float, float | None]:
    """save and halt of the value that `judged` gives: of several criteria 1, and None."""
    return (criteria[0].save, criteria[0].halt) if len(criteria) == 1 else (1.0, None)


def criteria_of(
    measure: Measure | tuple[Measure, ...],
    save: float | tuple[float, ...] | None,
    halt: float | tuple[float, ...] | None,
) -> tuple[Criterion, ...]:
    """Pair measures and thresholds, with the defaults where none are given.

    Raises ValueError where numbers and measures do not match, or save is not below halt.
    """
    names: tuple[Measure, ...] = (measure,) if isinstance(measure, str) else measure
    saves, halts = _each("save", save, names), _each("halt", halt, names)
    found = tuple(map(Criterion, names, saves, halts))
    for one in found:
        if one.save >= one.halt:
            raise ValueError(
                f"save = {one.save} must be smaller than halt = {one.halt} for measure = "
                f"{one.measure!r}; a structure is saved before the run is halted"
            )
    return found


def _each(
    name: str, given: float | tuple[float, ...] | None, names: Sequence[Measure]
) -> Sequence[float]:
    if given is None:
        return [DEFAULTS[measure][("save", "halt").index(name)] for measure in names]
    values = given if isinstance(given, tuple) else (given,)
    if len(values) != len(names):
        raise ValueError(
            f"{name} = {given} is {len(values)} and measure {len(names)}; give one {name} for "
            "each measure, in their order, or none for the defaults"
        )
    return values


def _known(given: object) -> object:
    """Refuse what names no measures, in one sentence."""
    names = list(given) if isinstance(given, list | tuple) else [given]
    measures = get_args(Measure)
    for name in names or [""]:
        if name not in measures:
            hint = nearest(name, measures) if isinstance(name, str) else ""
            raise ValueError(
                f"there is no measure {name!r}{hint}; give one of {', '.join(measures)}, or a "
                "list of them"
            )
    if len(set(names)) < len(names):
        raise ValueError(f"{names} names a measure twice; give each once")
    return given


def _positive(given: object) -> object:
    """Refuse what are no thresholds, in one sentence."""
    for value in given if isinstance(given, list | tuple) else [given]:
        if value is None or (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and math.isfinite(value)
            and value > 0
        ):
            continue
        raise ValueError(f"{value!r} is no threshold; give a number above zero")
    return given


Measures = Annotated[Measure | tuple[Measure, ...], BeforeValidator(_known)]
"""One measure, or several."""

Thresholds = Annotated[float | tuple[float, ...] | None, BeforeValidator(_positive)]
"""A number, one number for each measure, or None for the defaults."""
