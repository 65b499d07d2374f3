"""The crystal a property is measured on: a lattice by name or a structure file, relaxed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.filters import FrechetCellFilter
from ase.io import read
from ase.optimize import BFGS
from pydantic import AfterValidator, Field, model_validator

from athanor.component import Component
from athanor.errors import MeasurementError
from athanor.structure import bare
from athanor.validate._lattice import check_element, usual_volume

Named = Literal["fcc", "hcp", "bcc", "sc", "diamond"]
ATOMS_PER_CUBE = {"fcc": 4, "bcc": 2, "sc": 1, "diamond": 8}
FMAX = 1e-4
"""eV/Å, and per strain component over the number of atoms."""
STEPS = 500
LARGEST_STRAIN = 0.35
"""Of a cell vector against the start; what goes further is another crystal."""


class OfCrystal(Component):
    """Fields of properties of one crystal: `element` and `lattice`, or any structure `file`."""

    element: Annotated[str, AfterValidator(check_element)] | None = None
    lattice: Named | None = None
    file: Path | None = Field(default=None, description="a structure that ASE reads, instead")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        named = self.element is not None and self.lattice is not None
        if named == (self.file is not None):
            raise ValueError("give element and lattice, or a file, and not both")
        return self

    @property
    def crystal_name(self) -> str:
        """For people: 'fcc Al', or the file's name."""
        return f"{self.lattice} {self.element}" if self.file is None else self.file.stem

    def unrelaxed(self, *, cubic: bool = False) -> Atoms:
        """The crystal before anything is relaxed; `cubic` is for named lattices."""
        if self.file is not None:
            return bare(read(self.file))
        assert self.element is not None
        assert self.lattice is not None
        return named_crystal(self.element, self.lattice, usual_volume(self.element), cubic=cubic)

    def crystal(self, calculator: Calculator, *, cubic: bool = False) -> Atoms:
        """The relaxed crystal without a calculator; MeasurementError where it does not keep."""
        return relaxed(self.unrelaxed(cubic=cubic), calculator, name=self.crystal_name)


def named_crystal(element: str, lattice: Named, volume: float, *, cubic: bool = False) -> Atoms:
    """Primitive (or `cubic`, for hcp orthorhombic) cell of `volume` Å³ per atom."""
    if lattice == "hcp":
        length = float((np.sqrt(2) * volume) ** (1 / 3))
        height = float(np.sqrt(8 / 3)) * length
        return bulk(element, "hcp", a=length, c=height, orthorhombic=cubic)
    length = float((ATOMS_PER_CUBE[lattice] * volume) ** (1 / 3))
    return bulk(element, lattice, a=length, cubic=cubic)


def relaxed(
    atoms: Atoms, calculator: Calculator, *, name: str = "the structure", cell: bool = True
) -> Atoms:
    """Positions (and `cell`) of lowest energy near `atoms`, which is not modified.

    Raises MeasurementError where the forces do not vanish within 500 steps, and where the cell goes
    so far that it is another structure.
    """
    moving = bare(atoms)
    moving.calc = calculator
    target = FrechetCellFilter(moving) if cell else moving
    with BFGS(target, logfile=None) as optimiser:
        converged = optimiser.run(fmax=FMAX, steps=STEPS)
    if not converged:
        raise MeasurementError(f"{name} did not relax within {STEPS} steps")
    strain = np.linalg.solve(np.asarray(atoms.cell), np.asarray(moving.cell)) - np.eye(3)
    if np.abs(strain).max() > LARGEST_STRAIN:
        raise MeasurementError(
            f"{name} became another structure while relaxing: its cell changed by "
            f"{100 * np.abs(strain).max():.0f} %"
        )
    return bare(moving)
