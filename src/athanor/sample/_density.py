"""Density of a periodic structure, and changing it while atoms move."""

from __future__ import annotations

from ase import Atoms
from ase.units import kg

from athanor.errors import ConfigError

GRAM_PER_CM3 = 1e-27 * kg
"""amu/Å³ in one g/cm³."""


def density_of(atoms: Atoms) -> float:
    """Density in g/cm³ of a structure that is periodic in all three directions.

    Raises ConfigError for any other.
    """
    if not atoms.pbc.all():
        raise ConfigError(
            f"the structure {atoms.get_chemical_formula()} is not periodic in all three "
            "directions, so it has no density to follow a schedule; leave [sample.density] out, "
            "or give periodic starts"
        )
    return float(atoms.get_masses().sum() / abs(atoms.get_volume()) / GRAM_PER_CM3)


def compress(atoms: Atoms, density: float) -> None:
    """Scale cell and positions alike to a density in g/cm³, momenta by the inverse.

    Momenta so scaled do work as a piston does: without forces, T V^(2/3) stays (Andersen, J. Chem.
    Phys. 72, 2384, 1980, for a volume that is given, not dynamic).
    """
    scale = (density_of(atoms) / density) ** (1 / 3)
    atoms.cell[:] = atoms.cell.array * scale
    atoms.positions *= scale
    if "momenta" in atoms.arrays:
        atoms.arrays["momenta"] /= scale
