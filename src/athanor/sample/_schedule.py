"""Randomised schedules of temperature (Smith et al. 2021, eq. 2) and, alike, of density."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from athanor.component import Component
from athanor.sample._interval import Interval, PositiveInterval


@dataclass(frozen=True, slots=True)
class Course:
    """f(t) = start + (t/length)(end - start) + modulation sin²(pi t/period).

    Attributes
    ----------
    start, end, modulation : in the unit of f.
    period_fs, length_fs : t_0, t_max.
    """

    start: float
    end: float
    modulation: float
    period_fs: float
    length_fs: float

    def __call__(self, time_fs: float) -> float:
        """What f is at a time in fs."""
        ramp = (self.end - self.start) * time_fs / self.length_fs
        wave = math.sin(math.pi * time_fs / self.period_fs) ** 2
        return self.start + ramp + self.modulation * wave


class ScheduleRanges(Component):
    """What the temperature's schedule is drawn from, uniformly; the defaults are the paper's.

    T(t) = T_start + (t/t_max)(T_end - T_start) + T_mod sin²(pi t/t_0).
    """

    start_K: Interval = (10.0, 1000.0)
    end_K: Interval = (10.0, 600.0)
    modulation_K: Interval = (0.0, 2000.0)
    period_ps: PositiveInterval = (10.0, 50.0)

    def draw(self, rng: np.random.Generator, *, length_fs: float) -> Course:
        """Draw one schedule of `length_fs`, in K."""
        start, end, modulation, period = (
            float(rng.uniform(*ends))
            for ends in (self.start_K, self.end_K, self.modulation_K, self.period_ps)
        )
        return Course(start, end, modulation, 1000 * period, length_fs)


class DensityRanges(Component):
    """What the density's schedule is drawn from, uniformly; of the same form as the temperature's.

    rho(t) = start + (t/t_max)(end - start) + modulation sin²(pi t/t_0).
    """

    start: PositiveInterval | None = Field(
        default=None, description="g/cm³; by default that of the starting structure"
    )
    end: PositiveInterval = Field(description="g/cm³")
    modulation: Interval = Field(default=(0.0, 0.0), description="g/cm³")
    period_ps: PositiveInterval = (10.0, 50.0)

    def draw(self, rng: np.random.Generator, *, density: float, length_fs: float) -> Course:
        """Draw one schedule of `length_fs`, in g/cm³, for a structure of a density."""
        start = density if self.start is None else float(rng.uniform(*self.start))
        end, modulation, period = (
            float(rng.uniform(*ends)) for ends in (self.end, self.modulation, self.period_ps)
        )
        return Course(start, end, modulation, 1000 * period, length_fs)
