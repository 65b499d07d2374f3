"""The pathway between two structures: energies, and grades where a potential extrapolates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from pydantic import AfterValidator, Field, model_validator

from athanor.calculator import PotentialCalculator
from athanor.data.dataset import Dataset
from athanor.data.formats import read_structures
from athanor.errors import AthanorError, MeasurementError
from athanor.potentials import HasFeatures
from athanor.query.doptimality import By, DOptimalityConfig
from athanor.structure import FloatArray, Frame, Labels
from athanor.validate._alone import AloneConfig, Tell, silent
from athanor.validate._contract import Quantity
from athanor.validate._curves import line_of, rms_difference
from athanor.validate._kept import Kept
from athanor.validate._lattice import Lattice, check_element
from athanor.validate._measured import Line, Measured, Panel, Value
from athanor.validate._neb import between, climbed, energies_of
from athanor.validate._relaxing import relaxed
from athanor.validate._transition import check_way, matched

ENERGY, GRADE = "Energy along the pathway", "Grade along the pathway"
AXIS = "share of the pathway, by image"


class Pathway(AloneConfig):
    """Energies on the way from one structure to another (Novikov et al. 2021, Fig. 10).

    The structures are lattices of an `element`, by name (fcc - bcc as Bain, fcc - hcp by slip,
    bcc - hcp as Burgers, sc - fcc and sc - bcc along the diagonal), or files with the same atoms
    in the same order; or all images stand in one file, `along`, and are taken as they are. The way
    is straight, cell and atoms together, or the path of lowest energy in a constant cell (`neb`).
    With the `training` set of a potential that has derivatives by its parameters, the D-optimality
    grade is measured along the way.
    """

    kind: Literal["pathway"] = "pathway"
    start: Lattice | Path | None = Field(default=None, description="a lattice's name or a file")
    end: Lattice | Path | None = Field(default=None, description="a lattice's name or a file")
    element: Annotated[str, AfterValidator(check_element)] | None = Field(
        default=None, description="of lattices by name"
    )
    along: Path | None = Field(default=None, description="a file with every image, instead")
    species: tuple[str, ...] = Field(
        default=(), description="symbols in order, for files that have only indices (.cfg)"
    )
    images: int = Field(default=11, ge=3, description="structures, both ends included")
    method: Literal["straight", "neb"] = "straight"
    relax: Literal["none", "atoms", "all"] | None = Field(
        default=None,
        description="what of the ends in files is relaxed first: all is atoms and cell; if not "
        "given all for a straight way and atoms for neb",
    )
    fmax: float = Field(default=0.02, gt=0, description="eV/Å left across the path of neb")
    steps: int = Field(default=500, ge=1, description="most steps of neb")
    training: Path | None = Field(
        default=None, description="structures the potential was fitted to"
    )
    graded_by: By = "structure"

    @model_validator(mode="after")
    def _whole(self) -> Self:
        given = (self.start is not None, self.end is not None)
        if given[0] != given[1] or given[0] == (self.along is not None):
            raise ValueError("give start and end, or along, and not both")
        lattices = self._lattices
        if len(lattices) == 1:
            raise ValueError("give two lattices or two files")
        if bool(lattices) != (self.element is not None):
            raise ValueError("lattices by name need an element, and files have their own")
        if lattices:
            check_way(*lattices)
        if self.method == "neb" and (self.along is not None or lattices or self.relax == "all"):
            raise ValueError(
                "neb needs start and end in files with one cell, which is not relaxed; "
                'take method = "straight"'
            )
        return self

    @property
    def _lattices(self) -> list[Lattice]:
        """The ends that are lattices by name."""
        return [one for one in (self.start, self.end) if isinstance(one, str)]

    @property
    def title(self) -> str:
        """Its name for people."""
        if self.along is not None:
            return f"Pathway {self.along.stem}"
        first, last = (getattr(one, "stem", one) for one in (self.start, self.end))
        whose = f" of {self.element}" if self.element else ""
        return f"Pathway{whose} from {first} to {last}"

    def alone(
        self, calculator: Calculator, *, seed: int, workdir: Path, tell: Tell = silent
    ) -> Measured:
        """Measure; nothing is drawn.

        Raises MeasurementError (ends that do not keep or do not fit, neb that does not converge),
        FormatError for a file that cannot be read.
        """
        tell(0.0, "the images")
        kept = Kept(calculator, workdir)
        images = self._images(kept)
        tell(0.5, "energies")
        energies, failures = _energies(images, kept)
        share = np.linspace(0, 1, len(images))
        each = 1000 / len(images[0])
        panels = {}
        values: list[Value] = []
        notes: list[str] = []
        if np.isfinite(energies[0]):
            relative = energies - energies[0]
            panels[ENERGY] = Panel(
                AXIS, "energy, meV per atom", {"": Line.of(share, each * relative)}, style="both"
            )
            values += _heights(relative, each)
            if np.isfinite(relative).all() and np.argmax(relative) in (0, len(relative) - 1):
                notes.append("No image lies higher than both ends.")
        tell(0.8, "grades")
        grades = None
        try:
            grades = self._grades(images, calculator, notes)
        except AthanorError as error:
            failures.append(f"no grades: {error}")
        if grades is not None:
            panels[GRADE] = Panel(AXIS, "grade", {"": Line.of(share, grades)}, style="both")
            if np.isfinite(grades).all():
                values.append(Value("highest grade", float(grades.max()), ""))
        return Measured(tuple(values), panels, tuple(notes), tuple(failures))

    def compared(self, mine: Measured, theirs: Measured) -> tuple[Quantity, ...]:
        """RMS difference of the energies along the way, each from its start, meV/atom."""
        return rms_difference(
            "pathway RMSE",
            "meV/atom",
            line_of(mine, ENERGY, ""),
            line_of(theirs, ENERGY, ""),
            tolerance=self.tolerance,
        )

    def _images(self, calculator: Calculator) -> list[Atoms]:
        """Structures from start to end."""
        if self.along is not None:
            images = read_structures(self.along, self.species or None)
            if len(images) < 3 or len({str(image.symbols) for image in images}) > 1:
                raise MeasurementError(
                    f"{self.along} holds {len(images)} structures; a pathway is three at least, of "
                    "the same atoms in the same order"
                )
            return images
        if self.element is not None:
            first, last = self._lattices
            start, end = matched(self.element, first, last, calculator)
        else:
            assert isinstance(self.start, Path)
            assert isinstance(self.end, Path)
            start, end = (self._end(file, calculator) for file in (self.start, self.end))
            if list(start.symbols) != list(end.symbols):
                raise MeasurementError(
                    f"{self.start} and {self.end} do not hold the same atoms in the same order; "
                    "write them so that atom by atom one becomes the other"
                )
        if self.method == "straight":
            return between(start, end, self.images)
        if not np.allclose(start.cell.array, end.cell.array, atol=1e-6):
            raise MeasurementError(
                "the cells of start and end differ, and neb moves atoms alone; give one cell, or "
                'take method = "straight"'
            )
        band = climbed(start, end, calculator, images=self.images, fmax=self.fmax, steps=self.steps)
        return list(band.images)

    def _end(self, file: Path, calculator: Calculator) -> Atoms:
        """The last structure of a file, relaxed as asked for."""
        atoms = read_structures(file, self.species or None)[-1]
        how = self.relax or ("atoms" if self.method == "neb" else "all")
        if how == "none":
            return atoms
        return relaxed(atoms, calculator, name=file.stem, cell=how == "all")

    def _grades(
        self, images: Sequence[Atoms], calculator: Calculator, notes: list[str]
    ) -> FloatArray | None:
        """Grade of each image; None where there is none, with a note where one was to be had."""
        if self.training is None or not isinstance(calculator, PotentialCalculator):
            return None
        potential = calculator.potential
        if not isinstance(potential, HasFeatures):
            notes.append("No grades: this potential has no derivatives by its parameters.")
            return None
        known = read_structures(self.training, self.species or None)
        frames = (Frame(one, Labels(0.0, np.zeros((len(one), 3)), None)) for one in known)
        query = DOptimalityConfig(by=self.graded_by).fit(potential, Dataset(tuple(frames)))
        return np.array([grade.value for grade in query.grade(images)])


def _energies(images: Sequence[Atoms], calculator: Calculator) -> tuple[FloatArray, list[str]]:
    """Energy of each image, eV, NaN where there is none, and why."""
    found = np.full(len(images), np.nan)
    failures = []
    for number, image in enumerate(images):
        try:
            found[number] = energies_of([image], calculator)[0]
        except AthanorError as error:
            failures.append(f"image {number} has no energy: {error}")
        else:
            if not np.isfinite(found[number]):
                failures.append(f"image {number} has no finite energy")
    return found, failures


def _heights(relative: FloatArray, each: float) -> list[Value]:
    """Barrier and height of the end, from energies over the start (eV)."""
    values = []
    if np.isfinite(relative).all():
        highest = float(relative.max())
        values += [
            Value("barrier", each * highest, "meV/atom"),
            Value("barrier of the cell", highest, "eV"),
        ]
    if np.isfinite(relative[-1]):
        values.append(Value("energy of the end", each * float(relative[-1]), "meV/atom"))
    return values
