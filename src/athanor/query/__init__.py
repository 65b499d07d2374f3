"""The contract of a query: how far a potential extrapolates, and which structures to label.

A new query is one file in this package (or an entry point in the group `athanor.query`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from ase import Atoms

from athanor.component import Component, discover
from athanor.data.dataset import Dataset
from athanor.potentials import Potential
from athanor.structure import FloatArray, Labels

Verdict = Literal["keep", "save", "halt"]


@dataclass(frozen=True, slots=True)
class Grade:
    """How far a potential extrapolates on one structure.

    Attributes
    ----------
    value : the structure's grade (the query says which quantity and unit).
    per_atom : (n_atoms,) the same by atom, or None where the query has none (where that costs, of
        structures to keep).
    verdict : keep (trusted), save (worth a label), halt (stop the dynamics here).
    because : what decided a verdict other than keep, in words, where the value alone does not say.
    unphysical : halt, and nobody should pay for a label of it, e.g. atoms on top of each other.
    """

    value: float
    per_atom: FloatArray | None
    verdict: Verdict
    because: str = ""
    unphysical: bool = False


class Query(Protocol):
    """Fitted to one potential and one training set; immutable, pickles.

    A query that grades what the potential computes anyhow is also `GradesInPassing`.
    """

    def grade(self, structures: Sequence[Atoms]) -> list[Grade]: ...

    def select(
        self,
        pool: Sequence[Atoms],
        grades: Sequence[Grade],
        budget: int,
        rng: np.random.Generator,
    ) -> list[int]:
        """Indices into the pool, most wanted first, at most `budget`, diverse, no duplicates."""
        ...


@runtime_checkable
class GradesInPassing(Protocol):
    """A query that labels and grades in one evaluation (optional)."""

    @property
    def potential(self) -> Potential:
        """What gives the labels."""
        ...

    def evaluated(
        self, structures: Sequence[Atoms], *, stress: bool = True
    ) -> list[tuple[Labels, Grade]]:
        """Labels by `potential` and grade of each structure."""
        ...


class QueryConfig(Component):
    """The recipe of a query; it is the [query] section of a campaign file."""

    requires: ClassVar[frozenset[str]] = frozenset()
    """What the potential must provide (PotentialConfig.provides); checked before anything runs."""

    @abstractmethod
    def fit(self, potential: Potential, train: Dataset) -> Query: ...


def kinds() -> dict[str, type[QueryConfig]]:
    """Every kind of query there is, by name."""
    return discover("athanor.query", QueryConfig)
