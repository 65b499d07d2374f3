"""A minimum-energy path between two structures in one cell: ASE's climbing nudged elastic band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.geometry import find_mic
from ase.mep import NEB
from ase.optimize import FIRE

from athanor.errors import MeasurementError
from athanor.structure import FloatArray, bare

SPRING = 0.5
"""eV/Å²; only where the images lie depends on it."""
ROUGH = 0.2
"""eV/Å from which on the highest image climbs."""


@dataclass(frozen=True, slots=True)
class Band:
    """Images from the start to the end and their energies, eV."""

    images: tuple[Atoms, ...]
    energies: FloatArray

    @property
    def barrier(self) -> float:
        """Of the highest image over the start, eV."""
        return float(self.energies.max() - self.energies[0])


def between(start: Atoms, end: Atoms, images: int) -> list[Atoms]:
    """`images` structures on the straight line, both ends included.

    Cell vectors go straight from the one to the other; atoms too, in the cell as it changes and
    each the short way. `end` has the atoms of `start` in the same order.
    """
    first, last = (np.asarray(atoms.cell.complete()) for atoms in (start, end))
    middle = (first + last) / 2
    places = start.positions @ np.linalg.inv(first)
    off = (end.positions @ np.linalg.inv(last) - places) @ middle
    step = find_mic(off, middle, start.pbc)[0] @ np.linalg.inv(middle)
    found = []
    for share in np.linspace(0, 1, images):
        image = bare(start)
        image.set_cell(start.cell.array + share * (end.cell.array - start.cell.array))
        image.positions = (places + share * step) @ (first + share * (last - first))
        found.append(image)
    return found


def climbed(
    start: Atoms, end: Atoms, calculator: Calculator, *, images: int, fmax: float, steps: int
) -> Band:
    """The path of lowest energy between two relaxed structures of equal atoms and cell.

    Parameters
    ----------
    images : structures, both ends included; the highest climbs onto the saddle.
    fmax : eV/Å, the force across the path that is left.

    Raises
    ------
    MeasurementError : not converged within `steps`.
    """
    path = between(start, end, images)
    for image in path:
        image.calc = calculator
    band = NEB(path, k=SPRING, climb=False, method="improvedtangent", allow_shared_calculator=True)
    with FIRE(band, logfile=None) as optimiser:
        optimiser.run(fmax=max(ROUGH, fmax), steps=steps)
        band.climb = True
        converged = optimiser.run(fmax=fmax, steps=steps)
    if not converged:
        raise MeasurementError(
            f"the path did not converge to {fmax} eV/Å within {steps} steps (an image may have "
            "fallen into a third structure)"
        )
    found = tuple(bare(image) for image in path)
    return Band(found, energies_of(found, calculator))


def energies_of(images: Sequence[Atoms], calculator: Calculator) -> FloatArray:
    """Energy of each, eV."""
    found = []
    for image in images:
        probe = bare(image)
        probe.calc = calculator
        found.append(float(probe.get_potential_energy()))
    return np.array(found)
