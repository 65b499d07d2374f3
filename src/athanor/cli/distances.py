"""The shortest distance of each pair of species in a structure, periodic images included."""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from athanor.structure import check_structure

FIRST_CUTOFF = 3.0
LARGEST_CUTOFF = 12.0
"""Å; atoms farther apart than this are no neighbours to anybody."""


def shortest(atoms: Atoms) -> dict[str, float]:
    """Return the shortest distance in Å by pair, as {"Al-Ni": 2.5}; pairs beyond 12 Å are left out.

    Raises StructureError for a structure without atoms, not finite, or with a singular cell.
    """
    check_structure(atoms)
    symbols = sorted(set(atoms.symbols))
    wanted = {f"{a}-{b}" for a, b in combinations_with_replacement(symbols, 2)}
    cutoff = FIRST_CUTOFF
    found = _within(atoms, cutoff)
    # most pairs are found at once; only what is missing pays for a longer reach
    while not wanted <= found.keys() and cutoff < LARGEST_CUTOFF:
        cutoff = min(1.6 * cutoff, LARGEST_CUTOFF)
        found = _within(atoms, cutoff)
    return found


def _within(atoms: Atoms, cutoff: float) -> dict[str, float]:
    from vesin import NeighborList

    finder = NeighborList(cutoff=cutoff, full_list=False, n_threads=1)
    i, j, length = finder.compute(atoms.positions, atoms.cell.array, atoms.pbc, quantities="ijd")
    if len(length) == 0:
        return {}
    symbols = sorted(set(atoms.symbols))
    index = np.zeros(max(atomic_numbers.values()) + 1, dtype=np.intp)
    index[[atomic_numbers[symbol] for symbol in symbols]] = np.arange(len(symbols))
    ends = np.sort(index[atoms.numbers[np.stack([i, j])]], axis=0)
    pair = ends[0] * len(symbols) + ends[1]
    least = np.full(len(symbols) ** 2, np.inf)
    np.minimum.at(least, pair, length)
    return {
        f"{symbols[k // len(symbols)]}-{symbols[k % len(symbols)]}": float(least[k])
        for k in np.flatnonzero(np.isfinite(least))
    }
