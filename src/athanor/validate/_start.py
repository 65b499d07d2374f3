"""What dynamics start from, and plain data of where they ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from pydantic import Field

from athanor.data.formats import read_structures
from athanor.errors import ConfigError
from athanor.structure import bare
from athanor.validate._crystal import OfCrystal
from athanor.validate._driven import steps_of
from athanor.validate._structure.trajectory import repeated


class OfDynamics(OfCrystal):
    """Fields of properties of dynamics.

    They start from the relaxed crystal of `element` and `lattice`, or from a `file` as it is.
    """

    atoms: int = Field(default=256, ge=2, description="the cell is repeated to about so many")
    timestep_fs: float = Field(default=2.0, gt=0)

    def start(self, calculator: Calculator) -> Atoms:
        """What the dynamics start from; MeasurementError where the crystal does not keep."""
        if self.file is None:
            return repeated(self.crystal(calculator, cubic=True), self.atoms)
        given = read_structures(self.file)
        if len(given) != 1:
            raise ConfigError(
                f"{self.file} holds {len(given)} structures, dynamics start from one; "
                "give a file with one"
            )
        return repeated(bare(given[0]), self.atoms)

    def steps(self, time_ps: float) -> int:
        """Steps in a time."""
        return steps_of(time_ps, self.timestep_fs)


def plain_structure(atoms: Atoms) -> dict[str, Any]:
    """Numbers, positions (Å), cell (Å) and pbc as JSON can hold them."""
    return {
        "numbers": atoms.numbers.tolist(),
        "positions": atoms.positions.tolist(),
        "cell": atoms.cell.array.tolist(),
        "pbc": atoms.pbc.tolist(),
    }


def structure_of(data: Mapping[str, Any]) -> Atoms:
    """The inverse of `plain_structure`."""
    return Atoms(
        numbers=np.array(data["numbers"], dtype=int),
        positions=np.array(data["positions"], dtype=float),
        cell=np.array(data["cell"], dtype=float),
        pbc=data["pbc"],
    )
