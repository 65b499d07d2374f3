"""D-optimality: how far a potential is from what its active set spans (Novikov et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
from ase import Atoms
from pydantic import Field, model_validator

from athanor.data.batches import batches_of
from athanor.data.dataset import Dataset
from athanor.errors import ConfigError, FitError
from athanor.potentials import (
    HasFeatures,
    HasMeanFeatures,
    Potential,
    PotentialWithFeatures,
    predict_with_features,
)
from athanor.query import Grade, QueryConfig, Verdict
from athanor.query._maxvol import ActiveSet, Pass, held
from athanor.query._search import Chunk
from athanor.structure import FloatArray, Labels, structure_id

By = Literal["structure", "atom"]
Batches = Callable[[], Iterable[Sequence[Atoms]]]
"""Gives the same structures again, batch by batch."""

TABLE_BYTES = 2**28
"""Rows of a training set or a pool at hand are kept up to this size, else made in every pass."""


@dataclass(frozen=True, slots=True)
class DOptimalQuery:
    """Extrapolation grade gamma = max_j |(b A^-1)_j| with an active set A (section 2.3).

    By structure, b is the mean over atoms of dE_i/dtheta, and the grade of an atom is the gamma of
    its own dE_i/dtheta with the same A: it shows where in a structure the novelty is (a structure's
    grade is at most the mean of its atoms'). It costs n_atoms times as much, so it is there only
    for structures that are not to be kept. By atom, b is dE_i/dtheta of one atom, A is made
    of atoms, and a structure's grade is that of its worst atom. A derivative that is not finite has
    grade inf.

    Attributes
    ----------
    potential : gives the derivatives.
    active : chosen from the training set.
    by : what one row of A stands for.
    save, halt : thresholds of the grade (gamma_select and gamma_break of the paper).
    """

    potential: PotentialWithFeatures
    active: ActiveSet
    by: By
    save: float
    halt: float

    def grade(self, structures: Sequence[Atoms]) -> list[Grade]:
        """Grade of each structure (no unit): save above `save`, halt above `halt`."""
        found: list[Grade] = []
        for batch in batches_of(structures):
            if self.by == "structure":
                found += self._by_structure(batch, rows_of(self.potential, batch, self.by)[0])
            else:
                found += self._by_atom(self.potential.features(batch))
        return found

    def evaluated(
        self, structures: Sequence[Atoms], *, stress: bool = True
    ) -> list[tuple[Labels, Grade]]:
        """Labels by the potential and grade of each structure, evaluated once for both."""
        found: list[tuple[Labels, Grade]] = []
        for batch in batches_of(structures):
            if self.by == "structure":
                both = _with_means(self.potential, batch, stress=stress)
                grades = self._by_structure(batch, np.array([row for _, row in both]))
            else:
                both = predict_with_features(self.potential, batch, stress=stress)
                grades = self._by_atom([table for _, table in both])
            found += zip([labels for labels, _ in both], grades, strict=True)
        return found

    def select(
        self,
        pool: Sequence[Atoms],
        grades: Sequence[Grade],
        budget: int,
        rng: np.random.Generator,
    ) -> list[int]:
        """The few structures after whose labelling no grade in the pool exceeds `save`.

        MaxVol exchanges active rows with rows of the pool where each label multiplies the volume by
        `save` at least; the structures whose rows are active at the end are selected, those with
        the largest grade first, at most `budget` of them. Equal structures count once; rows that
        are not finite (grade inf) cannot become active: such structures are not selected.
        Deterministic: neither `rng` nor `grades` is used.
        """
        rows = len(pool) if self.by == "structure" else sum(map(len, pool))
        if 8 * len(self.active.rows) * rows > TABLE_BYTES:
            return self.select_from(lambda: batches_of(pool), budget=budget)
        owners: list[int] = []
        chunks = list(self._chunks(batches_of(pool), owners)) if budget > 0 else []
        return self._selected(lambda: iter(chunks), owners, budget=budget)

    def select_from(self, batches: Batches, *, budget: int) -> list[int]:
        """The same for a pool that passes by in batches, of which one is held at a time.

        `batches` is called twice at least, and must give the same structures each time.
        """
        owners: list[int] = []

        def passing() -> Iterator[Chunk]:
            owners.clear()
            return self._chunks(batches(), owners)

        return self._selected(passing, owners, budget=budget)

    def _selected(self, passing: Pass, owners: list[int], *, budget: int) -> list[int]:
        """Indices of the structures selected; `owners` are rows per structure after a pass."""
        if budget <= 0:
            return []
        grown = self.active.extended_by(passing, threshold=self.save)
        taken = grown.origins >= self.active.seen
        numbers, rows = grown.origins[taken] - self.active.seen, grown.rows[taken]
        ends = np.cumsum(owners)
        order = np.lexsort((numbers, -self.active.grades(rows)))
        chosen = dict.fromkeys(np.searchsorted(ends, numbers[order], side="right").tolist())
        return list(chosen)[:budget]

    def held(self, n_atoms: int, *, selecting: bool = False) -> int:
        """Bytes that grading, or `select_from`, holds for batches of at most `n_atoms` atoms."""
        m = len(self.active.rows)
        return 16 * m * (m + n_atoms) + (held(m) if selecting else 0)

    def _chunks(self, batches: Iterable[Sequence[Atoms]], owners: list[int]) -> Iterator[Chunk]:
        """Rows that are finite, of structures not met before; `owners` gets rows per structure."""
        met: set[int] = set()
        first = 0
        for batch in batches:
            names = [int(structure_id(atoms), 16) for atoms in batch]
            new = [k for k, name in enumerate(names) if name not in met and name not in names[:k]]
            met.update(names)
            counts = np.zeros(len(batch), dtype=int)
            if new:
                rows, owner = rows_of(self.potential, [batch[k] for k in new], self.by)
                counts[new] = np.bincount(owner)
                finite = np.isfinite(rows).all(axis=1)
                yield rows[finite], first + np.flatnonzero(finite)
            owners.extend(counts.tolist())
            first += int(counts.sum())

    def _by_atom(self, tables: Sequence[FloatArray]) -> list[Grade]:
        """Grades of structures from their (n_atoms, n_parameters) derivatives."""
        every = [self.active.grades(table) for table in tables]
        return [Grade(float(one.max()), one, self._verdict(float(one.max()))) for one in every]

    def _by_structure(self, structures: Sequence[Atoms], rows: FloatArray) -> list[Grade]:
        """Grades from mean rows; the few that are not to be kept are looked at atom by atom."""
        found = []
        for atoms, value in zip(structures, self.active.grades(rows), strict=True):
            verdict = self._verdict(value)
            table = None if verdict == "keep" else self.potential.features([atoms])[0]
            each = None if table is None else self.active.grades(table)
            found.append(Grade(float(value), each, verdict))
        return found

    def _verdict(self, value: float) -> Verdict:
        if value > self.halt:
            return "halt"
        return "save" if value > self.save else "keep"


class DOptimalityConfig(QueryConfig):
    """Asks for the structures that extrapolate, by D-optimality of the potential's derivatives."""

    requires: ClassVar[frozenset[str]] = frozenset({"features"})

    kind: Literal["doptimality"] = "doptimality"
    save: float = Field(default=2.1, gt=1.0, description="grade above which a label is bought")
    halt: float = Field(default=10.0, gt=1.0, description="grade above which dynamics stop")
    by: By = "structure"

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.save >= self.halt:
            raise ValueError(
                f"save = {self.save} must be smaller than halt = {self.halt}; "
                "a structure is saved before the run is halted"
            )
        return self

    def fit(self, potential: Potential, train: Dataset) -> DOptimalQuery:
        """Choose the active set from the training set.

        Raises ConfigError where the potential has no derivatives, FitError for no training data or
        derivatives that are not finite.
        """
        if not isinstance(potential, HasFeatures):
            raise ConfigError(
                f"{type(potential).__name__} has no derivatives by its parameters (features), "
                "which doptimality needs; choose another query or potential"
            )
        if len(train) == 0:
            raise FitError("the training set is empty; an active set needs at least one structure")
        return DOptimalQuery(
            potential, _active(potential, train.structures, self.by), self.by, self.save, self.halt
        )


def rows_of(
    potential: HasFeatures, structures: Sequence[Atoms], by: By
) -> tuple[FloatArray, np.ndarray[tuple[int], np.dtype[np.intp]]]:
    """Rows for MaxVol, (n_rows, n_parameters), and the index of the structure each belongs to.

    By structure, the derivatives of few structures are held at a time.
    """
    if by == "atom":
        tables = potential.features(structures)
        owners = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
        return np.concatenate(tables), owners
    if isinstance(potential, HasMeanFeatures):
        return potential.mean_features(structures), np.arange(len(structures))
    means = [
        mean_row(table) for batch in batches_of(structures) for table in potential.features(batch)
    ]
    return np.array(means).reshape(len(means), -1), np.arange(len(means))


def _with_means(
    potential: PotentialWithFeatures, structures: Sequence[Atoms], *, stress: bool
) -> list[tuple[Labels, FloatArray]]:
    """Labels and mean row of each structure, in one evaluation where the potential has that."""
    if isinstance(potential, HasMeanFeatures):
        return potential.predict_with_mean_features(structures, stress=stress)
    both = predict_with_features(potential, structures, stress=stress)
    return [(labels, mean_row(table)) for labels, table in both]


def mean_row(table: FloatArray) -> FloatArray:
    """Mean over atoms of (n_atoms, n_parameters) derivatives; by BLAS, three times as fast."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(np.full(len(table), 1 / len(table)) @ table)


def _active(potential: HasFeatures, structures: Sequence[Atoms], by: By) -> ActiveSet:
    """Active set of a training set, whose derivatives are held at once only if they are few."""
    m = potential.features(structures[:1])[0].shape[1]
    if by == "structure" or 8 * m * sum(map(len, structures)) <= TABLE_BYTES:
        return ActiveSet.of(rows_of(potential, structures, by)[0])

    def passing() -> Iterator[Chunk]:
        first = 0
        for batch in batches_of(structures):
            rows, _ = rows_of(potential, batch, by)
            yield rows, first + np.arange(len(rows))
            first += len(rows)

    return ActiveSet.of_stream(passing)
