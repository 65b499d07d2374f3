"""Density against temperature at a pressure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from ase.calculators.calculator import Calculator
from pydantic import Field

from athanor.dynamics import Mean, mean_of
from athanor.errors import MeasurementError
from athanor.structure import FloatArray
from athanor.validate import AloneConfig, Line, Measured, Panel, Tell, Value, silent
from athanor.validate._course import density_along
from athanor.validate._driven import Driver
from athanor.validate._molten import OfLiquid, solidity


class Density(OfLiquid, AloneConfig):
    """Density of a liquid (or a crystal) at temperatures, in NPT, hottest first.

    Every temperature starts from the one before, comes to equilibrium and is sampled. Where
    `melt_temperature_K` is given, each must be liquid: what freezes is a failure. With three
    temperatures and more, the thermal expansion is that of a straight line through them. Steps: 500
    for every ps at 2 fs, so 12,500 for each temperature by default, and 2,500 to melt.
    """

    kind: Literal["density"] = "density"
    temperatures_K: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=1)
    equilibration_ps: float = Field(default=5.0, ge=0)
    sampling_ps: float = Field(default=20.0, gt=0)

    per_member: ClassVar[bool] = False

    @property
    def title(self) -> str:
        """Its name for people."""
        state = "liquid " if self.molten else ""
        return f"Density of {state}{self.crystal_name} at {self.pressure_GPa:g} GPa"

    def alone(
        self, calculator: Calculator, *, seed: int, workdir: Path, tell: Tell = silent
    ) -> Measured:
        """Run down the temperatures; MeasurementError where nothing can be started from."""
        temperatures = sorted(dict.fromkeys(self.temperatures_K), reverse=True)
        each = self.steps(self.equilibration_ps) + self.steps(self.sampling_ps)
        steps = self.melt_steps + each * len(temperatures)
        driver = Driver(calculator, seed=seed, workdir=workdir, tell=tell, steps=steps)
        atoms = self.melted(driver, self.start(calculator))
        found: dict[float, Mean] = {}
        failures = []
        for temperature in temperatures:
            name = f"{temperature:g} K"
            try:
                before = driver.run(name, atoms, self.leg(self.equilibration_ps, temperature))
                leg = self.leg(self.sampling_ps, temperature, sampled=True)
                track = driver.run(name, before.end, leg, frames=self.molten)
                density = mean_of(density_along(track))
                solid = solidity(track.frames, self.sampling_ps) if self.molten else ""
            except MeasurementError as error:
                failures.append(str(error))
                continue
            atoms = track.end
            if solid:
                failures.append(f"{name}: {solid}")
                continue
            found[temperature] = density
        return Measured(
            values=(*_values(found), *_expansion(found)),
            panels=_panels(found),
            failures=tuple(failures),
        )


def _values(found: dict[float, Mean]) -> list[Value]:
    return [
        Value(f"density at {temperature:g} K", one.value, "g/cm³", one.error)
        for temperature, one in found.items()
    ]


def _expansion(found: dict[float, Mean]) -> list[Value]:
    """Volumetric expansion at the mean temperature; three points leave something to judge it by."""
    if len(found) < 3:
        return []
    temperatures = np.array([*found])
    values, errors = _columns(found)
    centred = temperatures - temperatures.mean()
    slope = float(centred @ values / (centred @ centred))
    error = float(np.sqrt(centred**2 @ errors**2) / (centred @ centred))
    mean = float(values.mean())
    return [Value("thermal expansion", -1e6 * slope / mean, "1e-6/K", 1e6 * error / mean)]


def _columns(found: dict[float, Mean]) -> tuple[FloatArray, FloatArray]:
    return np.array([one.value for one in found.values()]), np.array(
        [one.error for one in found.values()]
    )


def _panels(found: dict[float, Mean]) -> dict[str, Panel]:
    if not found:
        return {}
    values, errors = _columns(found)
    order = np.argsort([*found])
    line = Line.of(np.array([*found])[order], values[order], errors[order])
    return {"Density": Panel("temperature, K", "density, g/cm³", {"": line}, style="both")}
