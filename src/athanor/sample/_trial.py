"""A potential on trial while it moves atoms: evaluated directly, watched, graded, harvested."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from ase import Atoms

from athanor.data.closeness import shortest_below
from athanor.errors import StructureError
from athanor.potentials import Potential, following
from athanor.query import Grade, GradesInPassing, Query
from athanor.sample import Harvest, Stop
from athanor.structure import FloatArray, Labels, bare, check_structure

HEALTHY_FRAMES = 3


class DirectCalculator:
    """The three calls ASE's integrators make, answered by the potential alone.

    ASE's `Calculator` copies and compares the structure at every call, which for 64 atoms takes as
    long as a small moment tensor potential needs for the forces.

    Parameters
    ----------
    query : grades in the evaluation that gives the labels, where it can.
    follow : whether neighbours are kept from call to call; in a cell that changes they cannot be.

    Attributes
    ----------
    grading : set it while a structure is going to be graded where it moves next: one evaluation
        serves both then.
    labels, grade : of the structure evaluated last; the grade is None when it was not graded.
    """

    def __init__(
        self, potential: Potential, query: Query | None = None, *, follow: bool = True
    ) -> None:
        self.potential = potential
        self._following = following(potential) if follow else potential
        self.grading = False
        self.labels: Labels | None = None
        self.grade: Grade | None = None
        # a query fitted to another potential has other labels
        able = isinstance(query, GradesInPassing) and query.potential is potential
        self._query = cast(GradesInPassing, query) if able else None
        self._where: tuple[FloatArray, FloatArray] | None = None

    def _evaluate(self, atoms: Atoms) -> Labels:
        known = self.labels
        if known is None or not self._same(atoms):
            if self.grading and self._query is not None:
                ((known, self.grade),) = self._query.evaluated([atoms], stress=False)
            else:
                known, self.grade = self._following.predict([atoms], stress=False)[0], None
            self.labels = known
            self._where = atoms.positions.copy(), atoms.cell.array.copy()
        return known

    def _same(self, atoms: Atoms) -> bool:
        """Whether it was evaluated last where it is, in the cell it has."""
        if self._where is None:
            return False
        positions, cell = self._where
        return np.array_equal(positions, atoms.positions) and np.array_equal(cell, atoms.cell.array)

    def get_potential_energy(self, atoms: Atoms, force_consistent: bool = False) -> float:
        """Energy in eV (there is only one)."""
        return self._evaluate(atoms).energy

    def get_forces(self, atoms: Atoms) -> FloatArray:
        """Forces (n_atoms, 3) in eV/Å."""
        return self._evaluate(atoms).forces.copy()


@dataclass(frozen=True, slots=True)
class Limits:
    """What a healthy frame must keep.

    Attributes
    ----------
    min_distance : Å; atoms nearer than this halt the run.
    temperature_K : of the whole structure.
    atom_energy_eV : kinetic energy of a single atom.
    """

    min_distance: float = 0.0
    temperature_K: float = np.inf
    atom_energy_eV: float = np.inf

    def broken(self, atoms: Atoms, labels: Labels | None) -> tuple[Stop, str] | None:
        """Return which limit a frame breaks, and the phrase for people; None for a healthy one."""
        numbers = [atoms.positions, atoms.get_momenta()]
        if labels is not None:
            numbers += [labels.forces, np.array([labels.energy])]
        if not all(np.isfinite(array).all() for array in numbers):
            return "nan", "energy, forces or positions stopped being finite"
        if "momenta" in atoms.arrays and (hot := self._hot(atoms)) is not None:
            return hot
        try:
            # what a neighbour list would choke on: a structure that flew apart
            check_structure(atoms)
        except StructureError as error:
            return "distance", str(error)
        shortest = shortest_below(atoms, self.min_distance)
        if shortest is not None:
            return "distance", (
                f"two atoms came within {shortest:.2f} Å (limit {self.min_distance:.2f} Å)"
            )
        return None

    def _hot(self, atoms: Atoms) -> tuple[Stop, str] | None:
        temperature = atoms.get_temperature()
        if temperature > self.temperature_K:
            return "temperature", (
                f"the temperature reached {temperature:.0f} K (limit {self.temperature_K:.0f} K)"
            )
        energies = 0.5 * (atoms.get_momenta() ** 2).sum(axis=1) / atoms.get_masses()
        if energies.max() > self.atom_energy_eV:
            return "temperature", (
                f"an atom reached a kinetic energy of {energies.max():.1f} eV "
                f"(limit {self.atom_energy_eV:.1f} eV)"
            )
        return None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A frame worth a label, with why."""

    step: int
    atoms: Atoms
    grade: Grade
    reason: str


@dataclass
class Trial:
    """Judges frames as a run goes on and keeps what is worth a label.

    Attributes
    ----------
    spacing : steps that must lie between two saved candidates.
    capacity : saved candidates kept, those of the highest grade.
    stopped_by : completed until something halts the run.
    lost : what ended it, in words, unless that was a grade.
    """

    query: Query | None
    limits: Limits
    spacing: int = 0
    capacity: int = 10
    stopped_by: Stop = "completed"
    lost: str = ""
    last_saved: int | None = None
    saved: list[Candidate] = field(default_factory=list)
    final: list[Candidate] = field(default_factory=list)
    healthy: list[Candidate] = field(default_factory=list)
    trace: list[dict[str, float]] = field(default_factory=list)

    def judge(
        self,
        atoms: Atoms,
        labels: Labels | None,
        step: int,
        *,
        when: str,
        grade: Grade | None = None,
    ) -> bool:
        """Check and grade one frame; False when the run must stop here.

        `when` says in words where the run is ("0.35 ps, 812 K"); a `grade` that came with the
        labels is not asked for again.
        """
        with np.errstate(
            over="ignore", invalid="ignore"
        ):  # a frame gone mad is found, not warned of
            broken = self.limits.broken(atoms, labels)
        if broken is not None:
            self.lose(*broken, when=when)
            return False
        if self.query is None:
            return True
        frame = bare(atoms)
        frame.wrap()
        try:
            grade = grade or self.query.grade([frame])[0]
        except StructureError as error:
            self.lose("distance", str(error), when=when)
            return False
        if np.isnan(grade.value):
            self.lose("nan", "the grade stopped being a number", when=when)
            return False
        return self._take(frame, grade, step, when)

    def _take(self, frame: Atoms, grade: Grade, step: int, when: str) -> bool:
        if grade.verdict == "halt":
            if grade.unphysical:  # not worth a label: what came before it may be
                self.lose("distance", grade.because, when=when)
                return False
            reason = f"grade {_told(grade, self.query)} halted the run at {when}"
            self.final = [Candidate(step, frame, grade, reason)]
            self.stopped_by = "grade"
            return False
        here = Candidate(step, frame, grade, f"healthy at {when}")
        self.healthy = [*self.healthy, here][-HEALTHY_FRAMES:]
        due = self.last_saved is None or step - self.last_saved >= self.spacing
        if grade.verdict == "save" and due:
            self.last_saved = step
            reason = f"grade {_told(grade, self.query)} at {when}"
            self.saved.append(Candidate(step, frame, grade, reason))
            if len(self.saved) > self.capacity:
                lowest = min(range(len(self.saved)), key=lambda i: self.saved[i].grade.value)
                del self.saved[lowest]
        return True

    def lose(self, stop: Stop, what: str, *, when: str) -> None:
        """End the run and keep the last healthy frames as candidates."""
        self.stopped_by, self.lost = stop, what
        known = {item.step for item in self.saved}
        self.final = [
            Candidate(item.step, item.atoms, item.grade, f"{item.reason}, before {what} at {when}")
            for item in self.healthy
            if item.step not in known
        ]

    @property
    def grade(self) -> float:
        """Grade of the frame judged last, 0 before there is one."""
        last = self.final[-1:] if self.stopped_by == "grade" else self.healthy[-1:]
        return last[0].grade.value if last else 0.0

    def note(self, **numbers: float) -> None:
        """Add a record to the trace, unless one of its numbers is not finite."""
        if all(map(math.isfinite, numbers.values())):
            self.trace.append(numbers)

    def harvest(self, *, steps: int, planned: int) -> Harvest:
        """Return everything kept, in the order it was met."""
        kept = [*self.saved, *self.final]
        names = list(self.trace[0]) if self.trace else []
        return Harvest(
            structures=tuple(item.atoms for item in kept),
            grades=tuple(item.grade for item in kept),
            reasons=tuple(item.reason for item in kept),
            steps=steps,
            planned=planned,
            stopped_by=self.stopped_by,
            trace={name: np.array([row[name] for row in self.trace]) for name in names},
        )


def _told(grade: Grade, query: Query | None) -> str:
    """A grade with why it is one to save or to halt at: the query's words, or its threshold."""
    if grade.because:
        return f"{grade.value:.3g} ({grade.because})"
    limit = getattr(query, grade.verdict, None)
    above = f" above {grade.verdict} {limit:.3g}" if isinstance(limit, float | int) else ""
    return f"{grade.value:.3g}{above}"
