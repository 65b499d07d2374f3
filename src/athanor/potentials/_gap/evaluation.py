"""Evaluating a GAP with quippy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms

from athanor.errors import FitError
from athanor.potentials._gap.extra import extra
from athanor.potentials._gap.model import GapModel
from athanor.structure import FloatArray, bare

_VARIANCE = "local_gap_variance"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Energy (eV), forces (n_atoms, 3) eV/Å, stress (3, 3) eV/Å³ where asked for."""

    energy: float
    forces: FloatArray
    stress: FloatArray | None


class Evaluator:
    """A potential of quippy, which lives in one process and does not pickle.

    Structures must have been checked: QUIP takes NaN for an empty neighbourhood, and unknown
    elements for atoms without energy.

    Raises FitError where QUIP does not understand the parameters.
    """

    def __init__(self, model: GapModel) -> None:
        with extra():
            from quippy.potential import Potential
        try:
            self._potential = Potential(param_str=model.xml, calculation_always_required=True)
        except RuntimeError as error:
            raise FitError(f"QUIP does not take this potential ({_words(error)})") from None

    def evaluate(self, atoms: Atoms, *, stress: bool) -> Evaluation:
        """Energy, forces and, of a structure periodic in all directions, stress in one call."""
        wanted = stress and bool(atoms.pbc.all())
        self._calculate(atoms, ["energy", "forces", *(["stress"] if wanted else [])])
        results = self._potential.results
        found = None
        if wanted:
            virial = self._potential.extra_results["config"]["virial"]
            found = -0.5 * (virial + virial.T) / atoms.cell.volume
        return Evaluation(float(results["energy"]), np.array(results["forces"], dtype=float), found)

    def variance(self, atoms: Atoms) -> FloatArray:
        """(n_atoms,) eV²; rounding below zero is taken for zero."""
        self._calculate(atoms, ["energy"], calc_args=_VARIANCE)
        found = self._potential.extra_results["atoms"][_VARIANCE]
        return np.asarray(np.maximum(np.array(found, dtype=float), 0.0), dtype=float)

    def _calculate(self, atoms: Atoms, properties: list[str], *, calc_args: str = "") -> None:
        # momenta and arrays of others are no business of QUIP
        try:
            self._potential.calculate(bare(atoms), properties, calc_args=calc_args)
        except RuntimeError as error:
            raise FitError(
                f"QUIP cannot evaluate {atoms.get_chemical_formula()} ({_words(error)})"
            ) from None


def _words(error: RuntimeError) -> str:
    """The message of QUIP, which is padded with blanks and broken into lines."""
    return " ".join(str(error).split()) or "it gave no reason"
