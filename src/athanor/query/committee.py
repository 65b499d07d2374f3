"""Committee disagreement: how far the members of an ensemble are from each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, Self, runtime_checkable

import numpy as np
from ase import Atoms
from pydantic import Field, model_validator

from athanor.data.dataset import Dataset
from athanor.errors import ConfigError
from athanor.potentials import HasFeatures, HasMembers, Potential
from athanor.potentials.ensemble import Spread, mean
from athanor.query import Grade, QueryConfig, Verdict
from athanor.structure import FloatArray, Labels, structure_id

Measure = Literal["force_max", "force_mean", "energy"]

_THRESHOLDS: dict[Measure, tuple[float, float]] = {
    "force_max": (0.05, 0.2),
    "force_mean": (0.02, 0.1),
    "energy": (0.01, 0.05),
}
"""save and halt where none are given: eV/Å for forces as DP-GEN takes them for metals (Zhang et al.
2019), eV for the energy over the root of the number of atoms (0.23 kcal/mol, Smith et al. 2018)."""


@runtime_checkable
class Committee(Potential, HasMembers, Protocol):
    """An ensemble that is a potential itself."""


@dataclass(frozen=True, slots=True)
class CommitteeQuery:
    """Disagreement of the members as a grade (see `athanor.potentials.ensemble.Spread`).

    Attributes
    ----------
    potential : the ensemble.
    measure : force_max and force_mean, eV/Å: the largest and the mean over atoms of the standard
        deviation of the members' force vectors; energy, eV: the standard deviation of the members'
        energies over the square root of the number of atoms.
    save, halt : thresholds of the measure, in its unit.
    """

    potential: Committee
    measure: Measure
    save: float
    halt: float

    def grade(self, structures: Sequence[Atoms]) -> list[Grade]:
        """Grade of each structure; by atom it is the spread of the atom's force, eV/Å, always.

        Where a member predicts what is not finite, the grade is inf.
        """
        return [grade for _, grade in self.evaluated(structures, stress=False)]

    def evaluated(
        self, structures: Sequence[Atoms], *, stress: bool = True
    ) -> list[tuple[Labels, Grade]]:
        """Mean labels and grade of each structure, every member evaluated once."""
        return [self._evaluated(atoms, stress=stress) for atoms in structures]

    def select(
        self,
        pool: Sequence[Atoms],
        grades: Sequence[Grade],
        budget: int,
        rng: np.random.Generator,
    ) -> list[int]:
        """Structures graded above `save`, the largest grade first, each unlike those before it.

        Equal structures count once. Where the ensemble has features, the first is the one with
        the largest grade and each further one has the largest product of its grade and its
        distance from the nearest one chosen; distance is that of the mean features of its atoms,
        in units of their spread over the pool. Deterministic: `rng` is not used.
        """
        first = {structure_id(atoms): index for index, atoms in reversed(list(enumerate(pool)))}
        kept = [index for index in sorted(first.values()) if not grades[index].value <= self.save]
        if not kept or budget <= 0:
            return []
        values = np.array([grades[index].value for index in kept])
        order = np.argsort(-np.nan_to_num(values, nan=np.inf), kind="stable")
        ranked = [kept[k] for k in order]
        if len(ranked) <= budget or not isinstance(self.potential, HasFeatures):
            return ranked[:budget]
        rows = [self.potential.features([pool[index]])[0].mean(axis=0) for index in ranked]
        return [ranked[k] for k in _spread_out(np.stack(rows), values[order], budget)]

    def _evaluated(self, atoms: Atoms, *, stress: bool) -> tuple[Labels, Grade]:
        with np.errstate(over="ignore", invalid="ignore"):
            (each,) = self.potential.predict_each([atoms], stress=stress)
            spread, labels = Spread.of(each), mean(each)
        value = {
            "force_max": spread.force_max,
            "force_mean": spread.force_mean,
            "energy": spread.energy,
        }[self.measure]
        return labels, Grade(value, spread.forces, self._verdict(value))

    def _verdict(self, value: float) -> Verdict:
        if value > self.halt:
            return "halt"
        return "save" if value > self.save else "keep"


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
    measure: Measure = Field(
        default="force_max",
        description="of disagreement: largest or mean over atoms of the forces' standard "
        "deviation, eV/Å; or that of the energy over the root of the number of atoms, eV",
    )
    save: float | None = Field(
        default=None,
        gt=0,
        description="measure above which a label is bought; by default 0.05 eV/Å (force_max), "
        "0.02 eV/Å (force_mean), 0.01 eV (energy)",
    )
    halt: float | None = Field(
        default=None,
        gt=0,
        description="measure above which dynamics stop; by default 0.2 eV/Å (force_max), "
        "0.1 eV/Å (force_mean), 0.05 eV (energy)",
    )

    @property
    def thresholds(self) -> tuple[float, float]:
        """save and halt, with the measure's defaults where they are not given."""
        save, halt = _THRESHOLDS[self.measure]
        return (
            save if self.save is None else self.save,
            halt if self.halt is None else self.halt,
        )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        save, halt = self.thresholds
        if save >= halt:
            raise ValueError(
                f"save = {save} must be smaller than halt = {halt} for measure = "
                f"{self.measure!r}; a structure is saved before the run is halted"
            )
        return self

    def fit(self, potential: Potential, train: Dataset) -> CommitteeQuery:
        """Nothing is learnt from the training set.

        Raises ConfigError where the potential is no ensemble of two members at least.
        """
        if not isinstance(potential, Committee) or len(potential.members) < 2:
            raise ConfigError(
                f"{type(potential).__name__} is no ensemble of two or more members, which "
                "committee needs; choose another query, or a potential of kind ensemble"
            )
        save, halt = self.thresholds
        return CommitteeQuery(potential, self.measure, save, halt)
