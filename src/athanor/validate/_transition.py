"""Lattices that go over into each other: the same atoms in the same order, before and after."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from athanor.errors import MeasurementError
from athanor.structure import FloatArray
from athanor.validate._family import scanned
from athanor.validate._lattice import Lattice, family
from athanor.validate._relaxing import relaxed

Shape = tuple[FloatArray, FloatArray]
"""Cell vectors of any size and fractional places of the atoms."""


def _tetragonal(ratio: float) -> Shape:
    """Body-centred tetragonal of c/a `ratio`, one atom (Bain 1924): 1 is bcc, sqrt(2) is fcc."""
    cell = np.array([[-1, 1, ratio], [1, -1, ratio], [1, 1, -ratio]])
    return cell, np.zeros((1, 3))


def _trigonal(share: float) -> Shape:
    """A cube drawn along its diagonal, one atom: 0 is sc, 1/3 is fcc, -1/6 is bcc."""
    return np.eye(3) + share, np.zeros((1, 3))


def _slipped(share: float) -> Shape:
    """Close-packed layers, two atoms: every other layer slips by `share` of a/6 <112>.

    0 is fcc and 1 is hcp, both of ideal height.
    """
    step = np.array([0.5, 1 / np.sqrt(12), np.sqrt(2 / 3)])
    slip = share * np.array([step[0], step[1], 0])
    cell = np.array([[1, 0, 0], [0.5, np.sqrt(3) / 2, 0], 2 * step + slip])
    return cell, np.array([np.zeros(3), step]) @ np.linalg.inv(cell)


def _burgers(share: float) -> Shape:
    """Layers {110} of bcc (0) into the basal planes of hcp (1), two atoms (Burgers 1934)."""
    wide = np.sqrt(2) + share * (np.sqrt(3) - np.sqrt(2))
    high = np.sqrt(2) + share * (np.sqrt(8 / 3) - np.sqrt(2))
    cell = np.array([[0.5, -wide / 2, 0], [0.5, wide / 2, 0], [0, 0, high]])
    # every other layer shuffles by a sixth of the rectangle
    upper = np.array([0, (1 / 2 + share / 6) * wide, high / 2])
    return cell, np.array([np.zeros(3), upper]) @ np.linalg.inv(cell)


Way = tuple[Callable[[float], Shape], dict[Lattice, float]]
EVERY: tuple[Way, ...] = (
    (_tetragonal, {"fcc": float(np.sqrt(2)), "bcc": 1.0}),
    (_trigonal, {"sc": 0.0, "fcc": 1 / 3}),
    (_trigonal, {"sc": 0.0, "bcc": -1 / 6}),
    (_slipped, {"fcc": 0.0, "hcp": 1.0}),
    (_burgers, {"bcc": 0.0, "hcp": 1.0}),
)
WAYS = {frozenset(ends): (way, ends) for way, ends in EVERY}
"""By their ends: how the one becomes the other, and where along it the ends are."""


def check_way(start: Lattice, end: Lattice) -> None:
    """ValueError for two lattices between which no way is known."""
    if frozenset({start, end}) not in WAYS:
        known = ", ".join(sorted(" and ".join(sorted(ends)) for ends in WAYS))
        raise ValueError(
            f"no way is known from {start} to {end}; known are those between {known}: give files "
            "with the same atoms in the same order"
        )


def matched(
    element: str, start: Lattice, end: Lattice, calculator: Calculator
) -> tuple[Atoms, Atoms]:
    """Both lattices, relaxed, with equal atoms in equal order.

    Raises MeasurementError where one of them has no energy minimum.
    """
    way, places = WAYS[frozenset({start, end})]
    found = []
    for lattice in (start, end):
        scan = scanned(family(element, lattice), calculator)
        if scan.minimum is None:
            raise MeasurementError(scan.no_minimum(f"{lattice} {element}"))
        cell, fractional = way(places[lattice])
        volume = abs(float(np.linalg.det(cell))) / len(fractional)
        atoms = Atoms(
            [element] * len(fractional),
            cell=cell * (scan.minimum.volume / volume) ** (1 / 3),
            scaled_positions=fractional,
            pbc=True,
        )
        found.append(relaxed(atoms, calculator, name=f"{lattice} {element}"))
    return found[0], found[1]
