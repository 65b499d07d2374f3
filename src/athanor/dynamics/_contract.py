"""What an engine of dynamics is asked for and what it shows on its way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from athanor.errors import ConfigError

Axes = Literal["iso", "aniso", "z"]


@dataclass(frozen=True, slots=True, eq=False)
class Leg:
    """One piece of a run.

    Attributes
    ----------
    steps : how many.
    timestep_fs : length of each.
    temperature_K : of the thermostat, or (start, end) of a linear ramp; None for none.
    pressure_GPa : of the barostat; None keeps the cell. Without a temperature it is constant
        enthalpy (NPH), with one NPT.
    axes : what the barostat moves: the volume alone, each of three lengths by itself, or only the
        length along z. The last two need a cell whose vectors lie along x, y and z.
    every : steps between snapshots.
    frozen : (n,) True for atoms that stay (they follow a cell that changes); None for none.
    thermostat : "local" is Langevin: best at bringing every corner to equilibrium. "global" is
        stochastic rescaling of all velocities at once (Bussi et al., J. Chem. Phys. 126, 014101,
        2007), which leaves diffusion alone.
    thermostat_ps, barostat_ps : time constants.
    """

    steps: int
    timestep_fs: float = 1.0
    temperature_K: float | tuple[float, float] | None = None
    pressure_GPa: float | None = None
    axes: Axes = "iso"
    every: int = 100
    frozen: NDArray[np.bool_] | None = None
    thermostat: Literal["local", "global"] = "local"
    thermostat_ps: float = 0.1
    barostat_ps: float = 1.0

    def __post_init__(self) -> None:
        if self.steps < 0 or self.every < 1:
            raise ConfigError(
                f"a leg has {self.steps} steps and a snapshot every {self.every}; "
                "give at least 0 and 1"
            )
        if min(self.timestep_fs, self.thermostat_ps, self.barostat_ps) <= 0:
            raise ConfigError("the time step and the time constants of a leg must be above zero")
        if self.ends is not None and min(self.ends) <= 0:
            raise ConfigError(f"a thermostat at {min(self.ends):g} K; give a temperature above 0 K")

    @property
    def ends(self) -> tuple[float, float] | None:
        """Temperature at the start and at the end, None without a thermostat."""
        given = self.temperature_K
        if given is None:
            return None
        return given if isinstance(given, tuple) else (given, given)

    def target(self, step: int) -> float | None:
        """Temperature of the thermostat in K at a step."""
        if self.ends is None:
            return None
        start, end = self.ends
        return start + (end - start) * (step / self.steps if self.steps else 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """A run at one step.

    Attributes
    ----------
    step, time_ps : done of this leg.
    atoms : wrapped into the cell, with momenta, without a calculator; yours to keep.
    energy : potential energy, eV.
    temperature_K : of the motion relative to the centre of mass, or of the atoms not frozen.
    pressure_GPa : kinetic part included; NaN where the structure or the calculator has no stress.
    volume : Å³.
    """

    step: int
    time_ps: float
    atoms: Atoms
    energy: float
    temperature_K: float
    pressure_GPa: float
    volume: float


Watch = Callable[[Snapshot], bool]
"""Called every `Leg.every` steps, not at step 0; True ends the leg there."""


class Engine(Protocol):
    """Runs legs with one calculator."""

    def run(self, atoms: Atoms, leg: Leg, *, seed: int, watch: Watch | None = None) -> Atoms:
        """Run a leg and return the end of it, wrapped, with momenta; `atoms` is not modified.

        Momenta are the structure's, so that legs chain; where it has none they are drawn at the
        leg's first temperature (at rest without one). Deterministic for a seed; give each leg of a
        chain its own. Raises MeasurementError with the step where the run is lost: atoms on top of
        each other, numbers that are not finite, a temperature or a volume out of all bounds, or a
        calculator that gives up.
        """
        ...
