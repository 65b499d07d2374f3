"""Perfect lattices of one element."""

from __future__ import annotations

from typing import Literal

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.data import atomic_numbers, covalent_radii, reference_states

from athanor.errors import ConfigError
from athanor.validate._family import Family, Minimum, scanned

Lattice = Literal["fcc", "hcp", "bcc", "sc", "diamond"]
PER_CUBE = {"fcc": 4, "bcc": 2, "sc": 1, "diamond": 8}
PACKING = {"fcc": 0.740, "hcp": 0.740, "bcc": 0.680, "sc": 0.524, "diamond": 0.340}
"""Share of space that touching spheres fill."""


def crystal(element: str, lattice: Lattice, volume: float, *, cubic: bool = False) -> Atoms:
    """Return the primitive cell of `volume` Å³ per atom; hcp has ideal c/a.

    `cubic` is the cube of cubic lattices, and the orthorhombic cell of four atoms of hcp.
    """
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


def family(element: str, lattice: Lattice) -> Family:
    """The lattice at any volume; its usual volume follows from that of the known crystal."""
    return Family(
        name=lattice,
        at=lambda volume: crystal(element, lattice, volume),
        guess=usual_volume(element, lattice),
    )


def equilibrium(
    element: str, lattice: Lattice, calculator: Calculator, *, guess: float | None = None
) -> Minimum:
    """Find the energy minimum nearest to `guess` (Å³ per atom) by a scan, then a search.

    `guess` is taken from the element's known crystal, or else from its covalent radius. Raises
    ConfigError where the energy has no minimum between 0.55 and 2.2 times of it.
    """
    scan = scanned(family(element, lattice), calculator, guess=guess)
    if scan.minimum is None:
        raise ConfigError(
            f"{scan.no_minimum(f'{lattice} {element}')}; give another volume or leave {lattice} out"
        )
    return scan.minimum


def usual_volume(element: str, lattice: Lattice | None = None) -> float:
    """Å³ per atom of the element's known crystal; of touching spheres where none is tabulated.

    In another `lattice` the same spheres touch: the volume goes by the share of space they fill.
    """
    number = atomic_numbers[element]
    known = reference_states[number] or {}
    symmetry, length = known.get("symmetry"), known.get("a")
    volume, found = 0.0, "fcc"
    if symmetry in PER_CUBE and length:
        volume, found = float(length**3 / PER_CUBE[symmetry]), symmetry
    elif symmetry == "hcp" and length:
        volume = float(length**3 * np.sqrt(3) / 4 * known.get("c/a", np.sqrt(8 / 3)))
    else:
        # metals are some 15 % longer in contact than covalent bonds
        volume = float((2.3 * covalent_radii[number]) ** 3 / np.sqrt(2))
    return volume if lattice is None else volume * PACKING[found] / PACKING[lattice]


def check_element(element: str) -> str:
    """Return a chemical symbol; ValueError for anything else."""
    if element == "X" or element not in atomic_numbers:
        raise ValueError(f"there is no element {element!r}; give a symbol like 'Al'")
    return element
