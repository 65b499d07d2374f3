"""Mean-square displacement and self-diffusion."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.units import kB
from pydantic import Field, model_validator

from athanor.dynamics import Leg
from athanor.errors import MeasurementError
from athanor.structure import FloatArray
from athanor.validate import AloneConfig, Line, Measured, Panel, Tell, Value, silent
from athanor.validate._course import to_density, to_volume
from athanor.validate._displacement import mean_square_displacement, unwrapped
from athanor.validate._driven import Driver
from athanor.validate._molten import OfLiquid, solidity

UNIT = "1e-9 m²/s"
PER_UNIT = 10.0
"""1e-9 m²/s in one Å²/ps."""


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """Mean-square displacement of one element, in pieces of the run.

    Attributes
    ----------
    lags : (k,) ps. pieces : (blocks, k) Å².
    """

    lags: FloatArray
    pieces: FloatArray

    def diffusion(self, window: tuple[float, float]) -> tuple[float, float]:
        """Sixth of the slope over a window of lags, and its error, in `UNIT`."""
        inside = (self.lags >= window[0] - 1e-9) & (self.lags <= window[1] + 1e-9)
        slopes = np.polyfit(self.lags[inside], self.pieces[:, inside].T, 1)[0]
        each = PER_UNIT * slopes / 6
        return float(each.mean()), float(each.std(ddof=1) / np.sqrt(len(each)))


class Diffusion(OfLiquid, AloneConfig):
    """Self-diffusion of each element from the slope of the mean-square displacement (Einstein).

    Hottest first, every temperature starts from the one before; it comes to equilibrium at the
    pressure (or at a given `density`), and is sampled at the mean volume with a thermostat that
    leaves diffusion alone. The slope is taken between the lags of `window_ps`, the error from that
    of each of `blocks` pieces of the run. Values are those of the box: in an infinite one they are
    larger by the term of Yeh and Hummer (J. Phys. Chem. B 108, 15873, 2004). Steps: 500 for every
    ps at 2 fs, so 22,500 for each temperature by default, and 2,500 to melt.
    """

    kind: Literal["diffusion"] = "diffusion"
    temperatures_K: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=1)
    density: float | None = Field(
        default=None, gt=0, description="g/cm³; not given, it comes from the pressure"
    )
    equilibration_ps: float = Field(default=5.0, gt=0)
    sampling_ps: float = Field(default=40.0, gt=0)
    window_ps: tuple[float, float] = Field(default=(1.0, 4.0), description="lags of the slope")
    blocks: int = Field(default=5, ge=2, description="pieces of the run, for the error")

    per_member: ClassVar[bool] = False

    @model_validator(mode="after")
    def _long_enough(self) -> Self:
        first, last = self.window_ps
        if not 0 < first < last:
            raise ValueError(f"window_ps = {list(self.window_ps)} must be [shorter, longer] lags")
        if last - first < 2 * self.interval_ps:
            raise ValueError("window_ps holds fewer than three lags; make interval_ps shorter")
        if 1.5 * last * self.blocks > self.sampling_ps:
            raise ValueError(
                f"{self.blocks} blocks of {self.sampling_ps:g} ps are too short for lags of "
                f"{last:g} ps; sample {1.5 * last * self.blocks:g} ps or more"
            )
        return self

    @property
    def title(self) -> str:
        """Its name for people."""
        place = f"{self.pressure_GPa:g} GPa"
        if self.density is not None:
            place = f"{self.density:g} g/cm³"
        return f"Diffusion in {self.crystal_name} at {place}"

    def alone(
        self, calculator: Calculator, *, seed: int, workdir: Path, tell: Tell = silent
    ) -> Measured:
        """Run down the temperatures; MeasurementError where nothing can be started from."""
        temperatures = sorted(dict.fromkeys(self.temperatures_K), reverse=True)
        each = 2 * self.steps(self.equilibration_ps) + self.steps(self.sampling_ps)
        steps = self.melt_steps + each * len(temperatures)
        driver = Driver(calculator, seed=seed, workdir=workdir, tell=tell, steps=steps)
        atoms = self.melted(driver, self.start(calculator))
        found: dict[float, dict[str, Spread]] = {}
        failures: list[str] = []
        notes: list[str] = []
        for temperature in temperatures:
            name = f"{temperature:g} K"
            try:
                atoms, frames = self._sampled(driver, atoms, temperature)
            except MeasurementError as error:
                failures.append(str(error))
                continue
            solid = solidity(frames, self.sampling_ps)
            if solid:
                (failures if self.molten else notes).append(f"{name}: {solid}")
            if not (solid and self.molten):
                found[temperature] = self._spreads(frames)
        return Measured(
            values=(*self._values(found), *self._activation(found)),
            panels=_panels(found),
            notes=tuple(notes),
            failures=tuple(failures),
        )

    def _sampled(
        self, driver: Driver, atoms: Atoms, temperature: float
    ) -> tuple[Atoms, tuple[Atoms, ...]]:
        """The last structure, and frames at constant volume."""
        name = f"{temperature:g} K"
        if self.density is None:
            free = self.leg(self.equilibration_ps, temperature, sampled=True)
            track = driver.run(f"{name}, volume", atoms, free)
            volumes = track.of("volume")
            atoms = to_volume(track.end, float(volumes[len(volumes) // 2 :].mean()))
        else:
            atoms = to_density(atoms, self.density)
        steps = self.steps(self.equilibration_ps)
        atoms = driver.run(name, atoms, Leg(steps, self.timestep_fs, temperature)).end
        sampling = Leg(
            self.steps(self.sampling_ps),
            self.timestep_fs,
            temperature,
            every=self.steps(self.interval_ps),
            thermostat="global",
        )
        track = driver.run(f"{name}, sampling", atoms, sampling, frames=True)
        return track.end, track.frames

    def _spreads(self, frames: tuple[Atoms, ...]) -> dict[str, Spread]:
        positions = unwrapped(frames)
        interval = self.steps(self.interval_ps) * self.timestep_fs / 1000
        longest = round(self.window_ps[1] / interval)
        symbols = np.array(frames[0].get_chemical_symbols())
        spreads = {}
        for symbol in sorted(set(symbols.tolist())):
            pieces = [
                mean_square_displacement(piece[:, symbols == symbol], longest=longest)
                for piece in np.array_split(positions, self.blocks)
            ]
            lags = np.asarray(interval * np.arange(longest + 1), dtype=np.float64)
            spreads[symbol] = Spread(lags, np.array(pieces))
        return spreads

    def _values(self, found: dict[float, dict[str, Spread]]) -> list[Value]:
        values = []
        for temperature, spreads in found.items():
            for symbol, spread in spreads.items():
                value, error = spread.diffusion(self.window_ps)
                name = f"diffusion of {symbol} at {temperature:g} K"
                values.append(Value(name, value, UNIT, error))
        return values

    def _activation(self, found: dict[float, dict[str, Spread]]) -> list[Value]:
        """Slope of ln D against 1/kT, where three temperatures or more have a D above zero."""
        values = []
        for symbol in next(iter(found.values()), {}):
            pairs = {t: spreads[symbol].diffusion(self.window_ps) for t, spreads in found.items()}
            pairs = {t: pair for t, pair in pairs.items() if pair[0] > 2 * pair[1]}
            if len(pairs) < 3:
                continue
            x = np.array([-1 / (kB * temperature) for temperature in pairs])
            y = np.log([pair[0] for pair in pairs.values()])
            errors = np.array([pair[1] / pair[0] for pair in pairs.values()])
            centred = x - x.mean()
            slope, scale = float(centred @ y), float(centred @ centred)
            error = float(np.sqrt(centred**2 @ errors**2)) / scale
            values.append(Value(f"activation energy of {symbol}", slope / scale, "eV", error))
        return values


def _panels(found: dict[float, dict[str, Spread]]) -> dict[str, Panel]:
    lines = {
        f"{symbol}, {temperature:g} K": Line.of(
            spread.lags,
            spread.pieces.mean(axis=0),
            spread.pieces.std(axis=0, ddof=1) / np.sqrt(len(spread.pieces)),
        )
        for temperature, spreads in found.items()
        for symbol, spread in spreads.items()
    }
    if not lines:
        return {}
    return {"Mean-square displacement": Panel("time, ps", "displacement², Å²", lines)}
