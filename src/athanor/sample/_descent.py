"""Downhill by limited-memory BFGS, in steps no longer than wanted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import OptimizeResult, minimize

from athanor.errors import StructureError
from athanor.sample._landscape import Landscape
from athanor.structure import FloatArray

MEMORY = 10
"""Steps that L-BFGS-B remembers."""
REFUSALS = 8
"""Shorter and shorter steps that are tried when the potential cannot evaluate where they end."""
SHORTER = 0.25
WITHIN = 0.45
"""Under half, so that the end of a step that is too long is never downhill, and so never taken."""
BEYOND = 1e-6
"""By this share a step may exceed the longest one: rounding."""


class NotFinite(StructureError):
    """Energy, forces or stress that are no numbers."""


class Descent:
    """SciPy's L-BFGS-B (Zhu, Byrd, Lu, Nocedal 1997) on a landscape.

    Its line search never accepts a step uphill, but knows no longest step. A trial beyond it is not
    evaluated: the search is answered with the parabola that has the slope at hand and its minimum
    within the longest step, and goes there. A trial that the potential refuses, or that is not
    finite, is answered in the same way, with a quarter of its length.

    Parameters
    ----------
    longest : Å, of an atom in one step.
    """

    def __init__(self, landscape: Landscape, *, longest: float) -> None:
        self._landscape = landscape
        self._longest = longest
        self._refused = 0
        self._at = landscape.point
        self._last = landscape.value(), landscape.gradient()
        self._value, self._gradient = self._last

    def run(self, *, steps: int, after: Callable[[], bool]) -> None:
        """Go down until `after`, called after every step, says False, or there is no step left.

        Raises StructureError where the potential refuses even the shortest step.
        """

        def accept(intermediate_result: OptimizeResult) -> None:
            self._go(intermediate_result.x)
            if not after():
                raise StopIteration

        minimize(
            self._tried,
            self._at,
            jac=True,
            method="L-BFGS-B",
            callback=accept,
            options={
                "maxcor": MEMORY,
                "ftol": 0.0,
                "gtol": 0.0,
                "maxiter": steps,
                "maxfun": 50 * steps + 50,
            },
        )
        # where it ends after a trial that was not accepted
        self._landscape.move(self._at)

    def _go(self, point: FloatArray) -> None:
        """Take the step that ends at the point, which nearly always was tried last."""
        if not np.array_equal(point, self._landscape.point):
            self._landscape.move(point)
            self._last = self._landscape.value(), self._landscape.gradient()
        self._at = self._landscape.point
        self._value, self._gradient = self._last

    def _tried(self, point: FloatArray) -> tuple[float, FloatArray]:
        step = point - self._at
        length = self._landscape.length(step)
        if length > self._longest * (1 + BEYOND):
            return self._parabola(step, min(self._longest / length, WITHIN))
        try:
            self._landscape.move(point)
            value, gradient = self._last = self._landscape.value(), self._landscape.gradient()
            if np.isfinite(value) and np.isfinite(gradient).all():
                self._refused = 0
                return value, gradient
            refusal: StructureError = NotFinite("energy, forces or stress stopped being finite")
        except StructureError as error:
            refusal = error
        self._refused += 1
        if self._refused > REFUSALS or length == 0.0:
            raise refusal
        return self._parabola(step, SHORTER)

    def _parabola(self, step: FloatArray, share: float) -> tuple[float, FloatArray]:
        """Value and gradient at the end of a step of which that share would be best."""
        slope = float(self._gradient @ step)
        bend = abs(slope) / (share * float(step @ step))
        value = self._value + slope + bend * float(step @ step) / 2
        return value, self._gradient + bend * step
