"""What is searched: the recipe of a potential with ranges in place of some of its values."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from athanor.component import choose
from athanor.errors import ConfigError
from athanor.potentials import PotentialConfig
from athanor.search._marks import dimension, marks
from athanor.search.dimension import Dimension, as_text

Point = dict[str, Any]
"""Dotted path -> value: JSON-able and canonical, so that equal points are equal dictionaries."""

PACKAGE = "athanor.potentials"


@dataclass(frozen=True)
class SearchSpace:
    """The points a search may try.

    Attributes
    ----------
    example : the recipe's table with the middle of every range (the first of every choice).
    dimensions : at least one, in the order they are written.
    package : whose kinds the table's `kind` names; None when it is no recipe, any point is allowed.
    where : what messages call the section.
    """

    example: Mapping[str, Any]
    dimensions: tuple[Dimension, ...]
    package: str | None = PACKAGE
    where: str = "[potential]"

    @classmethod
    def of(cls, **dimensions: Mapping[str, Any]) -> SearchSpace:
        """The space of a plain function of numbers: `SearchSpace.of(x={"low": 0, "high": 1.5})`.

        Ranges between two integers are ranges of integers. Raises ConfigError as `marked` does.
        """
        read = _read(dimensions, where="space")
        if len(read) != len(dimensions) or not read:
            raise ConfigError("space: give every argument a range (low, high) or choices")
        return cls(_filled(dimensions, read), read, None, "space")

    @property
    def size(self) -> int | None:
        """How many points there are; None when a range is continuous."""
        counts = [one.count for one in self.dimensions]
        return None if None in counts else math.prod(count or 1 for count in counts)

    def table(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """The recipe's table with the values of a point; ConfigError for one of another space."""
        values = self.canonical(point)
        return _with(self.example, {one.path: values[one.name] for one in self.dimensions})

    def recipe(self, point: Mapping[str, Any]) -> PotentialConfig:
        """The recipe at a point; ConfigError where the recipe refuses it."""
        if self.package is None:
            raise ConfigError("this search is over the arguments of a function, not over a recipe")
        return _recipe(self.table(point), self.package, self.where)

    def allows(self, point: Mapping[str, Any]) -> bool:
        """Whether the recipe takes these values together (min_dist below max_dist, say)."""
        if self.package is None:
            return True
        try:
            self.recipe(point)
        except ConfigError:
            return False
        return True

    def holds(self, point: Mapping[str, Any]) -> bool:
        """Whether it has a value for every dimension, each inside its range, and no other."""
        return set(point) == {one.name for one in self.dimensions} and all(
            one.number(point[one.name]) is not None for one in self.dimensions
        )

    def canonical(self, point: Mapping[str, Any]) -> Point:
        """The point with floats rounded, integers exact; ConfigError for one of another space."""
        if not self.holds(point):
            raise ConfigError(
                f"{self.where}: {as_text(dict(point))} is no point of this search over "
                f"{', '.join(one.name for one in self.dimensions)}; give what `propose` gave"
            )
        return {one.name: one.canonical(point[one.name]) for one in self.dimensions}

    def distance(self, a: Mapping[str, Any], b: Mapping[str, Any]) -> float:
        """Between 0 and the number of dimensions: shares of each range, 1 for another choice."""
        return sum(one.distance(a[one.name], b[one.name]) for one in self.dimensions)

    def at(self, shares: Sequence[float]) -> Point:
        """The point at shares in [0, 1) of every range."""
        return {one.name: one.at(share) for one, share in zip(self.dimensions, shares, strict=True)}

    def points(self) -> Iterator[Point]:
        """Every point of a space without continuous ranges."""
        names = [one.name for one in self.dimensions]
        values = [[one.value(i) for i in range(one.count or 0)] for one in self.dimensions]
        return (dict(zip(names, each, strict=True)) for each in itertools.product(*values))


def key(point: Mapping[str, Any]) -> str:
    """Equal for equal points, whatever the order of their keys."""
    return as_text(dict(point))


def marked(
    table: Mapping[str, Any], *, where: str = "[potential]", package: str = PACKAGE
) -> tuple[SearchSpace | None, dict[str, Any]]:
    """Read a recipe's table in which values may be marked with a range.

    A mark is a table in place of a value: `{ low = 4.0, high = 6.5 }`, with `log = true` where
    factors count, or `{ choices = ["a", "b"] }`. Integers are searched when both bounds are
    integers and the field takes no other number; `step = 2` for every second one. A table is a
    mark when it has a key low, high or choices, and no kind; any other is the recipe's own.

    Returns the space, None when nothing is marked, and a plain table: the middle of every range.

    Raises ConfigError, naming the field, for a misspelt or impossible mark, and when the recipe
    refuses the middle, an end or a choice of one field with the others in the middle.
    """
    read = _read(table, where=where)
    if not read:
        return None, copy.deepcopy(dict(table))
    names = [one.name for one in read]
    if len(set(names)) < len(names):
        raise ConfigError(f"{where}: a dot in a key makes {', '.join(names)} ambiguous; rename it")
    example = _filled(table, read)
    _recipe(example, package, where)
    read = tuple(_continuous(one, example, package, where=where) for one in read)
    example = _filled(table, read)
    for one in read:
        _check(one, example, package, where=where)
    return SearchSpace(example, read, package, where), example


def _read(table: Mapping[str, Any], *, where: str) -> tuple[Dimension, ...]:
    """The dimensions of all marks."""
    return tuple(dimension(path, mark, where=where) for path, mark in marks(table))


def _filled(table: Mapping[str, Any], dimensions: tuple[Dimension, ...]) -> dict[str, Any]:
    """The table with the middle of every range (the first of every choice)."""
    return _with(table, {one.path: one.middle for one in dimensions})


def _continuous(
    one: Dimension, example: Mapping[str, Any], package: str, *, where: str
) -> Dimension:
    """The dimension, no longer one of integers when the field takes other numbers too."""
    if not one.integer or one.choices or one.step is not None:
        return one
    try:
        _recipe(_with(example, {one.path: one.low + 0.5}), package, where)
    except ConfigError:
        return one
    return dataclasses.replace(one, low=float(one.low), high=float(one.high), integer=False)


def _check(one: Dimension, example: Mapping[str, Any], package: str, *, where: str) -> None:
    """Raise ConfigError for a value of this dimension that the recipe refuses."""
    for value in one.tried:
        try:
            _recipe(_with(example, {one.path: value}), package, where)
        except ConfigError as error:
            raise ConfigError(
                f"{error}; {as_text(value)} was tried because the range of {one.name} holds it: "
                f"{_remedy(one, value)}"
            ) from None


def _remedy(one: Dimension, value: Any) -> str:
    if one.choices:
        return "leave that choice out"
    if value in (one.low, one.high):
        return "move that end"
    return "give a step" if one.integer else "for integers, write low and high as integers"


def _recipe(table: Mapping[str, Any], package: str, where: str) -> PotentialConfig:
    return choose(package, PotentialConfig, table, where=where)


def _with(table: Mapping[str, Any], values: Mapping[tuple[str | int, ...], Any]) -> dict[str, Any]:
    """A copy of the table with these values at these paths."""
    whole = copy.deepcopy(dict(table))
    for path, value in values.items():
        place: Any = whole
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = copy.deepcopy(value)
    return whole
