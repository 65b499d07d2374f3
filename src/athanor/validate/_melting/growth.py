"""How fast an interface moves, from a series that wanders as interfaces do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.linalg import solveh_banded
from scipy.optimize import minimize

from athanor.structure import FloatArray

End = Literal["", "solid", "liquid"]
FEWEST = 8
"""Samples that a run needs to have a velocity."""


@dataclass(frozen=True, slots=True)
class Growth:
    """A two-phase run.

    Attributes
    ----------
    temperature : K.
    interval : ps between samples.
    position : (n,) thickness of the crystal over its two sides, Å: how far each interface came.
    end : the phase that filled the box so that the run was ended; "" where none did.
    """

    temperature: float
    interval: float
    position: tuple[float, ...]
    end: End = ""

    @property
    def time(self) -> float:
        """From the first sample to the last, ps."""
        return self.interval * max(len(self.position) - 1, 0)

    @property
    def measurable(self) -> bool:
        """Whether it is long enough for a velocity."""
        return len(self.position) >= FEWEST


@dataclass(frozen=True, slots=True)
class Noise:
    """What moves an interface besides its drift.

    Attributes
    ----------
    walk : variance of its random walk, Å²/ps. An interface diffuses: by its mobility and the
        temperature, as a Brownian particle does.
    white : variance of a sample by itself, Å².
    """

    walk: float
    white: float


@dataclass(frozen=True, slots=True)
class Velocity:
    """Of one run: Å/ps, positive where the crystal grows, with one standard deviation."""

    temperature: float
    value: float
    error: float


def noise_of(runs: Sequence[Growth]) -> Noise:
    """The noise that all runs share, by restricted maximum likelihood.

    Each run is a line plus a random walk plus white noise; a line fitted by least squares would
    take the walk for drift and claim errors far too small. Needs at least one measurable run.
    """
    steps = [(np.diff(run.position), run.interval) for run in runs if run.measurable]
    every = np.concatenate([step - step.mean() for step, _ in steps])
    scale = float(np.mean(every**2)) or 1e-12
    interval = float(np.mean([interval for _, interval in steps]))

    def cost(logs: FloatArray) -> float:
        noise = Noise(float(np.exp(logs[0])) * scale / interval, float(np.exp(logs[1])) * scale)
        return sum(_deviance(step, interval, noise) for step, interval in steps)

    # from mostly walk and from mostly white: the likelihood can have two tops
    starts = [np.log([0.8, 0.1]), np.log([0.05, 0.45])]
    bounds = [(-12.0, 3.0)] * 2
    found = [minimize(cost, start, method="L-BFGS-B", bounds=bounds) for start in starts]
    logs = min(found, key=lambda one: float(one.fun)).x
    return Noise(float(np.exp(logs[0])) * scale / interval, float(np.exp(logs[1])) * scale)


def velocity_of(run: Growth, noise: Noise) -> Velocity:
    """Drift of one measurable run by generalised least squares under that noise."""
    steps = np.diff(run.position)
    weights = solveh_banded(_covariance(len(steps), run.interval, noise), np.ones(len(steps)))
    information = run.interval**2 * float(weights.sum())
    value = run.interval * float(weights @ steps) / information
    return Velocity(run.temperature, value, float(information**-0.5))


def _covariance(count: int, interval: float, noise: Noise) -> FloatArray:
    """Of the differences of successive samples, as its two upper bands."""
    bands = np.empty((2, count))
    bands[0], bands[1] = -noise.white, noise.walk * interval + 2 * noise.white
    return bands


def _deviance(steps: FloatArray, interval: float, noise: Noise) -> float:
    """Minus twice the log of the restricted likelihood of one run, but for a constant."""
    count = len(steps)
    bands = _covariance(count, interval, noise)
    both = solveh_banded(bands, np.stack([np.full(count, interval), steps], axis=1))
    information = interval * float(both[:, 0].sum())
    drift = float(both[:, 0] @ steps) / information
    rest = float(steps @ both[:, 1]) - drift**2 * information
    # eigenvalues of a symmetric tridiagonal Toeplitz matrix
    angles = np.pi * np.arange(1, count + 1) / (count + 1)
    spectrum = bands[1, 0] - 2 * noise.white * np.cos(angles)
    return float(np.log(spectrum).sum()) + float(np.log(information)) + rest
