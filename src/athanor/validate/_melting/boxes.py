"""Boxes for two phases: an orthogonal cell of the crystal, repeated; half of it made liquid."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import make_supercell
from numpy.typing import NDArray

from athanor.errors import MeasurementError
from athanor.structure import FloatArray, bare
from athanor.validate._extra import extra

SQUARE = 1e-4
"""Relative: components of a cell that are smaller are rounding."""
MOST_PER_SIDE = 40


def orthogonal(crystal: Atoms) -> Atoms:
    """A cell of the same crystal with vectors along x, y and z.

    The cell itself where it is one, else the conventional one (spglib), doubled where it is
    hexagonal. Raises MeasurementError for a monoclinic or triclinic crystal.
    """
    for make in (bare, _conventional):
        cell = make(crystal)
        for doubled in (np.eye(3), np.array([[1, 0, 0], [1, 2, 0], [0, 0, 1]])):
            found = None if cell is None else _aligned(make_supercell(cell, doubled))
            if found is not None:
                return found
    raise MeasurementError(
        f"{crystal.get_chemical_formula()} has no orthogonal cell to build an interface from; "
        "give a structure file whose three cell vectors are perpendicular"
    )


def _aligned(atoms: Atoms) -> Atoms | None:
    """Turned so that the vectors lie along the axes; None where they are not perpendicular."""
    cell = np.asarray(atoms.cell)
    lengths = np.linalg.norm(cell, axis=1)
    cosines = (cell @ cell.T) / np.outer(lengths, lengths) - np.eye(3)
    if np.abs(cosines).max() > SQUARE:
        return None
    turned = bare(atoms)
    turned.set_cell(np.diag(lengths), scale_atoms=True)
    turned.wrap()
    return turned


def _conventional(crystal: Atoms) -> Atoms | None:
    given = (np.asarray(crystal.cell), crystal.get_scaled_positions(), crystal.numbers)
    with extra("spglib"):
        import spglib

        found = spglib.standardize_cell(given, to_primitive=False, symprec=1e-3)
    if found is None:
        return None
    cell, positions, numbers = found
    return Atoms(numbers=numbers, scaled_positions=positions, cell=cell, pbc=True)


def repeats(unit: Atoms, atoms: int, elongation: float) -> tuple[int, int, int]:
    """How often to repeat an orthogonal cell for about so many atoms.

    The cross-section is as square as it can be, the length along z some `elongation` times its
    side and an even number of cells, so that a cut in the middle is one between cells.
    """
    lengths = np.diag(np.asarray(unit.cell))
    volume = atoms / len(unit) * float(np.prod(lengths))
    side = float((volume / elongation) ** (1 / 3))
    across = [max(1, round(side / length)) for length in lengths[:2]]
    area = float(np.prod(lengths[:2] * across))
    along = max(2, 2 * round(volume / area / lengths[2] / 2))
    return across[0], across[1], along


def cubelike(unit: Atoms, atoms: int) -> tuple[int, int, int]:
    """How often to repeat an orthogonal cell for a box of one phase."""
    lengths = np.diag(np.asarray(unit.cell))
    side = float((atoms / len(unit) * float(np.prod(lengths))) ** (1 / 3))
    x, y, z = (max(1, min(MOST_PER_SIDE, round(side / length))) for length in lengths)
    return x, y, z


def scaled(atoms: Atoms, lengths: FloatArray) -> Atoms:
    """The same structure with a cell of these lengths, momenta kept."""
    changed = atoms.copy()
    changed.set_cell(np.diag(lengths), scale_atoms=True)
    return changed


def upper_half(atoms: Atoms) -> NDArray[np.bool_]:
    """(n,) True for the atoms of the half that is to be molten."""
    return np.asarray(atoms.get_scaled_positions()[:, 2] >= 0.5 - 1e-9)


def stretched(atoms: Atoms, ratio: float) -> tuple[Atoms, NDArray[np.bool_]]:
    """Make room in the upper half of a crystal for the liquid of `ratio` times its volume.

    Returns the structure, longer along z, and which of its atoms are in the lower half, unchanged.
    """
    middled = bare(atoms)
    # a cut between layers: the lowest layer lies half a spacing above the floor
    heights = np.unique(np.round(middled.get_scaled_positions()[:, 2], 6))
    gap = np.diff(np.concatenate([heights, [heights[0] + 1]])).max() / 2
    places = middled.get_scaled_positions(wrap=True)
    places[:, 2] = (places[:, 2] - heights[0] + gap) % 1.0
    middled.set_scaled_positions(places)
    upper = upper_half(middled)
    half = middled.cell[2, 2] / 2
    positions = middled.positions
    positions[upper, 2] = half + (positions[upper, 2] - half) * ratio
    middled.set_cell(np.diag([*np.diag(middled.cell)[:2], half * (1 + ratio)]))
    middled.positions = positions
    return middled, ~upper
