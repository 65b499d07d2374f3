"""Structures, their labels, and the checks every structure passes before it is evaluated."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from athanor.errors import LabelError, StructureError

FloatArray = NDArray[np.float64]


CRUSHED = 0.1
"""Least room per atom in a periodic cell, Å: below it neighbours number millions."""
REMOTEST = 1e6
"""Largest position or cell component, Å: beyond it nothing is left of the digits of a distance."""
FARTHEST = 2000.0
"""Largest extent of a structure with an open direction, Å: vesin divides by zero far beyond it."""


LARGEST_LABEL = 1e12
"""Largest energy (eV), force or stress component to train on; squares of more overflow."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Energy, forces and stress of one structure at one level of theory.

    Attributes
    ----------
    energy : total energy, eV.
    forces : (n_atoms, 3), eV/Å; NaN throughout where there are none (see `has_forces`).
    stress : (3, 3), eV/Å³, ASE's sign (tension positive); None unless periodic in all
        three directions.
    """

    energy: float
    forces: FloatArray
    stress: FloatArray | None

    @property
    def has_forces(self) -> bool:
        """Whether forces are known; only recipes that say so are trained on frames without."""
        return not np.isnan(self.forces).all()


@dataclass(frozen=True, slots=True)
class Frame:
    """A structure with its labels, the level of theory that gave them and where it came from."""

    atoms: Atoms
    labels: Labels
    level: str = ""
    origin: str = ""


def bare(atoms: Atoms) -> Atoms:
    """Return a copy of the geometry alone: numbers, positions, cell, pbc."""
    return Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)


def structure_id(atoms: Atoms) -> str:
    """Return the identity of a geometry, hexadecimal: equal bits give equal ids."""
    digest = hashlib.sha256()
    digest.update(np.ascontiguousarray(atoms.numbers, dtype="<i8").tobytes())
    for array in (atoms.positions, atoms.cell.array):
        # adding 0.0 turns -0.0 into 0.0, which compares equal and must hash equal
        digest.update(np.ascontiguousarray(array + 0.0, dtype="<f8").tobytes())
    digest.update(np.ascontiguousarray(atoms.pbc, dtype=np.uint8).tobytes())
    return digest.hexdigest()[:32]


def check_structure(atoms: Atoms, *, where: str = "structure") -> None:
    """Raise StructureError unless positions and cell are finite and periodic vectors span a volume.

    Coincident atoms are found by the neighbour list, which raises the same error.
    """
    if len(atoms) == 0:
        raise StructureError(f"{where}: it has no atoms; at least one is needed")
    if not np.isfinite(atoms.positions).all():
        index = int(np.flatnonzero(~np.isfinite(atoms.positions).all(axis=1))[0])
        raise StructureError(f"{where}: the position of atom {index} is not finite; mend the file")
    cell = atoms.cell.array
    if not np.isfinite(cell).all():
        raise StructureError(f"{where}: the cell has a component that is not finite; mend the file")
    largest = max(np.abs(atoms.positions).max(), np.abs(cell).max())
    if largest > REMOTEST:
        raise StructureError(
            f"{where}: a position or cell component is {largest:.1e} Å, at most {REMOTEST:.0e} Å "
            "are allowed; give lengths in Å, or wrap the atoms into the cell"
        )
    vectors = cell[atoms.pbc]
    if len(vectors) and _flat(vectors):
        raise StructureError(
            f"{where}: the periodic cell vectors {vectors.tolist()} are linearly dependent; "
            "give independent vectors or make the direction non-periodic"
        )
    _check_extent(atoms, where)


def _check_extent(atoms: Atoms, where: str) -> None:
    """Refuse what exhausts memory or crashes a neighbour list: crushed cells, far atoms."""
    vectors = atoms.cell.array[atoms.pbc]
    if len(vectors):
        volume = float(np.sqrt(np.linalg.det(vectors @ vectors.T)))
        side = (volume / (len(atoms) if len(vectors) == 3 else 1)) ** (1 / len(vectors))
        if side < CRUSHED:
            raise StructureError(
                f"{where}: the periodic cell leaves {side:.1e} Å of room per atom, at least "
                f"{CRUSHED} Å are needed; give lengths in Å"
            )
    if not atoms.pbc.all():
        extent = float(np.ptp(atoms.positions, axis=0).max())
        if extent > FARTHEST:
            raise StructureError(
                f"{where}: it is {extent:.1e} Å long and not periodic in all directions, at most "
                f"{FARTHEST:.0f} Å are allowed; leave out the atom that flew away"
            )


def _flat(vectors: FloatArray) -> bool:
    """Whether the rows are within 1e-6 of linear dependence."""
    lengths = np.linalg.norm(vectors, axis=1)
    if lengths.min() < 1e-6:
        return True
    unit = vectors / lengths[:, None]
    return bool(np.linalg.svd(unit, compute_uv=False)[-1] < 1e-6)


def check_labels(
    labels: Labels, n_atoms: int, *, where: str = "labels", forces_optional: bool = False
) -> None:
    """Raise LabelError unless the labels are finite and shaped for `n_atoms` atoms.

    With `forces_optional`, none of the forces may be there (all are NaN).
    """
    if not np.isfinite(labels.energy):
        raise LabelError(
            f"{where}: the energy is {labels.energy}; only finite labels are trained on"
        )
    if labels.forces.shape != (n_atoms, 3):
        raise LabelError(
            f"{where}: forces have shape {labels.forces.shape}, expected ({n_atoms}, 3)"
        )
    absent = forces_optional and not labels.has_forces
    if not absent and not np.isfinite(labels.forces).all():
        raise LabelError(
            f"{where}: a force component is not finite; only finite labels are trained on"
        )
    if labels.stress is None:
        return
    if labels.stress.shape != (3, 3):
        raise LabelError(f"{where}: stress has shape {labels.stress.shape}, expected (3, 3)")
    if not np.isfinite(labels.stress).all():
        raise LabelError(
            f"{where}: a stress component is not finite; only finite labels are trained on"
        )


def check_trainable(
    labels: Labels, n_atoms: int, *, where: str = "labels", forces_optional: bool = False
) -> None:
    """Raise LabelError unless `check_labels` passes and no label is larger than any real one."""
    check_labels(labels, n_atoms, where=where, forces_optional=forces_optional)
    for name, values in (
        ("the energy", np.array(labels.energy)),
        ("a force component", labels.forces),
        ("a stress component", np.zeros(1) if labels.stress is None else labels.stress),
    ):
        largest = float(np.abs(values).max(initial=0.0))
        if largest > LARGEST_LABEL:
            raise LabelError(
                f"{where}: {name} is {largest:.1e} in size, at most {LARGEST_LABEL:.0e} is trained "
                "on; mend it (units are eV, eV/Å and eV/Å³) or leave the structure out"
            )
