"""Averages over blocks of frames, with the statistical error the blocks show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from athanor.structure import FloatArray

T = TypeVar("T")


def split(frames: Sequence[T], blocks: int) -> list[Sequence[T]]:
    """Cut a series into at most `blocks` consecutive pieces of nearly equal length."""
    edges = np.linspace(0, len(frames), min(blocks, len(frames)) + 1).round().astype(int)
    return [frames[first:last] for first, last in pairwise(edges)]


@dataclass(frozen=True, slots=True, eq=False)
class Blocked:
    """An array that was measured in each of some blocks of a run.

    Attributes
    ----------
    each : (blocks, ...), NaN where a block has no number.
    weights : (blocks,) frames in each.
    """

    each: FloatArray
    weights: FloatArray = field(default_factory=lambda: np.ones(1))

    @property
    def mean(self) -> FloatArray:
        """Average over the frames, of the shape of one block; NaN where any block is."""
        mean: FloatArray = np.average(self.each, axis=0, weights=self.weights)
        return mean

    @property
    def error(self) -> FloatArray | None:
        """One standard deviation of the mean, from the scatter of the blocks; None for one block.

        Blocks are taken as independent: they must be longer than what the structure remembers.
        """
        if len(self.each) < 2:
            return None
        scatter: FloatArray = np.std(self.each, axis=0, ddof=1)
        return np.asarray(scatter / np.sqrt(len(self.each)))

    def at(self, *place: int) -> Blocked:
        """One part of each block."""
        return Blocked(np.asarray([one[place] for one in self.each]), self.weights)

    def map(self, change: Callable[[FloatArray], ArrayLike]) -> Blocked:
        """Apply a function to each block."""
        return Blocked(np.array([change(one) for one in self.each], dtype=float), self.weights)


def number(values: Blocked) -> tuple[float, float | None]:
    """The mean of a blocked number and its error; None where that is not known."""
    return float(values.mean), error_of(values)


def error_of(values: Blocked) -> float | None:
    """The error of a blocked number, None where there is one block or one without a number."""
    error = values.error
    return float(error) if error is not None and np.isfinite(error) else None
