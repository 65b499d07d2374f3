"""Velocities of a temperature."""

from __future__ import annotations

import numpy as np
from ase import Atoms, units


def thermalise(atoms: Atoms, temperature_K: float, rng: np.random.Generator) -> None:
    """Give the atoms Maxwell-Boltzmann momenta with total momentum zero.

    A single atom stays at rest.
    """
    masses = atoms.get_masses()[:, None]
    momenta = np.sqrt(masses * units.kB * temperature_K) * rng.standard_normal((len(atoms), 3))
    atoms.set_momenta(momenta - masses * momenta.sum(axis=0) / masses.sum())
