"""Panels of what a run went through: temperature, energy, pressure and density against time."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.units import kg

from athanor.structure import FloatArray
from athanor.validate._driven import Track
from athanor.validate._measured import Line, Panel

GRAM_PER_CM3 = 1e-27 * kg
"""amu/Å³ in one g/cm³."""
POINTS = 400
"""Most points of a line."""
TIME = "time, ps"


def density_along(track: Track) -> FloatArray:
    """(k,) g/cm³ at each snapshot."""
    mass = float(track.end.get_masses().sum())
    found: FloatArray = mass / track.of("volume") / GRAM_PER_CM3
    return found


def course_panels(track: Track) -> dict[str, Panel]:
    """A panel for each of temperature, energy per atom, pressure and density."""
    count = len(track.end)
    lines = {
        "Temperature": ("temperature, K", track.of("temperature_K")),
        "Energy": ("potential energy, eV/atom", track.of("energy") / count),
        "Pressure": ("pressure, GPa", track.of("pressure_GPa")),
        "Density": ("density, g/cm³", density_along(track)),
    }
    return {
        title: Panel(TIME, label, {"": thinned(track.of("time_ps"), values)})
        for title, (label, values) in lines.items()
    }


def thinned(x: FloatArray, y: FloatArray) -> Line:
    """A line of at most `POINTS` points, each the mean of as many neighbours."""
    size = -(-len(x) // POINTS)
    if size < 2:
        return Line.of(x, y)
    starts = np.arange(0, len(x), size)
    counts = np.diff([*starts, len(x)])
    return Line.of(np.add.reduceat(x, starts) / counts, np.add.reduceat(y, starts) / counts)


def to_density(atoms: Atoms, density: float) -> Atoms:
    """A copy, momenta included, with cell and positions scaled to g/cm³."""
    return to_volume(atoms, float(atoms.get_masses().sum()) / GRAM_PER_CM3 / density)


def to_volume(atoms: Atoms, volume: float) -> Atoms:
    """A copy, momenta included, with cell and positions scaled to a volume in Å³."""
    scaled = atoms.copy()
    scale = (volume / abs(atoms.get_volume())) ** (1 / 3)
    scaled.set_cell(atoms.cell.array * scale, scale_atoms=True)
    return scaled
