"""What a relaxation goes down: the enthalpy over positions and a symmetric strain of the cell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from ase import Atoms

from athanor.structure import FloatArray, Labels

Cell = Literal["fixed", "free", "hydrostatic", "volume"]
"""What the cell does: nothing, anything, keep its shape, keep its volume."""

Evaluate = Callable[[Atoms], Labels]

LENGTH = 1.5
"""Å per root of an atom: a strain times this is about as stiff as an atom's position is
(benchmarks/relax.py)."""
SPACING = 3.0
"""Å: what a strain moves, where the length of a step is told, is a neighbour."""


class Landscape:
    """Enthalpy H = E + pV and its gradient, evaluated once per point.

    Coordinates are positions in the undeformed cell and, where the cell moves, a symmetric strain e
    times a length: a deformation F = 1 + e turns nothing, and dH/dF = V F^-T (sigma + p) (Tadmor et
    al., Phys. Rev. B 59, 235, 1999) takes no logarithms of matrices. With `volume`, F is divided
    by the cube root of its determinant, gradient included, so that the volume stays to rounding.

    Parameters
    ----------
    atoms : moved in place.
    evaluate : energy, forces and, where the cell moves, stress.
    pressure : eV/Å³, positive under compression.

    Attributes
    ----------
    evaluations : how many there have been.
    """

    def __init__(
        self, atoms: Atoms, evaluate: Evaluate, *, cell: Cell = "fixed", pressure: float = 0.0
    ) -> None:
        self.atoms = atoms
        self.cell = cell
        self.pressure = pressure
        self.evaluations = 0
        self._evaluate = evaluate
        self._start = atoms.cell.array.copy()
        self._length = LENGTH * float(np.sqrt(len(atoms)))
        self._rows = atoms.positions.copy()
        if cell != "fixed":
            self._rows = np.concatenate([self._rows, np.zeros((3, 3))])
        self._deformation = np.eye(3)
        self._first_volume = self._volume = float(abs(np.linalg.det(self._start)))
        self._root = 1.0
        self._labels: Labels | None = None

    @property
    def labels(self) -> Labels:
        """Of the structure as it stands. Raises what the potential raises."""
        if self._labels is None:
            self.evaluations += 1
            self._labels = self._evaluate(self.atoms)
        return self._labels

    @property
    def point(self) -> FloatArray:
        """The coordinates, (3 * n_atoms,) or (3 * n_atoms + 9,), Å."""
        point: FloatArray = self._rows.ravel().copy()
        return point

    def move(self, point: FloatArray) -> None:
        """Go to other coordinates."""
        rows = point.reshape(-1, 3)
        if np.array_equal(rows, self._rows):
            return
        self._rows = rows.copy()
        self._labels = None
        if self.cell == "fixed":
            self.atoms.positions = rows
            return
        deformation: FloatArray = np.eye(3) + rows[-3:] / self._length
        stretch = float(np.linalg.det(deformation))
        self._root = float(np.cbrt(stretch))
        if self.cell == "volume":
            deformation, stretch = deformation / self._root, 1.0
        self._deformation, self._volume = deformation, self._first_volume * abs(stretch)
        self.atoms.cell[:] = self._start @ deformation
        self.atoms.positions = rows[:-3] @ deformation

    def value(self) -> float:
        """Enthalpy, eV; the energy where the volume does not change."""
        if self.cell in ("fixed", "volume"):
            return self.labels.energy
        return self.labels.energy + self.pressure * self._volume

    def gradient(self) -> FloatArray:
        """Of the value by the coordinates, eV/Å."""
        rows = np.empty_like(self._rows)
        if self.cell == "fixed":
            rows[:] = -self.labels.forces
        else:
            rows[:-3] = -self.labels.forces @ self._deformation
            rows[-3:] = self._by_strain() / self._length
        flat: FloatArray = rows.ravel()
        return flat

    def length(self, step: FloatArray) -> float:
        """How far, in Å, a step moves an atom, or a strain a neighbour."""
        rows = step.reshape(-1, 3)
        if self.cell == "fixed":
            return _longest(rows)
        return max(_longest(rows[:-3]), _longest(rows[-3:]) * SPACING / self._length)

    def fmax(self) -> float:
        """Largest force on an atom, eV/Å."""
        return _longest(self.labels.forces)

    def smax(self) -> float:
        """Largest component of the stress that the cell can still give in to, eV/Å³."""
        return 0.0 if self.cell == "fixed" else float(np.abs(self._excess()).max())

    def _excess(self) -> FloatArray:
        """Stress over the outer one, of the components that are free."""
        stress = self.labels.stress
        assert stress is not None  # only cells that are periodic in all directions may move
        mean: FloatArray = np.trace(stress) / 3 * np.eye(3)
        if self.cell == "volume":
            return stress - mean
        excess: FloatArray = mean if self.cell == "hydrostatic" else stress
        return excess + self.pressure * np.eye(3)

    def _by_strain(self) -> FloatArray:
        """dH/de, eV, symmetric and of the free components, so that every step stays among them."""
        inverse = np.linalg.inv(self._deformation).T
        by: FloatArray = self._volume * inverse @ self._excess()
        if self.cell == "hydrostatic":
            by = np.trace(by) / 3 * np.eye(3)
        elif self.cell == "volume":
            by = (by - np.sum(by * self._deformation) / 3 * inverse) / self._root
        return (by + by.T) / 2


def _longest(rows: FloatArray) -> float:
    return float(np.sqrt(np.einsum("ij,ij->i", rows, rows).max()))
