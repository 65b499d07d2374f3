"""The vacancy of a crystal of one element: formation and migration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from pydantic import Field

from athanor.errors import MeasurementError
from athanor.structure import FloatArray
from athanor.validate._alone import AloneConfig, Tell, silent
from athanor.validate._crystal import OfCrystal
from athanor.validate._hops import Hop, hops
from athanor.validate._kept import Kept
from athanor.validate._measured import Line, Measured, Panel, Value
from athanor.validate._missing import Missing
from athanor.validate._neb import climbed

SHALLOW = 1e-3
"""eV below the ends from which on a dip of the path is worth a sentence."""


class Vacancy(OfCrystal, AloneConfig):
    """Energy of one atom missing from a supercell, and of the saddle as a neighbour hops into it.

    Formation is E(N - 1) - (N - 1)/N E(N) in the cell of the perfect crystal, atoms relaxed.
    Migration is by a climbing nudged elastic band between the vacancy here and at a nearest
    neighbour, for each hop that the crystal's symmetry keeps apart. The supercell is as wide as
    `width` along each direction at least: an fcc metal at the default has 108 atoms and takes some
    200 evaluations.
    """

    kind: Literal["vacancy"] = "vacancy"
    width: float = Field(default=10.0, gt=0, description="least width of the supercell, Å")
    migration: bool = Field(default=True, description="whether hops are measured too")
    images: int = Field(default=5, ge=3, description="of the elastic band, both ends included")
    fmax: float = Field(default=0.01, gt=0, description="eV/Å left across the path")
    steps: int = Field(default=400, ge=1, description="most steps of the elastic band")
    site: int = Field(default=0, ge=0, description="which atom of the crystal's cell is missing")

    @property
    def title(self) -> str:
        """Its name for people."""
        return f"Vacancy in {self.crystal_name}"

    def alone(
        self, calculator: Calculator, *, seed: int, workdir: Path, tell: Tell = silent
    ) -> Measured:
        """Measure; nothing is drawn. MeasurementError where there is no such crystal or site."""
        tell(0.0, "the crystal")
        calculator = Kept(calculator, workdir)
        # cells near to cubes, and near to hexagonal ones for hcp
        crystal = self.crystal(calculator, cubic=self.lattice != "hcp")
        self._check(crystal)
        missing = Missing.of(crystal, self.site, self.width, calculator)
        values = [
            Value("unrelaxed vacancy formation energy", missing.formation(missing.vacant), "eV")
        ]
        notes = [f"Supercell of {len(missing.whole)} atoms."]
        tell(0.1, "the vacancy")
        try:
            start = missing.settled(missing.vacant)
        except MeasurementError as error:
            return Measured(tuple(values), notes=tuple(notes), failures=(str(error),))
        formation = missing.formation(start)
        values.insert(0, Value("vacancy formation energy", formation, "eV"))
        if formation <= 0:
            notes.append("The crystal gains energy by losing an atom.")
        found = Measured(tuple(values), notes=tuple(notes))
        return self._with_hops(found, missing, start, crystal, tell) if self.migration else found

    def _check(self, crystal: Atoms) -> None:
        if self.site >= len(crystal):
            raise MeasurementError(
                f"site = {self.site} is no atom of {self.crystal_name}: give one from 0 to "
                f"{len(crystal) - 1}"
            )
        elements = sorted(set(crystal.symbols))
        if len(elements) > 1:
            raise MeasurementError(
                f"{self.crystal_name} holds {', '.join(elements)}, and the energy of its vacancies "
                "depends on where the atom goes; give a crystal of one element"
            )

    def _with_hops(
        self, found: Measured, missing: Missing, start: Atoms, crystal: Atoms, tell: Tell
    ) -> Measured:
        """Add the barrier of each hop, or why there is none."""
        values, notes = list(found.values), list(found.notes)
        failures: list[str] = []
        lines: dict[str, Line] = {}
        different = hops(crystal, self.site, lattice=self.lattice)
        for number, hop in enumerate(different):
            words = f"migration, {hop.name}".removesuffix(", ")
            tell(0.3 + 0.7 * number / len(different), words)
            try:
                energies = self._along(missing, start, hop)
            except MeasurementError as error:
                failures.append(f"{words}: {error}")
                continue
            name = f"vacancy migration energy, {hop.name}".removesuffix(", ")
            values.append(Value(name, float(energies.max()), "eV"))
            lines[hop.name] = Line.of(np.linspace(0, 1, len(energies)), energies)
            notes += _dips(energies, words)
        panel = Panel("share of the hop, by image", "energy, eV", lines, style="both")
        return Measured(
            values=tuple(values),
            panels={"Migration of the vacancy": panel} if lines else {},
            notes=tuple(notes),
            failures=tuple(failures),
        )

    def _along(self, missing: Missing, start: Atoms, hop: Hop) -> FloatArray:
        """Energies of the images over the start, eV; MeasurementError where there is no saddle."""
        end = missing.settled(missing.hopped(hop.vector))
        band = climbed(
            start,
            end,
            missing.calculator,
            images=self.images,
            fmax=self.fmax,
            steps=self.steps,
        )
        if int(np.argmax(band.energies)) in (0, self.images - 1):
            raise MeasurementError("no image lies higher than both ends, so there is no saddle")
        return np.asarray(band.energies - band.energies[0])


def _dips(energies: FloatArray, words: str) -> Iterator[str]:
    lowest = float(energies.min())
    if lowest < min(0.0, float(energies[-1])) - SHALLOW:
        yield (
            f"{words.capitalize()}: between the ends lies a structure {-1000 * lowest:.0f} meV "
            "lower than the vacancy; the barrier is over the vacancy."
        )
