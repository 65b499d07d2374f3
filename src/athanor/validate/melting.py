"""Melting points and melting curves by coexistence of crystal and liquid."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import ClassVar, Literal

from ase import Atoms
from ase.calculators.calculator import Calculator
from pydantic import Field, field_validator

from athanor.dynamics import engine_of
from athanor.errors import MeasurementError
from athanor.validate import AloneConfig, Measured, Tell, silent
from athanor.validate._crystal import OfCrystal
from athanor.validate._melting.boxes import cubelike, orthogonal
from athanor.validate._melting.kept import Part, kept
from athanor.validate._melting.phases import Clock
from athanor.validate._melting.point import BULK, Melting, Plan, Task, melting_at
from athanor.validate._melting.scale import Scale, scale_of
from athanor.validate._melting.table import measured


class MeltingPoint(OfCrystal, AloneConfig):
    """The temperature at which crystal and liquid live beside each other, with its interval.

    A perfect crystal is heated until it melts, which gives a guess; half of a long box is then made
    liquid, and two-phase runs at constant temperature and pressure along the interface normal
    tell how fast the crystal grows or melts. Temperatures are chosen so that a line through the
    velocities crosses zero within the interval asked for. An interface wanders, so errors are those
    of a random walk with drift. One run of 20,000 steps of 2,000 atoms is 4e7 evaluations of an
    atom (a minute for an embedded-atom potential, and as long for moment tensors); some ten are
    needed for one per cent. Everything is kept and goes on where it was killed.
    """

    kind: Literal["melting"] = "melting"
    pressures_GPa: tuple[float, ...] = Field(
        default=(0.0,), min_length=1, description="one melting point for each: a melting curve"
    )
    atoms: int = Field(default=2000, ge=100, description="of the box of two phases, about")
    steps: int = Field(default=20_000, ge=400, description="of one two-phase run")
    timestep_fs: float | None = Field(
        default=None, gt=0, description="a hundredth of the period of an atom in its cage if absent"
    )
    temperature_K: tuple[float, float] | None = Field(
        default=None, description="range to look in; found by heating the crystal if absent"
    )
    half_width_K: float | None = Field(
        default=None, gt=0, description="of the interval that is narrow enough; 1 % if absent"
    )
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="that it is in the interval")
    runs: int = Field(default=40, ge=4, description="most two-phase runs of one pressure")

    per_member: ClassVar[bool] = False

    @field_validator("temperature_K")
    @classmethod
    def _ascending(cls, given: tuple[float, float] | None) -> tuple[float, float] | None:
        if given is not None and not 0 < given[0] < given[1]:
            raise ValueError(f"{given[0]:g} to {given[1]:g} K is no range; give [lower, upper]")
        return given

    @field_validator("pressures_GPa")
    @classmethod
    def _distinct(cls, given: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(given)) < len(given):
            raise ValueError("a pressure is there twice; give each once")
        return given

    @property
    def title(self) -> str:
        """Its name for people."""
        return f"Melting of {self.crystal_name}"

    def alone(
        self, calculator: Calculator, *, seed: int, workdir: Path, tell: Tell = silent
    ) -> Measured:
        """Measure with one ASE calculator, at one pressure after the other in the order given.

        Values, for each pressure: melting point (K), heat of fusion (meV/atom), crystal and liquid
        volume (Å³/atom), slope of the melting line (K/GPa), kinetic coefficient (m/s per K).
        """
        unit = orthogonal(self.crystal(calculator, cubic=True))
        engine, scale = engine_of(calculator), self._scale(unit, calculator, workdir)
        done: list[Melting] = []
        failures = []
        for number, pressure in enumerate(self.pressures_GPa):
            task = Task(
                engine=engine,
                unit=unit,
                clock=Clock(self.timestep_fs or scale.timestep_fs, pressure),
                plan=self._plan,
                lindemann=scale.lindemann_K,
                seed=seed,
                folder=workdir / f"{pressure:g} GPa",
                tell=_part_of(tell, number, len(self.pressures_GPa), _at(pressure)),
            )
            try:
                before = done[-1] if done else None
                done.append(melting_at(task, limits=self.temperature_K, before=before))
            except MeasurementError as error:
                failures.append(f"{self.crystal_name}{_at(pressure)}: {error}")
        return measured(done, tuple(failures), self.confidence)

    @property
    def _plan(self) -> Plan:
        return Plan(
            atoms=self.atoms,
            steps=self.steps,
            half_width=self.half_width_K,
            confidence=self.confidence,
            runs=self.runs,
        )

    def _scale(self, unit: Atoms, calculator: Calculator, workdir: Path) -> Scale:
        """Kept like all else: what follows must not depend on last digits of another machine."""

        def make() -> Part:
            return Part(asdict(scale_of(unit.repeat(cubelike(unit, BULK)), calculator)))

        return Scale(**kept(workdir, "scale", make).data)


def _at(pressure: float) -> str:
    return f" at {pressure:g} GPa" if pressure else ""


def _part_of(tell: Tell, number: int, count: int, where: str) -> Tell:
    def part(share: float, words: str) -> None:
        tell((number + share) / count, f"melting{where}: {words}")

    return part
