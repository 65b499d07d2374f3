"""Melt-quench cycles by a schedule, and the structure they end in."""

from __future__ import annotations

import tomllib
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from ase.calculators.calculator import Calculator
from pydantic import Field, model_validator

from athanor.component import Component
from athanor.data.text import read_text
from athanor.data.writer import structure_writer
from athanor.dynamics import Leg, mean_of
from athanor.errors import ConfigError
from athanor.structure import FloatArray
from athanor.validate import AloneConfig, Measured, Tell, Value, silent
from athanor.validate._cna import crystal_fractions
from athanor.validate._course import course_panels, density_along, to_density
from athanor.validate._driven import Driver, Track, joined
from athanor.validate._start import OfDynamics, plain_structure

SNAPSHOTS = 200
"""Of each stage."""


class Stage(Component):
    """A piece of a schedule: hold a temperature, or go from one to another.

    At constant volume (that of the stage before, or of a `density`), or at a pressure.
    """

    temperature_K: float = Field(gt=0)
    to_K: float | None = Field(default=None, gt=0, description="end of a linear ramp")
    ps: float | None = Field(default=None, gt=0)
    rate_K_per_ps: float | None = Field(
        default=None, gt=0, description="of a ramp, either way, instead of ps"
    )
    pressure_GPa: float | None = None
    density: float | None = Field(
        default=None, gt=0, description="g/cm³; the cell is scaled to it when the stage begins"
    )

    @model_validator(mode="after")
    def _length(self) -> Self:
        if (self.ps is None) == (self.rate_K_per_ps is None):
            raise ValueError("a stage has a length: give ps, or rate_K_per_ps of a ramp")
        if self.rate_K_per_ps is not None and self.to_K in (None, self.temperature_K):
            raise ValueError("rate_K_per_ps is of a ramp; give to_K, another temperature")
        if self.density is not None and self.pressure_GPa is not None:
            raise ValueError("a stage keeps a density or a pressure, not both")
        return self

    @property
    def length_ps(self) -> float:
        """How long it is."""
        if self.ps is not None:
            return self.ps
        assert self.rate_K_per_ps is not None
        return abs(self.ends[1] - self.ends[0]) / self.rate_K_per_ps

    @property
    def ends(self) -> tuple[float, float]:
        """First and last temperature in K."""
        return self.temperature_K, self.to_K or self.temperature_K

    @property
    def name(self) -> str:
        """For people."""
        first, last = self.ends
        return f"{first:g} K" if first == last else f"{first:g} to {last:g} K"


class _Schedule(Component):
    """What a schedule file holds."""

    stage: tuple[Stage, ...] = Field(min_length=1)


class MeltQuench(OfDynamics, AloneConfig):
    """A glass (or whatever comes of it) by `stages`, or by the [[stage]] tables of a TOML file.

    The whole schedule is gone through `cycles` times, each from where the one before ended. Of each
    cycle, density, potential energy and the fraction of atoms in fcc, hcp or bcc are those of the
    second half of the last stage (of its end where that is a ramp). The structures are in the
    data, and in `structures.extxyz` of the measurement's folder. A ps takes 1,000 steps of 1 fs.
    """

    kind: Literal["melt_quench"] = "melt_quench"
    stages: tuple[Stage, ...] = ()
    schedule: Path | None = Field(default=None, description="a TOML file of [[stage]], instead")
    cycles: int = Field(default=1, ge=1)
    timestep_fs: float = Field(default=1.0, gt=0)

    per_member: ClassVar[bool] = False

    @model_validator(mode="after")
    def _one_schedule(self) -> Self:
        if bool(self.stages) == (self.schedule is not None):
            raise ValueError("give stages, or a schedule file, and not both")
        return self

    @cached_property
    def plan(self) -> tuple[Stage, ...]:
        """The stages of one cycle; ConfigError for a file that is no schedule."""
        if self.schedule is None:
            return self.stages
        try:
            table = tomllib.loads(read_text(self.schedule, expected="a schedule in TOML"))
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{self.schedule}: it is no TOML ({error})") from None
        return _Schedule.parse(table, where=str(self.schedule)).stage

    @property
    def identity(self) -> dict[str, Any]:
        # what is in the file counts, not where it is
        stages = [stage.model_dump(mode="json") for stage in self.plan]
        return super().identity | {"stages": stages, "schedule": None}

    @property
    def title(self) -> str:
        """Its name for people."""
        return f"Melt and quench of {self.crystal_name}"

    def alone(
        self, calculator: Calculator, *, seed: int, workdir: Path, tell: Tell = silent
    ) -> Measured:
        """Go through the schedule; MeasurementError where it is lost, ConfigError for its file."""
        legs = [self._leg(stage) for stage in self.plan]
        steps = self.cycles * sum(leg.steps for leg in legs)
        driver = Driver(calculator, seed=seed, workdir=workdir, tell=tell, steps=steps)
        atoms = self.start(calculator)
        tracks, values, ends = [], [], []
        for cycle in range(1, self.cycles + 1):
            where = "at the end" if self.cycles == 1 else f"after cycle {cycle}"
            for stage, leg in zip(self.plan, legs, strict=True):
                if stage.density is not None:
                    atoms = to_density(atoms, stage.density)
                tracks.append(driver.run(f"{stage.name}, cycle {cycle}", atoms, leg))
                atoms = tracks[-1].end
            values += _values(tracks[-1], where, steady=stage.ends[0] == stage.ends[1])
            ends.append(atoms)
        with structure_writer(workdir / "structures.extxyz") as writer:
            for atoms in ends:
                writer.write(atoms)
        return Measured(
            values=tuple(values),
            panels=course_panels(joined(tracks)),
            data={"structures": [plain_structure(atoms) for atoms in ends]},
        )

    def _leg(self, stage: Stage) -> Leg:
        steps = self.steps(stage.length_ps)
        return Leg(
            steps,
            self.timestep_fs,
            stage.ends,
            pressure_GPa=stage.pressure_GPa,
            every=max(1, steps // SNAPSHOTS),
        )


def _values(track: Track, where: str, *, steady: bool) -> list[Value]:
    fractions = crystal_fractions(track.end)
    return [
        _value(f"density {where}", density_along(track), "g/cm³", steady=steady),
        _value(f"energy {where}", track.of("energy") / len(track.end), "eV/atom", steady=steady),
        Value(f"crystalline fraction {where}", 1 - fractions["other"], ""),
    ]


def _value(name: str, series: FloatArray, unit: str, *, steady: bool) -> Value:
    """Mean over the second half of what is steady, the last of what is not."""
    half = series[len(series) // 2 :]
    if not steady or len(half) < 4:
        return Value(name, float(series[-1]), unit)
    mean = mean_of(half)
    error = mean.error if np.ptp(half) > 1e-9 * abs(mean.value) else None
    return Value(name, mean.value, unit, error)
