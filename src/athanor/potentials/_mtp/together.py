"""Several moment tensor potentials on one structure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from athanor import _core
from athanor.potentials._faults import checked
from athanor.structure import Labels, check_structure


def evaluate_together(
    programs: Sequence[_core.Mtp],
    types: NDArray[np.int32],
    atoms: Atoms,
    *,
    stress: bool,
    skin: _core.SkinList | None = None,
    threads: int = 1,
) -> list[Labels]:
    """Labels of one structure by each of the programs, which share species and cutoff.

    `types` are the species indices of the atoms; `skin` keeps neighbours for the next call. Raises
    StructureError. Neighbours are found once for all.
    """
    check_structure(atoms)
    with checked(atoms):
        found = _core.Mtp.evaluate_together(
            programs,
            np.ascontiguousarray(atoms.positions),
            types,
            np.ascontiguousarray(atoms.cell.array),
            np.ascontiguousarray(atoms.pbc),
            skin=skin,
            threads=threads,
        )
    return [
        Labels(energy, forces, virial / volume if stress and volume > 0 else None)
        for energy, forces, virial, volume, _, _ in found
    ]
