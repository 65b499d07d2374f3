"""Data for the example of the conformance suite."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from athanor.data.dataset import Dataset
from athanor.structure import Frame, Labels

_SPACING = 2.6


def random_crystals(seed: int, *, count: int = 3) -> Dataset:
    """Displaced simple cubic cells of four Al and four Ni with drawn energies and forces."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), axis=-1).reshape(-1, 3)
    frames = []
    for _ in range(count):
        positions = _SPACING * (grid + rng.uniform(-0.12, 0.12, grid.shape))
        symbols = rng.permutation(["Al"] * 4 + ["Ni"] * 4).tolist()
        atoms = Atoms(symbols, positions=positions, cell=2 * _SPACING * np.eye(3), pbc=True)
        labels = Labels(
            float(rng.normal(-20, 0.5)), rng.normal(0, 0.5, (8, 3)), rng.normal(0, 0.01) * np.eye(3)
        )
        frames.append(Frame(atoms, labels))
    return Dataset.of(frames)
