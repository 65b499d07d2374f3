"""Harmonic vibrations of a crystal: force constants by finite displacements with phonopy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.dft.kpoints import parse_path_string

from athanor.errors import MeasurementError
from athanor.structure import FloatArray, bare
from athanor.validate._alone import Tell
from athanor.validate._extra import extra
from athanor.validate._spglib import asking

SYMPREC = 1e-3
"""Å within which the atoms of a relaxed crystal lie on its symmetry."""


@dataclass(frozen=True)
class Route:
    """Through reciprocal space, along straight lines between special points.

    Attributes
    ----------
    points : fractional, by name (G is the zone's centre).
    parts : names of the points that each part of the route joins; between parts it jumps.
    lengths : of the line to each point from the one before, as a part of the whole; 0 for a jump.
    """

    points: dict[str, FloatArray]
    parts: tuple[tuple[str, ...], ...]
    lengths: tuple[float, ...]

    @classmethod
    def of(cls, primitive: Atoms) -> Route:
        """The usual one of the lattice (Setyawan and Curtarolo 2010), as ASE knows it."""
        path = primitive.cell.bandpath(npoints=0)
        points = {name: np.asarray(place, float) for name, place in path.special_points.items()}
        parts = tuple(tuple(part) for part in parse_path_string(path.path))
        reciprocal = np.asarray(primitive.cell.reciprocal())
        lengths: list[float] = []
        for part in parts:
            places = np.array([points[name] for name in part]) @ reciprocal
            lengths += [0.0, *np.linalg.norm(np.diff(places, axis=0), axis=1).tolist()]
        whole = sum(lengths)
        return cls(points, parts, tuple(round(length / whole, 6) for length in lengths))

    @property
    def names(self) -> tuple[str, ...]:
        """Every point it passes, once."""
        return tuple(dict.fromkeys(name for part in self.parts for name in part))

    def places(self, points: int, lengths: tuple[float, ...]) -> tuple[FloatArray, FloatArray]:
        """Distances along it (with `lengths` for its own) and fractional wave vectors.

        Each line between special points has `points`, its ends included.
        """
        across: list[float] = []
        vectors: list[FloatArray] = []
        number, done = 0, 0.0
        for part in self.parts:
            for before, name in zip((None, *part), part, strict=False):
                length, number = lengths[number], number + 1
                if before is None:
                    continue
                share = np.linspace(0, 1, points)
                start, end = self.points[before], self.points[name]
                across += (done + share * length).tolist()
                vectors += list(start + share[:, None] * (end - start))
                done += length
        return np.array(across), np.array(vectors)

    def ticks(self, lengths: tuple[float, ...]) -> tuple[tuple[float, str], ...]:
        """Where the special points lie, with their names; both names where it jumps."""
        found: dict[float, str] = {}
        done, number = 0.0, 0
        for part in self.parts:
            for name in part:
                done, number = done + lengths[number], number + 1
                shown = "Γ" if name == "G" else name
                place = round(done, 6)
                found[place] = f"{found[place]}|{shown}" if place in found else shown
        return tuple(found.items())


def standard(crystal: Atoms, *, primitive: bool = False) -> Atoms:
    """The crystal's conventional (or `primitive`) cell with its symmetry made exact.

    Raises MeasurementError where spglib finds none.
    """
    with asking():
        import spglib

        cell = (crystal.cell.array, crystal.get_scaled_positions(), crystal.numbers)
        found = spglib.standardize_cell(cell, to_primitive=primitive, symprec=SYMPREC)
    if found is None:
        raise MeasurementError("the crystal's symmetry cannot be found (are atoms too near?)")
    vectors, places, numbers = found
    return Atoms(numbers=numbers, cell=vectors, scaled_positions=places, pbc=True)


class Harmonic:
    """Force constants of a crystal.

    Parameters
    ----------
    crystal : relaxed. length : least width of the supercell, Å. displacement : Å.
    """

    def __init__(
        self,
        crystal: Atoms,
        calculator: Calculator,
        *,
        length: float,
        displacement: float,
        tell: Tell,
    ) -> None:
        self._phonopy = _supercell(standard(crystal), length)
        with extra("phonopy"):
            self._phonopy.generate_displacements(distance=displacement)
        moved = [_atoms(one) for one in self._phonopy.supercells_with_displacements]
        forces = []
        for number, atoms in enumerate(moved):
            tell(0.1 + 0.8 * number / len(moved), f"displacement {number + 1} of {len(moved)}")
            forces.append(_forces(atoms, calculator))
        with extra("phonopy"):
            self._phonopy.forces = forces
            self._phonopy.produce_force_constants(
                calculate_full_force_constants=False, show_drift=False
            )
            constants = self._phonopy.force_constants
            self.sum_rule = float(np.abs(constants.sum(axis=1)).max() / np.abs(constants).max())
            """Largest sum of force constants over that of one, before it is made zero."""
            self._phonopy.symmetrize_force_constants(show_drift=False)
        self.evaluations = len(moved)
        self.atoms = len(self._phonopy.supercell)

    @property
    def primitive(self) -> Atoms:
        """The primitive cell that wave vectors refer to."""
        return _atoms(self._phonopy.primitive)

    def frequencies(self, vectors: FloatArray) -> FloatArray:
        """(n, modes) THz in ascending order at fractional wave vectors; imaginary ones negative."""
        with extra("phonopy"):
            self._phonopy.run_qpoints(vectors)
        return np.asarray(self._phonopy.qpoints.frequencies)

    def mesh(self, length: float) -> tuple[FloatArray, FloatArray]:
        """Weights (n, sum 1) and frequencies (n, modes), THz, of a mesh; `length` is phonopy's."""
        with extra("phonopy"):
            self._phonopy.run_mesh(length)
        mesh = self._phonopy.mesh
        weights = np.asarray(mesh.weights, float)
        return weights / weights.sum(), np.asarray(mesh.frequencies)

    def density(self) -> tuple[FloatArray, FloatArray]:
        """Frequencies, THz, and states per THz and atom, of the last mesh; they sum to 3."""
        with extra("phonopy"):
            self._phonopy.run_total_dos()
        found = self._phonopy.total_dos
        per_atom = np.asarray(found.dos) / len(self._phonopy.primitive)
        return np.asarray(found.frequency_points), per_atom


def _supercell(cell: Atoms, length: float) -> Any:
    """The Phonopy object of a conventional cell."""
    heights = 1 / np.linalg.norm(np.asarray(cell.cell.reciprocal()), axis=1)
    repeats = np.maximum(1, np.ceil(length / heights - 1e-6)).astype(int)
    with extra("phonopy"):
        from phonopy import Phonopy
        from phonopy.structure.atoms import PhonopyAtoms

        unit = PhonopyAtoms(
            symbols=list(cell.symbols),
            cell=cell.cell.array,
            scaled_positions=cell.get_scaled_positions(),
        )
        return Phonopy(unit, supercell_matrix=np.diag(repeats), primitive_matrix="auto")


def _atoms(given: Any) -> Atoms:
    return Atoms(given.symbols, cell=given.cell, scaled_positions=given.scaled_positions, pbc=True)


def _forces(atoms: Atoms, calculator: Calculator) -> FloatArray:
    """Forces, eV/Å; MeasurementError where one is not finite."""
    probe = bare(atoms)
    probe.calc = calculator
    forces = np.asarray(probe.get_forces(), float)
    if not np.isfinite(forces).all():
        raise MeasurementError("the forces of a displaced crystal are not finite")
    return forces
