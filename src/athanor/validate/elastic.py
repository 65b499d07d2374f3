"""Elastic constants of one crystal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.optimize import BFGS
from ase.units import GPa
from pydantic import Field

from athanor.errors import MeasurementError
from athanor.structure import FloatArray
from athanor.validate._alone import AloneConfig, Tell, silent
from athanor.validate._crystal import OfCrystal
from athanor.validate._extra import extra
from athanor.validate._measured import Line, Measured, Panel, Value
from athanor.validate._relaxing import STEPS
from athanor.validate._symmetry import symmetry_of
from athanor.validate._tensor import (
    Moduli,
    averaged,
    eigenvalues,
    independent,
    reuss_moduli,
    rotated,
    voigt,
    voigt_moduli,
    young_along,
)

FMAX = 1e-5
"""eV/Å, of the atoms in a strained cell: a strain of 1e-3 makes forces some thousand times it."""
FARTHEST = 0.2
"""Å that an atom may go in a strained cell and the crystal is still the same."""
STRAINS = 18
"""Strained cells that matscipy evaluates."""
ROUGH = 0.02
"""Part of the largest constant by which symmetry may be broken without a word."""
CUBIC = 3
"""Independent constants of a cubic crystal."""
ANGLES = 46


class Elastic(OfCrystal, AloneConfig):
    """The full elastic tensor from differences of stress, and what follows from it.

    The relaxed crystal is strained by plus and minus `strain` in each component, its atoms are
    relaxed at each strain, and the tensor is what the stresses differ by (matscipy), averaged over
    the crystal's point group (spglib). The frame is that of the conventional cell: a along x, b in
    the xy plane. A crystal whose tensor has a negative eigenvalue is unstable, which is a failure;
    what needs no inverse of the tensor is still given.

    Values, in GPa: the constants that are independent by symmetry ('C11', 'C12', 'C44' of cubic
    crystals), 'bulk modulus', 'shear modulus' and 'Young modulus' by Hill's average, the first two
    also '(Voigt)' and '(Reuss)', 'lowest eigenvalue'; and 'Poisson ratio', 'Zener ratio'.
    """

    kind: Literal["elastic"] = "elastic"
    strain: float = Field(
        default=1e-3,
        gt=0,
        le=0.05,
        description="each way; small, since an energy well need not be smooth at a percent",
    )
    relax_atoms: bool = Field(
        default=True, description="relax the atoms in the strained cells, as nature does"
    )

    @property
    def title(self) -> str:
        return f"Elastic constants of {self.crystal_name}"

    def alone(
        self, calculator: Calculator, *, seed: int, workdir: Path, tell: Tell = silent
    ) -> Measured:
        """Measure; nothing is drawn."""
        tell(0.0, "relaxing the crystal")
        start, crystal = symmetry_of(self.unrelaxed()), self.crystal(calculator)
        symmetry = symmetry_of(crystal)
        raw = rotated(self._differences(crystal, calculator, tell), symmetry.frame)
        point = symmetry.frame @ symmetry.rotations @ symmetry.frame.T
        matrix = averaged(raw, point)
        failures, notes = [], [f"The space group is {symmetry.group}."]
        if start.operations > symmetry.operations:
            failures.append(
                f"{self.crystal_name} lost symmetry while relaxing: from {start.group} to "
                f"{symmetry.group}"
            )
        rough = float(np.abs(raw - matrix).max())
        if rough > ROUGH * np.abs(matrix).max():
            notes.append(
                f"The differences of stress break the symmetry by up to {rough:.1f} GPa: the "
                f"energy is not smooth on the scale of a strain of {self.strain:g}."
            )
        least = float(eigenvalues(matrix)[0])
        if least <= 0:
            failures.append(
                f"{self.crystal_name} is unstable: its elastic tensor has the eigenvalue "
                f"{least:.1f} GPa"
            )
        return Measured(
            values=tuple(_values(matrix, point, stable=least > 0)),
            panels=_panels(matrix) if least > 0 else {},
            notes=tuple(notes),
            failures=tuple(failures),
            data={"voigt": matrix.tolist(), "space group": symmetry.group},
        )

    def _differences(self, crystal: Atoms, calculator: Calculator, tell: Tell) -> FloatArray:
        """Voigt matrix (6, 6) in GPa, in the crystal's own frame, symmetrised as it must be."""
        with extra("matscipy"):
            from matscipy.elasticity import measure_triclinic_elastic_constants
        strained = crystal.copy()
        strained.calc = calculator
        # an atom alone in its cell feels no force whatever the strain
        relaxing = self.relax_atoms and len(crystal) > 1
        optimiser = _counted(self.crystal_name, tell) if relaxing else None
        settings = {"fmax": FMAX, "steps": STEPS} if relaxing else {}
        tensor = measure_triclinic_elastic_constants(
            strained, delta=self.strain, optimizer=optimiser, **settings
        )
        return np.asarray(voigt(np.asarray(tensor)) / GPa)


def _counted(name: str, tell: Tell) -> Callable[..., Any]:
    """BFGS as matscipy calls it, which tells how far it is and does not pass over a failure."""
    done = 0

    class Strict(BFGS):
        def __init__(self, atoms: Atoms, **settings: Any) -> None:
            super().__init__(atoms, **settings)
            self._moving = atoms

        def run(self, fmax: float = FMAX, steps: int = STEPS) -> bool:
            nonlocal done
            tell(min(done / (STRAINS + 1), 1.0), "strained cells")
            done += 1
            start = self._moving.positions.copy()
            if not super().run(fmax=fmax, steps=steps):
                raise MeasurementError(
                    f"{name}: the atoms of a strained cell did not relax within {steps} steps"
                )
            moved = float(np.linalg.norm(self._moving.positions - start, axis=1).max())
            if moved > FARTHEST:
                raise MeasurementError(
                    f"{name} is unstable: strained a little, it became another structure in which "
                    f"an atom is {moved:.1f} Å from its place"
                )
            return True

    return Strict


def _values(matrix: FloatArray, point: FloatArray, *, stable: bool) -> Iterator[Value]:
    """Of a Voigt matrix in GPa and the point group in its frame."""
    free = independent(point)
    for i, j in free:
        yield Value(f"C{i + 1}{j + 1}", float(matrix[i, j]), "GPa")
    each = {"Voigt": voigt_moduli(matrix)} | ({"Reuss": reuss_moduli(matrix)} if stable else {})
    if stable:
        mean = Moduli(
            float(np.mean([one.bulk for one in each.values()])),
            float(np.mean([one.shear for one in each.values()])),
        )
        yield Value("bulk modulus", mean.bulk, "GPa")
        yield Value("shear modulus", mean.shear, "GPa")
        yield Value("Young modulus", mean.young, "GPa")
        yield Value("Poisson ratio", mean.poisson, "")
    for name, one in each.items():
        yield Value(f"bulk modulus ({name})", one.bulk, "GPa")
        yield Value(f"shear modulus ({name})", one.shear, "GPa")
    if len(free) == CUBIC and matrix[0, 0] != matrix[0, 1]:
        ratio = 2 * matrix[3, 3] / (matrix[0, 0] - matrix[0, 1])
        yield Value("Zener ratio", float(ratio), "")
    yield Value("lowest eigenvalue", float(eigenvalues(matrix)[0]), "GPa")


def _panels(matrix: FloatArray) -> dict[str, Panel]:
    """Young's modulus along directions from z to x and from x to y of the standard frame."""
    angles = np.linspace(0.0, 90.0, ANGLES)
    cos, sin, none = np.cos(np.radians(angles)), np.sin(np.radians(angles)), np.zeros(ANGLES)
    ways = {
        "z to x": (sin, none, cos),
        "x to y": (cos, sin, none),
        "z to xy": (sin / np.sqrt(2), sin / np.sqrt(2), cos),
    }
    lines = {
        name: Line.of(angles, young_along(matrix, np.stack(way, axis=1)))
        for name, way in ways.items()
    }
    return {"Young's modulus by direction": Panel("angle, °", "Young's modulus, GPa", lines)}
