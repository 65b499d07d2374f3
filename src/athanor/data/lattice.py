"""Equivalent descriptions of one crystal: another cell, the same atoms."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.cell import Cell
from ase.geometry import minkowski_reduce

from athanor.errors import StructureError
from athanor.structure import Labels


def reduced(atoms: Atoms, labels: Labels | None = None) -> tuple[Atoms, Labels | None]:
    """The same crystal in its Minkowski-reduced cell, lower triangular, with all atoms inside.

    The cell vectors become as short, and so as orthogonal, as they can be, and the crystal is
    turned so that the first lies along x and the second in the xy plane, as LAMMPS wants it.

    Parameters
    ----------
    atoms : periodic in all three directions.
    labels : turned with it; energy as it is.

    Raises StructureError where a direction is not periodic.
    """
    if not atoms.pbc.all():
        raise StructureError(
            "only a structure that is periodic in all three directions has a cell to be reduced"
        )
    short, _ = minkowski_reduce(atoms.cell.array)
    cell, turn = Cell(short).standard_form()
    back = turn.T  # short = cell @ turn, so that vectors go over by the inverse
    turned = Atoms(numbers=atoms.numbers, positions=atoms.positions @ back, cell=cell, pbc=True)
    turned.wrap()
    if labels is None:
        return turned, None
    stress = None if labels.stress is None else back.T @ labels.stress @ back
    return turned, Labels(labels.energy, np.ascontiguousarray(labels.forces @ back), stress)
