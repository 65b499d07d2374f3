"""What liquids are measured on: a crystal or a file, molten where it is asked for."""

from __future__ import annotations

from collections.abc import Sequence

from ase import Atoms
from pydantic import Field

from athanor.dynamics import Leg
from athanor.errors import MeasurementError
from athanor.validate._cna import crystal_fractions
from athanor.validate._displacement import STIRRED, stirring
from athanor.validate._driven import Driver
from athanor.validate._start import OfDynamics

GENTLE_PS = 0.5
"""Of the thermostat: friction of 2 per ps, some per cent of a liquid metal's own."""
SIGNS = 20
"""Snapshots of a leg that nothing is measured in."""


class OfLiquid(OfDynamics):
    """Fields of properties of a liquid (or of anything else, where nothing is molten)."""

    melt_temperature_K: float | None = Field(
        default=None, gt=0, description="it is molten there first; it must become liquid then"
    )
    melt_ps: float = Field(default=5.0, gt=0)
    pressure_GPa: float = 0.0
    interval_ps: float = Field(default=0.05, gt=0, description="between samples")

    @property
    def molten(self) -> bool:
        """Whether it has to be a liquid."""
        return self.melt_temperature_K is not None

    def leg(
        self,
        time_ps: float,
        temperature_K: float | tuple[float, float],
        *,
        sampled: bool = False,
    ) -> Leg:
        """A leg at the pressure; every `interval_ps` a snapshot where it is `sampled`."""
        steps = self.steps(time_ps)
        every = self.steps(self.interval_ps) if sampled else max(1, steps // SIGNS)
        return Leg(
            steps,
            self.timestep_fs,
            temperature_K,
            pressure_GPa=self.pressure_GPa,
            every=every,
            thermostat_ps=GENTLE_PS,
        )

    @property
    def melt_steps(self) -> int:
        """Steps of the melting."""
        return self.steps(self.melt_ps) if self.molten else 0

    def melted(self, driver: Driver, atoms: Atoms) -> Atoms:
        """The structure after melting; MeasurementError where it stays solid."""
        if self.melt_temperature_K is None:
            return atoms
        name = f"melting at {self.melt_temperature_K:g} K"
        track = driver.run(
            name, atoms, self.leg(self.melt_ps, self.melt_temperature_K), frames=True
        )
        solid = solidity(track.frames, self.melt_ps)
        if solid:
            raise MeasurementError(
                f"{name}: {solid}; give a higher melt_temperature_K or a longer melt_ps"
            )
        return track.end


def solidity(frames: Sequence[Atoms], time_ps: float) -> str:
    """Why this is no liquid, in words; empty where atoms went as far as in a liquid."""
    stirred = stirring(frames)
    if stirred >= STIRRED:
        return ""
    fractions = crystal_fractions(frames[-1])
    kind = max(("fcc", "hcp", "bcc"), key=fractions.__getitem__)
    crystal = f" and {100 * fractions[kind]:.0f} % are {kind}" if fractions[kind] > 0.2 else ""
    return (
        f"it is no liquid, its atoms went {stirred:.2f} of their spacing in {time_ps:g} ps{crystal}"
    )
