"""MaxVol: the active set, a square submatrix of locally maximal volume (Novikov et al. 2021, 2.3).

Rows are exchanged until no row of the whole matrix has a coefficient of modulus above a threshold
with respect to the active rows; each exchange multiplies |det A| by that coefficient.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lu_factor, lu_solve, qr

from athanor.errors import FitError
from athanor.structure import FloatArray

IntArray = NDArray[np.intp]

INITIAL = 1e-5
"""A starts as this times the unit matrix, so that fewer rows than parameters still give grades."""
THRESHOLD = 1.001
"""An exchange must raise |det A| by at least this factor."""
_REFRESH = 200
"""Exchanges after which the coefficients are computed anew, since rank-one updates drift."""
_CHUNK = 16_384
"""Rows whose coefficients are held at a time."""
_QR_ROWS = 4_000
"""Rows that the pivoted QR start may look at."""


@dataclass(frozen=True, slots=True)
class ActiveSet:
    """The rows that span the parameters best.

    Parameters that no row depends on keep their initial row, 1e-5 times a unit vector (origin -1):
    nothing is ever NaN or infinite, and a structure that does depend on such a parameter gets a
    grade as large as it is new (its derivative divided by 1e-5). With fewer rows than parameters
    the remaining directions are treated alike, so that grades come out inflated.

    Attributes
    ----------
    rows : (m, m) matrix A.
    inverse : (m, m) its inverse.
    log_volume : ln|det A|.
    origins : (m,) index of each row in the input (counted on through `extended`), -1 for rows of
        the initial matrix.
    entered : (m,) grade each row had when it was exchanged in, 0 where it was there from the start.
    seen : how many rows have been offered so far.
    """

    rows: FloatArray
    inverse: FloatArray
    log_volume: float
    origins: IntArray
    entered: FloatArray
    seen: int

    @classmethod
    def of(cls, rows: FloatArray, *, threshold: float = THRESHOLD) -> ActiveSet:
        """Choose the active set of `rows`, (n, m), from scratch.

        Raises FitError for rows that are not finite, and for a matrix without columns.
        """
        rows = _checked(rows, None)
        m = rows.shape[1]
        unit = INITIAL * np.eye(m)
        scale = np.maximum(np.abs(rows).max(axis=0, initial=0.0), INITIAL)
        started = _start(rows, unit, scale)
        taken = np.isin(np.arange(len(rows)), started)
        given = started >= 0
        start = _settled(
            np.concatenate([rows[started[given]], unit[-1 - started[~given]]]),
            np.concatenate([started[given], np.full(m - given.sum(), -1)]),
            np.zeros(m),
            len(rows),
        )
        # the unit rows stay candidates beside the given ones: A must be as good as from A = 1e-5
        rest = np.flatnonzero(~taken)
        offered = np.concatenate([rows[rest], unit])
        numbers = np.concatenate([rest, np.full(m, -1)])
        return _exchanged(start, offered, numbers, threshold)

    def grades(self, rows: FloatArray) -> FloatArray:
        """Grade max_j |(row A^-1)_j| of each of the rows, (n, m); inf where one is not finite."""
        found = np.concatenate([np.empty(0), *(g for _, g in self._graded(rows))])
        return np.where(np.isfinite(found), found, np.inf)

    def extended(self, rows: FloatArray, *, threshold: float = THRESHOLD) -> ActiveSet:
        """Exchange with `rows`, (n, m), until none has a grade above `threshold`.

        The origin of row k of these is `seen + k`. Rows offered earlier and not active are not
        looked at again. Raises FitError as `of` does, or where the number of columns differs.
        """
        rows = _checked(rows, len(self.rows))
        numbers = np.arange(self.seen, self.seen + len(rows))
        start = replace(self, seen=self.seen + len(rows))
        return _exchanged(start, rows, numbers, threshold)

    def _graded(self, rows: FloatArray) -> Iterator[tuple[int, FloatArray]]:
        """(first index, grades) of the rows, chunk by chunk."""
        for first in range(0, len(rows), _CHUNK):
            with np.errstate(invalid="ignore", over="ignore"):  # such rows get the grade inf
                coefficients = rows[first : first + _CHUNK] @ self.inverse
            yield first, np.abs(coefficients).max(axis=1)


def _checked(rows: FloatArray, columns: int | None) -> FloatArray:
    rows = np.asarray(rows, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] == 0 or columns not in (None, rows.shape[1]):
        raise FitError(
            f"rows of derivatives have shape {rows.shape}, expected (n, {columns or 'parameters'})"
        )
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        raise FitError(
            f"row {int(np.argmin(finite))} of derivatives is not finite; refit the potential or "
            "leave that structure out"
        )
    return rows


def _start(rows: FloatArray, unit: FloatArray, scale: FloatArray) -> IntArray:
    """A first choice by pivoted QR: indices of rows, and -1 - k for row k of the unit matrix.

    QR takes, one after the other, the row farthest from the span of those taken: close to the
    maximum already. Of very many rows it sees an even sample; the exchanges see all of them.
    """
    sample = np.arange(0, len(rows), max(1, -(-len(rows) // _QR_ROWS)))
    candidates = np.concatenate([rows[sample], unit]) / scale
    _, order = qr(candidates.T, mode="r", pivoting=True)
    chosen = np.sort(order[: len(unit)])
    return np.where(
        chosen < len(sample),
        sample[np.minimum(chosen, len(sample) - 1)] if len(sample) else -1,
        -1 - (chosen - len(sample)),
    )


def _exchanged(
    active: ActiveSet, offered: FloatArray, numbers: IntArray, threshold: float
) -> ActiveSet:
    """Exchange active rows with `offered` ones, named `numbers`, until none exceeds `threshold`.

    All rows are graded by one matrix product per pass; only the worst few go through exchanges.
    """
    few = max(4 * len(active.rows), 64)
    while len(offered):
        grades = np.concatenate([g for _, g in active._graded(offered)])
        beyond = np.flatnonzero(grades > threshold)
        if len(beyond) == 0:
            break
        worst = beyond[np.argsort(-grades[beyond], kind="stable")[:few]]
        swapped = _swap(active, offered[worst], numbers[worst], threshold)
        if not swapped.log_volume > active.log_volume:
            break  # what is left above the threshold is rounding
        active = swapped
    return active


def _swap(active: ActiveSet, offered: FloatArray, numbers: IntArray, threshold: float) -> ActiveSet:
    """Do up to `_REFRESH` exchanges, largest coefficient first."""
    m = len(active.rows)
    rows, origins, entered = active.rows.copy(), active.origins.copy(), active.entered.copy()
    coefficients = offered @ active.inverse
    for _ in range(_REFRESH):
        k, j = divmod(int(np.argmax(np.abs(coefficients))), m)
        pivot = coefficients[k, j]
        if abs(pivot) <= threshold:
            break
        rows[j], origins[j], entered[j] = offered[k], numbers[k], abs(pivot)
        # with row j of A replaced by b_k, the coefficients C = B A^-1 change by one rank
        step = coefficients[k].copy()
        step[j] -= 1.0
        coefficients -= np.outer(coefficients[:, j] / pivot, step)
    return _settled(rows, origins, entered, active.seen)


def _settled(rows: FloatArray, origins: IntArray, entered: FloatArray, seen: int) -> ActiveSet:
    """An active set of these rows, its inverse and volume computed from them."""
    # scaled columns keep the factorisation accurate where parameters differ in magnitude
    scale = np.abs(rows).max(axis=0)
    factors = lu_factor(rows / scale)
    inverse = lu_solve(factors, np.eye(len(rows))) / scale[:, None]
    log_volume = float(np.sum(np.log(np.abs(np.diag(factors[0])))) + np.sum(np.log(scale)))
    return ActiveSet(rows, inverse, log_volume, origins, entered, seen)
