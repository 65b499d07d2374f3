"""Langevin dynamics under a randomised temperature schedule, graded as it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
from ase import Atoms, units
from ase.md.langevin import Langevin
from ase.optimize import FIRE
from pydantic import Field, model_validator

from athanor.errors import StructureError
from athanor.potentials import Potential
from athanor.query import Query
from athanor.sample import Harvest, SamplerConfig, Stop
from athanor.sample._density import compress, density_of
from athanor.sample._schedule import Course, DensityRanges, ScheduleRanges
from athanor.sample._trial import DirectCalculator, Limits, Trial
from athanor.sample._velocities import thermalise
from athanor.structure import bare, check_structure

RELAX_STEP = 0.1
"""Å; the longest move of an atom in one step of the relaxation before the dynamics."""


@dataclass(frozen=True, slots=True)
class Courses:
    """What one trajectory is led along: temperature in K, density in g/cm³ or None."""

    temperature: Course
    density: Course | None

    def lead(self, atoms: Atoms, time_fs: float) -> None:
        """Bring the cell to the density of a time."""
        if self.density is not None:
            compress(atoms, self.density(time_fs))

    def when(self, atoms: Atoms, time_fs: float) -> str:
        """In words, where a trajectory is."""
        where = f"{time_fs / 1000:.3g} ps, {atoms.get_temperature():.0f} K"
        return where if self.density is None else f"{where}, {self.density(time_fs):.2f} g/cm³"

    def noted(self, time_fs: float) -> dict[str, float]:
        """For the trace."""
        if self.density is None:
            return {}
        return {"density_g_per_cm3": self.density(time_fs)}


class MDSampler(SamplerConfig):
    """Runs from a start, collects what the query would save, ends where it says halt.

    The potential is graded every `check_every` steps; there the temperature of the thermostat
    follows the schedule (Smith et al. 2021, eq. 2), and the run halts on atoms too near each other,
    too hot, or numbers that are not finite, keeping the last healthy frames as candidates. Langevin
    dynamics of Vanden-Eijnden and Ciccotti (2006) as ASE has them; velocities are drawn at the
    schedule's first temperature, total momentum zero. With a schedule of the density, the cell and
    all atoms in it are scaled before every step.
    """

    kind: Literal["md"] = "md"
    steps: int | None = Field(default=None, ge=1)
    length_ps: float | None = Field(default=None, gt=0)
    timestep_fs: float = Field(default=1.0, gt=0, le=20)
    friction_per_ps: float = Field(default=10.0, gt=0)
    schedule: ScheduleRanges = ScheduleRanges()
    density: DensityRanges | None = Field(
        default=None, description="schedule of the density; by default the cell stays"
    )
    check_every: int = Field(default=10, ge=1)
    relax_steps: int = Field(
        default=20, ge=0, description="FIRE steps before the dynamics, graded as well"
    )
    min_distance: float = Field(default=1.5, ge=0, description="Å")
    max_temperature_K: float = Field(default=10_000.0, gt=0)
    max_atom_energy_eV: float = Field(default=10.0, gt=0, description="kinetic energy of one atom")
    save_every: int = Field(
        default=50, ge=1, description="steps that must lie between two saved candidates"
    )
    max_saved: int = Field(
        default=10, ge=0, description="candidates kept before a halt, those of highest grade"
    )

    @model_validator(mode="after")
    def _length(self) -> Self:
        if (self.steps is None) == (self.length_ps is None):
            raise ValueError("give the length of a trajectory once, as steps or as length_ps")
        return self

    @property
    def planned(self) -> int:
        """Steps of the whole schedule; the relaxation before it is not counted."""
        if self.steps is not None:
            return self.steps
        assert self.length_ps is not None  # by _length
        return max(1, round(1000 * self.length_ps / self.timestep_fs))

    def run(
        self, start: Atoms, potential: Potential, query: Query, *, seed: int, workdir: Path
    ) -> Harvest:
        """Relax a little, then run the schedule; deterministic for a given seed.

        Raises StructureError for a start that is not one, ConfigError for one that is not periodic
        where the density follows a schedule, UnknownElementError; whatever the potential does to
        the structure later is a halt, not an error.
        """
        check_structure(start, where="start")
        rng = np.random.default_rng(seed)
        atoms = bare(start)
        courses = self._courses(atoms, rng)
        courses.lead(atoms, 0.0)
        atoms.calc = DirectCalculator(potential, query, follow=courses.density is None)
        trial = Trial(query, self._limits(), spacing=self.save_every, capacity=self.max_saved)
        # an exploding run overflows on its way to the next check, where it is found
        with np.errstate(over="ignore", invalid="ignore"):
            self._relax(atoms, trial, courses)
            done = 0
            if trial.stopped_by == "completed":
                done = self._run(atoms, trial, courses, rng)
        return trial.harvest(steps=done, planned=self.planned)

    def _courses(self, atoms: Atoms, rng: np.random.Generator) -> Courses:
        length_fs = self.planned * self.timestep_fs
        temperature = self.schedule.draw(rng, length_fs=length_fs)
        if self.density is None:
            return Courses(temperature, None)
        density = self.density.draw(rng, density=density_of(atoms), length_fs=length_fs)
        return Courses(temperature, density)

    def _limits(self) -> Limits:
        return Limits(self.min_distance, self.max_temperature_K, self.max_atom_energy_eV)

    def _relax(self, atoms: Atoms, trial: Trial, courses: Courses) -> None:
        """Take the worst off a random start."""
        if self.relax_steps == 0:
            return
        optimiser = FIRE(atoms, logfile=None, maxstep=RELAX_STEP)
        step = 0
        atoms.calc.grading = True
        try:
            for _ in optimiser.irun(fmax=0.0, steps=self.relax_steps):
                # the last frame is the first of the dynamics, which are checked on their own
                due = step % self.check_every == 0 and step < self.relax_steps
                if due and not self._relaxing(atoms, trial, courses, step):
                    return
                step += 1
                atoms.calc.grading = step % self.check_every == 0 or step == self.relax_steps
        except StructureError as error:
            trial.lose("distance", str(error), when=f"relaxation step {step}")

    def _relaxing(self, atoms: Atoms, trial: Trial, courses: Courses, step: int) -> bool:
        good = trial.judge(
            atoms,
            atoms.calc.labels,
            step - self.relax_steps,
            when=f"relaxation step {step}",
            grade=atoms.calc.grade,
        )
        trial.note(
            time_fs=0.0,
            temperature_K=0.0,
            target_K=0.0,
            grade=trial.grade,
            energy_eV=atoms.calc.labels.energy,
            **courses.noted(0.0),
        )
        return good

    def _run(self, atoms: Atoms, trial: Trial, courses: Courses, rng: np.random.Generator) -> int:
        """Run the schedule; returns the steps done."""
        schedule = courses.temperature
        thermalise(atoms, schedule(0.0), rng)
        dynamics = Langevin(
            atoms,
            self.timestep_fs * units.fs,
            temperature_K=schedule(0.0),
            friction=self.friction_per_ps / (1000 * units.fs),
            fixcm=False,
            rng=rng,
        )
        done = 0
        atoms.calc.grading = True
        try:
            forces = atoms.get_forces()
            while self._check(atoms, trial, courses, done) and done < self.planned:
                dynamics.set_temperature(temperature_K=schedule(done * self.timestep_fs))
                due = min(done + self.check_every, self.planned)
                while done < due:
                    atoms.calc.grading = done + 1 == due
                    # forces of before: they are due to half a step that the scaling commutes with
                    courses.lead(atoms, (done + 1) * self.timestep_fs)
                    forces = dynamics.step(forces)
                    done += 1
        except StructureError as error:
            stop: Stop = "distance" if np.isfinite(atoms.positions).all() else "nan"
            what = str(error) if stop == "distance" else "positions stopped being finite"
            trial.lose(stop, what, when=courses.when(atoms, done * self.timestep_fs))
        return done

    def _check(self, atoms: Atoms, trial: Trial, courses: Courses, done: int) -> bool:
        time_fs = done * self.timestep_fs
        when = courses.when(atoms, time_fs)
        good = trial.judge(atoms, atoms.calc.labels, done, when=when, grade=atoms.calc.grade)
        trial.note(
            time_fs=time_fs,
            temperature_K=atoms.get_temperature(),
            target_K=courses.temperature(time_fs),
            grade=trial.grade,
            energy_eV=atoms.calc.labels.energy,
            **courses.noted(time_fs),
        )
        return good
