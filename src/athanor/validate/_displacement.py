"""How far atoms move: mean-square displacement, and whether that is a liquid's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from athanor.structure import FloatArray

STIRRED = 0.3
"""Of the spacing of atoms, root mean square: in a liquid they go further within some ps, in a solid
they never do (Lindemann: twice a tenth or so)."""


def unwrapped(frames: Sequence[Atoms]) -> FloatArray:
    """(frames, n, 3) positions in Å along a run, without jumps over the edges or a common drift.

    Atoms must not move half a box between frames. In a cell that changes, positions are taken in
    the mean cell.
    """
    scaled = np.array([frame.get_scaled_positions(wrap=False) for frame in frames])
    moves = np.diff(scaled, axis=0)
    scaled[1:] = scaled[0] + np.cumsum(moves - np.round(moves), axis=0)
    cell = np.mean([frame.cell.array for frame in frames], axis=0)
    masses = frames[0].get_masses()
    positions = np.asarray(scaled @ cell)
    centre = np.einsum("tni,n->ti", positions, masses) / masses.sum()
    moved: FloatArray = positions - centre[:, None, :]
    return moved


def mean_square_displacement(positions: FloatArray, *, longest: int) -> FloatArray:
    """(longest + 1,) Å² against the lag in frames, over all origins and atoms of (frames, n, 3).

    By Fourier transforms, as in nMoldyn (Kneller et al., Comput. Phys. Commun. 91, 191, 1995).
    """
    count = len(positions)
    squares = (positions**2).sum(axis=2)
    transformed = np.fft.rfft(positions, n=2 * count, axis=0)
    power = (np.abs(transformed) ** 2).sum(axis=2)
    products = np.fft.irfft(power, n=2 * count, axis=0)[: longest + 1]
    below = np.concatenate([np.zeros((1, squares.shape[1])), np.cumsum(squares, axis=0)])
    lags = np.arange(longest + 1)
    # sums of r(t)² and of r(t + lag)² over the origins t that a lag has
    both = below[count - lags] + (below[count] - below[lags])
    found: FloatArray = ((both - 2 * products) / (count - lags)[:, None]).mean(axis=1)
    found[0] = 0.0  # not only to rounding
    return found


def stirring(frames: Sequence[Atoms]) -> float:
    """Root-mean-square displacement from the first frame to the last over the spacing of atoms."""
    positions = unwrapped(frames)
    moved = np.sqrt(((positions[-1] - positions[0]) ** 2).sum(axis=1).mean())
    spacing = (abs(frames[0].get_volume()) / len(frames[0])) ** (1 / 3)
    return float(moved / spacing)
