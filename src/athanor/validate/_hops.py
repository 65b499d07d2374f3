"""The different ways in which an atom next to a vacancy can hop into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list

from athanor.errors import MeasurementError
from athanor.structure import FloatArray
from athanor.validate._spglib import asking

NEAREST = 1.12
"""Hops up to so many times the shortest; the second neighbours of bcc are at 1.155."""
SAME = 1e-3
SYMPREC = 1e-3
"""Å within which atoms of a relaxed crystal lie on its symmetry."""


@dataclass(frozen=True, slots=True)
class Hop:
    """A vector (Å) from the vacant site to the atom that hops, and what it is called."""

    vector: FloatArray
    name: str


def hops(crystal: Atoms, site: int, *, lattice: str | None) -> list[Hop]:
    """The hops to nearest neighbours that no symmetry of the crystal makes equal.

    Raises MissingExtraError where spglib is absent, MeasurementError where it finds no symmetry.
    """
    reach = 1.05 * max(crystal.cell.lengths()) + 3.0
    owners, vectors = neighbor_list("iD", crystal, reach)
    vectors = vectors[owners == site]
    lengths = np.linalg.norm(vectors, axis=1)
    vectors = vectors[lengths < NEAREST * lengths.min()]
    cell = (crystal.cell.array, crystal.get_scaled_positions(), crystal.numbers)
    with asking():
        import spglib

        known = spglib.get_symmetry_dataset(cell, symprec=SYMPREC)
        if known is None:
            raise MeasurementError("the crystal's symmetry cannot be found (are atoms too near?)")
        # in the standard cell, whose symmetries are all whole: a larger cell would hide some
        every = spglib.get_symmetry_from_database(known.hall_number)
    symmetries = list(zip(every["rotations"], every["translations"], strict=True))
    turn = known.transformation_matrix @ np.linalg.inv(crystal.cell.array.T)
    start = turn @ crystal.positions[site] + known.origin_shift
    pairs = [(start, turn @ vector) for vector in vectors]
    kept: list[int] = []
    for number, pair in enumerate(pairs):
        if not any(_equal(pair, pairs[other], symmetries) for other in kept):
            kept.append(number)
    return _called([vectors[number] for number in kept], lattice)


def _equal(
    pair: tuple[FloatArray, FloatArray],
    other: tuple[FloatArray, FloatArray],
    symmetries: Sequence[tuple[FloatArray, FloatArray]],
) -> bool:
    """Whether a symmetry takes one bond into the other, or into its way back over the same saddle.

    A bond is its start and its vector in the standard cell.
    """
    (start, vector), (target, wanted) = pair, other
    middle, aim = start + vector / 2, target + wanted / 2
    for rotation, translation in symmetries:
        turned = rotation @ vector
        off = rotation @ middle + translation - aim
        same = min(np.abs(turned - wanted).max(), np.abs(turned + wanted).max()) < SAME
        if same and np.abs(off - np.round(off)).max() < SAME:
            return True
    return False


def _called(vectors: Sequence[FloatArray], lattice: str | None) -> list[Hop]:
    """Names that do not depend on which of the hops is the shorter."""
    if len(vectors) == 1:
        return [Hop(vectors[0], "")]
    if lattice == "hcp" and len(vectors) == 2:
        basal, pyramidal = sorted(vectors, key=lambda one: abs(float(one[2])))
        return [Hop(basal, "basal"), Hop(pyramidal, "pyramidal")]
    ordered = sorted(vectors, key=lambda one: float(np.linalg.norm(one)))
    return [Hop(vector, f"hop {number}") for number, vector in enumerate(ordered, start=1)]
