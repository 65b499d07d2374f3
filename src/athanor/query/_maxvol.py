"""MaxVol: the active set, a square submatrix of nearly maximal volume (Novikov et al. 2021, 2.3).

Rows are exchanged one for one until none of the whole matrix has a coefficient of modulus above 1
with respect to the active rows (each exchange multiplies |det A| by that coefficient); then chains
of exchanges that begin with a loss are tried, since single ones end in the first local maximum.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lu_factor, lu_solve, qr

from athanor.errors import FitError
from athanor.structure import FloatArray

IntArray = NDArray[np.intp]

INITIAL = 1e-5
"""A starts as this times the unit matrix, so that fewer rows than parameters still give grades."""
_GAIN = 1 + 1e-6
"""An exchange must raise |det A| by at least this factor."""
_REFRESH = 200
"""Exchanges after which the coefficients are computed anew, since rank-one updates drift."""
_CHUNK = 16_384
"""Rows whose coefficients are held at a time."""
_QR_ROWS = 4_000
"""Rows that the pivoted QR start may look at."""
_CHAIN_WORK = 100_000_000
"""Coefficients that the search for chains may touch: a second or so."""
_CHAIN_TOPS = 5
"""Candidates by which an active row is forced out."""
_CHAIN_LOSS = 0.2
"""Least factor by which the first exchange of a chain may change |det A|."""
_CHAIN_LENGTH = 40
"""Most exchanges in a chain after the first."""


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
    seen : how many rows have been offered so far.
    """

    rows: FloatArray
    inverse: FloatArray
    log_volume: float
    origins: IntArray
    seen: int

    @classmethod
    def of(cls, rows: FloatArray) -> ActiveSet:
        """Choose the active set of `rows`, (n, m), from scratch.

        Raises FitError for rows that are not finite, and for a matrix without columns.
        """
        rows = _checked(rows, None)
        n, m = rows.shape
        # the unit rows stay candidates beside the given ones: A is at least as good as from them
        candidates = np.concatenate([rows, INITIAL * np.eye(m)])
        origins = np.concatenate([np.arange(n), np.full(m, -1)])
        starts = [_start(candidates)]
        if n <= _QR_ROWS:  # where it costs little, a second start: the maximum is but a local one
            starts.append(np.arange(n, n + m))
        found = [_maximised(candidates, start) for start in starts]
        made = [cls.holding(candidates[chosen], origins[chosen], n) for chosen in found]
        return max(made, key=lambda active: active.log_volume)

    def grades(self, rows: FloatArray) -> FloatArray:
        """Grade max_j |(row A^-1)_j| of each of the rows, (n, m); inf where one is not finite."""
        found = _grades(rows, self.inverse)
        return np.where(np.isfinite(found), found, np.inf)

    def extended(self, rows: FloatArray, *, threshold: float = 1.0) -> ActiveSet:
        """Exchange with `rows`, (n, m), where each of them that is taken is worth its price.

        The result maximises ln|det A| - ln(threshold) * (number of these rows in A), so that no row
        offered has a grade above `threshold`, with few of them taken. The origin of row k of these
        is `seen + k`. Rows offered earlier and not active are not looked at again.

        Raises FitError as `of` does, or where the number of columns differs.
        """
        rows, m = _checked(rows, len(self.rows)), len(self.rows)
        # a row divided by the threshold has the same grade among its like, and ln(threshold) less
        # volume: the price enters plain MaxVol by itself
        candidates = np.concatenate([self.rows, rows / threshold])
        chosen = _maximised(candidates, np.arange(m))
        origins = np.concatenate([self.origins, np.arange(self.seen, self.seen + len(rows))])
        taken = np.concatenate([self.rows, rows])[chosen]
        return self.holding(taken, origins[chosen], self.seen + len(rows))

    @classmethod
    def holding(cls, rows: FloatArray, origins: IntArray, seen: int) -> ActiveSet:
        """The active set of exactly these rows, (m, m), of which no better is sought."""
        inverse, log_volume = _inverted(rows)
        return cls(rows, inverse, log_volume, origins, seen)


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


def _start(candidates: FloatArray) -> IntArray:
    """A first choice by pivoted QR, which takes the row farthest from the span of those taken.

    Of very many rows it sees an even sample and the last (unit) ones; the exchanges see all.
    """
    n, m = candidates.shape
    sample = np.unique(
        np.append(np.linspace(0, n - 1, min(n, _QR_ROWS), dtype=np.intp), np.arange(n - m, n))
    )
    seen = candidates[sample]
    _, order = qr((seen / np.abs(seen).max(axis=0)).T, mode="r", pivoting=True)
    return np.sort(sample[order[:m]])


def _maximised(candidates: FloatArray, chosen: IntArray) -> IntArray:
    """Indices of m candidates of nearly maximal volume, beginning with those `chosen`."""
    # scaled columns change no coefficient, and keep inverses accurate
    scaled = candidates / np.abs(candidates).max(axis=0)
    chosen = _dominant(scaled, chosen)
    trials = _CHAIN_WORK // (5 * scaled.shape[1] ** 2)
    while trials > 0:
        better, used = _chained(scaled, chosen, trials)
        if better is None:
            break
        trials -= used
        chosen = _dominant(scaled, better)
    return chosen


def _dominant(candidates: FloatArray, chosen: IntArray) -> IntArray:
    """Exchange single rows until no coefficient exceeds 1.

    All rows are graded by one matrix product per pass; only the worst few go through exchanges.
    """
    few = 4 * len(chosen) + 64
    inverse, log_volume = _inverted(candidates[chosen])
    while True:
        grades = _grades(candidates, inverse)
        beyond = np.flatnonzero(grades > _GAIN)
        worst = beyond[np.argsort(-grades[beyond], kind="stable")[:few]]
        swapped = chosen.copy()
        for k, j, _ in _exchanges(candidates[worst] @ inverse, _REFRESH):
            swapped[j] = worst[k]
        inverse, gained = _inverted(candidates[swapped])
        if not gained > log_volume + 1e-9:
            return chosen  # none to do, or what is left above the threshold is rounding
        chosen, log_volume = swapped, gained


def _chained(candidates: FloatArray, chosen: IntArray, trials: int) -> tuple[IntArray | None, int]:
    """Search for a chain of exchanges that loses at first and gains at last.

    Every active row is forced out in turn, by each of the rows that lose least; what follows are
    exchanges as usual. Returns the better choice, None where there is none, and the trials made.
    """
    m = len(chosen)
    inverse, _ = _inverted(candidates[chosen])
    grades = _grades(candidates, inverse)
    grades[chosen] = np.inf  # an active row must be able to come back
    near = np.argsort(-grades, kind="stable")[: 5 * m]
    coefficients = candidates[near] @ inverse
    losses = np.abs(coefficients)
    losses[np.isin(near, chosen)] = 0.0
    order = np.argsort(-losses, axis=0, kind="stable")[:_CHAIN_TOPS].T
    tries = [(j, k) for j in range(m) for k in order[j] if losses[k, j] > _CHAIN_LOSS]
    for used, (j, k) in enumerate(tries[:trials], start=1):
        tried = coefficients.copy()
        first = tried[k, j]
        _exchange(tried, k, j)
        chain = list(_exchanges(tried, _CHAIN_LENGTH))
        if np.log(abs(first)) + sum(gain for _, _, gain in chain) > 1e-7:
            better = chosen.copy()
            better[j] = near[k]
            for row, place, _ in chain:
                better[place] = near[row]
            return better, used
    return None, trials


def _exchanges(coefficients: FloatArray, limit: int) -> Iterator[tuple[int, int, float]]:
    """Exchange the largest coefficient's row in, up to `limit` times; changes `coefficients`.

    Yields (row k of the coefficients, place j in A, gain of ln|det A|).
    """
    for _ in range(limit if len(coefficients) else 0):
        k, j = divmod(int(np.argmax(np.abs(coefficients))), coefficients.shape[1])
        gain = abs(float(coefficients[k, j]))
        if gain <= _GAIN:
            return
        _exchange(coefficients, k, j)
        yield k, j, float(np.log(gain))


def _exchange(coefficients: FloatArray, k: int, j: int) -> None:
    """Update C = B A^-1 in place for row j of A replaced by row k of B: a change of rank one."""
    step = coefficients[k].copy()
    step[j] -= 1.0
    coefficients -= np.outer(coefficients[:, j] / coefficients[k, j], step)


def _grades(rows: FloatArray, inverse: FloatArray) -> FloatArray:
    """max_j |(row A^-1)_j| of each row, chunk by chunk; NaN or inf where a row is not finite."""
    found = np.empty(len(rows))
    for first in range(0, len(rows), _CHUNK):
        part = slice(first, first + _CHUNK)
        with np.errstate(invalid="ignore", over="ignore"):
            found[part] = np.abs(rows[part] @ inverse).max(axis=1)
    return found


def _inverted(rows: FloatArray) -> tuple[FloatArray, float]:
    """Inverse of A and ln|det A|; scaled columns keep both accurate."""
    scale = np.abs(rows).max(axis=0)
    factors = lu_factor(rows / scale)
    inverse = lu_solve(factors, np.eye(len(rows))) / scale[:, None]
    log_volume = float(np.sum(np.log(np.abs(np.diag(factors[0])))) + np.sum(np.log(scale)))
    return inverse, log_volume
