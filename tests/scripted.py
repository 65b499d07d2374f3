"""Dynamics of argon under a query whose grades are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ase import Atoms
from ase.build import bulk

from athanor.potentials.lj import LennardJones
from athanor.query import Grade
from athanor.sample import Harvest
from athanor.sample.md import MDSampler

ARGON = LennardJones(frozenset({"Ar"}), cutoff=6.5, epsilon=0.0104, sigma=3.4)
COLD = {"start_K": [0, 0], "end_K": [0, 0], "modulation_K": [0, 0]}
WARM = {"start_K": [40, 40], "end_K": [40, 40], "modulation_K": [0, 0]}


@dataclass
class Scripted:
    """A query whose grades are given one after the other; the last is repeated."""

    values: Sequence[float]
    save: float = 2.0
    halt: float = 10.0
    seen: list[Atoms] = field(default_factory=list)

    def grade(self, structures: Sequence[Atoms]) -> list[Grade]:
        return [self._one(atoms) for atoms in structures]

    def _one(self, atoms: Atoms) -> Grade:
        value = self.values[min(len(self.seen), len(self.values) - 1)]
        self.seen.append(atoms)
        verdict = "halt" if value > self.halt else "save" if value > self.save else "keep"
        return Grade(value, None, verdict)

    def select(self, pool, grades, budget, rng) -> list[int]:  # type: ignore[no-untyped-def]  # unused
        raise AssertionError("a sampler selects nothing")


def crystal() -> Atoms:
    return bulk("Ar", "fcc", a=5.3, cubic=True).repeat(2)


def ran(
    query: Scripted, potential: object = ARGON, *, seed: int = 0, start: Atoms | None = None, **keys
) -> Harvest:
    table = {"steps": 100, "relax_steps": 0, "schedule": WARM, "min_distance": 2.0, **keys}
    sampler = MDSampler.parse(table, where="[sample]")
    return sampler.run(start or crystal(), potential, query, seed=seed, workdir=Path())
