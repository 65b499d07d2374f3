"""Standardised inputs: mean and spread of environment vectors, and the vectors kept in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from athanor import _core
from athanor.errors import StructureError
from athanor.potentials._ani.evaluation import Aev, geometry
from athanor.potentials._ani.frames import Frames
from athanor.potentials._ani.lanes import in_lanes
from athanor.structure import FloatArray

_LEAST_SPREAD = 0.1
"""Of the length of the mean vector."""


@dataclass(frozen=True, slots=True, eq=False)
class Surveyed:
    """Mean of each input over atoms, what they are divided by, and the vectors where kept.

    All are divided by the same number, the spread of the whole vector. Divided each by its own
    spread, those that hardly vary would count as much as the rest, and fits to a few hundred
    structures were off by two to three times as much.
    """

    shift: FloatArray
    stretch: FloatArray
    values: NDArray[np.float32] | NDArray[np.float64] | None


def surveyed(
    aev: Aev, frames: Frames, trained: FloatArray, *, keep: bool, double: bool, threads: int
) -> Surveyed:
    """Environment vectors of all frames; statistics over those with trained (n_frames,) above 0."""
    n_inputs = aev.length
    kind = np.float64 if double else np.float32
    table = np.empty((len(frames.positions), n_inputs), dtype=kind) if keep else None

    def work(piece: NDArray[np.intp]) -> tuple[FloatArray, FloatArray, float]:
        part = frames.take(piece)
        try:
            values = aev.values(*geometry(part), double=double)
        except _core.StructureFault:
            raise _fault(aev, frames, piece) from None
        if table is not None:
            table[frames.offsets[piece[0]] : frames.offsets[piece[-1] + 1]] = values
        weights = np.repeat((trained[piece] > 0).astype(float), part.sizes)
        exact = values.astype(float)
        return weights @ exact, weights @ exact**2, float(weights.sum())

    found = in_lanes(work, list(frames.pieces(np.arange(len(frames)))), threads=threads)
    count = sum(one[2] for one in found)
    mean = np.sum([one[0] for one in found], axis=0) / count
    variance = np.sum([one[1] for one in found], axis=0) / count - mean**2
    whole = float(np.sqrt(np.maximum(variance, 0.0).sum()))
    # atoms that are all alike
    whole = max(whole, _LEAST_SPREAD * float(np.linalg.norm(mean))) or 1.0
    return Surveyed(mean, np.full(n_inputs, whole), table)


def _fault(aev: Aev, frames: Frames, piece: NDArray[np.intp]) -> StructureError:
    """What to say of the structure of a piece that has no environment vectors."""
    for number in piece:
        try:
            aev.values(*geometry(frames.take(np.array([number]))))
        except _core.StructureFault as fault:
            name = frames.origins[number]
            return StructureError(f"{name}: {fault}; mend this structure or leave it out")
    raise AssertionError("a piece has a fault that none of its structures has")
