"""Atoms that are too near each other."""

from __future__ import annotations

from ase import Atoms


def shortest_below(atoms: Atoms, distance: float) -> float | None:
    """Shortest distance between two atoms or an atom and an image, Å, if below `distance`."""
    if distance <= 0:
        return None
    from vesin import NeighborList

    finder = NeighborList(cutoff=distance, full_list=False, n_threads=1)
    (lengths,) = finder.compute(atoms.positions, atoms.cell.array, atoms.pbc, quantities="d")
    return float(lengths.min()) if len(lengths) else None
