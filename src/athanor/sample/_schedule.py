"""Randomised temperature schedules (Smith et al. 2021, eq. 2)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from athanor.component import Component
from athanor.sample._interval import Interval, PositiveInterval


@dataclass(frozen=True, slots=True)
class Schedule:
    """T(t) = T_start + (t/t_max)(T_end - T_start) + T_mod sin²(pi t/t_0).

    Attributes
    ----------
    start_K, end_K, modulation_K : T_start, T_end, T_mod.
    period_fs, length_fs : t_0, t_max.
    """

    start_K: float
    end_K: float
    modulation_K: float
    period_fs: float
    length_fs: float

    def __call__(self, time_fs: float) -> float:
        """Target temperature in K at a time in fs."""
        ramp = (self.end_K - self.start_K) * time_fs / self.length_fs
        wave = math.sin(math.pi * time_fs / self.period_fs) ** 2
        return self.start_K + ramp + self.modulation_K * wave


class ScheduleRanges(Component):
    """What a schedule is drawn from, uniformly; the defaults are the paper's."""

    start_K: Interval = (10.0, 1000.0)
    end_K: Interval = (10.0, 600.0)
    modulation_K: Interval = (0.0, 2000.0)
    period_ps: PositiveInterval = (10.0, 50.0)

    def draw(self, rng: np.random.Generator, *, length_fs: float) -> Schedule:
        """Draw one schedule of `length_fs`."""
        start, end, modulation, period = (
            float(rng.uniform(*ends))
            for ends in (self.start_K, self.end_K, self.modulation_K, self.period_ps)
        )
        return Schedule(start, end, modulation, 1000 * period, length_fs)
