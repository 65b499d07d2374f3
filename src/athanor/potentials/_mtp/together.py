"""Several moment tensor potentials on one structure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from athanor import _core
from athanor.potentials._mtp.program import checked
from athanor.structure import Labels, check_structure


def evaluate_together(
    programs: Sequence[_core.Mtp], types: NDArray[np.int32], atoms: Atoms, *, stress: bool
) -> list[Labels]:
    """Labels of one structure by each of the programs, which share species.

    `types` are the species indices of the atoms. Raises StructureError. What depends on the
    structure alone is done once.
    """
    check_structure(atoms)
    positions = np.ascontiguousarray(atoms.positions)
    cell, periodic = np.ascontiguousarray(atoms.cell.array), np.ascontiguousarray(atoms.pbc)
    found = []
    with checked(atoms):
        for program in programs:
            energy, forces, virial, volume, _, _ = program.evaluate(
                positions, types, cell, periodic, forces=True, features=False
            )
            found.append(Labels(energy, forces, virial / volume if stress and volume > 0 else None))
    return found
