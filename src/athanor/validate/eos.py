"""Energy-volume curves of simple lattices."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from ase.calculators.calculator import Calculator
from ase.units import GPa
from pydantic import AfterValidator, Field

from athanor.structure import FloatArray
from athanor.validate import PropertyConfig, PropertyResult, Quantity
from athanor.validate._lattice import (
    Lattice,
    Minimum,
    check_element,
    energies,
    equilibrium,
    lattice_constant,
    minimum_near,
)


class EquationOfState(PropertyConfig):
    """Lattice constants, bulk moduli and the order of lattices, against the reference.

    The volumes are centred on the reference's own minimum of each lattice, found by a scan; the
    potential's minimum is searched among them. The lattice that is lowest for
    the reference is judged: it must be lowest for the potential, with the same lattice constant
    within the tolerance.
    """

    kind: Literal["eos"] = "eos"
    element: Annotated[str, AfterValidator(check_element)]
    lattices: tuple[Lattice, ...] = Field(default=("fcc", "hcp", "bcc", "sc"), min_length=1)
    volume_range: float = Field(
        default=0.12, gt=0, lt=0.5, description="half width, as a part of the equilibrium volume"
    )
    points: int = Field(default=13, ge=5, description="volumes of each lattice")
    volume_guess: float | None = Field(
        default=None, gt=0, description="Å³ per atom, where the scan for the minimum is centred"
    )
    lattice_constant_tolerance: float = Field(default=0.005, gt=0, description="relative")

    def measure(
        self, potential: Calculator, reference: Calculator, *, seed: int, workdir: Path
    ) -> PropertyResult:
        """Measure; nothing is drawn. ConfigError where the reference has no minimum to be found."""
        curves: dict[Lattice, Any] = {}
        minima: dict[Lattice, tuple[Minimum, Minimum | None]] = {}
        for lattice in dict.fromkeys(self.lattices):
            true = equilibrium(self.element, lattice, reference, guess=self.volume_guess)
            volumes = true.volume * np.linspace(
                1 - self.volume_range, 1 + self.volume_range, self.points
            )
            mine = energies(self.element, lattice, volumes, potential)
            theirs = energies(self.element, lattice, volumes, reference)
            minima[lattice] = (
                true,
                minimum_near(self.element, lattice, volumes, mine, potential),
            )
            curves[lattice] = {"x": volumes, "potential": mine, "reference": theirs}
        floors = {name: _lowest(curve["potential"]) for name, curve in curves.items()}
        quantities, notes = self._quantities(minima, floors)
        return PropertyResult(
            kind="eos",
            title=f"Energy and volume of {self.element} lattices",
            quantities=quantities,
            curves=_shown(curves),
            notes=notes,
        )

    def _quantities(
        self,
        minima: dict[Lattice, tuple[Minimum, Minimum | None]],
        floors: dict[Lattice, float],
    ) -> tuple[tuple[Quantity, ...], tuple[str, ...]]:
        lowest = min(minima, key=lambda lattice: minima[lattice][0].energy)
        quantities: list[Quantity] = []
        if len(minima) > 1:
            quantities.append(_margin(lowest, minima, floors))
        base, base_mine = minima[lowest]
        notes = []
        for lattice, (true, mine) in minima.items():
            if mine is None:
                notes.append(
                    f"The potential has no energy minimum for {lattice} within "
                    f"{100 * self.volume_range:.0f} % of the reference's volume "
                    f"{true.volume:.2f} Å³ per atom."
                )
            quantities += self._of_lattice(lattice, true, mine, judged=lattice == lowest)
            if lattice != lowest:
                value = np.nan
                if mine is not None and base_mine is not None:
                    value = 1000 * (mine.energy - base_mine.energy)
                expected = 1000 * (true.energy - base.energy)
                name = f"{lattice} energy above {lowest}"
                quantities.append(Quantity(name, value, "meV/atom", expected))
        # a number that could not be measured is in the notes; NaN is no JSON
        return tuple(q for q in quantities if np.isfinite(q.value)), tuple(notes)

    def _of_lattice(
        self, lattice: Lattice, true: Minimum, mine: Minimum | None, *, judged: bool
    ) -> list[Quantity]:
        expected = lattice_constant(lattice, true.volume)
        name = f"{lattice} lattice constant"
        if mine is None:
            # what was not found must fail where it is judged, and has no number to show
            failed = Quantity(f"{lattice} has a minimum", 0.0, "", 1.0, passed=False)
            return [failed] if judged else []
        value = lattice_constant(lattice, mine.volume)
        off = abs(value / expected - 1)
        return [
            Quantity(
                name,
                value,
                "Å",
                expected,
                passed=off <= self.lattice_constant_tolerance if judged else None,
            ),
            Quantity(
                f"{lattice} bulk modulus", mine.bulk_modulus / GPa, "GPa", true.bulk_modulus / GPa
            ),
        ]


def _margin(
    lowest: Lattice,
    minima: dict[Lattice, tuple[Minimum, Minimum | None]],
    floors: dict[Lattice, float],
) -> Quantity:
    """By how much the reference's lowest lattice lies below the next, for both.

    A lattice whose energy still falls at the end of its curve counts with that end: it is at least
    so low.
    """
    true = min(m.energy for name, (m, _) in minima.items() if name != lowest)
    others = [m.energy for name, (_, m) in minima.items() if name != lowest and m is not None]
    others += [floor for name, floor in floors.items() if name != lowest]
    mine = minima[lowest][1]
    value = 1000 * (min(others) - mine.energy) if mine is not None else np.nan
    expected = 1000 * (true - minima[lowest][0].energy)
    name = f"{lowest} below every other lattice by"
    return Quantity(name, value, "meV/atom", expected, passed=bool(value > 0))


def _lowest(energies: FloatArray) -> float:
    """The lowest of those that are finite; infinite where none is."""
    return float(np.min(energies, where=np.isfinite(energies), initial=np.inf))


def _shown(curves: dict[Lattice, Any]) -> dict[str, Any]:
    """Plain lists; energies in meV per atom, both from the lowest of the reference's."""
    zero = min(float(line["reference"].min()) for line in curves.values())
    shown: dict[str, Any] = {
        name: {
            "x": line["x"].tolist(),
            "potential": _plain(1000 * (line["potential"] - zero)),
            "reference": _plain(1000 * (line["reference"] - zero)),
        }
        for name, line in curves.items()
    }
    return shown | {"xlabel": "volume, Å³ per atom", "ylabel": "energy, meV per atom"}


def _plain(values: FloatArray) -> list[float]:
    # a figure cannot show what is not finite, and JSON cannot hold it
    return [float(v) for v in np.nan_to_num(values, nan=0.0, posinf=1e6, neginf=-1e6)]
