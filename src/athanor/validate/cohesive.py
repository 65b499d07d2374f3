"""Lattice constants and cohesive energy of one crystal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from pydantic import AfterValidator, Field

from athanor.calculator import PotentialCalculator
from athanor.errors import MeasurementError
from athanor.potentials.lj import LennardJones
from athanor.validate._alone import AloneConfig, Tell, silent
from athanor.validate._crystal import OfCrystal
from athanor.validate._lattice import check_element
from athanor.validate._measured import Measured, Value
from athanor.validate._symmetry import symmetry_of

BOX = 30.0
"""Å: side of the empty cell around an isolated atom, without periodicity."""
EXACT = 1e-4
"""Relative difference below which two lattice constants are one."""


class Cohesive(OfCrystal, AloneConfig):
    """Lattice constants of the relaxed crystal and its energy below that of isolated atoms.

    The cohesive energy is the mean energy of the isolated atoms less that of the crystal, per atom:
    positive where the crystal is bound. The subject's own isolated atom is evaluated, which is
    meaningful for pair and embedded-atom potentials and, if its spin state is right, for
    electronic-structure codes. A potential fitted to condensed matter alone never saw an isolated
    atom and gives it any energy; give `atom_energies` then.

    Values: 'energy' and 'cohesive energy' (eV/atom), 'volume' (Å³/atom), 'a' and, where they are
    different, 'b', 'c', 'c/a', and angles that are neither 90 nor 120°, all of the conventional
    cell that spglib finds.
    """

    kind: Literal["cohesive"] = "cohesive"
    atom_energies: dict[Annotated[str, AfterValidator(check_element)], float] = Field(
        default={},
        description="eV of an isolated atom by element, on the potential's scale of energy, where "
        "its own atom says nothing",
    )

    @property
    def title(self) -> str:
        return f"Lattice constants and cohesive energy of {self.crystal_name}"

    def alone(
        self, calculator: Calculator, *, seed: int, workdir: Path, tell: Tell = silent
    ) -> Measured:
        """Relax and evaluate; nothing is drawn."""
        tell(0.0, "relaxing")
        crystal = self.crystal(calculator)
        start, whole = symmetry_of(self.unrelaxed()), symmetry_of(crystal)
        energy = _energy(crystal, calculator) / len(crystal)
        values = [Value("energy", energy, "eV/atom"), *_cell(whole.atoms)]
        failures, notes = [], [f"The space group is {whole.group}."]
        if start.operations > whole.operations:
            failures.append(
                f"{self.crystal_name} lost symmetry while relaxing: from {start.group} to "
                f"{whole.group}"
            )
        try:
            tell(0.8, "isolated atoms")
            free = self._isolated(crystal, calculator)
        except MeasurementError as error:
            failures.append(str(error))
        else:
            values.append(Value("cohesive energy", free - energy, "eV/atom"))
            notes += self._of_atoms(crystal, calculator)
        return Measured(tuple(values), notes=tuple(notes), failures=tuple(failures))

    def _isolated(self, crystal: Atoms, calculator: Calculator) -> float:
        """Mean energy of the isolated atoms, eV."""
        symbols = list(crystal.symbols)
        free = {
            symbol: self.atom_energies[symbol]
            if symbol in self.atom_energies
            else _atom(symbol, calculator)
            for symbol in sorted(set(symbols))
        }
        return float(np.mean([free[symbol] for symbol in symbols]))

    def _of_atoms(self, crystal: Atoms, calculator: Calculator) -> Iterator[str]:
        own = sorted(set(crystal.symbols) - set(self.atom_energies))
        learnt = isinstance(calculator, PotentialCalculator) and not isinstance(
            calculator.potential, LennardJones
        )
        if own and learnt:
            yield (
                f"The isolated {', '.join(own)} is what this potential makes of it, which means "
                "something only if isolated atoms were trained on; else give atom_energies."
            )


def _atom(symbol: str, calculator: Calculator) -> float:
    atoms = Atoms(symbol, positions=[[BOX / 2] * 3], cell=[BOX] * 3, pbc=False)
    try:
        energy = _energy(atoms, calculator)
    except Exception as error:
        # an atom without neighbours is what calculators of any kind may not be made for
        raise MeasurementError(
            f"the isolated {symbol} atom has no energy here ({error}); give atom_energies"
        ) from error
    if not np.isfinite(energy):
        raise MeasurementError(
            f"the isolated {symbol} atom has no finite energy here; give atom_energies"
        )
    return energy


def _energy(atoms: Atoms, calculator: Calculator) -> float:
    copied = atoms.copy()
    copied.calc = calculator
    return float(copied.get_potential_energy())


def _cell(atoms: Atoms) -> Iterator[Value]:
    """Volume and those lattice parameters that are not given by the others."""
    yield Value("volume", atoms.get_volume() / len(atoms), "Å³/atom")
    a, b, c, *angles = atoms.cell.cellpar().tolist()
    yield Value("a", a, "Å")
    if abs(b / a - 1) > EXACT:
        yield Value("b", b, "Å")
    if abs(c / a - 1) > EXACT:
        yield Value("c", c, "Å")
        yield Value("c/a", c / a, "")
    for name, angle in zip(("alpha", "beta", "gamma"), angles, strict=True):
        if min(abs(angle - right) for right in (90, 120)) > 0.01:
            yield Value(name, angle, "°")
