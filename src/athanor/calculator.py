"""Any athanor potential as an ASE calculator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from athanor.potentials import Potential, following, threaded


class PotentialCalculator(Calculator):
    """ASE front of a potential: energy (eV), forces (eV/Å), stress (eV/Å³, Voigt order of ASE)."""

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]

    def __init__(self, potential: Potential, *, threads: int = 1) -> None:
        super().__init__()
        self.potential = potential
        self._following = following(threaded(potential, threads))

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Evaluate once and keep every result the structure has (no stress without full pbc)."""
        super().calculate(atoms, list(properties), list(system_changes))
        labels = self._following.predict([self.atoms])[0]
        results: dict[str, Any] = {
            "energy": labels.energy,
            "free_energy": labels.energy,
            "forces": labels.forces,
        }
        if labels.stress is not None:
            results["stress"] = full_3x3_to_voigt_6_stress(labels.stress)
        elif "stress" in properties:
            raise PropertyNotImplementedError("stress needs a structure periodic in all directions")
        self.results = results


def calculator(potential: Potential, *, threads: int = 1) -> Calculator:
    """Return an ASE calculator that evaluates `potential`.

    `threads` is for large structures: moment tensor potentials and ANI networks share the atoms of
    one evaluation between so many, other kinds run on one. Last digits depend on it.
    """
    return PotentialCalculator(potential, threads=threads)
