"""Peaks of a noisy curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from athanor.structure import FloatArray

PROMINENT = 0.08
"""A peak stands out by so much of the highest; less is noise."""
TOP = 0.8
"""A parabola goes through what is above this part of a peak's height."""


@dataclass(frozen=True, slots=True, eq=False)
class Peaks:
    """The peaks of a curve.

    Attributes
    ----------
    smooth : (n,) the curve without its noise, lower than it at sharp peaks.
    places : (n_peaks,) indices.
    """

    x: FloatArray
    y: FloatArray
    smooth: FloatArray
    places: NDArray[np.intp]

    def vertex(self, number: int) -> tuple[float, float]:
        """Position and height of a peak: of the parabola through the top of the curve itself."""
        place = int(self.places[number])
        above = self.smooth >= TOP * self.smooth[place]
        left, right = place, place
        while left > 0 and above[left - 1]:
            left -= 1
        while right < len(above) - 1 and above[right + 1]:
            right += 1
        part = slice(max(0, min(left, place - 1)), max(right, place + 1) + 1)
        x, y = self.x[part], self.y[part]
        top = int(np.argmax(y))
        if len(x) > 2:
            curve, slope, base = np.polyfit(x - self.x[place], y, 2)
            shift = -slope / (2 * curve) if curve < 0 else np.inf
            if x[0] <= self.x[place] + shift <= x[-1]:
                return float(self.x[place] + shift), float(base + slope * shift / 2)
        return float(x[top]), float(y[top])


def peaks_of(x: FloatArray, y: FloatArray, *, smooth: float) -> Peaks:
    """Peaks above 1 of y (n,) at evenly spaced x, sought in y smoothed by a Gaussian of `smooth`.

    A maximum at an end counts.
    """
    width = float(x[1] - x[0]) if len(x) > 1 else 1.0
    clean = gaussian_filter1d(y, smooth / width, mode="nearest")
    ends = np.concatenate([[0.0], clean, [0.0]])
    least = PROMINENT * max(float(clean.max()), 1.0)
    places, _ = find_peaks(ends, height=1.0, prominence=least)
    return Peaks(x, y, clean, places.astype(np.intp) - 1)
