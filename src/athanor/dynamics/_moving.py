"""What every engine does alike: first velocities, snapshots, and noticing a lost run."""

from __future__ import annotations

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

from athanor.data.closeness import shortest_below
from athanor.dynamics._contract import Leg, Snapshot
from athanor.errors import ConfigError, MeasurementError, StructureError
from athanor.sample._velocities import thermalise
from athanor.structure import bare, check_structure

TOO_NEAR = 0.4
"""Å; a run that brings atoms so near is lost (the hydrogen molecule has 0.74)."""
SOUGHT = 0.5
"""Of the spacing of atoms: a search for neighbours within much less takes longer, as it sorts them
into tiny boxes."""
TOO_HOT = 20.0
"""Times the target; no start cools from so far, and no equilibrium is ever so hot."""
HOTTEST = 1e5
"""K, where nothing is aimed at."""
LARGEST_GROWTH = 4.0
"""Of the volume, and inverse of its shrinking, in one leg."""
CHECK_EVERY = 50


def prepared(atoms: Atoms, leg: Leg, rng: np.random.Generator) -> Atoms:
    """A copy to move, with momenta; those of frozen atoms are zero. Raises for what cannot run."""
    check_structure(atoms)
    moving = bare(atoms)
    moving.set_masses(atoms.get_masses())
    mobile = mobile_of(moving, leg)
    if leg.pressure_GPa is not None:
        _check_cell(moving, leg)
    if atoms.has("momenta"):
        moving.set_momenta(np.where(mobile[:, None], atoms.get_momenta(), 0.0))
    elif leg.ends is not None and mobile.any():
        part = moving[mobile]
        thermalise(part, leg.ends[0], rng)
        momenta = np.zeros((len(moving), 3))
        momenta[mobile] = part.get_momenta()
        moving.set_momenta(momenta)
    else:
        moving.set_momenta(np.zeros((len(moving), 3)))
    return moving


def mobile_of(atoms: Atoms, leg: Leg) -> NDArray[np.bool_]:
    """(n,) whether each atom moves; ConfigError for a mask of another length."""
    if leg.frozen is None:
        return np.ones(len(atoms), dtype=bool)
    frozen = np.asarray(leg.frozen, dtype=bool)
    if frozen.shape != (len(atoms),):
        raise ConfigError(
            f"the mask of frozen atoms has shape {frozen.shape}, the structure {len(atoms)} atoms; "
            "give one value for each"
        )
    return ~frozen


def _check_cell(atoms: Atoms, leg: Leg) -> None:
    if not atoms.pbc.all():
        raise ConfigError("a barostat needs a structure that is periodic in all three directions")
    cell = atoms.cell.array
    if (
        leg.axes != "iso"
        and np.abs(cell - np.diag(np.diag(cell))).max() > 1e-6 * np.abs(cell).max()
    ):
        raise ConfigError(
            f"a barostat of the axes {leg.axes!r} needs cell vectors along x, y and z; "
            "give such a cell, or axes 'iso'"
        )


def temperature_of(atoms: Atoms, mobile: NDArray[np.bool_]) -> float:
    """Kelvin. Without frozen atoms the motion of the centre of mass is left out; it is no heat.

    Unbiased whether a thermostat moves the centre of mass (Langevin) or none does.
    """
    momenta, masses = atoms.get_momenta()[mobile], atoms.get_masses()[mobile, None]
    free = 3 * len(momenta)
    if mobile.all() and len(atoms) > 1:
        momenta = momenta - masses * momenta.sum(axis=0) / masses.sum()
        free -= 3
    return float((momenta**2 / masses).sum() / (free * units.kB)) if free else 0.0


def snapshot_of(
    atoms: Atoms, leg: Leg, step: int, *, energy: float, virial_pressure: float
) -> Snapshot:
    """A snapshot; `virial_pressure` in eV/Å³ is that of the forces alone, NaN where unknown."""
    mobile = mobile_of(atoms, leg)
    copy = wrapped(atoms)
    temperature = temperature_of(atoms, mobile)
    volume = float(abs(atoms.cell.volume))
    pressure = float("nan")
    if atoms.pbc.all():
        pressure = (virial_pressure + mobile.sum() * units.kB * temperature / volume) / units.GPa
    time = step * leg.timestep_fs / 1000
    return Snapshot(step, time, copy, energy, temperature, float(pressure), volume)


def wrapped(atoms: Atoms) -> Atoms:
    """The geometry, masses and momenta, atoms inside the cell along periodic directions."""
    copy = bare(atoms)
    copy.set_masses(atoms.get_masses())
    copy.set_momenta(atoms.get_momenta())
    copy.wrap()
    return copy


class Guard:
    """Knows when a run is lost."""

    def __init__(self, atoms: Atoms, leg: Leg) -> None:
        self._leg, self._mobile = leg, mobile_of(atoms, leg)
        self._volume = abs(float(atoms.cell.volume))
        hottest = max(leg.ends or (0.0,))
        start = temperature_of(atoms, self._mobile)
        spacing = (self._volume / len(atoms)) ** (1 / 3) if atoms.pbc.all() else 0.0
        self._sought = max(1.0, SOUGHT * spacing)
        self._hottest = max(TOO_HOT * hottest, 2 * start) if leg.ends else HOTTEST

    def check(self, atoms: Atoms, step: int) -> None:
        """Raise MeasurementError where the run at this step is none any more."""
        if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.get_momenta()).all()):
            raise lost(step, "positions or velocities are no longer finite")
        temperature = temperature_of(atoms, self._mobile)
        if temperature > self._hottest:
            raise lost(step, f"it exploded to {temperature:.3g} K")
        self.check_volume(atoms, step)
        try:
            check_structure(atoms)
            shortest = shortest_below(atoms, self._sought)
        except StructureError as error:
            raise lost(step, str(error)) from error
        if shortest is not None and shortest < TOO_NEAR:
            raise lost(step, f"two atoms are {shortest:.2f} Å from each other")

    def check_volume(self, atoms: Atoms, step: int) -> None:
        """Raise MeasurementError where the cell went out of all bounds."""
        if self._leg.pressure_GPa is None:
            return
        growth = abs(float(atoms.cell.volume)) / self._volume
        if not 1 / LARGEST_GROWTH < growth < LARGEST_GROWTH:
            raise lost(
                step,
                f"the volume became {growth:.2g} times what it was, so the structure "
                + ("flies apart" if growth > 1 else "collapses"),
            )


def lost(step: int, why: str) -> MeasurementError:
    """The error of a run that is lost."""
    return MeasurementError(f"the dynamics are lost at step {step}: {why}")
