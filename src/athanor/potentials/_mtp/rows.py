"""Training data as weighted rows: targets once, design rows anew for every radial state.

Losses of Novikov et al. 2021, eqs 7 (molecules), 11 (structures) and 12 (vibrations); a row is the
square root of its weight times the derivative of energy, force component or virial component.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr

from athanor import _core
from athanor.data.dataset import Dataset
from athanor.potentials._faults import checked
from athanor.structure import FloatArray, Frame

Weighting = Literal["molecules", "structures", "vibrations"]
_EXPONENTS = {"molecules": (0, 0, 0), "structures": (2, 1, 2), "vibrations": (1, 0, 1)}
"""Powers of 1/N for energy, force and stress."""

_VOIGT = ((0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1))
_BLOCK_ROWS = 6000
"""Rows per block: large enough for LAPACK's blocking, small enough that memory stays bounded."""


@dataclass(frozen=True, slots=True)
class LossWeights:
    """w_e, w_f, w_s of the loss (energies in eV, forces in eV/Å, virial in eV) and its scaling."""

    energy: float
    force: float
    stress: float
    scheme: Weighting

    def of(self, frame: Frame) -> tuple[float, float, float]:
        """Square roots of the weights of one frame; 0 for the stress where it has no label."""
        n = len(frame.atoms)
        e, f, s = (n ** (-0.5 * power) for power in _EXPONENTS[self.scheme])
        stress = self.stress if frame.labels.stress is not None else 0.0
        return e * self.energy**0.5, f * self.force**0.5, s * stress**0.5


@dataclass(frozen=True, slots=True)
class Block:
    """Some frames, flat, with their weighted labels and what the core alone gives, (n_rows,)."""

    positions: FloatArray
    types: NDArray[np.int32]
    offsets: NDArray[np.int64]
    cells: FloatArray
    periodic: NDArray[np.bool_]
    weights: FloatArray
    labels: FloatArray
    offset: FloatArray

    def design(self, program: _core.Mtp, *, radial: bool, threads: int) -> FloatArray:
        """Weighted rows (n_rows, n_columns): [radial,] species_coeffs, moment_coeffs."""
        return program.design_many(
            self.positions,
            self.types,
            self.offsets,
            self.cells,
            self.periodic,
            self.weights,
            radial=radial,
            threads=threads,
        )

    def loss(self, program: _core.Mtp) -> float:
        """Sum of squared weighted residuals of a potential."""
        parts = [
            _weighted_prediction(
                program,
                self.positions[begin:end],
                self.types[begin:end],
                self.cells[k],
                self.periodic[k],
                self.weights[k],
            )
            for k, (begin, end) in enumerate(pairwise(self.offsets))
        ]
        return float(np.sum((np.concatenate(parts) - self.labels) ** 2))


def blocks_of(
    data: Dataset, *, species: Sequence[str], weights: LossWeights, offset: _core.Mtp
) -> list[Block]:
    """Cut a dataset into blocks; `offset` predicts the part that has no parameters (the core)."""
    index = {symbol: number for number, symbol in enumerate(species)}
    blocks: list[Block] = []
    group: list[Frame] = []
    rows = 0
    for frame in data:
        group.append(frame)
        rows += 7 + 3 * len(frame.atoms)
        if rows >= _BLOCK_ROWS:
            blocks.append(_block(group, index, weights, offset))
            group, rows = [], 0
    if group:
        blocks.append(_block(group, index, weights, offset))
    return blocks


def _block(
    frames: list[Frame], index: dict[str, int], weights: LossWeights, offset: _core.Mtp
) -> Block:
    types = [np.array([index[s] for s in f.atoms.symbols], dtype=np.int32) for f in frames]
    scales = np.array([weights.of(frame) for frame in frames])
    lengths = [len(frame.atoms) for frame in frames]
    alone = []
    for frame, kinds, scale in zip(frames, types, scales, strict=True):
        atoms = frame.atoms
        with checked(atoms, where=frame.origin):
            alone.append(
                _weighted_prediction(
                    offset, atoms.positions, kinds, atoms.cell.array, atoms.pbc, scale
                )
            )
    return Block(
        positions=np.concatenate([frame.atoms.positions for frame in frames]),
        types=np.concatenate(types),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        cells=np.stack([frame.atoms.cell.array for frame in frames]),
        periodic=np.stack([frame.atoms.pbc for frame in frames]),
        weights=scales,
        labels=np.concatenate(
            [_weighted_labels(f, w) for f, w in zip(frames, scales, strict=True)]
        ),
        offset=np.concatenate(alone),
    )


def _weighted_prediction(
    program: _core.Mtp,
    positions: FloatArray,
    types: NDArray[np.int32],
    cell: FloatArray,
    periodic: NDArray[np.bool_],
    scale: FloatArray,
) -> FloatArray:
    energy, forces, virial, _, _, _ = program.evaluate(positions, types, cell, periodic)
    return _weighted(energy, forces, virial, scale)


def _weighted_labels(frame: Frame, scale: FloatArray) -> FloatArray:
    labels = frame.labels
    virial = np.zeros((3, 3)) if labels.stress is None else labels.stress * frame.atoms.cell.volume
    return _weighted(labels.energy, labels.forces, virial, scale)


def _weighted(
    energy: float, forces: FloatArray, virial: FloatArray, scale: FloatArray
) -> FloatArray:
    """Energy, forces, virial (xx yy zz yz xz xy, shear times sqrt 2) in the order of the rows."""
    tensor = virial[_VOIGT] * np.array([1, 1, 1, *[2**0.5] * 3])
    return np.concatenate([[scale[0] * energy], scale[1] * forces.ravel(), scale[2] * tensor])


def triangle(
    blocks: Sequence[Block], program: _core.Mtp, *, n_radial: int, threads: int
) -> FloatArray:
    """Triangular factor of [linear columns, radial columns, target] over all blocks.

    With n_radial = 0 the radial columns are left out. Blocks are folded in one after another, so
    memory is that of one block and the result does not depend on the number of threads.
    """
    factor: FloatArray | None = None
    for block in blocks:
        stacked = _stacked(factor, block, program, n_radial=n_radial, threads=threads)
        width = stacked.shape[1]
        factor = qr(stacked, mode="r", overwrite_a=True, check_finite=False)[0][:width]
    assert factor is not None, "no blocks"
    missing = factor.shape[1] - factor.shape[0]
    return np.pad(factor, ((0, missing), (0, 0)))


def _stacked(
    factor: FloatArray | None, block: Block, program: _core.Mtp, *, n_radial: int, threads: int
) -> FloatArray:
    """The rows of a block below a factor, as LAPACK wants them, so that it copies nothing."""
    rows = block.design(program, radial=n_radial > 0, threads=threads)
    n_linear = rows.shape[1] - n_radial
    above = 0 if factor is None else len(factor)
    out = np.empty((above + len(rows), rows.shape[1] + 1), order="F")
    if factor is not None:
        out[:above] = factor
    out[above:, :n_linear] = rows[:, n_radial:]
    out[above:, n_linear:-1] = rows[:, :n_radial]
    out[above:, -1] = block.labels - block.offset
    return out
