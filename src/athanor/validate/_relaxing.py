"""Relaxation of a structure, with or without its cell, that says where it did not keep."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.filters import FrechetCellFilter, UnitCellFilter
from ase.optimize import BFGS

from athanor.errors import MeasurementError
from athanor.structure import bare

FMAX = 1e-4
"""eV/Å, and per strain component over the number of atoms."""
STEPS = 500
LARGEST_STRAIN = 0.35
"""Of a cell vector against the start; what goes further is another crystal."""


def relaxed(
    atoms: Atoms,
    calculator: Calculator,
    *,
    name: str = "the structure",
    cell: bool = True,
    same_volume: bool = False,
    fmax: float = FMAX,
) -> Atoms:
    """Positions (and `cell`, or with `same_volume` its shape) of lowest energy near `atoms`.

    `atoms` is not modified. Raises MeasurementError where the forces do not fall below `fmax`
    (eV/Å) within 500 steps, and where the cell goes so far that it is another structure.
    """
    moving = bare(atoms)
    moving.calc = calculator
    with BFGS(_target(moving, cell=cell, same_volume=same_volume), logfile=None) as optimiser:
        converged = optimiser.run(fmax=fmax, steps=STEPS)
    if not converged:
        raise MeasurementError(f"{name} did not relax within {STEPS} steps")
    strain = np.linalg.solve(np.asarray(atoms.cell), np.asarray(moving.cell)) - np.eye(3)
    if np.abs(strain).max() > LARGEST_STRAIN:
        raise MeasurementError(
            f"{name} became another structure while relaxing: its cell changed by "
            f"{100 * np.abs(strain).max():.0f} %"
        )
    return bare(moving)


def _target(moving: Atoms, *, cell: bool, same_volume: bool) -> Any:
    if not cell:
        return moving
    if same_volume:
        # only by its exponent does a cell keep its volume exactly
        return FrechetCellFilter(moving, constant_volume=True)
    # equal steps to the same minimum, each for a tenth of the processor time
    return UnitCellFilter(moving)
