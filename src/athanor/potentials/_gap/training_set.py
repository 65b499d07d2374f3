"""The training set as gap_fit reads it, and what of it can be learned from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import combinations_with_replacement

import numpy as np
from ase import Atoms
from ase.geometry import complete_cell

from athanor.data.dataset import Dataset
from athanor.potentials.lj import find_pairs
from athanor.structure import FloatArray, Frame

Pair = tuple[str, str]


def extxyz_text(train: Dataset, *, reach: float) -> str:
    """Energies, forces and virials of all frames; forces and virials only where they are known."""
    return "".join(_frame_text(frame, reach) for frame in train)


def _frame_text(frame: Frame, reach: float) -> str:
    atoms, labels = frame.atoms, frame.labels
    columns = [atoms.positions]
    properties = "species:S:1:pos:R:3"
    if labels.has_forces:
        columns.append(labels.forces)
        properties += ":force:R:3"
    said = {
        "Lattice": f'"{_numbers(_boxed(atoms, reach))}"',
        "Properties": properties,
        "energy": f"{float(labels.energy)!r}",
        "pbc": '"' + " ".join("TF"[not flag] for flag in atoms.pbc) + '"',
    }
    if labels.stress is not None:
        said["virial"] = f'"{_numbers(-labels.stress * atoms.cell.volume)}"'
    header = " ".join(f"{key}={value}" for key, value in said.items())
    rows = np.concatenate(columns, axis=1).tolist()
    lines = [
        f"{symbol} {' '.join(map(repr, row))}"
        for symbol, row in zip(atoms.symbols, rows, strict=True)
    ]
    return "\n".join([str(len(atoms)), header, *lines, ""])


def _boxed(atoms: Atoms, reach: float) -> FloatArray:
    """A cell of full rank: open directions get a vector across which no atoms meet."""
    cell = np.where(atoms.pbc[:, None], atoms.cell.array, 0.0)
    if atoms.pbc.all():
        return np.asarray(cell)
    room = float(np.linalg.norm(np.ptp(atoms.positions, axis=0))) + 3 * reach
    full = complete_cell(cell)
    across = room * full / np.linalg.norm(full, axis=1, keepdims=True)
    return np.asarray(np.where(atoms.pbc[:, None], full, across), dtype=float)


def _numbers(values: FloatArray) -> str:
    return " ".join(map(repr, np.asarray(values, dtype=float).ravel().tolist()))


def environments(train: Dataset) -> dict[str, int]:
    """Atoms of each element, of which each is an environment."""
    return dict(Counter(symbol for atoms in train.structures for symbol in atoms.symbols))


def pairs(train: Dataset, species: tuple[str, ...], cutoff: float) -> dict[Pair, int]:
    """Pairs of atoms within the cutoff by their elements, in `species` order; none is left out."""
    order = {symbol: number for number, symbol in enumerate(species)}
    n = len(species)
    counts = np.zeros(n * n, dtype=np.int64)
    for atoms in train.structures:
        found = find_pairs(atoms, cutoff)
        types = np.array([order[symbol] for symbol in atoms.symbols])
        one, two = types[found.i], types[found.j]
        counts += np.bincount(np.minimum(one, two) * n + np.maximum(one, two), minlength=n * n)
    table = counts.reshape(n, n)
    return {
        (species[a], species[b]): int(table[a, b])
        for a, b in combinations_with_replacement(range(n), 2)
    }


def offsets(
    train: Dataset, species: tuple[str, ...], given: Mapping[str, float] | None
) -> dict[str, float]:
    """eV per atom of each element: those given, else by least squares about the mean energy.

    Where compositions do not tell elements apart, these share the energy equally.
    """
    if given is not None:
        return {symbol: float(given[symbol]) for symbol in species}
    sizes = np.array([len(atoms) for atoms in train.structures], dtype=float)
    counts = np.array(
        [[np.sum(atoms.symbols == s) for s in species] for atoms in train.structures], dtype=float
    )
    per_atom = np.array([labels.energy for labels in train.labels]) / sizes
    mean = float(per_atom.mean())
    found, *_ = np.linalg.lstsq(counts / sizes[:, None], per_atom - mean, rcond=1e-8)
    return {symbol: mean + float(off) for symbol, off in zip(species, found, strict=True)}
