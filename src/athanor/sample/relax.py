"""Relaxation of the structure one wants, graded on the way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE
from ase.units import GPa
from pydantic import Field
from threadpoolctl import threadpool_limits

from athanor.calculator import calculator
from athanor.errors import ConfigError, StructureError
from athanor.potentials import Potential
from athanor.query import Query
from athanor.sample import Harvest, SamplerConfig
from athanor.sample._trial import Limits, Trial
from athanor.structure import Labels, bare, check_structure

LONGEST_MOVE = 0.1
"""Å; of an atom in one step."""


@dataclass(frozen=True, slots=True)
class RelaxResult:
    """Where a relaxation ended.

    Attributes
    ----------
    atoms : the last structure that could be evaluated, geometry only.
    labels : of it, by the potential.
    fmax : largest force on an atom, eV/Å.
    converged : whether it, and with `cell` the generalised forces on the cell, are below what was
        asked for.
    harvest : steps, what stopped it, candidates with grades and reasons, trace.
    """

    atoms: Atoms
    labels: Labels
    fmax: float
    converged: bool
    harvest: Harvest


def relax(
    atoms: Atoms,
    potential: Potential,
    query: Query | None = None,
    *,
    fmax: float = 0.01,
    steps: int = 500,
    cell: bool = False,
    pressure: float = 0.0,
    check_every: int = 1,
    min_distance: float = 0.0,
    spacing: int = 1,
    capacity: int = 10,
) -> RelaxResult:
    """Relax positions, and with `cell` the cell against `pressure`, by FIRE.

    Every `check_every` steps the query grades the structure: `save` makes it a candidate (every
    `spacing` steps at most, the `capacity` of highest grade kept), `halt` ends the run. A
    structure with atoms nearer than `min_distance` (Å), or numbers that are not finite, ends it
    too, with the last healthy structures as candidates.

    Parameters
    ----------
    fmax : eV/Å. pressure : eV/Å³, positive under compression.

    Raises
    ------
    StructureError, UnknownElementError : `atoms` cannot be evaluated as given.
    ConfigError : a cell is to be relaxed that is not periodic in all directions.
    """
    check_structure(atoms)
    if cell and not atoms.pbc.all():
        raise ConfigError(
            f"the structure {atoms.get_chemical_formula()} is not periodic in all three "
            "directions, so it has no cell to relax; relax its positions only"
        )
    moving = bare(atoms)
    moving.calc = calculator(potential)
    target = FrechetCellFilter(moving, scalar_pressure=pressure) if cell else moving
    trial = Trial(query, Limits(min_distance), spacing=spacing, capacity=capacity)
    run = _Run(moving, target, trial, potential.predict([bare(atoms)])[0])
    # a structure that flies apart overflows before the next check finds it
    # and ASE's cell filter takes logarithms of 3 × 3 matrices, which threads only slow down
    with np.errstate(over="ignore", invalid="ignore"), threadpool_limits(limits=1):
        converged = run.go(fmax=fmax, steps=steps, check_every=check_every)
    harvest = trial.harvest(steps=run.done, planned=run.done if converged else steps)
    return RelaxResult(run.healthy, run.labels, run.fmax, converged, harvest)


class _Run:
    """One relaxation as it goes, with the last structure that was whole."""

    def __init__(self, moving: Atoms, target: Any, trial: Trial, labels: Labels) -> None:
        self.moving = moving
        self.target = target
        self.trial = trial
        self.done = 0
        self.healthy = bare(moving)
        self.labels = labels
        self.fmax = float("inf")

    def go(self, *, fmax: float, steps: int, check_every: int) -> bool:
        """Relax; returns whether it converged."""
        optimiser = FIRE(self.target, logfile=None, maxstep=LONGEST_MOVE)
        try:
            for converged in optimiser.irun(fmax=fmax, steps=steps):
                self.done = optimiser.nsteps
                last = bool(converged) or self.done == steps
                if (last or self.done % check_every == 0) and not self._check():
                    return False
                if converged:
                    return True
        except StructureError as error:
            self.trial.lose("distance", str(error), when=f"relaxation step {self.done}")
        return False

    def _check(self) -> bool:
        labels = _labels(self.moving)
        when = f"relaxation step {self.done}"
        good = self.trial.judge(self.moving, labels, self.done, when=when)
        if self.trial.stopped_by in ("completed", "grade"):
            self.healthy, self.labels = bare(self.moving), labels
            self.fmax = float(np.linalg.norm(labels.forces, axis=1).max())
            self.trial.note(
                step=float(self.done),
                grade=self.trial.grade,
                energy_eV=labels.energy,
                fmax=self.fmax,
            )
        return good


def _labels(atoms: Atoms) -> Labels:
    stress = atoms.get_stress(voigt=False) if atoms.pbc.all() else None
    return Labels(float(atoms.get_potential_energy()), atoms.get_forces(), stress)


class RelaxSampler(SamplerConfig):
    """Relaxes each start with the current potential, graded on the way."""

    kind: Literal["relax"] = "relax"
    steps: int = Field(default=500, ge=1)
    fmax: float = Field(default=0.01, gt=0, description="eV/Å")
    cell: bool = False
    pressure_GPa: float = Field(default=0.0, description="positive under compression; needs cell")
    check_every: int = Field(default=1, ge=1)
    min_distance: float = Field(default=1.5, ge=0, description="Å")
    save_every: int = Field(
        default=20, ge=1, description="steps that must lie between two saved candidates"
    )
    max_saved: int = Field(
        default=10, ge=0, description="candidates kept before a halt, those of highest grade"
    )

    def run(
        self, start: Atoms, potential: Potential, query: Query, *, seed: int, workdir: Path
    ) -> Harvest:
        """Relax once; nothing is drawn, so the seed changes nothing. Raises what `relax` raises."""
        return relax(
            start,
            potential,
            query,
            fmax=self.fmax,
            steps=self.steps,
            cell=self.cell,
            pressure=self.pressure_GPa * GPa,
            check_every=self.check_every,
            min_distance=self.min_distance,
            spacing=self.save_every,
            capacity=self.max_saved,
        ).harvest
