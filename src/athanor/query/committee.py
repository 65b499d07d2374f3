"""Committee disagreement: how far the members of an ensemble are from each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, Self, runtime_checkable

import numpy as np
from ase import Atoms
from pydantic import Field, model_validator

from athanor.data.closeness import shortest_below
from athanor.data.dataset import Dataset
from athanor.errors import ConfigError
from athanor.potentials import HasFeatures, HasMembers, Potential
from athanor.potentials.ensemble import Spread, mean
from athanor.query import Grade, QueryConfig
from athanor.query._criteria import (
    Criterion,
    Measures,
    Thresholds,
    criteria_of,
    judged,
    thresholds_of,
)
from athanor.query.doptimality import rows_of
from athanor.structure import FloatArray, Labels, structure_id

Batches = Callable[[], Iterable[Sequence[Atoms]]]


@runtime_checkable
class Committee(Potential, HasMembers, Protocol):
    """An ensemble that is a potential itself."""


@dataclass(frozen=True, slots=True)
class CommitteeQuery:
    """Disagreement of the members as a grade (see `athanor.potentials.ensemble.Spread`).

    Attributes
    ----------
    potential : the ensemble.
    criteria : measures with their thresholds. force_max and force_mean, eV/Å: the largest and the
        mean over atoms of the standard deviation of the members' force vectors; energy, eV: the
        standard deviation of the members' energies over the square root of the number of atoms.
    min_distance : Å; a structure with atoms nearer than this is halted at as unphysical.
    known : ids of structures that are labelled already, which are not selected.
    """

    potential: Committee
    criteria: tuple[Criterion, ...]
    min_distance: float = 0.0
    known: frozenset[str] = frozenset()

    @property
    def save(self) -> float:
        """Value above which a structure is worth a label: 1 where there are several measures."""
        return thresholds_of(self.criteria)[0]

    @property
    def halt(self) -> float | None:
        """Value above which dynamics stop; None for several measures, each with its own."""
        return thresholds_of(self.criteria)[1]

    def grade(self, structures: Sequence[Atoms]) -> list[Grade]:
        """Grade of each structure.

        The value is the measure; of several measures, the largest ratio of one to its `save`
        (saved above 1, halted where one is above its `halt`). By atom it is the spread of the
        atom's force, eV/Å, always. Where a member predicts what is not finite, the grade is inf.
        """
        return [grade for grade, _ in self.grade_with_spread(structures)]

    def grade_with_spread(self, structures: Sequence[Atoms]) -> list[tuple[Grade, Spread]]:
        """Grade of each structure and all that the members differ in."""
        return [self._judged(atoms, stress=False)[1:] for atoms in structures]

    def evaluated(
        self, structures: Sequence[Atoms], *, stress: bool = True
    ) -> list[tuple[Labels, Grade]]:
        """Mean labels and grade of each structure, every member evaluated once."""
        return [self._judged(atoms, stress=stress)[:2] for atoms in structures]

    def select(
        self,
        pool: Sequence[Atoms],
        grades: Sequence[Grade],
        budget: int,
        rng: np.random.Generator,
    ) -> list[int]:
        """Structures graded above `save`, the largest grade first, each unlike those before it.

        Equal structures count once; known and unphysical ones are left out. Where the ensemble has
        features, the first is the one with the largest grade and each further one has the largest
        product of its grade and its distance from the nearest one chosen; distance is that of the
        mean features of its atoms, in units of their spread over the pool. Deterministic: `rng` is
        not used.
        """
        offered = _Offered(self)
        offered.add(pool, grades, featured=False)
        if budget <= 0 or len(offered.indices) <= budget or not offered.featured:
            return offered.ranked(budget)
        wanted = [pool[index] for index in offered.indices]
        offered.rows = [row for atoms in wanted for row in self._rows(atoms)]
        return offered.spread_out(budget)

    def select_from(self, batches: Batches, *, budget: int) -> list[int]:
        """The same for a pool that passes by in batches, of which one is held at a time."""
        offered = _Offered(self)
        for batch in batches():
            offered.add(batch, self.grade(batch), featured=True)
        if budget <= 0 or len(offered.indices) <= budget or not offered.featured:
            return offered.ranked(budget)
        return offered.spread_out(budget)

    def _rows(self, atoms: Atoms) -> FloatArray:
        """Mean features of a structure, (1, n_parameters)."""
        potential = self.potential
        assert isinstance(potential, HasFeatures), "asked where there are features"
        return rows_of(potential, [atoms], "structure")[0]

    def _judged(self, atoms: Atoms, *, stress: bool) -> tuple[Labels, Grade, Spread]:
        with np.errstate(over="ignore", invalid="ignore"):
            (each,) = self.potential.predict_each([atoms], stress=stress)
            spread, labels = Spread.of(each), mean(each)
        found = judged(self.criteria, spread)
        near = shortest_below(atoms, self.min_distance)
        if near is None:
            grade = Grade(found.value, spread.forces, found.verdict, found.because)
        else:
            because = f"two atoms {near:.2f} Å apart, below min_distance {self.min_distance:.2f} Å"
            grade = Grade(found.value, spread.forces, "halt", because, unphysical=True)
        return labels, grade, spread


class _Offered:
    """What of a pool can be selected: indices, grades and, where wanted, mean features."""

    def __init__(self, query: CommitteeQuery) -> None:
        self.indices: list[int] = []
        self.values: list[float] = []
        self.rows: list[FloatArray] = []
        self.featured = isinstance(query.potential, HasFeatures)
        self._query = query
        self._met = set(query.known)
        self._seen = 0

    def add(self, pool: Sequence[Atoms], grades: Sequence[Grade], *, featured: bool) -> None:
        """Take those worth a label, not met before; with their features if wanted."""
        for index, (atoms, grade) in enumerate(zip(pool, grades, strict=True), start=self._seen):
            if grade.unphysical or grade.value <= self._query.save:
                continue
            identity = structure_id(atoms)
            if identity in self._met:
                continue
            self._met.add(identity)
            self.indices.append(index)
            self.values.append(grade.value)
            if featured and self.featured:
                self.rows += list(self._query._rows(atoms))
        self._seen += len(pool)

    def ranked(self, budget: int) -> list[int]:
        """The largest grades first."""
        return [self.indices[k] for k in self._order()[: max(0, budget)]]

    def spread_out(self, budget: int) -> list[int]:
        """The largest grade, then each unlike those before it."""
        order = self._order()
        values = np.array(self.values)[order]
        rows = np.stack(self.rows)[order]
        return [self.indices[order[k]] for k in _spread_out(rows, values, budget)]

    def _order(self) -> list[int]:
        values = np.nan_to_num(np.array(self.values), nan=np.inf)
        return [int(k) for k in np.argsort(-values, kind="stable")]


def _spread_out(rows: FloatArray, values: FloatArray, budget: int) -> list[int]:
    """Indices of `budget` rows: the first, then whichever has most of grade times distance."""
    weights = np.minimum(np.nan_to_num(values, nan=np.inf), np.finfo(float).max ** 0.5)
    finite = np.isfinite(rows)
    rows = np.where(finite, rows, 0.0)
    scale = rows.std(axis=0)
    rows = rows / np.where(scale > 0, scale, 1.0)
    chosen = [0]
    away = np.full(len(rows), np.inf)
    while len(chosen) < budget:
        away = np.minimum(away, np.linalg.norm(rows - rows[chosen[-1]], axis=1))
        worth = weights * away
        worth[chosen] = -1.0
        chosen.append(int(np.argmax(worth)))
    return chosen


class CommitteeConfig(QueryConfig):
    """Asks for the structures on which the members of an ensemble disagree."""

    requires: ClassVar[frozenset[str]] = frozenset({"ensemble"})

    kind: Literal["committee"] = "committee"
    measure: Measures = Field(
        default="force_max",
        description="of disagreement: force_max or force_mean, the largest or mean over atoms of "
        "the forces' standard deviation, eV/Å; energy, that of the energy over the root of the "
        "number of atoms, eV; or a list of these, judged by the first that is exceeded",
    )
    save: Thresholds = Field(
        default=None,
        description="measure above which a label is bought, one for each; by default 0.05 eV/Å "
        "(force_max), 0.02 eV/Å (force_mean), 0.01 eV (energy)",
    )
    halt: Thresholds = Field(
        default=None,
        description="measure above which dynamics stop, one for each; by default 0.2 eV/Å "
        "(force_max), 0.1 eV/Å (force_mean), 0.05 eV (energy)",
    )
    min_distance: float | None = Field(
        default=None,
        gt=0,
        description="Å; atoms nearer than this stop dynamics, and nothing is labelled there",
    )

    @property
    def criteria(self) -> tuple[Criterion, ...]:
        """Each measure with its thresholds, the defaults where they are not given."""
        return criteria_of(self.measure, self.save, self.halt)

    @property
    def thresholds(self) -> tuple[float, float | None]:
        """save and halt of the grade's value; of several measures 1, and None for each its own."""
        return thresholds_of(self.criteria)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        criteria_of(self.measure, self.save, self.halt)
        return self

    def fit(self, potential: Potential, train: Dataset) -> CommitteeQuery:
        """Of the training set only which structures it has is remembered.

        Raises ConfigError where the potential is no ensemble of two members at least.
        """
        if not isinstance(potential, Committee) or len(potential.members) < 2:
            raise ConfigError(
                f"{type(potential).__name__} is no ensemble of two or more members, which "
                "committee needs; choose another query, or a potential of kind ensemble"
            )
        known = frozenset(map(structure_id, train.structures))
        return CommitteeQuery(potential, self.criteria, self.min_distance or 0.0, known)
