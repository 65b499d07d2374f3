"""Scales of a crystal that nothing is known of: a time step, and roughly where it melts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.neighborlist import neighbor_list

from athanor.errors import MeasurementError
from athanor.structure import bare

NUDGE = 0.01
"""Of the shortest distance between atoms, by which one atom is moved."""
PER_PERIOD = 100
"""Steps in the period of the fastest atom alone in the cage of its neighbours."""
LINDEMANN = 0.14
"""Amplitude over the distance of neighbours at which crystals melt (Lindemann, 1910)."""
SOFTENING = 1.8
"""By how much an atom in a crystal swings further (squared) than alone in a rigid cage."""


@dataclass(frozen=True, slots=True)
class Scale:
    """A time step in fs and Lindemann's melting temperature in K, right within a factor of two."""

    timestep_fs: float
    lindemann_K: float


def scale_of(crystal: Atoms, calculator: Calculator) -> Scale:
    """From the force on each atom of a cell that is moved a little (Einstein's crystal).

    `crystal` is a relaxed supercell with several atoms across. One atom of each element is tried;
    MeasurementError where none is pushed back.
    """
    atoms = bare(crystal)
    atoms.calc = calculator
    near = nearest_distance(crystal)
    periods, meltings = [], []
    for number in np.unique(atoms.numbers):
        first = int(np.flatnonzero(atoms.numbers == number)[0])
        stiffness = _stiffness(atoms, first, NUDGE * near)
        if stiffness <= 0:
            raise MeasurementError(
                f"the crystal is unstable: an atom of {crystal.symbols[first]} that is moved by "
                f"{NUDGE * near:.3f} Å is not pushed back"
            )
        mass = float(atoms.get_masses()[first])
        periods.append(2 * np.pi * np.sqrt(mass / stiffness) / units.fs)
        amplitude = (LINDEMANN * near) ** 2
        meltings.append(amplitude * stiffness / (3 * units.kB * SOFTENING))
    step = min(periods) / PER_PERIOD
    return Scale(float(f"{step:.2g}"), float(np.mean(meltings)))


def _stiffness(atoms: Atoms, index: int, nudge: float) -> float:
    """Mean force constant of one atom over the three directions, eV/Å²."""
    found = []
    for axis in range(3):
        ends = []
        for sign in (1, -1):
            moved = bare(atoms)
            moved.calc = atoms.calc
            moved.positions[index, axis] += sign * nudge
            ends.append(float(moved.get_forces()[index, axis]))
        found.append((ends[1] - ends[0]) / (2 * nudge))
    return float(np.mean(found))


def nearest_distance(atoms: Atoms) -> float:
    """Shortest distance between two atoms, images included, in Å."""
    reach = 1.5 * float((atoms.get_volume() / len(atoms)) ** (1 / 3))
    distances = neighbor_list("d", atoms, reach)
    return float(np.min(distances)) if len(distances) else reach
