"""What one calculator gave for one property: numbers, lines to plot, sentences. Plain data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

import numpy as np

from athanor.structure import FloatArray


@dataclass(frozen=True, slots=True)
class Value:
    """One number in `unit`; `uncertainty` is one standard deviation, None where not known.

    Raises ValueError where it is not finite: what has no number belongs in the failures.
    """

    name: str
    value: float
    unit: str
    uncertainty: float | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(f"{self.name} is {self.value}; a measured value is finite")
        # plain numbers: verdicts on NumPy's are no JSON
        object.__setattr__(self, "value", float(self.value))
        if self.uncertainty is not None:
            object.__setattr__(self, "uncertainty", float(self.uncertainty))


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a plot: x, y and, where known, one standard deviation of y, equally long."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    error: tuple[float, ...] | None = None

    @classmethod
    def of(
        cls,
        x: Iterable[float] | FloatArray,
        y: Iterable[float] | FloatArray,
        error: Iterable[float] | FloatArray | None = None,
    ) -> Self:
        """Take any sequences of numbers; points whose y is not finite are left out."""
        across, along = np.asarray([*x], float), np.asarray([*y], float)
        kept = np.isfinite(along) & np.isfinite(across)
        bars = None if error is None else np.asarray([*error], float)[kept]
        return cls(
            tuple(across[kept].tolist()),
            tuple(along[kept].tolist()),
            None if bars is None else tuple(bars.tolist()),
        )


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot: what its axes are and the lines, by name ('' where there is only one).

    Attributes
    ----------
    ticks : words at places on the x axis, for paths through reciprocal space and the like.
    style : "points" for what was measured at few places, "lines" for what is dense.
    """

    xlabel: str
    ylabel: str
    lines: dict[str, Line]
    style: Literal["lines", "points", "both"] = "lines"
    ticks: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Measured:
    """What one calculator gave.

    Attributes
    ----------
    values : the numbers, names unique.
    panels : title -> plot.
    notes : sentences for people.
    failures : what could not be measured and why, one sentence each; any makes the property fail.
    data : plain JSON for later tools; not shown.
    """

    values: tuple[Value, ...] = ()
    panels: dict[str, Panel] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    data: dict[str, Any] = field(default_factory=dict)

    def value(self, name: str) -> Value | None:
        """The value of that name, None where it was not measured."""
        return next((one for one in self.values if one.name == name), None)

    def plain(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `plain`; ValueError for anything else."""
        try:
            return cls(
                values=tuple(Value(**one) for one in data["values"]),
                panels={title: _panel(one) for title, one in data["panels"].items()},
                notes=tuple(data["notes"]),
                failures=tuple(data["failures"]),
                data=dict(data["data"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"this is no measurement of athanor ({error})") from error


def _panel(data: Mapping[str, Any]) -> Panel:
    lines = {
        name: Line(
            tuple(line["x"]),
            tuple(line["y"]),
            None if line["error"] is None else tuple(line["error"]),
        )
        for name, line in data["lines"].items()
    }
    ticks = tuple((float(place), str(word)) for place, word in data["ticks"])
    return Panel(data["xlabel"], data["ylabel"], lines, data["style"], ticks)
