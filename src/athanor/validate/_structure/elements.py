"""Which atom is of which element, and the pairs of elements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from athanor.errors import InputError, MeasurementError
from athanor.structure import FloatArray, check_structure

Pair = tuple[str, str]
NOBLE = np.array([2, 10, 18, 36, 54, 86, 118])


@dataclass(frozen=True, slots=True, eq=False)
class Elements:
    """The elements of a run of frames, the same in each.

    Attributes
    ----------
    names : chemical symbols, the more electropositive first as in formulas: Si-O, As-Te.
    index : (n_atoms,) element of each atom.
    """

    names: tuple[str, ...]
    index: NDArray[np.intp]

    @property
    def counts(self) -> FloatArray:
        """(n_elements,) atoms of each."""
        return np.bincount(self.index, minlength=len(self.names)).astype(float)

    @property
    def fractions(self) -> FloatArray:
        """(n_elements,) share of each, adding up to 1."""
        return self.counts / len(self.index)

    @property
    def pairs(self) -> list[Pair]:
        """Every two elements once, an element with itself too."""
        return list(combinations_with_replacement(self.names, 2))

    @property
    def places(self) -> list[tuple[int, int]]:
        """The pairs as indices of elements."""
        return list(combinations_with_replacement(range(len(self.names)), 2))

    @property
    def pair_shares(self) -> FloatArray:
        """(n_pairs,) c_a c_b, twice that for unlike elements: they add up to 1."""
        c = self.fractions
        return np.array([(1 if a == b else 2) * c[a] * c[b] for a, b in self.places])

    @property
    def table(self) -> NDArray[np.intp]:
        """(n_elements, n_elements) number of the pair."""
        table = np.zeros((len(self.names),) * 2, dtype=np.intp)
        for number, (a, b) in enumerate(self.places):
            table[a, b] = table[b, a] = number
        return table

    def pair(self, name: str) -> Pair:
        """The pair called 'Si-O' or 'O-Si'; InputError for anything else."""
        words = name.split("-")
        for pair in self.pairs:
            if sorted(words) == sorted(pair):
                return pair
        raise InputError(
            f"there is no pair {name!r}; the pairs of these frames are "
            f"{', '.join('-'.join(pair) for pair in self.pairs)}"
        )


def elements_of(frames: Sequence[Atoms]) -> Elements:
    """The elements of frames that hold the same atoms in the same order, periodic throughout.

    Raises MeasurementError where there are no frames, or no density; StructureError for a frame no
    potential could evaluate.
    """
    if not frames:
        raise MeasurementError("there are no frames to analyse; leave out fewer or run longer")
    numbers = frames[0].numbers
    for place, frame in enumerate(frames):
        check_structure(frame, where=f"frame {place}")
        if not frame.pbc.all():
            raise MeasurementError(
                f"frame {place} is not periodic in all three directions, so it has no density; "
                "give a periodic box"
            )
        if not np.array_equal(frame.numbers, numbers):
            raise MeasurementError(
                f"frame {place} holds other atoms than the first frame, or in another order; "
                "give the frames of one run"
            )
    found = np.unique(numbers)
    # how far it is to the next noble gas orders elements much as their electronegativity does
    found = found[np.lexsort([-found, found - NOBLE[np.searchsorted(NOBLE, found)]])]
    index = np.argmax(numbers[:, None] == found, axis=1)
    return Elements(tuple(Atoms(numbers=found).symbols), index.astype(np.intp))
