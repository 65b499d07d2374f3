"""What a calculator says of frames of a run, and how far two differ on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError
from ase.units import GPa

from athanor.structure import FloatArray, bare
from athanor.validate._course import TIME
from athanor.validate._measured import Line, Panel, Value

LABELS = {
    "Energy": "potential energy, eV/atom",
    "Mean force": "mean length of a force, eV/Å",
    "Pressure": "pressure without motion, GPa",
}


@dataclass(frozen=True, slots=True, eq=False)
class Along:
    """Labels of frames: (k,) each.

    Attributes
    ----------
    times : ps. energies : eV/atom. forces : mean length of the forces, eV/Å.
    pressures : GPa, of the forces alone; NaN where there is no stress.
    """

    times: FloatArray
    energies: FloatArray
    forces: FloatArray
    pressures: FloatArray

    @classmethod
    def of(cls, times: FloatArray, frames: Sequence[Atoms], calculator: Calculator) -> Self:
        """Ask a calculator; raises what it raises."""
        rows = [_labels(frame, calculator) for frame in frames]
        energies, forces, pressures = np.array(rows, dtype=float).reshape(-1, 3).T
        return cls(np.asarray(times, dtype=float), energies, forces, pressures)

    @property
    def panels(self) -> dict[str, Panel]:
        """A panel for each of the three, with one line."""
        rows = zip(LABELS.items(), (self.energies, self.forces, self.pressures), strict=True)
        return {
            title: Panel(TIME, label, {"": Line.of(self.times, values)})
            for (title, label), values in rows
        }

    def plain(self) -> dict[str, Any]:
        """As JSON can hold it."""
        pressures = [p if np.isfinite(p) else None for p in self.pressures.tolist()]
        rows = {"times": self.times, "energies": self.energies, "forces": self.forces}
        return {name: row.tolist() for name, row in rows.items()} | {"pressures": pressures}

    @classmethod
    def read(cls, data: dict[str, Any]) -> Self:
        """The inverse of `plain`."""
        names = ("times", "energies", "forces", "pressures")
        return cls(*(np.array(data[name], dtype=float) for name in names))


def errors_of(mine: Along, theirs: Along) -> list[Value]:
    """Mean absolute errors along the run; of energies also the scatter about the mean offset."""
    off = 1000 * (mine.energies - theirs.energies)
    found = [
        ("energy MAE along the run", float(np.abs(off).mean()), "meV/atom"),
        ("energy scatter along the run", float(off.std()), "meV/atom"),
        (
            "mean force MAE along the run",
            float(1000 * np.abs(mine.forces - theirs.forces).mean()),
            "meV/Å",
        ),
        (
            "pressure MAE along the run",
            float(np.abs(mine.pressures - theirs.pressures).mean()),
            "GPa",
        ),
    ]
    return [Value(name, value, unit) for name, value, unit in found if np.isfinite(value)]


def _labels(frame: Atoms, calculator: Calculator) -> tuple[float, float, float]:
    atoms = bare(frame)
    atoms.calc = calculator
    try:
        pressure = -float(atoms.get_stress()[:3].sum()) / 3 / GPa
    except PropertyNotImplementedError:
        pressure = float("nan")
    force = float(np.linalg.norm(atoms.get_forces(), axis=1).mean())
    return float(atoms.get_potential_energy()) / len(atoms), force, pressure
