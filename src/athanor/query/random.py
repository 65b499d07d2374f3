"""Chance: the query to compare every other one with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase import Atoms
from pydantic import Field

from athanor.data.dataset import Dataset
from athanor.potentials import Potential
from athanor.query import Grade, QueryConfig
from athanor.structure import structure_id


@dataclass(frozen=True, slots=True)
class RandomQuery:
    """Saves a given fraction of all structures, whatever the potential, and halts nothing.

    Attributes
    ----------
    fraction : of the structures shown, how many are worth a label.
    """

    fraction: float

    def grade(self, structures: Sequence[Atoms]) -> list[Grade]:
        """Value 0 (no extrapolation is measured); the verdict is drawn from the geometry's id.

        The draw is the same whenever and wherever the same structure is shown.
        """
        return [
            Grade(0.0, None, "save" if _draw(atoms) < self.fraction else "keep")
            for atoms in structures
        ]

    def select(
        self,
        pool: Sequence[Atoms],
        grades: Sequence[Grade],
        budget: int,
        rng: np.random.Generator,
    ) -> list[int]:
        """Up to `budget` different structures of the pool in random order."""
        first = {structure_id(atoms): index for index, atoms in reversed(list(enumerate(pool)))}
        kept = sorted(first.values())
        return [kept[k] for k in rng.permutation(len(kept))[: max(budget, 0)]]


def _draw(atoms: Atoms) -> float:
    """A number in [0, 1) that only the geometry decides."""
    return int(structure_id(atoms)[:13], 16) / 16**13


class RandomConfig(QueryConfig):
    """Asks for structures by chance: the baseline of every comparison."""

    kind: Literal["random"] = "random"
    fraction: float = Field(default=0.1, gt=0.0, le=1.0, description="of structures to label")

    def fit(self, potential: Potential, train: Dataset) -> RandomQuery:
        """Nothing is learnt from either."""
        return RandomQuery(self.fraction)
