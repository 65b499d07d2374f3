"""Predicted variance: how uncertain a Gaussian process says it is of each atom's energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import ClassVar, Literal, Protocol, Self, runtime_checkable

import numpy as np
from ase import Atoms
from pydantic import Field, model_validator

from athanor.data.closeness import shortest_below
from athanor.data.dataset import Dataset
from athanor.errors import ConfigError
from athanor.potentials import HasVariance, Potential
from athanor.query import Grade, QueryConfig
from athanor.query.committee import _spread_out
from athanor.structure import FloatArray, structure_id

Measure = Literal["max", "mean"]
_LOOKED_AT = 50
"""Training structures that tell which uncertainty is usual, spread evenly over the set."""
_SAVE, _HALT = 1.5, 3.0
"""Times the largest grade among these."""
_LEAST = 1e-6
"""eV; the largest grade where the training structures are the sparse points themselves."""
_BINS = 24


@runtime_checkable
class Uncertain(Potential, HasVariance, Protocol):
    """A potential that predicts variances."""


@dataclass(frozen=True, slots=True)
class GpVarianceQuery:
    """The standard deviation of atomic energies as a grade.

    Attributes
    ----------
    potential : what predicts it.
    measure : the largest or the mean over atoms.
    save, halt : eV, above which a structure is worth a label, and dynamics stop.
    min_distance : Å; a structure with atoms nearer than this is halted at as unphysical.
    known : ids of structures that are labelled already, which are not selected.
    """

    potential: Uncertain
    measure: Measure
    save: float
    halt: float
    min_distance: float = 0.0
    known: frozenset[str] = frozenset()

    def grade(self, structures: Sequence[Atoms]) -> list[Grade]:
        """Grade of each structure, eV; by atom the standard deviation, eV."""
        tables = self.potential.variance(structures)
        return [
            self._graded(atoms, np.sqrt(table))
            for atoms, table in zip(structures, tables, strict=True)
        ]

    def select(
        self,
        pool: Sequence[Atoms],
        grades: Sequence[Grade],
        budget: int,
        rng: np.random.Generator,
    ) -> list[int]:
        """Structures graded above `save`, the most uncertain first, each unlike those before it.

        Equal structures count once; known and unphysical ones are left out. After the first, each
        has the largest product of its grade and its distance from the nearest one chosen; distance
        is that of the radial distributions by elements. Deterministic: `rng` is not used.
        """
        offered = self._offered(pool, grades)
        values = np.array([grades[k].value for k in offered])
        order = [offered[k] for k in np.argsort(-values, kind="stable")]
        if budget <= 0 or len(order) <= budget:
            return order[: max(0, budget)]
        species = tuple(sorted(self.potential.elements))
        rows = np.stack([_distribution(pool[k], species, self.potential.cutoff) for k in order])
        chosen = _spread_out(rows, np.array([grades[k].value for k in order]), budget)
        return [order[k] for k in chosen]

    def _offered(self, pool: Sequence[Atoms], grades: Sequence[Grade]) -> list[int]:
        """Indices of what is worth a label, not met before."""
        met = set(self.known)
        found = []
        for index, (atoms, grade) in enumerate(zip(pool, grades, strict=True)):
            identity = structure_id(atoms)
            if grade.unphysical or grade.value <= self.save or identity in met:
                continue
            met.add(identity)
            found.append(index)
        return found

    def _graded(self, atoms: Atoms, deviations: FloatArray) -> Grade:
        value = measured(self.measure, deviations)
        near = shortest_below(atoms, self.min_distance)
        if near is not None:
            because = f"two atoms {near:.2f} Å apart, below min_distance {self.min_distance:.2f} Å"
            return Grade(value, deviations, "halt", because, unphysical=True)
        if value > self.halt:
            return Grade(value, deviations, "halt")
        return Grade(value, deviations, "save" if value > self.save else "keep")


def measured(measure: Measure, deviations: FloatArray) -> float:
    """The largest or mean standard deviation, eV; inf where one is not finite."""
    if not np.isfinite(deviations).all():
        return float(np.inf)
    return float(deviations.max() if measure == "max" else deviations.mean())


def _distribution(atoms: Atoms, species: tuple[str, ...], cutoff: float) -> FloatArray:
    """Pairs by distance for each two elements, per atom, then the composition."""
    from vesin import NeighborList

    finder = NeighborList(cutoff=cutoff, full_list=False, n_threads=1)
    i, j, lengths = finder.compute(atoms.positions, atoms.cell.array, atoms.pbc, quantities="ijd")
    types = np.array([species.index(symbol) for symbol in atoms.symbols])
    low, high = np.minimum(types[i], types[j]), np.maximum(types[i], types[j])
    rows = [
        np.histogram(lengths[(low == a) & (high == b)], bins=_BINS, range=(0.0, cutoff))[0]
        for a, b in combinations_with_replacement(range(len(species)), 2)
    ]
    rows.append(np.bincount(types, minlength=len(species)))
    return np.concatenate(rows) / len(atoms)


class GpVarianceConfig(QueryConfig):
    """Asks for the structures of which a Gaussian process is least certain."""

    requires: ClassVar[frozenset[str]] = frozenset({"variance"})

    kind: Literal["gpvariance"] = "gpvariance"
    measure: Measure = Field(
        default="max",
        description="of the standard deviations of atomic energies: the largest or the mean, eV",
    )
    save: float | None = Field(
        default=None,
        gt=0,
        description="eV, above which a label is bought; by default 1.5 times the largest grade of "
        "training structures",
    )
    halt: float | None = Field(
        default=None,
        gt=0,
        description="eV, above which dynamics stop; by default twice `save`",
    )
    min_distance: float | None = Field(
        default=None,
        gt=0,
        description="Å; atoms nearer than this stop dynamics, and nothing is labelled there",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.save is not None and self.halt is not None and self.save >= self.halt:
            raise ValueError(
                f"save = {self.save} must be smaller than halt = {self.halt}; a structure is saved "
                "before the run is halted"
            )
        return self

    def fit(self, potential: Potential, train: Dataset) -> GpVarianceQuery:
        """Thresholds not given are taken from up to 50 structures of the training set.

        Raises ConfigError where the potential predicts no variance, where there is no training set
        to take thresholds from, or where these contradict the one that is given.
        """
        if not isinstance(potential, Uncertain):
            raise ConfigError(
                f"{type(potential).__name__} predicts no variance, which gpvariance needs; choose "
                "another query, or a potential of kind gap"
            )
        save = self.save or self._usual(potential, train)
        halt = self.halt or _HALT / _SAVE * save
        if save >= halt:
            raise ConfigError(
                f"query: halt = {halt:g} eV is not above save, {save:.3g} eV by the training "
                "structures; raise halt, or give both"
            )
        known = frozenset(map(structure_id, train.structures))
        return GpVarianceQuery(potential, self.measure, save, halt, self.min_distance or 0.0, known)

    def _usual(self, potential: Uncertain, train: Dataset) -> float:
        if len(train) == 0:
            raise ConfigError(
                "query: the training set is empty, so there is nothing to take save from; give save"
            )
        which = np.unique(np.linspace(0, len(train) - 1, _LOOKED_AT).astype(int))
        tables = potential.variance([train[int(k)].atoms for k in which])
        return _SAVE * max(_LEAST, *(measured(self.measure, np.sqrt(t)) for t in tables))
