"""How fast an interface moves, from a series that wanders as interfaces do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from scipy.fft import dst
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
    another : whether the crystal at its end was another one than the one asked about.
    """

    temperature: float
    interval: float
    position: tuple[float, ...]
    end: End = ""
    another: bool = False

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


@dataclass(frozen=True, slots=True, eq=False)
class _Waves:
    """Differences of successive samples as sine waves, in which any noise is uncorrelated.

    Their covariance is a tridiagonal Toeplitz matrix, whose eigenvectors are those waves.

    Attributes
    ----------
    interval : ps. cosines : (n,) of the waves' angles. steps, drift : (n,) the differences, and
        those of a unit velocity.
    """

    interval: float
    cosines: FloatArray
    steps: FloatArray
    drift: FloatArray

    @classmethod
    def of(cls, run: Growth) -> Self:
        steps = np.diff(run.position)
        count = len(steps)
        angles = np.pi * np.arange(1, count + 1) / (count + 1)
        waves = dst(np.stack([steps, np.full(count, run.interval)]), type=1, norm="ortho")
        return cls(run.interval, np.cos(angles), waves[0], waves[1])

    def variances(self, noise: Noise) -> FloatArray:
        """(n,) of the waves."""
        return noise.walk * self.interval + 2 * noise.white * (1 - self.cosines)

    def velocity(self, variances: FloatArray) -> tuple[float, float]:
        """Generalised least squares: the velocity and the inverse of its variance."""
        information = float((self.drift**2 / variances).sum())
        return float((self.drift * self.steps / variances).sum()) / information, information

    def deviance(self, noise: Noise) -> float:
        """Minus twice the log of the restricted likelihood, but for a constant."""
        variances = self.variances(noise)
        velocity, information = self.velocity(variances)
        rest = float((self.steps**2 / variances).sum()) - velocity**2 * information
        return float(np.log(variances).sum()) + float(np.log(information)) + rest


def noise_of(runs: Sequence[Growth]) -> Noise:
    """The noise that all runs share, by restricted maximum likelihood.

    Each run is a line plus a random walk plus white noise; a line fitted by least squares would
    take the walk for drift and claim errors far too small. Needs at least one measurable run.
    """
    series = [_Waves.of(run) for run in runs if run.measurable]
    scale = float(np.mean(np.concatenate([np.square(one.steps) for one in series]))) or 1e-12
    interval = float(np.mean([one.interval for one in series]))

    def noise(logs: FloatArray) -> Noise:
        walk, white = np.exp(logs).tolist()
        return Noise(walk * scale / interval, white * scale)

    def cost(logs: FloatArray) -> float:
        return sum(one.deviance(noise(logs)) for one in series)

    # from mostly walk and from mostly white: the likelihood can have two tops
    starts = [np.log([0.8, 0.1]), np.log([0.05, 0.45])]
    bounds = [(-12.0, 3.0)] * 2
    found = [minimize(cost, start, method="L-BFGS-B", bounds=bounds) for start in starts]
    return noise(min(found, key=lambda one: float(one.fun)).x)


def velocity_of(run: Growth, noise: Noise) -> Velocity:
    """Drift of one measurable run by generalised least squares under that noise."""
    waves = _Waves.of(run)
    value, information = waves.velocity(waves.variances(noise))
    return Velocity(run.temperature, value, float(information**-0.5))
