"""Marks in a recipe: `{ low = ..., high = ... }` or `{ choices = [...] }` in place of a value."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from athanor.component import nearest
from athanor.errors import ConfigError
from athanor.search.dimension import Dimension, as_text

_TELLING = ("low", "high", "choices")
_KEYS = ("low", "high", "log", "step", "choices")

Path = tuple[str | int, ...]


def is_mark(table: Mapping[str, Any]) -> bool:
    """Whether a table is a range or a choice, not a table of the recipe.

    It is when it has a key low, high or choices, and no kind. What looks like such a one misspelt
    ({ lo, hi }, { choice }) counts too, so that the message is about the mark.
    """
    if "kind" in table:
        return False
    if any(key in table for key in _TELLING):
        return True
    close = [difflib.get_close_matches(key, _KEYS, n=1, cutoff=0.6) for key in table]
    return bool(close) and all(close) and (len(close) > 1 or close[0] == ["choices"])


def marks(value: Any, path: Path = ()) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Every mark in a table or list, with its path, in the order they are written."""
    if isinstance(value, Mapping):
        if path and is_mark(value):
            yield path, value
            return
        for key, inner in value.items():
            yield from marks(inner, (*path, key))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for index, inner in enumerate(value):
            yield from marks(inner, (*path, index))


def dimension(path: Path, mark: Mapping[str, Any], *, where: str) -> Dimension:
    """Read a mark; ConfigError in one sentence for what it cannot be.

    A range between two integers is one of integers.
    """
    name = ".".join(map(str, path))
    at = f"{where}: {name}"
    for key in mark:
        if key not in _KEYS:
            raise ConfigError(
                f"{at}: unknown key {key!r}{nearest(key, _KEYS)} in a range; write "
                "{ low = ..., high = ... } (and log = true or step = 2), or { choices = [...] }"
            )
    return _choice(path, mark, at) if "choices" in mark else _range(path, mark, at)


def _choice(path: Path, mark: Mapping[str, Any], at: str) -> Dimension:
    choices = mark["choices"]
    if len(mark) > 1:
        raise ConfigError(
            f"{at}: choices go without {', '.join(k for k in mark if k != 'choices')}"
        )
    if not isinstance(choices, list | tuple) or len(choices) < 2:
        raise ConfigError(f"{at}: choices = {choices!r} is no list of two or more values")
    if len({as_text(choice) for choice in choices}) < len(choices):
        raise ConfigError(f"{at}: choices = {choices!r} names a value twice; name each once")
    return Dimension(path, 0, len(choices) - 1, integer=True, choices=tuple(choices))


def _range(path: Path, mark: Mapping[str, Any], at: str) -> Dimension:
    low, high = _bound(mark, "low", at), _bound(mark, "high", at)
    log, step = mark.get("log", False), mark.get("step")
    if low >= high:
        raise ConfigError(f"{at}: low = {low} must be below high = {high}")
    if not isinstance(log, bool):
        raise ConfigError(f"{at}: log = {log!r} is neither true nor false")
    if log and low <= 0:
        raise ConfigError(f"{at}: log = true needs low above 0, and it is {low}")
    if step is None:
        if isinstance(low, int) and isinstance(high, int):
            return Dimension(path, low, high, log=log, integer=True)
        return Dimension(path, float(low), float(high), log=log)
    _check_step(low, high, step, log=log, at=at)
    return Dimension(path, low, high, integer=True, step=step)


def _bound(mark: Mapping[str, Any], key: str, at: str) -> float:
    if key not in mark:
        raise ConfigError(f"{at}: a range needs low and high, and {key} is missing")
    bound = mark[key]
    if isinstance(bound, bool) or not isinstance(bound, int | float) or not math.isfinite(bound):
        raise ConfigError(f"{at}: {key} = {bound!r} is not a finite number")
    return bound


def _check_step(low: float, high: float, step: Any, *, log: bool, at: str) -> None:
    if isinstance(step, bool) or not isinstance(step, int) or step < 1:
        raise ConfigError(f"{at}: step = {step!r} is not an integer of 1 or more")
    if log:
        raise ConfigError(f"{at}: step and log = true do not go together; leave one out")
    if not (isinstance(low, int) and isinstance(high, int)):
        raise ConfigError(f"{at}: a step needs integers as bounds, not {low} and {high}")
    if (high - low) % step:
        raise ConfigError(
            f"{at}: from low = {low} in steps of {step} one does not come to high = {high}; "
            f"give high = {high - (high - low) % step}"
        )
