"""One hyperparameter that is searched: between two bounds, or among choices."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

DIGITS = 6
"""Significant digits of a float: two points that agree so far are one fit, not two."""


@dataclass(frozen=True, slots=True)
class Dimension:
    """Where a recipe's field may lie.

    Attributes
    ----------
    path : keys and list indices that lead to the field.
    low, high : the bounds, both included; for choices the indices of the first and last.
    log : whether equal factors are equally far apart.
    integer : whether only `low`, `low` + `step`, ... are meant.
    step : given for a range of integers when it is not 1.
    choices : the values, when it is one of those; their order means nothing.
    """

    path: tuple[str | int, ...]
    low: float
    high: float
    log: bool = False
    integer: bool = False
    step: int | None = None
    choices: tuple[Any, ...] | None = None

    @property
    def name(self) -> str:
        """The path with dots, as points are keyed."""
        return ".".join(map(str, self.path))

    @property
    def count(self) -> int | None:
        """How many values there are; None for a continuous range."""
        if not self.integer:
            return None
        return (int(self.high) - int(self.low)) // (self.step or 1) + 1

    def at(self, share: float) -> Any:
        """The value at a share in [0, 1) of the range; equal shares of values that are counted."""
        if self.log:
            # half a step beyond both ends, so that the first and last integers get their share
            edge = 0.5 if self.integer else 0.0
            low, high = math.log(self.low - edge), math.log(self.high + edge)
            return self.nearest(math.exp(low + share * (high - low)))
        if self.count is None:
            return self.nearest(self.low + share * (self.high - self.low))
        return self.value(min(int(share * self.count), self.count - 1))

    def value(self, number: int) -> Any:
        """The value of this number, from 0 to `count` - 1."""
        return self.choices[number] if self.choices else int(self.low) + number * (self.step or 1)

    def nearest(self, value: float) -> float | int:
        """The value of a range next to a number: rounded, and inside the bounds."""
        if not self.integer:
            return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)
        number = round((value - self.low) / (self.step or 1))
        return int(self.value(min(max(number, 0), (self.count or 1) - 1)))

    @property
    def middle(self) -> Any:
        """What stands for the field in the example: the middle of the range, the first choice."""
        return self.choices[0] if self.choices else self.at(0.5)

    def canonical(self, value: Any) -> Any:
        """A value as points have it: rounded, an integer without a point."""
        return value if self.choices else self.nearest(value)

    @property
    def tried(self) -> tuple[Any, ...]:
        """Values that stand for all: middle, ends, and next to an end; every choice."""
        if self.choices:
            return self.choices
        # besides the middle, a number that is no integer by chance; the one beside an end
        inside = self.value(1) if self.integer else self.at(0.38197)
        return self.middle, self.plain(self.low), self.plain(self.high), inside

    def plain(self, bound: float) -> float | int:
        """A bound as the recipe gets it."""
        return int(bound) if self.integer else float(bound)

    def distance(self, a: Any, b: Any) -> float:
        """How far apart two values are, in shares of the range; 1 for two choices."""
        if self.choices:
            return float(as_text(a) != as_text(b))
        if self.log:
            return abs(math.log(a / b)) / math.log(self.high / self.low)
        return float(abs(a - b) / (self.high - self.low))

    def number(self, value: Any) -> float | None:
        """Where a value lies (the index of a choice, the value itself in a range), or None."""
        if self.choices:
            texts = [as_text(choice) for choice in self.choices]
            return texts.index(as_text(value)) if as_text(value) in texts else None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        inside = self.low <= value <= self.high
        counted = not self.integer or (value - self.low) % (self.step or 1) == 0
        return value if inside and counted else None


def as_text(value: Any) -> str:
    """A value as JSON with sorted keys: equal for what is equal, and 1, 1.0 and true differ."""
    return json.dumps(value, sort_keys=True, default=str)
