"""Energies of single atoms by least squares, and the scale of what is left to learn."""

from __future__ import annotations

import numpy as np

from athanor.potentials._ani.frames import Frames
from athanor.structure import FloatArray

_LEAST = 1e-3
"""eV; the scale where all energies are alike, so that weights stay finite."""


def energy_offsets(frames: Frames, n_species: int) -> FloatArray:
    """(n_species,) eV: least squares of energies per atom by the composition, in float64.

    Of several solutions, where compositions are collinear, the one of least norm.
    """
    sizes = frames.sizes.astype(float)
    shares = frames.counts(n_species) / sizes[:, None]
    offsets, *_ = np.linalg.lstsq(shares, frames.energies / sizes, rcond=1e-10)
    return np.asarray(offsets, dtype=float)


def output_scale(frames: Frames, offsets: FloatArray) -> float:
    """eV: the spread of energies per atom about their offsets, so that networks learn numbers of
    order one; that of forces times 1 Å where there is a single structure."""
    left = (frames.energies - frames.counts(len(offsets)) @ offsets) / frames.sizes
    spread = float(np.sqrt(np.mean(left**2)))
    if spread < _LEAST:
        spread = float(np.sqrt(np.mean(frames.forces**2)))
    return max(spread, _LEAST)
