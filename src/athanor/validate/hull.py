"""The convex hull of formation energies: which structures of some elements are stable."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
from ase.calculators.calculator import Calculator
from ase.units import GPa
from pydantic import Field, model_validator

from athanor.errors import MeasurementError
from athanor.sample.enumeration import EnumerationStart
from athanor.sample.relax import RelaxOptions, STRESS_GPa
from athanor.validate import AloneConfig, Measured, Quantity, Tell, silent
from athanor.validate._hull import fractions
from athanor.validate._hull_measured import hull_of, measured, read, shared
from athanor.validate._pool import Pool, rested, static, summary


class ConvexHull(AloneConfig):
    """Relaxes every candidate and finds the ground states among them (Novikov et al. 2021, Fig. 9).

    Formation energies count from the lowest candidates of the pure elements. A candidate that does
    not come to rest is left out and told of. 5,000 cells of 8 atoms take some 100,000 evaluations.
    """

    kind: Literal["hull"] = "hull"
    file: Path | None = Field(default=None, description="the candidates")
    species: tuple[str, ...] | None = Field(
        default=None, description="symbols in the order of a .cfg file's indices"
    )
    enumeration: EnumerationStart | None = Field(
        default=None, description="the candidates, instead of a file: keys of [start] enumeration"
    )
    energies: Literal["relaxed", "static", "labels"] = Field(
        default="relaxed",
        description="after relaxing cell and positions; as they are; or those that the file gives, "
        "whatever the calculator",
    )
    elements: dict[str, float] = Field(
        default={},
        description="eV per atom of pure elements; with labels, where the file has none of them",
    )
    fmax: float = Field(default=0.01, gt=0, description="eV/Å")
    smax_GPa: float = Field(default=STRESS_GPa, gt=0)
    steps: int = Field(default=500, ge=1)
    min_distance: float = Field(default=1.0, ge=0, description="Å; nearer atoms end a relaxation")
    tie: float = Field(
        default=0.1,
        ge=0,
        description="meV/atom; candidates this near to a ground state, or a hull, are on it",
    )

    per_member: ClassVar[bool] = False

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.file is None) == (self.enumeration is None):
            raise ValueError("give a file of candidates or an enumeration, and not both")
        if self.energies == "labels" and self.file is None:
            raise ValueError("an enumeration has no labels; give a file of labelled structures")
        if self.elements and self.energies != "labels":
            raise ValueError(
                "energies of pure elements go with labels; otherwise add their crystals"
            )
        return self

    @property
    def title(self) -> str:
        if self.enumeration is not None:
            return f"Convex hull of {'-'.join(self.enumeration.species)}"
        assert self.file is not None
        return f"Convex hull of {self.file.stem}"

    def alone(
        self, calculator: Calculator, *, seed: int, workdir: Path, tell: Tell = silent
    ) -> Measured:
        """Measure; nothing is drawn.

        Raises MeasurementError where no candidate of a pure element came to rest, what reading the
        file raises, and UnknownElementError for elements that the potential does not know.
        """
        pool = self._pool()
        notes: tuple[str, ...] = ()
        gone = np.zeros(len(pool.names), dtype=bool)
        evaluations = 0
        if self.energies == "labels":
            assert pool.labelled is not None
            energies = pool.labelled
        elif self.energies == "static":
            energies, notes = static(pool, calculator)
            evaluations = len(energies)
        else:
            found = list(
                rested(
                    pool.structures,
                    calculator,
                    options=self._options(),
                    workdir=workdir,
                    tell=tell,
                )
            )
            energies = np.array([one.energy for one in found])
            gone = np.array([one.transformed for one in found])
            evaluations = sum(one.evaluations for one in found)
            notes = summary(found, pool.names)
        try:
            hull = hull_of(pool, energies, self.elements)
        except MeasurementError as error:
            raise MeasurementError("; ".join([str(error), *notes])) from error
        return measured(pool, hull, notes=notes, gone=gone, evaluations=evaluations)

    def compared(self, mine: Measured, theirs: Measured) -> tuple[Quantity, ...]:
        """Ground states found, RMSE of formation energies, largest difference of the two hulls."""
        if not mine.data or not theirs.data:
            return ()
        one, other = read(mine), read(theirs)
        if one.species != other.species:
            return ()
        same = np.array_equal(one.counts, other.counts)
        quantities = [*shared(one, other, tie=self.tie / 1000, same=same)]
        k = len(one.species)
        ends = np.vstack([np.eye(k), *(fractions(h.counts[list(h.corners)]) for h in (one, other))])
        apart = 1000 * float(np.abs(one.at(ends) - other.at(ends)).max())
        quantities.append(self._within("largest difference of the hulls", apart, "meV/atom"))
        if same:
            both = np.isfinite(one.formation) & np.isfinite(other.formation)
            off = 1000 * (one.formation - other.formation)[both]
            rmse = float(np.sqrt(np.mean(off**2)))
            quantities.append(self._within("RMSE of formation energies", rmse, "meV/atom"))
            missed = 1000 * one.above[list(other.corners)]
            if np.isfinite(missed).any():
                name = "reference's ground states above the hull by"
                quantities.append(self._within(name, float(np.nanmax(missed)), "meV/atom"))
        return tuple(quantities)

    def _within(self, name: str, value: float, unit: str) -> Quantity:
        most = self.tolerance.get(name)
        return Quantity(name, value, unit, 0.0, passed=None if most is None else value <= most)

    def _options(self) -> RelaxOptions:
        return RelaxOptions(
            fmax=self.fmax,
            smax=self.smax_GPa * GPa,
            steps=self.steps,
            cell="free",
            min_distance=self.min_distance,
        )

    def _pool(self) -> Pool:
        if self.enumeration is not None:
            candidates = self.enumeration.candidates
            return Pool(tuple(c.name for c in candidates), tuple(c.atoms for c in candidates))
        assert self.file is not None
        # ASE's readers take long to import
        from athanor.data.formats import read_frames, read_structures

        labelled = None
        if self.energies == "labels":
            frames = read_frames(self.file, self.species, forces_optional=True).frames
            structures = tuple(frame.atoms for frame in frames)
            labelled = np.array([frame.labels.energy for frame in frames])
        else:
            structures = tuple(read_structures(self.file, self.species))
        names = tuple(
            f"structure {index} ({atoms.get_chemical_formula(empirical=True)})"
            for index, atoms in enumerate(structures)
        )
        return Pool(names, structures, labelled)
