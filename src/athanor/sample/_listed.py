"""Starts that are a list: drawn from it at random, or gone through in parts, each start once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from pydantic import Field

from athanor.sample import StartConfig


class ListedStart(StartConfig):
    """Structures there are a known number of.

    Trajectory after trajectory takes `batch` of them, through all cycles, and begins anew after the
    last: `trajectories = ceil(n / batch)` goes through all of them in every cycle.
    """

    batch: int = Field(
        default=1, ge=1, description="starts that one trajectory goes through, one after the other"
    )

    @abstractmethod
    def listed(self) -> Sequence[Atoms]:
        """All structures, geometry only, in the same order every time; at least one."""

    def structures(self, count: int, rng: np.random.Generator) -> list[Atoms]:
        """Draw `count` structures at random, each once before any is drawn again."""
        return drawn(self.listed(), count, rng)

    def part(self, number: int, rng: np.random.Generator) -> list[Atoms]:
        """The structures of part `number`; every n-th, so that parts are alike."""
        found = self.listed()
        parts = -(-len(found) // self.batch)
        return [atoms.copy() for atoms in found[number % parts :: parts]]


def drawn(found: Sequence[Atoms], count: int, rng: np.random.Generator) -> list[Atoms]:
    """Draw `count` structures, each once before any is drawn again."""
    rounds = -(-count // len(found))
    order = [index for _ in range(rounds) for index in rng.permutation(len(found)).tolist()]
    return [found[index].copy() for index in order[:count]]
