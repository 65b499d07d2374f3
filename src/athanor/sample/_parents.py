"""Parent lattices of an enumeration, and how much room an atom takes."""

from __future__ import annotations

from typing import Literal

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii, reference_states

Parent = Literal["fcc", "bcc", "hcp", "dhcp", "9R", "sc", "diamond"]
"""hcp, dhcp and 9R are the close packings ABAB, ABAC and ABCBCACAB; fcc is ABC."""
PER_CUBE = {"fcc": 4, "bcc": 2, "sc": 1}


def parent(name: Parent, symbol: str, volume: float) -> Atoms:
    """Primitive cell with `volume` Å³ per atom; close packings have ideal c/a."""
    # takes long to import, and listing the kinds does without
    from ase.build import bulk

    atoms = _stacked(name, symbol) if name in ("dhcp", "9R") else bulk(symbol, name, a=1.0)
    atoms.set_cell(atoms.cell * np.cbrt(volume * len(atoms) / atoms.get_volume()), scale_atoms=True)
    return atoms


def _stacked(name: Parent, symbol: str) -> Atoms:
    """A close packing with layers a distance of sqrt(2/3) apart, atoms in touch being 1 apart."""
    layer = np.sqrt(2 / 3)
    hexagon = np.array([[1.0, 0.0, 0.0], [-0.5, np.sqrt(3) / 2, 0.0]])
    if name == "dhcp":
        cell = np.vstack([hexagon, [0.0, 0.0, 4 * layer]])
        places = [(0, 0, 0), (1 / 3, 2 / 3, 1 / 4), (0, 0, 1 / 2), (2 / 3, 1 / 3, 3 / 4)]
    else:
        a, b = hexagon
        lift = np.array([0.0, 0.0, 3 * layer])
        cell = np.array([(2 * a + b) / 3, (b - a) / 3, (-a - 2 * b) / 3]) + lift
        places = [(0, 0, 0), (2 / 9, 2 / 9, 2 / 9), (7 / 9, 7 / 9, 7 / 9)]
    return Atoms([symbol] * len(places), scaled_positions=places, cell=cell, pbc=True)


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
