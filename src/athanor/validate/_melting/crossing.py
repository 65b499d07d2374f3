"""The temperature at which nothing grows: where a line through velocities crosses zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from athanor.validate._melting.growth import Velocity


@dataclass(frozen=True, slots=True)
class Crossing:
    """A melting point with its interval.

    Attributes
    ----------
    temperature, low, high : K.
    error : one standard deviation, half the interval over its quantile.
    slope : Å/ps per K of undercooling; slope_error likewise.
    used : how many velocities the line goes through.
    chi2 : sum of squared deviations over the degrees of freedom, 1 where there are none.
    """

    temperature: float
    low: float
    high: float
    error: float
    slope: float
    slope_error: float
    used: int
    chi2: float

    @property
    def half_width(self) -> float:
        """Half of the interval, K."""
        return (self.high - self.low) / 2

    def velocity(self, temperature: float) -> float:
        """Å/ps on the line."""
        return self.slope * (self.temperature - temperature)


def crossing_of(
    velocities: Sequence[Velocity], *, confidence: float, window: float = np.inf
) -> Crossing | None:
    """Weighted line through the velocities within `window` (relative) of where it crosses zero.

    Further out kinetics is no line, and differs for melting and freezing. Errors grow by the square
    root of chi2 where that is above 1. The interval is Fieller's, which is exact for a ratio;
    None where it has no ends: where the slope is not known to be there.
    """
    kept, found = list(velocities), _line(velocities, confidence)
    centre = _sign_change(velocities)
    for _ in range(8):
        near = [one for one in velocities if abs(one.temperature / centre - 1) <= window]
        narrower = _line(near, confidence)
        if narrower is None or near == kept:
            break
        kept, found, centre = near, narrower, narrower.temperature
    return found


def _sign_change(velocities: Sequence[Velocity]) -> float:
    """The temperature that best has growth below and melting above it, in standard errors."""
    temperatures = sorted({one.temperature for one in velocities}) or [1.0]
    places = np.add(temperatures[1:] or temperatures, temperatures[:-1] or temperatures) / 2
    scores = [
        sum(np.sign(place - one.temperature) * one.value / one.error for one in velocities)
        for place in places
    ]
    return float(places[int(np.argmax(scores))])


def _line(velocities: Sequence[Velocity], confidence: float) -> Crossing | None:
    if len({v.temperature for v in velocities}) < 2:
        return None
    t, y, e = np.array([(v.temperature, v.value, v.error) for v in velocities]).T
    middle = float(np.average(t, weights=e**-2))
    design = np.stack([np.ones_like(t), -(t - middle)], axis=1) / e[:, None]
    covariance = np.linalg.inv(design.T @ design)
    height, slope = covariance @ design.T @ (y / e)
    free = len(t) - 2
    chi2 = float(((y / e - design @ [height, slope]) ** 2).sum() / free) if free else 1.0
    (aa, ab), (_, bb) = covariance * max(1.0, chi2)
    z = float(norm.ppf(0.5 + confidence / 2))
    # (height - slope x)² = z² variance(height - slope x), a quadratic in x
    quadratic = np.array([slope**2 - z**2 * bb, -2 * (height * slope - z**2 * ab)])
    discriminant = quadratic[1] ** 2 - 4 * quadratic[0] * (height**2 - z**2 * aa)
    if slope <= 0 or quadratic[0] <= 0 or discriminant < 0:
        return None
    ends = (-quadratic[1] + np.array([-1.0, 1.0]) * np.sqrt(discriminant)) / (2 * quadratic[0])
    low, high = (middle + ends).tolist()
    return Crossing(
        temperature=middle + float(height / slope),
        low=low,
        high=high,
        error=(high - low) / (2 * z),
        slope=float(slope),
        slope_error=float(np.sqrt(bb)),
        used=len(t),
        chi2=chi2,
    )
