"""Structures side by side as flat arrays of atoms and pairs; neighbours by our own core."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from athanor import _core
from athanor.errors import StructureError
from athanor.structure import FloatArray, Frame

CLOSEST = 1e-3
"""Å; nearer atoms count as coincident."""

Index = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Atoms and pairs of some structures.

    Attributes
    ----------
    types : (n_atoms,) species indices.
    frames : (n_atoms,) number of the structure that an atom belongs to.
    first, second : (n_pairs,) atoms of each pair, both orders, sorted by the first.
    vectors : (n_pairs, 3) Å, from first to second.
    n_frames : number of structures.
    """

    types: Index
    frames: Index
    first: Index
    second: Index
    vectors: FloatArray
    n_frames: int

    @classmethod
    def of(
        cls,
        structures: Sequence[Atoms],
        types: Sequence[Index],
        *,
        cutoff: float,
        name: Callable[[int], str] | None = None,
    ) -> Batch:
        """Find the pairs within `cutoff`; StructureError names coincident atoms.

        `name` gives what a structure is called in messages, by its place; else it is its formula.
        """
        sizes = np.array([len(atoms) for atoms in structures], dtype=np.int64)
        starts = np.cumsum(sizes) - sizes
        pairs = [_pairs(atoms, cutoff, k, name) for k, atoms in enumerate(structures)]
        return cls(
            types=np.concatenate(types),
            frames=np.repeat(np.arange(len(sizes)), sizes),
            first=np.concatenate([at + i for at, (i, _, _) in zip(starts, pairs, strict=True)]),
            second=np.concatenate([at + j for at, (_, j, _) in zip(starts, pairs, strict=True)]),
            vectors=np.concatenate([vectors for _, _, vectors in pairs]),
            n_frames=len(sizes),
        )


def _pairs(
    atoms: Atoms, cutoff: float, place: int, name: Callable[[int], str] | None
) -> tuple[Index, Index, FloatArray]:
    """All pairs of one structure, self-images included, in cells of any shape."""
    try:
        first, second, vectors = _core.all_pairs(
            np.ascontiguousarray(atoms.positions),
            np.ascontiguousarray(atoms.cell.array),
            np.ascontiguousarray(atoms.pbc),
            cutoff,
        )
    except _core.StructureFault as fault:
        called = name(place) if name else atoms.get_chemical_formula()
        raise StructureError(f"{called}: {fault}; mend this structure or leave it out") from None
    if len(vectors):
        squared = np.einsum("pk,pk->p", vectors, vectors)
        at = int(np.argmin(squared))
        if squared[at] < CLOSEST**2:
            called = name(place) if name else atoms.get_chemical_formula()
            raise StructureError(
                f"{called}: atoms {int(first[at])} and {int(second[at])} are "
                f"{np.sqrt(squared[at]):.1e} Å apart, nearer than {CLOSEST} Å; remove one of them"
            )
    order = np.argsort(first, kind="stable")
    return first[order].astype(np.int64), second[order].astype(np.int64), vectors[order]


def shortest(
    structures: Sequence[Atoms], *, at_most: float, name: Callable[[int], str] | None = None
) -> float:
    """The shortest distance of two atoms, Å, or `at_most` where all are farther apart."""
    found = at_most
    for place, atoms in enumerate(structures):
        _, _, vectors = _pairs(atoms, found, place, name)
        if len(vectors):
            found = float(np.sqrt((vectors**2).sum(axis=1).min()))
    return found


def frame_name(frame: Frame, where: str, number: int) -> str:
    """A frame in messages: its number in which set, and where it came from."""
    return f"{where} frame {number} ({frame.origin or frame.atoms.get_chemical_formula()})"
