"""Neighbours of one structure, for what evaluates environment vectors outside the core."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from athanor import _core
from athanor.structure import FloatArray

COINCIDENT = 1e-3
"""Å; no potential means anything for atoms as close as this."""

Ints = NDArray[np.intp]


def near_pairs(
    positions: FloatArray, cell: FloatArray, periodic: NDArray[np.bool_], *, cutoff: float
) -> tuple[Ints, Ints, FloatArray]:
    """Ordered pairs (i, j), with images, sorted by i, and vectors (n_pairs, 3) r_j - r_i, Å.

    Raises `_core.StructureFault`, as the kernels do, where two atoms coincide.
    """
    i, j, vectors = _core.all_pairs(
        np.ascontiguousarray(positions),
        np.ascontiguousarray(cell),
        np.ascontiguousarray(periodic),
        cutoff,
    )
    close = np.flatnonzero((vectors**2).sum(axis=1) < COINCIDENT**2)
    if len(close):
        raise _core.StructureFault(
            f"atoms {i[close[0]]} and {j[close[0]]} coincide (closer than {COINCIDENT} Å)"
        )
    order = np.argsort(i, kind="stable")
    return i[order].astype(np.intp), j[order].astype(np.intp), vectors[order]


def couples(group: Ints) -> tuple[Ints, Ints]:
    """All couples (p, q), p < q, of entries that share a value in a sorted array."""
    position = np.arange(len(group))
    later = np.searchsorted(group, group, side="right") - position - 1
    first = np.repeat(position, later)
    begin = np.repeat(np.cumsum(later) - later, later)
    return first, first + 1 + np.arange(len(first)) - begin
