"""The mean of a correlated series and its statistical error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from athanor.errors import MeasurementError

FEWEST_BLOCKS = 8


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean with one standard deviation of it, and the correlation length of the series.

    Attributes
    ----------
    correlation : statistical inefficiency: so many values are worth one that is independent.
    """

    value: float
    error: float
    correlation: float


def mean_of(series: ArrayLike) -> Mean:
    """Mean and error of (n,) values in equal spacing, by blocking.

    Neighbours are averaged in pairs again and again; the error of the mean grows with the blocks
    until they are independent (Flyvbjerg and Petersen, J. Chem. Phys. 91, 461, 1989). Taken is the
    largest estimate of those with at least 8 blocks, which errs to the safe side by what noise the
    estimates have. Raises MeasurementError for fewer than 4 values or any not finite.
    """
    values = np.asarray(series, dtype=np.float64)
    if values.ndim != 1 or len(values) < 4:
        raise MeasurementError(
            f"a series of shape {values.shape} has no statistical error; give at least 4 values, "
            "by a longer run or snapshots more often"
        )
    if not np.isfinite(values).all():
        raise MeasurementError("a series holds values that are not finite, so it has no mean")
    naive = float(np.var(values, ddof=1)) / len(values)
    best, blocks = naive, values
    while len(blocks) // 2 >= FEWEST_BLOCKS:
        blocks = blocks[: 2 * (len(blocks) // 2)].reshape(-1, 2).mean(axis=1)
        best = max(best, float(np.var(blocks, ddof=1)) / len(blocks))
    inefficiency = best / naive if naive > 0 else 1.0
    return Mean(float(values.mean()), float(np.sqrt(best)), inefficiency)
