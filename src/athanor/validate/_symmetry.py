"""Symmetry of a crystal, by spglib."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from athanor.errors import MeasurementError
from athanor.structure import FloatArray
from athanor.validate._extra import extra

SAME = 1e-2
"""Å: atoms that near to their places by symmetry count as there."""


@dataclass(frozen=True, slots=True)
class Symmetry:
    """What spglib finds.

    Attributes
    ----------
    group : space group, as 'Fm-3m (225)'.
    operations : how many operations there are, counted with the translations in the given cell.
    atoms : the conventional cell, standardised and idealised.
    frame : (3, 3) rotation from the crystal's own frame into the standard one, in which the
        conventional a is along x and b in the xy plane: x_standard = frame @ x.
    rotations : (n, 3, 3) the point group in the crystal's own Cartesian frame.
    """

    group: str
    operations: int
    atoms: Atoms
    frame: FloatArray
    rotations: FloatArray


def symmetry_of(atoms: Atoms) -> Symmetry:
    """Of a periodic crystal; MeasurementError where spglib finds none (atoms on each other).

    Raises MissingExtraError without spglib.
    """
    with extra("spglib"):
        import spglib
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    try:
        with warnings.catch_warnings():
            # how it reports errors is being changed in spglib 2.x, and both ways do here
            warnings.simplefilter("ignore", DeprecationWarning)
            found = spglib.get_symmetry_dataset(cell, symprec=SAME)
            # a cell of several primitive ones hides operations that do not keep its own vectors
            primitive = spglib.standardize_cell(
                cell, to_primitive=True, no_idealize=True, symprec=SAME
            )
            own = spglib.get_symmetry_dataset(primitive, symprec=SAME)
    except Exception as error:
        # spglib's own errors differ by version
        raise MeasurementError(f"spglib finds no symmetry of the crystal ({error})") from error
    if found is None or own is None:
        raise MeasurementError("spglib finds no symmetry of the crystal; are atoms too near?")
    # W acts on columns of fractions f, and x = rows.T f; the nearest orthogonal matrix is exact
    rows = np.asarray(primitive[0])
    point = np.unique(np.asarray(own.rotations), axis=0).astype(float)
    left, _, right = np.linalg.svd(rows.T @ point @ np.linalg.inv(rows.T))
    return Symmetry(
        group=f"{found.international} ({found.number})",
        operations=len(own.rotations) * len(atoms) // len(primitive[2]),
        atoms=Atoms(
            numbers=found.std_types,
            scaled_positions=found.std_positions,
            cell=found.std_lattice,
            pbc=True,
        ),
        frame=np.asarray(found.std_rotation_matrix, float),
        rotations=left @ right,
    )
