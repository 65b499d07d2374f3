"""Exchanges of rows that raise |det A|: one by one, and chains of them (Novikov et al. 2021, 2.3).

A row b with coefficients c = b A^-1 that takes the place of active row j multiplies |det A| by
|c_j|; all other coefficients change by a matrix of rank one.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dger, idamax
from scipy.linalg.lapack import dgetrf, dgetri

from athanor.structure import FloatArray

IntArray = NDArray[np.intp]

GAIN = 1 + 1e-6
"""An exchange must raise |det A| by at least this factor."""
_REFRESH = 200
"""Exchanges after which the coefficients are computed anew, since rank-one updates drift."""
_CHUNK = 512
"""Rows whose coefficients are held at a time: in the cache until their maximum is known."""
_CHAIN_TOPS = 5
"""Candidates by which an active row is forced out."""
_CHAIN_LOSS = 0.2
"""Least factor by which the first exchange of a chain may change |det A|."""
_CHAIN_LENGTH = 40
"""Most exchanges in a chain after the first."""


def dominant(candidates: FloatArray, chosen: IntArray) -> IntArray:
    """Exchange single rows until no coefficient of a candidate exceeds 1.

    Parameters
    ----------
    candidates : (n, m) rows. chosen : (m,) which of them are active to begin with.
    """
    few, limit = 4 * len(chosen) + 64, _REFRESH
    inverse, log_volume = inverted(candidates[chosen])
    while True:
        grades = grades_of(candidates, inverse)
        beyond = np.flatnonzero(grades > GAIN)
        if len(beyond) == 0:
            return chosen
        worst = beyond[np.argsort(-grades[beyond], kind="stable")[:few]]
        swapped = chosen.copy()
        for k, j, _ in _exchanges(_coefficients(candidates[worst], inverse), limit):
            swapped[j] = worst[k]
        better, gained = inverted(candidates[swapped])
        if gained > log_volume + 1e-9:
            chosen, inverse, log_volume = swapped, better, gained
            limit = min(2 * limit, _REFRESH)
        elif limit == 1:
            return chosen  # what is left above the threshold is rounding
        else:
            limit = max(1, limit // 8)  # of so many, the last ones went by coefficients gone wrong


def chained(candidates: FloatArray, chosen: IntArray, trials: int) -> tuple[IntArray | None, int]:
    """Search for a chain of exchanges that loses at first and gains at last.

    Every active row is forced out in turn, by each of the rows that lose least; what follows are
    exchanges as usual. Returns the better choice, None where there is none, and the trials made.
    """
    m = len(chosen)
    inverse, log_volume = inverted(candidates[chosen])
    grades = grades_of(candidates, inverse)
    grades[chosen] = np.inf  # an active row must be able to come back
    near = np.argsort(-grades, kind="stable")[: 5 * m]
    coefficients = _coefficients(candidates[near], inverse)
    losses = np.abs(coefficients)
    losses[np.isin(near, chosen)] = 0.0
    order = np.argsort(-losses, axis=0, kind="stable")[:_CHAIN_TOPS].T
    tries = [(j, k) for j in range(m) for k in order[j] if losses[k, j] > _CHAIN_LOSS]
    for used, (j, k) in enumerate(tries[:trials], start=1):
        tried = coefficients.copy(order="F")
        first = tried[k, j]
        _exchange(tried, k, j)
        chain = list(_exchanges(tried, _CHAIN_LENGTH))
        if np.log(abs(first)) + sum(gain for _, _, gain in chain) > 1e-7:
            better = chosen.copy()
            better[j] = near[k]
            for row, place, _ in chain:
                better[place] = near[row]
            if inverted(candidates[better])[1] > log_volume + 1e-9:  # not by rounding
                return better, used
    return None, min(len(tries), trials)


def grades_of(rows: FloatArray, inverse: FloatArray) -> FloatArray:
    """max_j |(row A^-1)_j| of each row, chunk by chunk; NaN or inf where a row is not finite."""
    found = np.empty(len(rows))
    held = np.empty((min(len(rows), _CHUNK), len(inverse)))
    with np.errstate(invalid="ignore", over="ignore"):
        for first in range(0, len(rows), _CHUNK):
            part = rows[first : first + _CHUNK]
            product = np.matmul(part, inverse, out=held[: len(part)])
            np.abs(product, out=product).max(axis=1, out=found[first : first + _CHUNK])
    return found


def inverted(rows: FloatArray) -> tuple[FloatArray, float]:
    """Inverse of A and ln|det A|, which is -inf for a singular one.

    Scaled columns keep both accurate, and xGETRI makes X A - 1 small, not A X - 1.
    """
    scale = np.abs(rows).max(axis=0)
    scale[scale == 0] = 1.0
    factors, pivots, singular = dgetrf(rows / scale)
    if singular:
        return np.zeros_like(rows), -np.inf
    inverse, _ = dgetri(factors, pivots)
    log_volume = float(np.sum(np.log(np.abs(np.diag(factors)))) + np.sum(np.log(scale)))
    return np.ascontiguousarray(inverse / scale[:, None]), log_volume


def _coefficients(rows: FloatArray, inverse: FloatArray) -> FloatArray:
    """C = B A^-1, column by column in memory as BLAS updates it in place."""
    return (inverse.T @ rows.T).T


def _exchanges(coefficients: FloatArray, limit: int) -> Iterator[tuple[int, int, float]]:
    """Exchange the largest coefficient's row in, up to `limit` times; changes `coefficients`.

    Yields (row k of the coefficients, place j in A, gain of ln|det A|).
    """
    entries = coefficients.ravel(order="K")  # a view: column after column
    for _ in range(limit if len(entries) else 0):
        j, k = divmod(int(idamax(entries)), len(coefficients))
        gain = abs(float(coefficients[k, j]))
        if gain <= GAIN:
            return
        _exchange(coefficients, k, j)
        yield k, j, float(np.log(gain))


def _exchange(coefficients: FloatArray, k: int, j: int) -> None:
    """Update C = B A^-1 in place for row j of A replaced by row k of B: a change of rank one."""
    step = coefficients[k].copy()
    step[j] -= 1.0
    dger(-1.0 / coefficients[k, j], coefficients[:, j].copy(), step, a=coefficients, overwrite_a=1)
