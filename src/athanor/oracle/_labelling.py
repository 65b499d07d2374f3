"""Labels from any ASE calculator."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError

from athanor.structure import Labels, bare


def labels_of(atoms: Atoms, calculator: Calculator) -> Labels:
    """Energy, forces and, with full periodicity, stress of one structure.

    The energy is the one whose derivatives the forces are (ASE's force-consistent energy, the free
    energy of a metal with smeared occupations), and the potential energy of calculators that know
    no other. Whatever the calculator raises comes through; `atoms` is not modified.
    """
    copy = bare(atoms)
    copy.calc = calculator
    forces = np.array(copy.get_forces(), dtype=np.float64)
    try:
        energy = float(copy.get_potential_energy(force_consistent=True))
    except PropertyNotImplementedError:
        energy = float(copy.get_potential_energy())
    stress = None
    if copy.pbc.all():
        stress = np.array(copy.get_stress(voigt=False), dtype=np.float64)
    return Labels(energy, forces, stress)
