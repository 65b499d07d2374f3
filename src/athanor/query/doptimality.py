"""D-optimality: how far a potential is from what its active set spans (Novikov et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
from ase import Atoms
from pydantic import Field, model_validator

from athanor.data.dataset import Dataset
from athanor.errors import ConfigError, FitError
from athanor.potentials import HasFeatures, Potential
from athanor.query import Grade, QueryConfig, Verdict
from athanor.query._maxvol import ActiveSet
from athanor.structure import FloatArray, structure_id

By = Literal["structure", "atom"]


@dataclass(frozen=True, slots=True)
class DOptimalQuery:
    """Extrapolation grade gamma = max_j |(b A^-1)_j| with an active set A (section 2.3).

    By structure, b is the mean over atoms of dE_i/dtheta, and the grade of an atom is the gamma of
    its own dE_i/dtheta with the same A: it shows where in a structure the novelty is (a structure's
    grade is at most the mean of its atoms'). By atom, b is dE_i/dtheta of one atom, A is made
    of atoms, and a structure's grade is that of its worst atom. A derivative that is not finite has
    grade inf.

    Attributes
    ----------
    potential : gives the derivatives.
    active : chosen from the training set.
    by : what one row of A stands for.
    save, halt : thresholds of the grade (gamma_select and gamma_break of the paper).
    """

    potential: HasFeatures
    active: ActiveSet
    by: By
    save: float
    halt: float

    def grade(self, structures: Sequence[Atoms]) -> list[Grade]:
        """Grade of each structure (no unit): save above `save`, halt above `halt`."""
        found = []
        for features in self.potential.features(structures):
            per_atom = self.active.grades(features)
            if self.by == "structure":
                value = float(self.active.grades(features.mean(axis=0, keepdims=True))[0])
            else:
                value = float(per_atom.max())
            found.append(Grade(value, per_atom, self._verdict(value)))
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
        the largest grade first, at most `budget` of them. Equal structures count once.
        Deterministic: neither `rng` nor `grades` is used.
        """
        first = {structure_id(atoms): index for index, atoms in reversed(list(enumerate(pool)))}
        kept = sorted(first.values())
        if not kept or budget <= 0:
            return []
        rows, owners = stacked(self.potential.features([pool[i] for i in kept]), self.by)
        finite = np.isfinite(rows).all(axis=1)
        rows, owners = rows[finite], owners[finite]
        grown = self.active.extended(rows, threshold=self.save)
        taken = np.sort(grown.origins[grown.origins >= self.active.seen]) - self.active.seen
        order = np.argsort(-self.active.grades(rows[taken]), kind="stable")
        chosen = dict.fromkeys(kept[k] for k in owners[taken[order]])
        return list(chosen)[:budget]

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
        rows, _ = stacked(potential.features(train.structures), self.by)
        return DOptimalQuery(potential, ActiveSet.of(rows), self.by, self.save, self.halt)


def stacked(
    features: Sequence[FloatArray], by: By
) -> tuple[FloatArray, np.ndarray[tuple[int], np.dtype[np.intp]]]:
    """Rows for MaxVol, (n_rows, n_parameters), and the index of the structure each belongs to."""
    if by == "structure":
        rows = np.stack([table.mean(axis=0) for table in features])
        return rows, np.arange(len(features))
    owners = np.repeat(np.arange(len(features)), [len(table) for table in features])
    return np.concatenate(features), owners
