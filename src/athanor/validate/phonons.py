"""Phonon bands and density of states of a crystal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from ase.calculators.calculator import Calculator
from ase.units import _e, _hplanck
from pydantic import Field

from athanor.structure import FloatArray
from athanor.validate._alone import AloneConfig, Tell, silent
from athanor.validate._contract import Quantity
from athanor.validate._crystal import OfCrystal
from athanor.validate._curves import rms_difference
from athanor.validate._harmonic import Harmonic, Route, standard
from athanor.validate._kept import Kept
from athanor.validate._measured import Line, Measured, Panel, Value

MEV_PER_THZ = 1e15 * _hplanck / _e
"""h times 1 THz."""
BANDS, DENSITY = "Phonon bands", "Phonon density of states"
NAMED_MODES = 12
"""Crystals with more branches have only the lowest and highest named at each point."""


class Phonons(OfCrystal, AloneConfig):
    """Harmonic phonons by finite displacements (phonopy), THz.

    The supercell is as wide as `length` along each direction at least; it should be wider than
    twice the reach of the potential. One evaluation for each displacement that symmetry leaves
    over: 1 for fcc and bcc, at most 6 for each atom of the cell. Imaginary frequencies are shown
    as negative numbers, and make the property fail. Polar crystals are without the splitting of
    their optical modes by long-range fields.
    """

    kind: Literal["phonons"] = "phonons"
    length: float = Field(default=14.0, gt=0, description="least width of the supercell, Å")
    displacement: float = Field(default=0.01, gt=0, le=0.2, description="Å")
    points: int = Field(default=31, ge=2, description="wave vectors between two special points")
    mesh: float = Field(
        default=60.0, gt=0, description="Å; wave vectors of the density: so much over each edge"
    )
    imaginary: float = Field(
        default=0.1, ge=0, description="THz; an imaginary mode so small is taken for noise"
    )

    @property
    def title(self) -> str:
        """Its name for people."""
        return f"Phonons of {self.crystal_name}"

    def alone(
        self, calculator: Calculator, *, seed: int, workdir: Path, tell: Tell = silent
    ) -> Measured:
        """Measure; nothing is drawn.

        Raises MeasurementError where there is no such crystal, MissingExtraError.
        """
        tell(0.0, "the crystal")
        calculator = Kept(calculator, workdir)
        harmonic = Harmonic(
            self.crystal(calculator),
            calculator,
            length=self.length,
            displacement=self.displacement,
            tell=tell,
        )
        tell(0.9, "bands and density of states")
        route = Route.of(harmonic.primitive)
        lengths = self._lengths(route)
        across, vectors = route.places(self.points, lengths)
        bands = harmonic.frequencies(vectors)
        weights, meshed = harmonic.mesh(self.mesh)
        at_points = harmonic.frequencies(np.array([route.points[name] for name in route.names]))
        failures = tuple(self._unstable(route, vectors, bands, meshed))
        values = [Value("highest frequency", float(max(bands.max(), meshed.max())), "THz")]
        if not failures:
            modes = np.clip(meshed, 0, None).sum(axis=1)
            energy = MEV_PER_THZ / 2 * float(weights @ modes) / len(harmonic.primitive)
            values.append(Value("zero-point energy", energy, "meV/atom"))
        values += _named(dict(zip(route.names, at_points, strict=True)))
        return Measured(
            values=tuple(values),
            panels={
                BANDS: _bands(across, bands, route.ticks(lengths)),
                DENSITY: _density(harmonic),
            },
            notes=(f"{harmonic.evaluations} supercells of {harmonic.atoms} atoms.",),
            failures=failures,
            data={"acoustic sum rule, relative": harmonic.sum_rule},
        )

    def compared(self, mine: Measured, theirs: Measured) -> tuple[Quantity, ...]:
        """RMS difference of all bands along the route, THz."""
        return rms_difference(
            "phonon bands RMSE",
            "THz",
            _joined(mine),
            _joined(theirs),
            tolerance=self.tolerance,
        )

    def _lengths(self, route: Route) -> tuple[float, ...]:
        """Of the unrelaxed crystal: equal for every calculator, so that plots have one axis."""
        primitive = standard(self.unrelaxed(), primitive=True)
        ideal = Route.of(primitive)
        return ideal.lengths if ideal.parts == route.parts else route.lengths

    def _unstable(
        self, route: Route, vectors: FloatArray, bands: FloatArray, meshed: FloatArray
    ) -> Iterator[str]:
        """A sentence where modes are imaginary."""
        lowest = float(min(bands.min(), meshed.min()))
        if lowest >= -self.imaginary:
            return
        where = "away from the bands"
        if bands.min() <= lowest + 1e-3:
            vector = vectors[int(np.argmin(bands.min(axis=1)))]
            named = [name for name in route.names if np.allclose(route.points[name], vector)]
            where = f"at {named[0]}" if named else f"at ({', '.join(f'{q:.3f}' for q in vector)})"
        yield f"{self.crystal_name} is dynamically unstable: a mode of {-lowest:.2f}i THz {where}"


def _named(modes: dict[str, FloatArray]) -> Iterator[Value]:
    """Frequencies at special points; the three that vanish at the centre are left out."""
    for name, found in modes.items():
        if len(found) <= NAMED_MODES:
            numbers = range(3 if name == "G" else 0, len(found))
            yield from (
                Value(f"{name} mode {number + 1}", float(found[number]), "THz")
                for number in numbers
            )
        else:
            if name != "G":
                yield Value(f"{name} lowest mode", float(found[0]), "THz")
            yield Value(f"{name} highest mode", float(found[-1]), "THz")


def _bands(across: FloatArray, bands: FloatArray, ticks: tuple[tuple[float, str], ...]) -> Panel:
    lines = {str(number + 1): Line.of(across, band) for number, band in enumerate(bands.T)}
    return Panel("wave vector", "frequency, THz", lines, ticks=ticks)


def _density(harmonic: Harmonic) -> Panel:
    x, y = harmonic.density()
    return Panel("frequency, THz", "states per THz and atom", {"": Line.of(x, y)})


def _joined(measured: Measured) -> Line | None:
    """All bands one after the other; None where there are none."""
    panel = measured.panels.get(BANDS)
    if panel is None:
        return None
    lines = panel.lines.values()
    return Line(
        tuple(x for line in lines for x in line.x), tuple(y for line in lines for y in line.y)
    )
