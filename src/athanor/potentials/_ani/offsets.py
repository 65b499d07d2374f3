"""Energies of single atoms by least squares, and the scale of what is left to learn."""

from __future__ import annotations

import numpy as np

from athanor.potentials._ani.frames import Frames
from athanor.structure import FloatArray

_LEAST = 1e-3
"""eV; the scale where all energies are alike, so that weights stay finite."""

_WRONG, _TIMES = 1e3, 1e4
"""eV per atom, and times the spread of all others: no structure is off by that."""


def energy_offsets(frames: Frames, n_species: int) -> FloatArray:
    """(n_species,) eV: least squares of energies per atom by the composition, in float64.

    Of several solutions, where compositions are collinear, the one of least norm.
    """
    sizes = frames.sizes.astype(float)
    shares = frames.counts(n_species) / sizes[:, None]
    per_atom = frames.energies / sizes
    scale = _order(per_atom)
    offsets, *_ = np.linalg.lstsq(shares, per_atom / scale, rcond=1e-10)
    return np.asarray(offsets * scale, dtype=float)


def output_scale(frames: Frames, offsets: FloatArray) -> float:
    """eV: the spread of energies per atom about their offsets, so that networks learn numbers of
    order one; that of forces times 1 Å where there is a single structure."""
    left = (frames.energies - frames.counts(len(offsets)) @ offsets) / frames.sizes
    spread = _rms(left)
    if spread < _LEAST:
        spread = _rms(frames.forces)
    return max(spread, _LEAST)


def beyond_reason(frames: Frames, n_species: int) -> tuple[int, float, float] | None:
    """The frame whose energy alone contradicts those of all others.

    Returns its number, eV per atom by which it is off the offsets of the others, and by how much
    these are off (root mean square). It must be off by 1000 eV per atom and by 10^4 times as much,
    and no other frame may explain the contradiction by being left out instead.
    """
    sizes = frames.sizes.astype(float)
    shares = frames.counts(n_species) / sizes[:, None]
    per_atom = frames.energies / sizes
    left = per_atom - shares @ energy_offsets(frames, n_species)
    if float(np.abs(left).max()) < _WRONG / len(left):
        return None
    axes, singular, _ = np.linalg.svd(shares, full_matrices=False)
    leverage = (axes[:, singular > 1e-10 * singular[0]] ** 2).sum(axis=1)
    # the sum of squares falls by the square of this when a frame is left out
    explained = np.abs(left) / np.sqrt(np.maximum(1 - leverage, 1e-12))
    explained[leverage > 1 - 1e-9] = 0.0

    def without(number: int) -> tuple[float, float]:
        others = np.flatnonzero(np.arange(len(frames)) != number)
        offsets = energy_offsets(frames.take(others), n_species)
        rest = per_atom - shares @ offsets
        return abs(float(rest[number])), _rms(rest[others])

    first, second = (int(k) for k in np.argsort(-explained)[:2])
    if not _contradicts(*without(first)) or _contradicts(*without(second)):
        return None
    return (first, *without(first))


def _contradicts(off: float, rest: float) -> bool:
    return off > _WRONG and off > _TIMES * rest


def _order(values: FloatArray) -> float:
    """The power of two up to which values go: divided by it, their squares do not overflow, and no
    digit changes."""
    return float(np.ldexp(1.0, int(np.frexp(np.abs(values).max())[1]) - 1))


def _rms(values: FloatArray) -> float:
    """Root of the mean square, also where squares overflow."""
    scale = _order(values)
    return scale * float(np.sqrt(np.mean((values / scale) ** 2)))
