"""Labelled frames as the training sees them: energies without offsets, batches, losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase.data import atomic_numbers
from torch import Tensor

from athanor.data.dataset import Dataset
from athanor.potentials._hipnn.batch import Batch, Index, frame_name
from athanor.potentials._hipnn.evaluation import Derivatives
from athanor.potentials._hipnn.model import HipnnSpec
from athanor.potentials._hipnn.settings import FitSettings
from athanor.structure import FloatArray, Frame, check_trainable

_LEAST = 1e-3
"""eV; the scale where all labels are alike, so that weights stay finite."""


def species_indices(frames: Sequence[Frame], species: Sequence[str]) -> list[Index]:
    """Per frame (n_atoms,) the place of each atom's element in `species`."""
    table = np.full(len(atomic_numbers) + 1, -1, dtype=np.int64)
    table[[atomic_numbers[symbol] for symbol in species]] = range(len(species))
    return [table[frame.atoms.numbers] for frame in frames]


def energy_offsets(data: Dataset, species: Sequence[str]) -> FloatArray:
    """(n_species,) eV: least squares of energies per atom by the composition, in float64.

    Of several solutions, where compositions are collinear, the one of least norm.
    """
    counts = _counts(data.frames, species)
    sizes = counts.sum(axis=1)
    energies = np.array([frame.labels.energy for frame in data])
    offsets, *_ = np.linalg.lstsq(counts / sizes[:, None], energies / sizes, rcond=1e-10)
    return np.asarray(offsets, dtype=float)


def output_scale(data: Dataset, species: Sequence[str], offsets: FloatArray) -> float:
    """eV: the spread of energies per atom about their offsets, or of forces times 1 Å where that
    is larger, so that the network learns numbers of order one."""
    counts = _counts(data.frames, species)
    energies = np.array([frame.labels.energy for frame in data])
    left = (energies - counts @ offsets) / counts.sum(axis=1)
    forces = np.concatenate([frame.labels.forces for frame in data])
    return max(float(np.sqrt(np.mean(left**2))), float(np.sqrt(np.mean(forces**2))), _LEAST)


def _counts(frames: Sequence[Frame], species: Sequence[str]) -> FloatArray:
    rows = [np.bincount(row, minlength=len(species)) for row in species_indices(frames, species)]
    return np.array(rows, dtype=float).reshape(len(rows), len(species))


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Frames to learn from or to be validated by.

    Attributes
    ----------
    frames : as given; named by `where` and their number in messages.
    types : per frame the species indices.
    energies : (n_frames,) eV, without offsets.
    cutoff : of the pairs, Å.
    where : training or validation.
    """

    frames: tuple[Frame, ...]
    types: list[Index]
    energies: FloatArray
    cutoff: float
    where: str

    @classmethod
    def of(cls, data: Dataset, spec: HipnnSpec, offsets: FloatArray, *, where: str) -> Examples:
        """Raises LabelError for a frame without finite energy and forces."""
        for number, frame in enumerate(data):
            check_trainable(frame.labels, len(frame.atoms), where=frame_name(frame, where, number))
        energies = np.array([frame.labels.energy for frame in data])
        energies = energies - _counts(data.frames, spec.species) @ offsets
        types = species_indices(data.frames, spec.species)
        return cls(data.frames, types, energies, spec.cutoff, where)

    def __len__(self) -> int:
        return len(self.frames)

    def name(self, number: int) -> str:
        """A frame in messages."""
        return frame_name(self.frames[number], self.where, number)

    def batch(self, numbers: Sequence[int]) -> Batch:
        """Some frames side by side; neighbours are found anew, which costs less than to keep."""
        return Batch.of(
            [self.frames[n].atoms for n in numbers],
            [self.types[n] for n in numbers],
            cutoff=self.cutoff,
            name=lambda place: self.name(numbers[place]),
        )

    def losses(
        self, numbers: Sequence[int], found: Derivatives, settings: FitSettings
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Of each of these frames: its loss (eV²), its energy error (eV/atom), its mean squared
        error of a force component (eV²/Å²)."""
        frames = [self.frames[n] for n in numbers]
        sizes = torch.tensor([len(frame.atoms) for frame in frames], dtype=torch.float64)
        energy = found.energies - torch.from_numpy(self.energies[list(numbers)])
        per = 1 / sizes**2 if settings.per_atom else torch.ones_like(sizes)
        wanted = np.concatenate([frame.labels.forces for frame in frames]).astype(float)
        squared = ((found.forces - torch.from_numpy(wanted)) ** 2).sum(dim=1)
        owner = torch.repeat_interleave(torch.arange(len(frames)), sizes.long())
        squared = torch.zeros_like(sizes).index_add(0, owner, squared)
        loss = per * energy**2 + settings.l0 / sizes * squared
        if settings.stress_weight:
            loss = loss + settings.stress_weight * per * _virial_errors(frames, found.virials)
        return loss, energy / sizes, squared / (3 * sizes)


def _virial_errors(frames: Sequence[Frame], virials: Tensor) -> Tensor:
    """(n_frames,) eV²: summed squares of V (s^ - s); 0 for frames without stress."""
    wanted, known = np.zeros((len(frames), 3, 3)), np.zeros(len(frames))
    for number, frame in enumerate(frames):
        if frame.labels.stress is not None:
            wanted[number] = frame.atoms.cell.volume * frame.labels.stress
            known[number] = 1.0
    errors: Tensor = ((virials - torch.from_numpy(wanted)) ** 2).sum(dim=(1, 2))
    return torch.from_numpy(known) * errors
