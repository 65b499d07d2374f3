"""The Bain path: fcc squeezed into bcc and beyond, at constant volume."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from pydantic import AfterValidator, Field, field_validator
from scipy.optimize import minimize_scalar

from athanor.errors import MeasurementError
from athanor.structure import FloatArray
from athanor.validate._alone import AloneConfig, Tell, silent
from athanor.validate._contract import Quantity
from athanor.validate._curves import line_of, rms_difference
from athanor.validate._family import scanned
from athanor.validate._lattice import check_element, family
from athanor.validate._measured import Line, Measured, Panel, Value

PANEL = "Bain path"
BCC = float(np.sqrt(0.5))


class BainPath(AloneConfig):
    """Energies of the face-centred tetragonal cell at constant volume (Smith et al. 2021, Fig. 3a).

    One cube edge of fcc is c, the other two are a; a²c is kept. c/a = 1 is fcc and c/a = 0.7071 is
    bcc, where symmetry makes the energy an extremum: the maximum for a metal that is unstable as
    bcc. The volume is that of the subject's own fcc minimum, if it is not given.

    Values, meV/atom from fcc of that volume: 'energy of bcc', 'energy of the maximum'; and
    'c/a of the maximum', the highest local maximum within the path.
    """

    kind: Literal["bain"] = "bain"
    element: Annotated[str, AfterValidator(check_element)]
    ratios: tuple[Annotated[float, Field(gt=0.2, lt=5)], ...] = Field(
        default=tuple(np.linspace(0.6, 1.1, 26).round(6).tolist()),
        min_length=5,
        description="c/a, ascending",
    )
    volume: float | None = Field(default=None, gt=0, description="Å³ per atom")

    @field_validator("ratios")
    @classmethod
    def _ascending(cls, ratios: tuple[float, ...]) -> tuple[float, ...]:
        if (np.diff(ratios) <= 0).any():
            raise ValueError("give each c/a once, in ascending order")
        return ratios

    @property
    def title(self) -> str:
        return f"Bain path of {self.element}"

    def alone(
        self, calculator: Calculator, *, seed: int, workdir: Path, tell: Tell = silent
    ) -> Measured:
        """Measure; nothing is drawn. MeasurementError where fcc has no minimum."""
        volume = self._volume(calculator)

        def energy(ratio: float) -> float:
            atoms = tetragonal(self.element, volume, float(ratio))
            atoms.calc = calculator
            found = 1000 * float(atoms.get_potential_energy())
            if not np.isfinite(found):
                raise MeasurementError(f"{self.element} has no finite energy at c/a = {ratio:.3f}")
            return found

        zero = energy(1.0)
        along = []
        for number, ratio in enumerate(self.ratios):
            tell(number / len(self.ratios), f"c/a = {ratio:.3f}")
            along.append(energy(ratio) - zero)
        values = [Value("energy of bcc", energy(BCC) - zero, "meV/atom")]
        failures = []
        ratios, energies = np.array(self.ratios), np.array(along)
        top = highest(ratios, energies)
        if top is None:
            failures.append(f"{self.element}: the energy has no maximum within the Bain path")
        else:
            best = minimize_scalar(
                lambda ratio: -energy(ratio), bounds=top, method="bounded", options={"xatol": 1e-5}
            )
            values.append(Value("c/a of the maximum", float(best.x), ""))
            values.append(Value("energy of the maximum", -float(best.fun) - zero, "meV/atom"))
        panel = Panel("c/a", "energy from fcc, meV per atom", {"": Line.of(ratios, energies)})
        return Measured(
            tuple(values), {PANEL: panel}, failures=tuple(failures), data={"volume": volume}
        )

    def compared(self, mine: Measured, theirs: Measured) -> tuple[Quantity, ...]:
        """Root mean square difference of the two paths, each from its own fcc, meV/atom."""
        lines = (line_of(one, PANEL, "") for one in (mine, theirs))
        return rms_difference("path RMSE", "meV/atom", *lines, tolerance=self.tolerance)

    def _volume(self, calculator: Calculator) -> float:
        if self.volume is not None:
            return self.volume
        scan = scanned(family(self.element, "fcc"), calculator)
        if scan.minimum is None:
            raise MeasurementError(
                f"{scan.no_minimum(f'fcc {self.element}')}, where the path would begin; give volume"
            )
        return scan.minimum.volume


def tetragonal(element: str, volume: float, ratio: float) -> Atoms:
    """The primitive face-centred tetragonal cell: one atom in `volume` Å³, c/a = `ratio`."""
    a = (4 * volume / ratio) ** (1 / 3)
    b, c = a / 2, ratio * a / 2
    return Atoms(element, positions=[[0, 0, 0]], cell=[[0, b, c], [b, 0, c], [b, b, 0]], pbc=True)


def highest(ratios: FloatArray, energies: FloatArray) -> tuple[float, float] | None:
    """Neighbours between which the highest local maximum lies; None where there is none."""
    inner = energies[1:-1]
    places = 1 + np.flatnonzero((inner >= energies[:-2]) & (inner > energies[2:]))
    if not len(places):
        return None
    place = places[np.argmax(energies[places])]
    return float(ratios[place - 1]), float(ratios[place + 1])
