"""Perfect lattices of one element, and the curve of their energy against volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.data import atomic_numbers, covalent_radii, reference_states
from scipy.optimize import minimize_scalar

from athanor.errors import ConfigError
from athanor.structure import FloatArray

Lattice = Literal["fcc", "hcp", "bcc", "sc"]
PER_CUBE = {"fcc": 4, "bcc": 2, "sc": 1}
SCAN = (0.55, 2.2)
SCAN_POINTS = 21
FINE = 0.02


def crystal(element: str, lattice: Lattice, volume: float, *, cubic: bool = False) -> Atoms:
    """Return the primitive (or `cubic`) cell of `volume` Å³ per atom; hcp has ideal c/a."""
    length = lattice_constant(lattice, volume)
    if lattice == "hcp":
        height = float(np.sqrt(8 / 3)) * length
        return bulk(element, "hcp", a=length, c=height, orthorhombic=cubic)
    return bulk(element, lattice, a=length, cubic=cubic)


def lattice_constant(lattice: Lattice, volume: float) -> float:
    """Lattice constant a in Å from Å³ per atom (ideal c/a for hcp)."""
    if lattice == "hcp":
        return float((np.sqrt(2) * volume) ** (1 / 3))
    return float((PER_CUBE[lattice] * volume) ** (1 / 3))


def energies(
    element: str, lattice: Lattice, volumes: FloatArray, calculator: Calculator
) -> FloatArray:
    """Energy in eV per atom at each volume in Å³ per atom."""
    found = []
    for volume in volumes:
        atoms = crystal(element, lattice, float(volume))
        atoms.calc = calculator
        found.append(atoms.get_potential_energy() / len(atoms))
    return np.array(found)


@dataclass(frozen=True, slots=True)
class Minimum:
    """Where the energy of a lattice is lowest.

    Attributes
    ----------
    volume : Å³ per atom. energy : eV per atom. bulk_modulus : eV/Å³.
    """

    volume: float
    energy: float
    bulk_modulus: float


def minimum_near(
    element: str, lattice: Lattice, volumes: FloatArray, found: FloatArray, calculator: Calculator
) -> Minimum | None:
    """Return the lowest minimum of a curve whose energies at ascending `volumes` are `found`.

    Volume and energy are minimised between the neighbours of the lowest point (Brent), so that
    neither the spacing nor the shape of the curve further out biases them; the bulk modulus is that
    of a Birch-Murnaghan curve through the nearest 4 %. None where the lowest point is an end.
    """
    if not np.isfinite(found).all():
        return None
    lowest = int(np.argmin(found))
    if lowest in (0, len(found) - 1):
        return None

    def energy(volume: float) -> float:
        return float(energies(element, lattice, np.array([volume]), calculator)[0])

    best = minimize_scalar(
        energy,
        bounds=(volumes[lowest - 1], volumes[lowest + 1]),
        method="bounded",
        options={"xatol": 1e-4 * volumes[lowest]},
    )
    volume = float(best.x)
    near = volume * np.linspace(1 - FINE, 1 + FINE, 7)
    modulus = bulk_modulus(near, energies(element, lattice, near, calculator), volume)
    return Minimum(volume, float(best.fun), modulus)


def bulk_modulus(volumes: FloatArray, found: FloatArray, volume: float) -> float:
    """Bulk modulus V d²E/dV² in eV/Å³ at `volume`, from energies (eV) at volumes (Å³).

    By the third-order Birch-Murnaghan equation (Birch 1947), a cubic polynomial in V^(-2/3).
    """
    x = (volumes / volume) ** (-2 / 3)
    fit = np.polynomial.Polynomial.fit(x, found, 3)
    # dx/dV = -2/3 and d²x/dV² = 10/9 at V = 1 in units of `volume`
    slope, curve = float(fit.deriv()(1.0)), float(fit.deriv(2)(1.0))
    return (4 / 9 * curve + 10 / 9 * slope) / volume


def equilibrium(
    element: str, lattice: Lattice, calculator: Calculator, *, guess: float | None = None
) -> Minimum:
    """Find the volume of lowest energy by a scan from 0.55 to 2.2 times `guess`, then a search.

    `guess` in Å³ per atom is taken from the element's known crystal, or else from its covalent
    radius. Raises ConfigError where the energy has no minimum there.
    """
    guess = guess or usual_volume(element)
    volumes = guess * np.geomspace(*SCAN, SCAN_POINTS)
    found = energies(element, lattice, volumes, calculator)
    minimum = minimum_near(element, lattice, volumes, found, calculator)
    if minimum is None:
        raise ConfigError(
            f"the reference has no energy minimum for {lattice} {element} between "
            f"{volumes[0]:.1f} and {volumes[-1]:.1f} Å³ per atom; give another volume_guess or "
            f"leave {lattice} out"
        )
    return minimum


def usual_volume(element: str) -> float:
    """Å³ per atom of the element's known crystal; of touching spheres where none is tabulated."""
    number = atomic_numbers[element]
    known = reference_states[number] or {}
    symmetry, length = known.get("symmetry"), known.get("a")
    if symmetry in PER_CUBE and length:
        return float(length**3 / PER_CUBE[symmetry])
    if symmetry == "hcp" and length:
        return float(length**3 * np.sqrt(3) / 4 * known.get("c/a", np.sqrt(8 / 3)))
    # metals are some 15 % longer in contact than covalent bonds
    return float((2.3 * covalent_radii[number]) ** 3 / np.sqrt(2))


def check_element(element: str) -> str:
    """Return a chemical symbol; ValueError for anything else."""
    if element == "X" or element not in atomic_numbers:
        raise ValueError(f"there is no element {element!r}; give a symbol like 'Al'")
    return element
