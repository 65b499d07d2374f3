"""MaxVol over more rows than are held at a time: they pass by in chunks until none is better."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr

from athanor.query._exchange import GAIN, IntArray, chained, dominant, grades_of, inverted
from athanor.structure import FloatArray

TagArray = NDArray[np.int64]
Chunk: TypeAlias = tuple[FloatArray, TagArray]
"""Rows, (k, m), and a number for each of them, (k,): the same in every pass."""

INITIAL_TAGS_BELOW = 0
"""Rows that are there from the beginning have negative tags; they have no price."""
NEAR = 20
"""Rows held beside the active ones, in multiples of their number: those of the largest grades."""
NEAR_NUMBERS = 8_000_000
"""They are at least twice as many as the active rows, but beyond that at most these numbers."""
MOST_PASSES = 100
"""A handful is usual."""
_CHAIN_WORK = 200_000_000
"""Coefficients that the search for chains may touch: a second or so."""


def room_beside(m: int) -> int:
    """How many rows are held beside m active ones."""
    return max(2 * m, min(NEAR * m, NEAR_NUMBERS // m))


class Search:
    """The active rows while others pass by, and beside them the few that come nearest.

    Attributes
    ----------
    rows, tags : the active rows, (m, m), and their numbers, (m,).
    log_volume : ln|det A| of the active rows, priced.
    passes : how often all rows have passed by.
    seen : one more than the largest number that has passed by.

    Parameters
    ----------
    rows : (m, m) active to begin with.
    tags : (m,) a number for each of them.
    price : a row with a tag of 0 or more counts as if divided by this: it has the same grade among
        its like, and ln(price) less volume.
    """

    def __init__(self, rows: FloatArray, tags: TagArray, *, price: float = 1.0) -> None:
        self.passes = self.seen = 0
        self._price = price
        self._room = room_beside(len(rows))
        self._near: Chunk = rows[:0], tags[:0]
        self._near_grades = np.empty(0)
        self._trials = _CHAIN_WORK // (5 * len(rows) ** 2)
        self._take(rows, tags)

    def run(self, everything: Callable[[], Iterator[Chunk]]) -> None:
        """Let all rows pass by until not one has a (priced) coefficient of modulus above 1.

        The volume grows with every exchange, so this ends; rounding cannot keep it going for ever.
        """
        self._changed = True
        while self._changed and self.passes < MOST_PASSES:
            self._changed = False
            for rows, tags in everything():
                self._offer(rows, tags)
            self._settle(chains=True)
            self.passes += 1

    def _take(self, rows: FloatArray, tags: TagArray) -> None:
        self.rows, self.tags = rows, tags
        self._changed = True
        self._inverse, self.log_volume = inverted(rows * self._factors(tags)[:, None])

    def _factors(self, tags: TagArray) -> FloatArray:
        return np.where(tags < INITIAL_TAGS_BELOW, 1.0, 1.0 / self._price)

    def _grades(self, rows: FloatArray, tags: TagArray) -> FloatArray:
        return np.asarray(grades_of(rows, self._inverse) * self._factors(tags))

    def _offer(self, rows: FloatArray, tags: TagArray) -> None:
        """Keep those that come nearest; exchange at once when too many are waiting."""
        grades = self._grades(rows, tags)
        self.seen = max(self.seen, 1 + int(tags.max(initial=-1)))
        full = len(self._near_grades) == self._room
        above = np.flatnonzero(grades > (self._near_grades.min() if full else -1.0))
        new = above[~np.isin(tags[above], np.concatenate([self.tags, self._near[1]]))]
        if len(new) == 0:
            return
        self._keep(
            np.concatenate([self._near[0], rows[new]]),
            np.concatenate([self._near[1], tags[new]]),
            np.concatenate([self._near_grades, grades[new]]),
        )
        if len(self._near_grades) == self._room and self._near_grades.min() > GAIN:
            self._settle(chains=False)

    def _keep(self, rows: FloatArray, tags: TagArray, grades: FloatArray) -> None:
        if len(grades) > self._room:
            best = np.sort(np.argsort(-grades, kind="stable")[: self._room])
            rows, tags, grades = rows[best], tags[best], grades[best]
        self._near, self._near_grades = (rows, tags), grades

    def _settle(self, *, chains: bool) -> None:
        """Exchange among the rows that are held until no better choice of them is found."""
        rows = np.concatenate([self.rows, self._near[0]])
        tags = np.concatenate([self.tags, self._near[1]])
        before = np.arange(len(self.rows))
        chosen = self._best(rows * self._factors(tags)[:, None], before, chains=chains)
        if np.array_equal(chosen, before):
            return
        others = np.setdiff1d(np.arange(len(rows)), chosen)
        self._take(rows[chosen], tags[chosen])
        self._keep(rows[others], tags[others], self._grades(rows[others], tags[others]))

    def _best(self, candidates: FloatArray, chosen: IntArray, *, chains: bool) -> IntArray:
        # scaled columns change no coefficient, and keep inverses accurate
        candidates /= np.abs(candidates).max(axis=0)
        chosen = dominant(candidates, chosen)
        while chains and self._trials > 0:
            better, used = chained(candidates, chosen, self._trials)
            self._trials -= used
            if better is None:
                break
            chosen = dominant(candidates, better)
        return chosen


def qr_start(candidates: FloatArray) -> IntArray:
    """A first choice by pivoted QR, which takes the row farthest from the span of those taken."""
    _, order = qr((candidates / np.abs(candidates).max(axis=0)).T, mode="r", pivoting=True)
    return np.sort(order[: candidates.shape[1]])
