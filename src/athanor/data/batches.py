"""Batches of structures: few enough atoms at a time that what is computed of them fits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ase import Atoms

ATOMS_AT_ONCE = 4000
"""Enough that a call costs little beside its atoms, few enough to hold their derivatives."""


def batches_of(structures: Iterable[Atoms]) -> Iterator[list[Atoms]]:
    """Batches of at most ATOMS_AT_ONCE atoms, or of a single structure with more; in order."""
    batch: list[Atoms] = []
    held = 0
    for atoms in structures:
        if batch and held + len(atoms) > ATOMS_AT_ONCE:
            yield batch
            batch, held = [], 0
        batch.append(atoms)
        held += len(atoms)
    if batch:
        yield batch
