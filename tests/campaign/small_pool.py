"""The tables of a small distillation: a crystal shaken at three amplitudes, learned by fakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk

from athanor.data.formats import write_structures
from athanor.structure import Labels
from athanor.testing.fakes import FakePotentialConfig

AMPLITUDES = (0.02, 0.15, 0.4)
EACH = 12


def frames(seed: int = 3) -> tuple[list[Atoms], list[Labels], list[str]]:
    """Structures, labels by the fake teacher, and the amplitude of each in words."""
    rng = np.random.default_rng(seed)
    structures, groups = [], []
    for amplitude in AMPLITUDES:
        for _ in range(EACH):
            atoms = bulk("Al", cubic=True, a=4.05)
            atoms.positions += rng.normal(scale=amplitude, size=(4, 3))
            structures.append(atoms)
            groups.append(f"shaken by {amplitude}")
    return structures, FakePotentialConfig.example(seed=0).predict(structures), groups


def write_pool(path: Path, *, labelled: bool = True) -> Path:
    """The frames as a file."""
    structures, labels, groups = frames()
    info = [{"group": group} for group in groups]
    write_structures(path, structures, labels=labels if labelled else None, info=info)
    return path


def tables(pool: Path) -> dict[str, Any]:
    """The tables of a small campaign file."""
    return {
        "campaign": {"name": "small pool", "seed": 5, "workers": 1},
        "pool": {"kind": "file", "path": str(pool)},
        "query": {
            "kind": "clustering",
            "cutoff": 4.0,
            "n_max": 2,
            "l_max": 2,
            "basis": "gto",
            "max_clusters": 8,
        },
        "potential": {"kind": "fake", "size": {"low": 1, "high": 4}},
        "search": {"trials": 3, "initial": 2, "later_trials": 2, "method": "random"},
        "cycle": {"fraction": 0.2},
        "stop": {"energy_rmse_meV": 1e-6, "max_cycles": 2},
        "compare": {"seeds": 3, "arms": ["clusters", "soap", "farthest", "random", "everything"]},
    }
