"""Heating and cooling: energies, order and, along the same run, what a reference says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.optimize import FIRE
from numpy.typing import NDArray
from pydantic import Field, model_validator

from athanor.component import choose
from athanor.data.durable import make_folder
from athanor.dynamics import Leg
from athanor.errors import AthanorError
from athanor.oracle import OracleConfig
from athanor.structure import FloatArray, bare
from athanor.validate import (
    AloneConfig,
    Line,
    Measured,
    Panel,
    PropertyResult,
    Quantity,
    Tell,
    Value,
    silent,
)
from athanor.validate._along import Along, errors_of
from athanor.validate._cna import KINDS, crystal_fractions
from athanor.validate._course import TIME, course_panels
from athanor.validate._driven import Driver, Track, joined
from athanor.validate._part import part_of
from athanor.validate._start import OfDynamics, plain_structure, structure_of

MOLTEN = 0.5
"""Of the crystalline order of the beginning: crystals have more, liquids less."""
ORDERED = 0.5
"""Fraction of atoms that must be seen as crystalline in the beginning, for melting to be seen."""
COLD = 0.05
"""eV/Å; downhill steps end where no force is larger."""
FIRST = 3
"""Frames whose order is that of the beginning."""


class Heating(OfDynamics, AloneConfig):
    """A crystal heated until it melts and cooled until it freezes (Smith et al. 2021, Fig. 6).

    From `low_K` to `high_K`, held there, and back, at a pressure or (null) at constant volume.
    `frames` of it are kept: their fractions of fcc, hcp, bcc and other atoms by adaptive common
    neighbour analysis once the heat is taken out by a few steps downhill, and their energies, mean
    forces and pressures by the reference as well: that of a campaign, or an `oracle` (the table of
    an [oracle] section; one label for each frame). Melting and freezing are where half of the
    crystalline order is lost and won, both beyond the melting point, the more the faster. By
    default 52,500 steps, and 3,000 evaluations of frames.
    """

    kind: Literal["heating"] = "heating"
    atoms: int = Field(default=108, ge=2, description="the cell is repeated to about so many")
    low_K: float = Field(default=300.0, gt=0)
    high_K: float = Field(default=1500.0, gt=0)
    heating_ps: float = Field(default=50.0, gt=0)
    holding_ps: float = Field(default=5.0, gt=0)
    cooling_ps: float = Field(default=50.0, gt=0)
    pressure_GPa: float | None = Field(default=0.0, description="null keeps the volume")
    frames: int = Field(default=100, ge=10, description="kept and analysed")
    downhill_steps: int = Field(
        default=30, ge=0, description="of FIRE before a frame is analysed; 0 leaves the heat in"
    )
    oracle: dict[str, Any] | None = Field(
        default=None, description="[oracle] table; its labels of the frames are compared"
    )

    per_member: ClassVar[bool] = False

    @model_validator(mode="after")
    def _checked(self) -> Self:
        if self.high_K <= self.low_K:
            raise ValueError(f"high_K = {self.high_K:g} must be above low_K = {self.low_K:g}")
        if self.oracle is not None:
            self._oracle()
        return self

    def _oracle(self) -> OracleConfig:
        return choose("athanor.oracle", OracleConfig, self.oracle or {}, where="oracle of heating")

    @property
    def title(self) -> str:
        """Its name for people."""
        return f"Heating and cooling of {self.crystal_name}"

    def alone(
        self, calculator: Calculator, *, seed: int, workdir: Path, tell: Tell = silent
    ) -> Measured:
        """Run, analyse and, where there is an oracle, compare; MeasurementError if it is lost."""
        stages = self._stages()
        steps = sum(leg.steps for _, leg in stages)
        driver = Driver(calculator, seed=seed, workdir=workdir, tell=tell, steps=steps)
        atoms = self.start(calculator)
        tracks = []
        for name, leg in stages:
            tracks.append(driver.run(name, atoms, leg, frames=True))
            atoms = tracks[-1].end
        whole = joined(tracks)
        mine = Along.of(whole.of("time_ps"), whole.frames, calculator)
        order = self._order(whole.frames, calculator)
        found = self._found(whole, mine, order)
        if self.oracle is None:
            return found
        make_folder(workdir / "oracle")
        reference = self._oracle().build().calculator(workdir=workdir / "oracle")
        return _with(found, Along.of(mine.times, whole.frames, reference))

    def measure(
        self, potential: Calculator, reference: Calculator, *, seed: int, workdir: Path
    ) -> PropertyResult:
        """Heat with the potential; the reference is asked along the same run, it makes none."""
        with part_of(workdir, potential) as part:
            mine = self.attempt(potential, seed=seed, workdir=part)
        if self.oracle is not None or "frames" not in mine.data:
            return self.joined(mine, None)
        own = Along.read(mine.data["along"])
        frames = [structure_of(one) for one in mine.data["frames"]]
        try:
            theirs = Along.of(own.times, frames, reference)
        except AthanorError as error:
            return self.joined(mine, Measured(failures=(str(error),)))
        result = self.joined(mine, Measured(panels=theirs.panels))
        errors = [self._judged_error(one) for one in errors_of(own, theirs)]
        return replace(result, quantities=(*result.quantities, *errors))

    def _judged_error(self, one: Value) -> Quantity:
        allowed = self.tolerance.get(one.name)
        passed = None if allowed is None else one.value <= allowed
        return Quantity(one.name, one.value, one.unit, passed=passed, is_error=True)

    def _stages(self) -> list[tuple[str, Leg]]:
        low, high = self.low_K, self.high_K
        legs = {
            "heating": (self.steps(self.heating_ps), (low, high)),
            "holding": (self.steps(self.holding_ps), (high, high)),
            "cooling": (self.steps(self.cooling_ps), (high, low)),
        }
        every = max(1, sum(steps for steps, _ in legs.values()) // self.frames)
        return [
            (name, Leg(steps, self.timestep_fs, course, self.pressure_GPa, every=every))
            for name, (steps, course) in legs.items()
        ]

    def _target(self, time_ps: float) -> float:
        """Temperature of the thermostat in K."""
        edges = np.cumsum([0, self.heating_ps, self.holding_ps, self.cooling_ps])
        return float(np.interp(time_ps, edges, (self.low_K, self.high_K, self.high_K, self.low_K)))

    def _order(self, frames: Sequence[Atoms], calculator: Calculator) -> dict[str, FloatArray]:
        """(k,) fractions of each kind along the run."""
        fractions = []
        for frame in frames:
            cold = bare(frame)
            if self.downhill_steps:
                cold.calc = calculator
                FIRE(cold, logfile=None).run(fmax=COLD, steps=self.downhill_steps)
            fractions.append(crystal_fractions(cold))
        return {kind: np.array([one[kind] for one in fractions]) for kind in KINDS}

    def _found(self, track: Track, along: Along, order: dict[str, FloatArray]) -> Measured:
        times = track.of("time_ps")
        courses = course_panels(track)
        panels = {title: courses[title] for title in ("Temperature", "Density")} | along.panels
        lines = {kind: Line.of(times, order[kind]) for kind in KINDS}
        panels["Order"] = Panel(TIME, "fraction of atoms", lines)
        values, notes = self._transitions(times, 1 - order["other"])
        values += [
            Value(f"{kind} fraction at the end", float(order[kind][-1]), "") for kind in KINDS
        ]
        data = {
            "along": along.plain(),
            "frames": [plain_structure(frame) for frame in track.frames],
        }
        return Measured(tuple(values), panels, tuple(notes), (), data)

    def _transitions(self, times: FloatArray, order: FloatArray) -> tuple[list[Value], list[str]]:
        """Where it melts and freezes, or sentences why not."""
        first = float(order[:FIRST].mean())
        if first < ORDERED:
            return [], [
                f"At {self.low_K:g} K only {100 * first:.0f} % of the atoms are seen as fcc, hcp "
                "or bcc, so melting and freezing cannot be told."
            ]
        # one frame alone may be a fluctuation
        molten = order < MOLTEN * first
        melted = _lasting(molten)
        if melted is None:
            return [], [f"It did not melt up to {self.high_K:g} K at this rate."]
        values = [Value("melts on heating at", self._target(times[melted]), "K")]
        cooling = times > self.heating_ps + self.holding_ps
        frozen = _lasting(~molten & cooling)
        if melted is not None and frozen is not None and frozen > melted:
            values.append(Value("freezes on cooling at", self._target(times[frozen]), "K"))
            return values, []
        return values, [f"It did not freeze down to {self.low_K:g} K at this rate."]


def _lasting(here: NDArray[np.bool_]) -> int | None:
    """The first of two in a row, None where there are none."""
    found = np.flatnonzero(here[:-1] & here[1:])
    return int(found[0]) if len(found) else None


def _with(found: Measured, theirs: Along) -> Measured:
    """With the oracle's lines and what is between them and the calculator's."""
    panels = dict(found.panels)
    for title, panel in theirs.panels.items():
        lines = panels[title].lines | {"oracle": panel.lines[""]}
        panels[title] = replace(panels[title], lines=lines)
    values = (*found.values, *errors_of(Along.read(found.data["along"]), theirs))
    return replace(found, values=values, panels=panels)
