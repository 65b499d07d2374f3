"""A supercell with one atom missing: unrelaxed, relaxed, and after a neighbour hopped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.geometry import find_mic

from athanor.errors import MeasurementError
from athanor.structure import FloatArray, bare
from athanor.validate._neb import energies_of
from athanor.validate._relaxing import relaxed

ASTRAY = 0.35
"""Part of the nearest distance by which no atom moves as a vacancy relaxes, if it stays one."""
FMAX = 5e-4
"""eV/Å of relaxed vacancies; their energy is then good to 1e-5 eV even where atoms are soft."""
NUDGE = 0.05
"""Å by which atoms are drawn from their places first, lest symmetry hold them on a saddle."""


@dataclass(frozen=True)
class Missing:
    """A perfect supercell and which of its atoms is missing.

    Attributes
    ----------
    whole : the perfect supercell. site : index of the atom.
    nearest : distance of nearest neighbours, Å. per_atom : energy of the crystal, eV.
    """

    whole: Atoms
    site: int
    calculator: Calculator
    nearest: float
    per_atom: float

    @classmethod
    def of(cls, crystal: Atoms, site: int, width: float, calculator: Calculator) -> Self:
        """The crystal repeated until it is `width` Å wide along each direction at least."""
        heights = 1 / np.linalg.norm(np.asarray(crystal.cell.reciprocal()), axis=1)
        whole = crystal.repeat(np.maximum(2, np.ceil(width / heights - 1e-6)).astype(int))
        others = np.delete(np.arange(len(whole)), site)
        nearest = float(whole.get_distances(site, others, mic=True).min())
        energy = float(energies_of([whole], calculator)[0])
        return cls(whole, site, calculator, nearest, energy / len(whole))

    @property
    def vacant(self) -> Atoms:
        """Without the atom, everything else in place."""
        atoms = bare(self.whole)
        del atoms[self.site]
        return atoms

    def formation(self, atoms: Atoms) -> float:
        """Energy of a structure over that of as many atoms of the crystal, eV."""
        return float(energies_of([atoms], self.calculator)[0]) - len(atoms) * self.per_atom

    def hopped(self, vector: FloatArray) -> Atoms:
        """As `vacant`, with the atom that was at `vector` (Å) from the vacancy in its place."""
        atoms = self.vacant
        place = self.whole.positions[self.site]
        off, _ = find_mic(atoms.positions - place - vector, atoms.cell, atoms.pbc)
        hopping = int(np.argmin(np.linalg.norm(off, axis=1)))
        # the short way as the path will go it, not through the cell
        atoms.positions[hopping] -= vector
        return atoms

    def settled(self, atoms: Atoms) -> Atoms:
        """Relaxed in its cell; MeasurementError where an atom leaves its place."""
        nudged = bare(atoms)
        nudged.rattle(NUDGE, rng=np.random.default_rng(0))
        found = relaxed(nudged, self.calculator, name="the vacancy", cell=False, fmax=FMAX)
        moved, _ = find_mic(found.positions - atoms.positions, atoms.cell, atoms.pbc)
        lengths = np.linalg.norm(moved, axis=1)
        worst = int(np.argmax(lengths))
        if lengths[worst] > ASTRAY * self.nearest:
            x, y, z = atoms.positions[worst]
            raise MeasurementError(
                f"the vacancy does not keep: the atom at ({x:.2f}, {y:.2f}, {z:.2f}) Å falls "
                f"{lengths[worst]:.2f} Å away from its place while relaxing"
            )
        return found
