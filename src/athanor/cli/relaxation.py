"""Relaxing one structure, graded on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ase import Atoms
from ase.units import GPa

from athanor.calculator import calculator
from athanor.errors import ConfigError, StructureError
from athanor.potentials import Potential
from athanor.query import Grade, Query
from athanor.structure import Labels, bare


@dataclass(frozen=True, slots=True)
class Relaxed:
    """Where a relaxation ended.

    Attributes
    ----------
    atoms, labels : the last healthy structure, with the potential's labels.
    converged : whether the forces (and the stress, where the cell moved) fell below `fmax`.
    steps : steps made.
    grade : the highest grade met, None where none was asked for.
    stopped_by : converged, steps, grade (reached the halt threshold) or lost (atoms collided).
    """

    atoms: Atoms
    labels: Labels
    converged: bool
    steps: int
    grade: Grade | None
    stopped_by: str

    def info(self) -> dict[str, Any]:
        """What goes beside the structure into the file."""
        info: dict[str, Any] = {
            "converged": self.converged,
            "steps": self.steps,
            "stopped_by": self.stopped_by,
        }
        if self.grade is not None:
            info |= {"grade": self.grade.value, "verdict": self.grade.verdict}
        return info


def relax_one(
    atoms: Atoms,
    potential: Potential,
    *,
    fmax: float,
    steps: int,
    pressure_GPa: float | None = None,
    query: Query | None = None,
) -> Relaxed:
    """Relax with LBFGS; the cell as well where an outer pressure (0 allowed) is given.

    Raises ConfigError (a cell to relax that is not periodic), StructureError, UnknownElementError.
    """
    from ase.optimize import LBFGS

    moving = bare(atoms)
    moving.calc = calculator(potential)
    optimiser = LBFGS(_target(moving, pressure_GPa), logfile=None)
    healthy, made = bare(moving), 0
    worst = None if query is None else query.grade([healthy])[0]
    stopped_by = "steps"
    # the starting structure must be evaluable: its errors are the user's to see
    potential.predict([healthy])
    if worst is not None and worst.verdict == "halt":
        return _ended(healthy, potential, made, worst, "grade")
    try:
        for converged in optimiser.irun(fmax=fmax, steps=steps):
            healthy, made = bare(moving), optimiser.nsteps
            if query is not None:
                worst = max(worst, query.grade([healthy])[0], key=_value)
            if worst is not None and worst.verdict == "halt":
                stopped_by = "grade"
                break
            if converged:
                stopped_by = "converged"
    except StructureError:
        stopped_by = "lost"
    return _ended(healthy, potential, made, worst, stopped_by)


def _target(atoms: Atoms, pressure_GPa: float | None) -> Any:
    """What the optimiser moves: the atoms, or the atoms and their cell."""
    from ase.filters import FrechetCellFilter

    if pressure_GPa is None:
        return atoms
    if not atoms.pbc.all():
        raise ConfigError(
            f"--cell: the structure {atoms.get_chemical_formula()} is not periodic in all three "
            "directions, so it has no cell to relax; leave --cell out"
        )
    return FrechetCellFilter(atoms, scalar_pressure=pressure_GPa * GPa)


def _value(grade: Grade | None) -> float:
    return float("-inf") if grade is None else grade.value


def _ended(
    atoms: Atoms, potential: Potential, steps: int, grade: Grade | None, stopped_by: str
) -> Relaxed:
    labels = potential.predict([atoms])[0]
    return Relaxed(atoms, labels, stopped_by == "converged", steps, grade, stopped_by)
