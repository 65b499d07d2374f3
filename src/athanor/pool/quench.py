"""A pool made here: molecular dynamics of a melt that is quenched, driven by the oracle."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal, Self

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers
from ase.formula import Formula
from pydantic import Field, field_validator, model_validator

from athanor.data.durable import make_folder, sync_folder, writing
from athanor.errors import ConfigError, OracleError
from athanor.oracle import Oracle
from athanor.pool import Pool, PoolConfig
from athanor.pool._checked import Found, pool_of
from athanor.pool._course import Course, Stage
from athanor.pool._trajectory import Dynamics, Trajectory
from athanor.sample._density import GRAM_PER_CM3
from athanor.sample._velocities import thermalise
from athanor.sample.disorder import placed
from athanor.structure import Frame

TRAJECTORY = "quench.extxyz"
"""In the workdir: the whole pool, once it is made."""
RELAXED = 5.0
"""eV/Å; the random start is relaxed so far that dynamics can begin."""
RELAXATION_STEPS = 300


class QuenchPool(PoolConfig):
    """Melts a random cell and quenches it through plateaus, at fixed volume; Langevin dynamics.

    Between two plateaus the temperature of the thermostat is ramped. The group of a frame is its
    plateau or ramp.
    """

    kind: Literal["quench"] = "quench"
    formula: str = Field(default="SiO2", description="of one unit")
    atoms: int = Field(default=72, ge=2, description="a multiple of the formula's")
    density: float = Field(default=2.2, gt=0, description="g/cm³")
    temperatures_K: tuple[float, ...] = Field(
        default=(4000.0, 3000.0, 2000.0, 1000.0, 300.0), min_length=1, description="of the plateaus"
    )
    plateau_ps: float = Field(default=8.0, gt=0, description="with its equilibration")
    equilibration_ps: float = Field(
        default=1.0, ge=0, description="of each plateau, from which no frames are taken"
    )
    ramp_ps: float = Field(default=4.0, ge=0, description="between two plateaus")
    melt_ps: float = Field(default=3.0, ge=0, description="before all plateaus; gives no frames")
    melt_temperature_K: float = Field(default=6000.0, gt=0)
    timestep_fs: float = Field(default=1.0, gt=0)
    friction_per_ps: float = Field(default=10.0, gt=0)
    interval: int = Field(default=50, ge=1, description="steps between two frames")
    min_distance: float = Field(default=1.5, gt=0, description="Å, between atoms of the start")
    segment: int = Field(default=500, ge=1, description="steps that a kill costs at most")

    @field_validator("formula")
    @classmethod
    def _elements(cls, formula: str) -> str:
        try:
            counts = Formula(formula).count()
        except (ValueError, KeyError):
            counts = {}
        if not counts or "X" in counts or not set(counts) <= set(atomic_numbers):
            raise ValueError(f"{formula!r} is not a formula; write one like 'SiO2'")
        return formula

    @field_validator("temperatures_K")
    @classmethod
    def _positive(cls, temperatures: tuple[float, ...]) -> tuple[float, ...]:
        if min(temperatures) <= 0:
            raise ValueError(f"{min(temperatures)} K is no temperature; give numbers above zero")
        return temperatures

    @model_validator(mode="after")
    def _whole(self) -> Self:
        unit = sum(self._counts().values())
        if self.atoms % unit:
            near = max(1, round(self.atoms / unit)) * unit
            raise ValueError(
                f"{self.atoms} atoms are no whole number of {self.formula}; give a multiple of "
                f"{unit}, e.g. {near}"
            )
        if self.course.frames < 2:
            raise ValueError(
                f"the course gives {self.course.frames} frames; lengthen plateau_ps beyond "
                "equilibration_ps, or lower interval"
            )
        return self

    @property
    def needs_oracle(self) -> bool:
        """It makes every frame."""
        return True

    @property
    def course(self) -> Course:
        """Melt, plateaus and ramps."""
        stages = []
        if self.melt_ps:
            melt, steps = self.melt_temperature_K, self._steps(self.melt_ps)
            stages.append(Stage(f"melt {melt:g} K", steps, melt, melt, steps))
        silent = self._steps(self.equilibration_ps) if self.equilibration_ps else 0
        last: float | None = None
        for temperature in self.temperatures_K:
            if last is not None and self.ramp_ps:
                name = f"ramp {last:g}-{temperature:g} K"
                stages.append(Stage(name, self._steps(self.ramp_ps), last, temperature))
            name, steps = f"plateau {temperature:g} K", self._steps(self.plateau_ps)
            stages.append(Stage(name, steps, temperature, temperature, silent))
            last = temperature
        return Course(tuple(stages), self.interval)

    def frames(self, *, oracle: Oracle | None, seed: int, workdir: Path) -> Pool:
        """Run the dynamics, or what is left of them; the trajectory is left in `workdir` too.

        Raises ConfigError without an oracle, OracleError where it fails or atoms fly apart.
        """
        if oracle is None:
            raise ConfigError(
                '[pool] kind = "quench" makes its frames with an oracle; add [oracle]'
            )
        make_folder(workdir)
        # named by all that the trajectory depends on, so that no other is ever continued
        told = f"{self.model_dump_json(exclude={'segment'})} {self.segment} {oracle.level} {seed}"
        folder = workdir / f"quench-{hashlib.sha256(told.encode()).hexdigest()[:16]}"
        dynamics = Dynamics(self.timestep_fs, self.friction_per_ps, self.segment)
        trajectory = Trajectory(folder, self.course, dynamics, log=workdir)
        frames = trajectory.run(lambda: self._start(oracle, seed, folder), oracle)
        _write(workdir / TRAJECTORY, frames)
        return pool_of(
            [Found(frame.atoms, frame.labels, frame.origin, frame.level) for frame in frames],
            groups=[frame.origin.rpartition(", step")[0] for frame in frames],
            oracle=oracle,
            name=f"melt-quench of {self.formula}",
        )

    def _start(self, oracle: Oracle, seed: int, folder: Path) -> tuple[Atoms, np.random.Generator]:
        """A random cell, relaxed so that no atoms are on top of each other, with momenta."""
        # takes as long to import as all the rest
        from ase.optimize import FIRE

        rng = np.random.default_rng(seed)
        units = self.atoms // sum(self._counts().values())
        symbols = [s for s, count in self._counts().items() for _ in range(units * count)]
        mass = sum(atomic_masses[atomic_numbers[symbol]] for symbol in symbols)
        edges = np.full(3, (mass / (self.density * GRAM_PER_CM3)) ** (1 / 3))
        positions = placed(self.atoms, edges, min_distance=self.min_distance, rng=rng)
        atoms = Atoms(rng.permutation(symbols), positions=positions, cell=edges, pbc=True)
        atoms.calc = oracle.calculator(workdir=folder)
        try:
            FIRE(atoms, logfile=None).run(fmax=RELAXED, steps=RELAXATION_STEPS)
        except Exception as error:
            # any program may stand behind the calculator, and it may fail in any way
            raise OracleError(
                f"the random start of [pool] could not be relaxed ({error}); raise min_distance or "
                "take another potential in [oracle]"
            ) from error
        atoms.calc = None
        thermalise(atoms, self.course.stages[0].begin_K, rng)
        return atoms, rng

    def _counts(self) -> dict[str, int]:
        return dict(Formula(self.formula).count())

    def _steps(self, ps: float) -> int:
        return max(1, round(1000 * ps / self.timestep_fs))


def _write(path: Path, frames: list[Frame]) -> None:
    """The trajectory as extended XYZ, with group, origin and level of each frame."""
    # ASE's readers and writers take long to import
    from athanor.data.formats import write_structures

    part = path.with_name(f".part-{path.name}")
    with writing(path):
        part.unlink(missing_ok=True)
        write_structures(
            part,
            [frame.atoms for frame in frames],
            labels=[frame.labels for frame in frames],
            info=[
                {
                    "group": frame.origin.rpartition(", step")[0],
                    "origin": frame.origin,
                    "level": frame.level,
                }
                for frame in frames
            ],
        )
        part.rename(path)
        sync_folder(path.parent)
