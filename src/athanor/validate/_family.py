"""One crystal at any volume: the curve of its energy, its minimum and its equation of state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.eos import EquationOfState as Curve
from scipy.optimize import minimize_scalar

from athanor.errors import AthanorError, MeasurementError
from athanor.structure import FloatArray
from athanor.validate._relaxing import relaxed

SCAN = (0.55, 2.2)
SCAN_POINTS = 21
NEAR = 9
"""Points of the fit of an equation of state."""
PRECISE = 1e-5
"""Of the volume at the minimum."""
Equation = Literal["birch-murnaghan", "vinet"]


@dataclass(frozen=True, slots=True)
class Family:
    """A crystal at any volume.

    Attributes
    ----------
    at : volume in Å³ per atom -> the crystal.
    guess : about where its energy is lowest, Å³ per atom.
    relax : whether its atoms and the shape of its cell are relaxed at each volume.
    """

    name: str
    at: Callable[[float], Atoms]
    guess: float
    relax: bool = False

    def atoms(self, volume: float, calculator: Calculator) -> Atoms:
        """The crystal of that volume (Å³ per atom), relaxed where asked for."""
        atoms = self.at(volume)
        if not self.relax:
            return atoms
        return relaxed(atoms, calculator, name=self.name, same_volume=True)

    def energy(self, volume: float, calculator: Calculator) -> float:
        """Energy in eV per atom."""
        atoms = self.atoms(volume, calculator)
        atoms.calc = calculator
        energy = float(atoms.get_potential_energy() / len(atoms))
        atoms.calc = None
        return energy

    def energies(self, volumes: FloatArray, calculator: Calculator) -> FloatArray:
        """Energy in eV per atom at each volume in Å³ per atom; NaN where there is none.

        Raises what the first volume raised where there is none at any of them.
        """
        found, errors = np.full(len(volumes), np.nan), []
        for number, volume in enumerate(volumes):
            try:
                found[number] = self.energy(float(volume), calculator)
            except AthanorError as error:
                # far from equilibrium a potential may have no finite energy, or no relaxation
                errors.append(error)
        if len(errors) == len(volumes) > 0:
            raise errors[0]
        return np.where(np.isfinite(found), found, np.nan)


def scaled(atoms: Atoms, volume: float) -> Atoms:
    """A crystal scaled to `volume` in Å³ per atom."""
    other = atoms.copy()
    share = volume * len(atoms) / atoms.get_volume()
    other.set_cell(share ** (1 / 3) * atoms.cell.array, scale_atoms=True)
    return other


@dataclass(frozen=True, slots=True)
class Minimum:
    """Where the energy of a crystal is lowest.

    Attributes
    ----------
    volume : Å³ per atom. energy : eV per atom.
    """

    volume: float
    energy: float


@dataclass(frozen=True, slots=True)
class Scan:
    """What was looked at: ascending volumes (Å³ per atom), and the minimum among them, if any."""

    volumes: FloatArray
    minimum: Minimum | None

    def no_minimum(self, name: str) -> str:
        """The sentence about a crystal of that name that has none."""
        low, high = self.volumes[[0, -1]]
        return f"{name} has no energy minimum between {low:.1f} and {high:.1f} Å³ per atom"


def scanned(family: Family, calculator: Calculator, *, guess: float | None = None) -> Scan:
    """Find the minimum nearest to `guess` between 0.55 and 2.2 times of it.

    The nearest, not the lowest: crushed crystals may lie in holes that no dynamics gets to.
    """
    guess = guess or family.guess
    volumes = guess * np.geomspace(*SCAN, SCAN_POINTS)
    found = family.energies(volumes, calculator)
    with np.errstate(invalid="ignore"):
        lower = (found[1:-1] <= found[:-2]) & (found[1:-1] < found[2:])
    places = 1 + np.flatnonzero(lower)
    if not len(places):
        return Scan(volumes, None)
    place = places[np.argmin(np.abs(np.log(volumes[places] / guess)))]
    best = minimize_scalar(
        lambda volume: family.energy(float(volume), calculator),
        bounds=(volumes[place - 1], volumes[place + 1]),
        method="bounded",
        options={"xatol": PRECISE * volumes[place]},
    )
    if not np.isfinite(best.fun):
        return Scan(volumes, None)
    return Scan(volumes, Minimum(float(best.x), float(best.fun)))


def settled(
    family: Family, minimum: Minimum, calculator: Calculator, *, name: str
) -> tuple[Family, Minimum]:
    """The family and its minimum with atoms and shape relaxed, beginning at `minimum`.

    Raises MeasurementError where the crystal does not keep.
    """
    atoms = relaxed(family.at(minimum.volume), calculator, name=name)
    volume = float(atoms.get_volume() / len(atoms))
    whole = Family(family.name, at=partial(scaled, atoms), guess=volume, relax=True)
    return whole, Minimum(volume, whole.energy(volume, calculator))


@dataclass(frozen=True, slots=True)
class Stiffness:
    """Bulk modulus in eV/Å³ at the minimum and its derivative by pressure.

    `misfit` is the root mean square of what the fit leaves, as a part of the curve's own range.
    """

    modulus: float
    derivative: float
    misfit: float


def stiffness(
    family: Family, minimum: Minimum, calculator: Calculator, *, equation: Equation, width: float
) -> Stiffness:
    """Fit nine points within `width` (a part of the volume) of the minimum.

    Third-order Birch-Murnaghan (Birch 1947) or Vinet et al. (1987). Raises MeasurementError where
    the energy cannot be fitted, or has no positive curvature.
    """
    volumes = minimum.volume * np.linspace(1 - width, 1 + width, NEAR)
    return fitted(
        volumes, family.energies(volumes, calculator), equation=equation, name=family.name
    )


def fitted(
    volumes: FloatArray, energies: FloatArray, *, equation: Equation, name: str
) -> Stiffness:
    """Of energies (eV) at volumes (Å³); see `stiffness`."""
    kind = {"birch-murnaghan": "birchmurnaghan", "vinet": "vinet"}[equation]
    if not np.isfinite(energies).all():
        raise MeasurementError(f"{name} has no energy at every volume about its minimum")
    curve = Curve(volumes, energies, eos=kind)
    try:
        _, _, modulus = curve.fit(warn=False)
    except (RuntimeError, ValueError) as error:
        raise MeasurementError(f"{name}: no {equation} curve can be fitted ({error})") from error
    derivative = float(curve.eos_parameters[2])
    if not (np.isfinite([modulus, derivative]).all() and modulus > 0):
        raise MeasurementError(
            f"{name} has no positive bulk modulus: its energy is not that of a crystal"
        )
    left = energies - curve.func(volumes, *curve.eos_parameters)
    misfit = float(np.sqrt((left**2).mean()) / np.ptp(energies))
    return Stiffness(float(modulus), derivative, misfit)
