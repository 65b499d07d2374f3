"""MaxVol: the active set, a square submatrix of nearly maximal volume (Novikov et al. 2021, 2.3).

Rows are exchanged one for one until none of the whole matrix has a coefficient of modulus above 1
with respect to the active rows (each exchange multiplies |det A| by that coefficient); then chains
of exchanges that begin with a loss are tried, since single ones end in the first local maximum.
The rows may pass by in chunks, several times: only those that come nearest are held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from athanor.errors import FitError
from athanor.query._exchange import IntArray, grades_of, inverted
from athanor.query._search import Chunk, Search, TagArray, qr_start, room_beside
from athanor.structure import FloatArray

INITIAL = 1e-5
"""A starts as this times the unit matrix, so that fewer rows than parameters still give grades."""
_CHUNK = 8_192
"""Rows of a matrix at hand that pass by at a time."""
_QR_ROWS = 4_000
"""Rows that the pivoted QR start may look at."""

Pass = Callable[[], Iterable[Chunk]]
"""Lets all rows pass by, in chunks of any length; each has a number of its own, from 0 on."""


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
        n = len(rows)
        sampled = np.unique(np.linspace(0, n - 1, min(n, _QR_ROWS), dtype=np.int64))
        samples = [(rows[sampled], sampled)]
        if n <= _QR_ROWS:  # where it costs little, a second start: the maximum is but a local one
            samples.append((rows[:0], sampled[:0]))
        found = [cls._chosen(lambda: _parts(rows), sample) for sample in samples]
        return max(found, key=lambda active: active.log_volume)

    @classmethod
    def of_stream(cls, everything: Pass) -> ActiveSet:
        """Choose the active set of rows that pass by in chunks, as often as is needed.

        What is held beside one chunk is of the size of some active sets (`held`). Raises FitError
        as `of` does, and where no row passes by.
        """
        first = next(iter(everything()), None)
        if first is None:
            raise FitError("there are no rows of derivatives; give at least one structure")
        rows, numbers = first
        return cls._chosen(everything, (_checked(rows, None)[:_QR_ROWS], numbers[:_QR_ROWS]))

    @classmethod
    def _chosen(cls, everything: Pass, sample: Chunk) -> ActiveSet:
        """Begin with a choice among `sample`, some of the rows that will pass by."""
        m = sample[0].shape[1]
        # the unit rows stay candidates beside the given ones: A is at least as good as from them
        unit = INITIAL * np.eye(m), -1 - np.arange(m)
        candidates = np.concatenate([sample[0], unit[0]])
        start = qr_start(candidates) if len(sample[0]) else np.arange(m)
        search = Search(candidates[start], np.concatenate([sample[1], unit[1]])[start])
        search.run(lambda: _passing(unit, everything, m))
        return cls.holding(search.rows, np.maximum(search.tags, -1), search.seen)

    def grades(self, rows: FloatArray) -> FloatArray:
        """Grade max_j |(row A^-1)_j| of each of the rows, (n, m); inf where one is not finite."""
        found = grades_of(rows, self.inverse)
        return np.where(np.isfinite(found), found, np.inf)

    def extended(self, rows: FloatArray, *, threshold: float = 1.0) -> ActiveSet:
        """Exchange with `rows`, (n, m), where each of them that is taken is worth its price.

        The result maximises ln|det A| - ln(threshold) * (number of these rows in A), so that no row
        offered has a grade above `threshold`, with few of them taken. The origin of row k of these
        is `seen + k`. Rows offered earlier and not active are not looked at again.

        Raises FitError as `of` does, or where the number of columns differs.
        """
        rows = _checked(rows, len(self.rows))
        return self.extended_by(lambda: _parts(rows), threshold=threshold)

    def extended_by(self, everything: Pass, *, threshold: float = 1.0) -> ActiveSet:
        """The same for rows that pass by in chunks, as often as is needed: twice at least.

        The second time shows that none is left above the threshold. Raises what `extended` does.
        """
        m = len(self.rows)
        known = self.rows, -1 - np.arange(m)
        search = Search(*known, price=threshold)
        search.run(lambda: _passing(known, everything, m))
        taken = search.tags >= 0
        origins = np.where(taken, self.seen + search.tags, self.origins[-1 - search.tags * ~taken])
        return self.holding(search.rows, origins, self.seen + search.seen)

    @classmethod
    def holding(cls, rows: FloatArray, origins: IntArray, seen: int) -> ActiveSet:
        """The active set of exactly these rows, (m, m), of which no better is sought.

        Raises FitError where they are linearly dependent.
        """
        inverse, log_volume = inverted(rows)
        if not np.isfinite(log_volume):
            raise FitError(
                f"{len(rows)} active rows of derivatives are linearly dependent, so that nothing "
                "can be graded with them; choose an active set from a training set"
            )
        return cls(rows, inverse, log_volume, origins, seen)


def held(m: int) -> int:
    """Bytes that are held for m parameters, beside a chunk, while an active set is chosen."""
    return 8 * m * (4 * room_beside(m) + 8 * m)


def _parts(rows: FloatArray) -> Iterator[Chunk]:
    for first in range(0, len(rows), _CHUNK):
        part = rows[first : first + _CHUNK]
        yield part, first + np.arange(len(part))


def _passing(known: Chunk, everything: Pass, columns: int) -> Iterator[Chunk]:
    """First the rows of the beginning, then all others, checked."""
    yield known
    for rows, numbers in everything():
        yield _checked(rows, columns, numbers=numbers), numbers


def _checked(
    rows: FloatArray, columns: int | None, *, numbers: TagArray | None = None
) -> FloatArray:
    rows = np.asarray(rows, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] == 0 or columns not in (None, rows.shape[1]):
        raise FitError(
            f"rows of derivatives have shape {rows.shape}, expected (n, {columns or 'parameters'})"
        )
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        bad = int(np.argmin(finite))
        raise FitError(
            f"row {bad if numbers is None else numbers[bad]} of derivatives is not finite; refit "
            "the potential or leave that structure out"
        )
    return rows
