"""Labelled structures as flat arrays, and how they are cut into pieces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from athanor.data.dataset import Dataset
from athanor.errors import FitError
from athanor.structure import FloatArray

PIECE = 100
"""Atoms at once: tables of a piece for eight members then stay in a processor's cache."""

Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Structures one after the other, with their labels.

    Attributes
    ----------
    positions : (n_atoms, 3) Å.
    types : (n_atoms,) species indices.
    offsets : (n_frames + 1,) first atom of each structure.
    cells, periodic : (n_frames, 3, 3) Å and (n_frames, 3).
    energies : (n_frames,) eV.
    forces : (n_atoms, 3) eV/Å; zero where there are none.
    virials : (n_frames, 3, 3) volume times stress, eV; zero where there is none.
    has_forces, has_stress : (n_frames,).
    origins : where each came from, for people.
    """

    positions: FloatArray
    types: NDArray[np.int32]
    offsets: NDArray[np.int64]
    cells: FloatArray
    periodic: NDArray[np.bool_]
    energies: FloatArray
    forces: FloatArray
    virials: FloatArray
    has_forces: NDArray[np.bool_]
    has_stress: NDArray[np.bool_]
    origins: tuple[str, ...]

    @classmethod
    def of(cls, data: Dataset, *, species: Sequence[str], energy_only: bool) -> Frames:
        """Flatten a dataset.

        Raises FitError for a frame whose forces are not finite unless `energy_only`, and for an
        energy or stress that is not finite, or a stress of a cell without a volume, always.
        """
        index = {symbol: number for number, symbol in enumerate(species)}
        sizes = [len(frame.atoms) for frame in data]
        has_forces = np.array([bool(np.isfinite(f.labels.forces).all()) for f in data], dtype=bool)
        origins = tuple(_name(number, frame.origin) for number, frame in enumerate(data))
        _check(data, has_forces, origins, energy_only=energy_only)
        stresses = [f.labels.stress for f in data]
        volumes = [f.atoms.get_volume() if f.labels.stress is not None else 0.0 for f in data]
        nothing = np.zeros((3, 3))
        return cls(
            positions=np.concatenate([f.atoms.positions for f in data]),
            types=np.array([index[s] for f in data for s in f.atoms.symbols], dtype=np.int32),
            offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            cells=np.array([f.atoms.cell.array for f in data], dtype=float),
            periodic=np.array([f.atoms.pbc for f in data], dtype=bool),
            energies=np.array([f.labels.energy for f in data], dtype=float),
            forces=np.concatenate(
                [np.where(np.isfinite(f.labels.forces), f.labels.forces, 0.0) for f in data]
            ),
            virials=np.array(
                [nothing if s is None else v * s for s, v in zip(stresses, volumes, strict=True)]
            ),
            has_forces=has_forces,
            has_stress=np.array([s is not None for s in stresses], dtype=bool),
            origins=origins,
        )

    def __len__(self) -> int:
        return len(self.energies)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Atoms of each structure."""
        return np.diff(self.offsets)

    def rows(self, chosen: Rows) -> Rows:
        """The atoms of the chosen structures, in their order."""
        return np.concatenate([np.arange(self.offsets[k], self.offsets[k + 1]) for k in chosen])

    def take(self, chosen: Rows) -> Frames:
        """The chosen structures alone."""
        rows = self.rows(chosen)
        return Frames(
            positions=self.positions[rows],
            types=self.types[rows],
            offsets=np.concatenate([[0], np.cumsum(self.sizes[chosen])]).astype(np.int64),
            cells=self.cells[chosen],
            periodic=self.periodic[chosen],
            energies=self.energies[chosen],
            forces=self.forces[rows],
            virials=self.virials[chosen],
            has_forces=self.has_forces[chosen],
            has_stress=self.has_stress[chosen],
            origins=tuple(self.origins[k] for k in chosen),
        )

    def counts(self, n_species: int) -> FloatArray:
        """(n_frames, n_species) atoms of each species."""
        table = np.zeros((len(self), n_species))
        np.add.at(table, (np.repeat(np.arange(len(self)), self.sizes), self.types), 1.0)
        return table

    def pieces(self, chosen: Rows, *, atoms: int = PIECE) -> Iterator[Rows]:
        """The chosen structures in order, cut where more than so many atoms would be together."""
        first, held = 0, 0
        for number, size in enumerate(self.sizes[chosen].tolist()):
            if number > first and held + size > atoms:
                yield chosen[first:number]
                first, held = number, 0
            held += size
        if first < len(chosen):
            yield chosen[first:]


def _name(number: int, origin: str) -> str:
    return f"frame {number} ({origin})" if origin else f"frame {number}"


def _check(
    data: Dataset, has_forces: NDArray[np.bool_], origins: Sequence[str], *, energy_only: bool
) -> None:
    """Raise FitError for labels that cannot be trained on."""
    for number, frame in enumerate(data):
        stress = frame.labels.stress
        if not np.isfinite(frame.labels.energy) or (
            stress is not None and not np.isfinite(stress).all()
        ):
            raise FitError(
                f"{origins[number]} of the training data has an energy or stress that is not "
                "finite; leave it out"
            )
        if stress is not None and frame.atoms.cell.rank < 3:
            raise FitError(
                f"{origins[number]} of the training data has a stress, but its cell spans only "
                f"{frame.atoms.cell.rank} dimensions and has no volume; leave the stress out, or "
                "give it three cell vectors"
            )
        if not has_forces[number] and not energy_only:
            raise FitError(
                f"{origins[number]} of the training data has no forces (a component is not "
                "finite); leave it out, or give without_forces = 'energy' to train such frames on "
                "their energies alone"
            )
