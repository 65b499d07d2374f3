"""The crystal a property is measured on: a lattice by name or a structure file, relaxed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.io import read
from pydantic import AfterValidator, Field, model_validator

from athanor.component import Component
from athanor.errors import MeasurementError
from athanor.structure import bare, check_structure
from athanor.validate._family import scanned
from athanor.validate._lattice import Lattice, check_element, crystal, family, usual_volume
from athanor.validate._relaxing import relaxed


class OfCrystal(Component):
    """Fields of properties of one crystal: `element` and `lattice`, or any structure `file`."""

    element: Annotated[str, AfterValidator(check_element)] | None = None
    lattice: Lattice | None = None
    file: Path | None = Field(default=None, description="a structure that ASE reads, instead")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        given = (self.element is not None, self.lattice is not None)
        if given[0] != given[1] or given[0] == (self.file is not None):
            raise ValueError("give element and lattice, or a file, and not both")
        return self

    @property
    def crystal_name(self) -> str:
        """For people: 'fcc Al', or the file's name."""
        return f"{self.lattice} {self.element}" if self.file is None else self.file.stem

    def unrelaxed(self, *, cubic: bool = False) -> Atoms:
        """The crystal before anything is relaxed; `cubic` is for named lattices.

        Raises MeasurementError for a file that cannot be read or is no crystal.
        """
        if self.file is not None:
            return read_crystal(self.file)
        assert self.element is not None
        assert self.lattice is not None
        volume = usual_volume(self.element, self.lattice)
        return crystal(self.element, self.lattice, volume, cubic=cubic)

    def crystal(self, calculator: Calculator, *, cubic: bool = False) -> Atoms:
        """The relaxed crystal without a calculator; MeasurementError where it does not keep.

        A named lattice starts from its energy minimum nearest to the usual volume, a file as it is.
        """
        if self.file is not None:
            return relaxed(self.unrelaxed(), calculator, name=self.crystal_name)
        assert self.element is not None
        assert self.lattice is not None
        scan = scanned(family(self.element, self.lattice), calculator)
        if scan.minimum is None:
            raise MeasurementError(scan.no_minimum(self.crystal_name))
        start = crystal(self.element, self.lattice, scan.minimum.volume, cubic=cubic)
        return relaxed(start, calculator, name=self.crystal_name)


def read_crystal(file: Path) -> Atoms:
    """The last structure of a file, bare; MeasurementError where there is none or it is open."""
    try:
        atoms = read(file)
        check_structure(atoms, where=str(file))
    except Exception as error:
        # readers of anybody's file fail in any way
        raise MeasurementError(f"{file} holds no structure that ASE reads ({error})") from error
    if not atoms.pbc.all():
        raise MeasurementError(f"{file} is no crystal: give one periodic in all directions")
    return bare(atoms)
