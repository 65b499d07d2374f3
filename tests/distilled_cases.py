"""A small distillation for tests: shaken aluminium, learned by Lennard-Jones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

GROUPS = {"plateau 300 <b>": 0.02, "plateau $1000$ 温": 0.08, "_ramp 2000": 0.2}
EACH = 12


def write_pool(path: Path, *, groups: bool = True) -> Path:
    """Structures with energies, forces and stress of an EMT calculation."""
    rng = np.random.default_rng(11)
    frames = []
    for name, amplitude in GROUPS.items():
        for _ in range(EACH):
            atoms = bulk("Al", cubic=True, a=4.05)
            atoms.positions += rng.normal(scale=amplitude, size=(4, 3))
            atoms.calc = EMT()
            labels = {
                "energy": atoms.get_potential_energy(),
                "forces": atoms.get_forces(),
                "stress": atoms.get_stress(),
            }
            atoms.calc = SinglePointCalculator(atoms, **labels)
            if groups:
                atoms.info["plateau"] = name
            frames.append(atoms)
    write(path, frames)
    return path


def campaign_text(pool: Path, *, stop: str = "max_cycles = 2", compare: bool = True) -> str:
    """A campaign file that takes seconds."""
    arms = '["clusters", "soap", "farthest", "random", "everything"]'
    section = f"[compare]\nseeds = 3\narms = {arms}" if compare else ""
    return f"""
[campaign]
name = "small <b>pool</b>"
seed = 5
workers = 1
[pool]
kind = "file"
path = "{pool}"
group = "plateau"
[query]
kind = "clustering"
cutoff = 4.0
n_max = 2
l_max = 2
basis = "gto"
max_clusters = 8
[potential]
kind = "lj"
cutoff = {{ low = 3.5, high = 4.5 }}
force_weight = {{ choices = [0.0, 0.1] }}
[search]
trials = 3
initial = 2
later_trials = 2
method = "random"
[cycle]
fraction = 0.2
[stop]
energy_rmse_meV = 0.001
{stop}
{section}
"""
