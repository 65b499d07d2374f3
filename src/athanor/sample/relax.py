"""Relaxation of the structure one wants, graded on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

import numpy as np
from ase import Atoms
from ase.units import GPa
from pydantic import Field

from athanor.errors import ConfigError, StructureError
from athanor.potentials import Potential
from athanor.query import Grade, GradesInPassing, Query
from athanor.sample import Harvest, SamplerConfig, Stop
from athanor.sample._landscape import Cell, Landscape
from athanor.sample._trial import Limits, Trial
from athanor.structure import Labels, bare, check_structure

LONGEST_MOVE = 0.2
"""Å; of an atom in one step."""
STRESS_GPa = 0.1
"""Stress left where the cell is relaxed; small beside 0.01 eV/Å on the area of an atom."""

End = Literal["converged", "steps", "grade", "min_dist", "failed", "stuck"]


@dataclass(frozen=True, slots=True)
class PathStep:
    """One structure on the way, with its labels and its grade (None where it got none)."""

    step: int
    atoms: Atoms
    labels: Labels
    grade: float | None


@dataclass(frozen=True, slots=True)
class RelaxResult:
    """Where a relaxation ended.

    Attributes
    ----------
    atoms : the last structure that was whole, geometry only.
    labels : of it, by the potential.
    fmax : largest force on an atom, eV/Å.
    smax : largest component of the stress that the cell could give in to, eV/Å³; 0 for fixed cells.
    converged : whether both are below what was asked for.
    stopped_by : converged; steps, when there are no more; grade, above halt; min_dist, atoms too
        near; failed, when the potential could not go on (`error` says why); stuck, when no step
        leads downhill any more: forces smaller than rounding allows, or a kink of the potential.
    harvest : steps, what stopped it, candidates with grades and reasons, trace.
    candidate_steps : at which step each candidate of the harvest was met.
    path : every step, where it was asked for.
    """

    atoms: Atoms
    labels: Labels
    fmax: float
    smax: float
    converged: bool
    stopped_by: End
    error: str
    harvest: Harvest
    candidate_steps: tuple[int, ...] = ()
    path: tuple[PathStep, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaxOptions:
    """How to relax.

    Attributes
    ----------
    fmax : largest force left, eV/Å. smax : largest stress left where the cell moves, eV/Å³.
    steps : give up after this many. max_step : Å, of an atom in one of them.
    cell : what it does. pressure : on it, eV/Å³, positive under compression.
    check_every : steps between two grades. min_distance : Å; atoms nearer end the run.
    spacing : steps between two candidates. capacity : candidates kept, those of highest grade.
    path : whether every step is kept.
    """

    fmax: float = 0.01
    smax: float = STRESS_GPa * GPa
    steps: int = 500
    max_step: float = LONGEST_MOVE
    cell: Cell = "fixed"
    pressure: float = 0.0
    check_every: int = 1
    min_distance: float = 0.0
    spacing: int = 1
    capacity: int = 10
    path: bool = False


def relax(
    atoms: Atoms,
    potential: Potential,
    query: Query | None = None,
    *,
    options: RelaxOptions | None = None,
) -> RelaxResult:
    """Relax positions, and where it may move the cell against a pressure, by L-BFGS-B.

    No step goes uphill in enthalpy. Every `check_every` steps the query grades the structure:
    `save` makes it a candidate (every `spacing` steps at most, the `capacity` of highest grade
    kept), `halt` ends the run. A structure with atoms nearer than `min_distance`, or one that the
    potential cannot evaluate, ends it too, with the last healthy structures as candidates.

    Raises
    ------
    StructureError, UnknownElementError : `atoms` cannot be evaluated as given.
    ConfigError : a cell is to be relaxed that is not periodic in all directions.
    """
    options = options or RelaxOptions()
    check_structure(atoms)
    if options.cell != "fixed" and not atoms.pbc.all():
        raise ConfigError(
            f"the structure {atoms.get_chemical_formula()} is not periodic in all three "
            "directions, so it has no cell to relax; relax its positions only"
        )
    # a structure that flies apart overflows before it is found
    with np.errstate(over="ignore", invalid="ignore"):
        run = _Run(bare(atoms), potential, query, options)
        run.go()
    return run.result()


class _Judged:
    """Labels of a structure, and its grade where the query gives both at once."""

    def __init__(self, potential: Potential, query: Query | None) -> None:
        self.potential = potential
        # a query fitted to another potential has other labels
        able = isinstance(query, GradesInPassing) and query.potential is potential
        self._query = cast(GradesInPassing, query) if able else None
        self.grading = True
        self.grade: Grade | None = None

    def __call__(self, atoms: Atoms) -> Labels:
        if self._query is not None and self.grading:
            ((labels, self.grade),) = self._query.evaluated([atoms])
            return labels
        self.grade = None
        return self.potential.predict([atoms])[0]


@dataclass
class _Run:
    """One relaxation as it goes, with the last structure that was whole."""

    moving: Atoms
    potential: Potential
    query: Query | None
    options: RelaxOptions
    done: int = 0
    judged_at: int = -1
    converged: bool = False
    refused: bool = False
    path: list[PathStep] = field(default_factory=list)

    def __post_init__(self) -> None:
        options = self.options
        self.judged = _Judged(self.potential, self.query)
        self.landscape = Landscape(
            self.moving, self.judged, cell=options.cell, pressure=options.pressure
        )
        self.trial = Trial(
            self.query,
            Limits(options.min_distance),
            spacing=options.spacing,
            capacity=options.capacity,
        )
        self.healthy, self.labels = bare(self.moving), self.landscape.labels
        self.fmax = self.smax = float("inf")

    def go(self) -> None:
        """Relax until it is converged, stopped, or at the end of its steps."""
        # scipy's optimisers take long to import, and listing the kinds does without
        from athanor.sample._descent import Descent, NotFinite

        if not self._on():
            return
        try:
            descent = Descent(self.landscape, longest=self.options.max_step)
            descent.run(steps=self.options.steps, after=self._next)
            if self.judged_at != self.done:  # no step leads further down, between two judged ones
                self._settle()
        except StructureError as error:
            self.refused = True
            stop: Stop = "nan" if isinstance(error, NotFinite) else "distance"
            self.trial.lose(stop, str(error), when=f"relaxation step {self.done}")

    def _next(self) -> bool:
        self.done += 1
        return self._on()

    def _on(self) -> bool:
        """Judge where it stands; whether to go on."""
        options = self.options
        fmax, smax = self.landscape.fmax(), self.landscape.smax()
        self.converged = fmax < options.fmax and smax < options.smax
        last = self.converged or self.done == options.steps
        self.judged.grading = (self.done + 1) % options.check_every == 0
        if not last and self.done % options.check_every:
            return True
        good = self._settle()
        self.converged = self.converged and good
        return good and not last

    def _settle(self) -> bool:
        """Judge this structure and, where it is whole, let the result be this one."""
        good = self._judge()
        if self.trial.stopped_by in ("completed", "grade"):
            self.fmax, self.smax = self.landscape.fmax(), self.landscape.smax()
        return good

    def _judge(self) -> bool:
        self.judged_at = self.done
        labels = self.landscape.labels
        when = f"relaxation step {self.done}"
        good = self.trial.judge(self.moving, labels, self.done, when=when, grade=self.judged.grade)
        if self.trial.stopped_by in ("completed", "grade"):
            self.healthy, self.labels = bare(self.moving), labels
            grade = self.trial.grade
            self.trial.note(
                step=float(self.done),
                grade=grade,
                energy_eV=labels.energy,
                fmax=self.landscape.fmax(),
            )
            if self.options.path:
                graded = None if self.query is None else grade
                self.path.append(PathStep(self.done, self.healthy, labels, graded))
        return good

    def result(self) -> RelaxResult:
        planned = self.done if self.converged else self.options.steps
        return RelaxResult(
            atoms=self.healthy,
            labels=self.labels,
            fmax=self.fmax,
            smax=self.smax,
            converged=self.converged,
            stopped_by=self._end(),
            error=self.trial.lost,
            harvest=self.trial.harvest(steps=self.done, planned=planned),
            candidate_steps=tuple(one.step for one in (*self.trial.saved, *self.trial.final)),
            path=tuple(self.path),
        )

    def _end(self) -> End:
        if self.converged:
            return "converged"
        if self.trial.stopped_by == "grade":
            return "grade"
        if self.trial.stopped_by != "completed":
            near = self.trial.stopped_by == "distance" and not self.refused
            return "min_dist" if near else "failed"
        return "steps" if self.done == self.options.steps else "stuck"


class RelaxSampler(SamplerConfig):
    """Relaxes each start with the current potential, graded on the way."""

    kind: Literal["relax"] = "relax"
    steps: int = Field(default=500, ge=1)
    fmax: float = Field(default=0.01, gt=0, description="eV/Å")
    smax_GPa: float = Field(default=STRESS_GPa, gt=0, description="stress left; with cell")
    cell: bool = False
    pressure_GPa: float = Field(default=0.0, description="positive under compression; needs cell")
    max_step: float = Field(default=LONGEST_MOVE, gt=0, description="Å; of an atom in one step")
    check_every: int = Field(default=1, ge=1)
    min_distance: float = Field(default=1.5, ge=0, description="Å")
    save_every: int = Field(
        default=5, ge=1, description="steps that must lie between two saved candidates"
    )
    max_saved: int = Field(
        default=10, ge=0, description="candidates kept before a halt, those of highest grade"
    )

    def run(
        self, start: Atoms, potential: Potential, query: Query, *, seed: int, workdir: Path
    ) -> Harvest:
        """Relax once; nothing is drawn, so the seed changes nothing. Raises what `relax` raises."""
        options = RelaxOptions(
            fmax=self.fmax,
            smax=self.smax_GPa * GPa,
            steps=self.steps,
            max_step=self.max_step,
            cell="free" if self.cell else "fixed",
            pressure=self.pressure_GPa * GPa,
            check_every=self.check_every,
            min_distance=self.min_distance,
            spacing=self.save_every,
            capacity=self.max_saved,
        )
        return relax(start, potential, query, options=options).harvest
