"""Between g(r) and S(q): sine transforms with a window at their end."""

from __future__ import annotations

import numpy as np

from athanor.structure import FloatArray
from athanor.validate._structure.blocks import Blocked
from athanor.validate._structure.distribution import Distribution
from athanor.validate._structure.scattering import Scattering


def transformed(found: Distribution, *, q: FloatArray, lorch: bool) -> Scattering:
    """S_ab(q) as the sine transform of g_ab(r), which is cut off where it ends.

    S_ab - 1 = 4 pi rho / q times the integral of r (g_ab - 1) sin(q r); with `lorch` the end comes
    smoothly (see `lorch_window`).
    """
    r, rho = found.r, float(found.density.mean)
    window = lorch_window(r, float(found.edges[-1])) if lorch else np.ones(len(r))
    # exact over a bin in which r (g - 1) is constant
    kernel = np.sin(np.outer(r, q)) * np.sinc(np.diff(found.edges)[:, None] * q / (2 * np.pi))
    factor = window * np.diff(found.edges) * r * 4 * np.pi * rho
    partial = found.partial.map(lambda g: 1 + ((g - 1) * factor) @ kernel / q)
    return Scattering(found.elements, q, partial, found.density)


def lorch_window(x: FloatArray, end: float) -> FloatArray:
    """sin(pi x / end) / (pi x / end): from 1 to 0 at the `end` of a range (Lorch 1969)."""
    window: FloatArray = np.sinc(x / end)
    return window


def reduced(q: FloatArray, total: Blocked, r: FloatArray, *, q_max: float, lorch: bool) -> Blocked:
    """G(r) = 2/pi times the integral of q (S - 1) sin(q r) from 0 to `q_max`: (blocks, n_r), Å⁻².

    Below the smallest wave vector q (S - 1) is a straight line from 0; between the given ones too.
    """
    grid = np.arange(0, q_max, np.pi / (8 * max(float(r[-1]), 1.0)))
    grid = np.append(grid, q_max)
    window = lorch_window(grid, q_max) if lorch else np.ones(len(grid))
    steps = np.gradient(grid)
    steps[[0, -1]] /= 2
    kernel = np.sin(np.outer(grid, r)) * (2 / np.pi * window * steps)[:, None]

    def at(one: FloatArray) -> FloatArray:
        ends = np.concatenate([[0.0], q]), np.concatenate([[0.0], q * (one - 1)])
        return np.asarray(np.interp(grid, *ends) @ kernel, dtype=float)

    return total.map(at)
