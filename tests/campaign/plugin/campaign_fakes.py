"""A third party's kinds, found by entry points as users' are: small, fast, full of troubles."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator

from athanor.data.dataset import Dataset
from athanor.data.durable import write_file
from athanor.errors import FitError, MeasurementError, OracleError, StructureError
from athanor.oracle import OracleConfig
from athanor.potentials import Potential
from athanor.query import Grade, Query, QueryConfig
from athanor.sample import Harvest, SamplerConfig, StartConfig, Stop
from athanor.structure import Labels, structure_id
from athanor.testing.fakes import FakeOracle, FakePotential, FakePotentialConfig
from athanor.validate import PropertyConfig, PropertyResult, Quantity


class StubbornConfig(FakePotentialConfig):
    """Refuses to be fitted with more coefficients than it likes."""

    kind: Literal["stubborn"] = "stubborn"  # type: ignore[assignment]  # another kind, else the same
    most: int = 2

    def fit(self, train: Dataset, valid: Dataset, **rest: Any) -> FakePotential:
        if self.size > self.most:
            raise FitError(f"{self.size} coefficients are too many for me")
        return super().fit(train, valid, **rest)


class CrystalStart(StartConfig):
    """A face-centred crystal of aluminium, shaken."""

    kind: Literal["crystal"] = "crystal"
    shake: float = 0.1

    def structures(self, count: int, rng: np.random.Generator) -> list[Atoms]:
        drawn = []
        for _ in range(count):
            atoms = bulk("Al", cubic=True, a=rng.uniform(3.9, 4.2))
            atoms.positions += rng.normal(scale=self.shake, size=(4, 3))
            drawn.append(atoms)
        return drawn


class WalkSampler(SamplerConfig):
    """A random walk of all atoms, graded at every step."""

    kind: Literal["walk"] = "walk"
    steps: int = 5
    broken: bool = False

    def run(
        self, start: Atoms, potential: Potential, query: Query, *, seed: int, workdir: Path
    ) -> Harvest:
        if self.broken:
            raise StructureError("this sampler breaks every start")
        rng = np.random.default_rng(seed)
        atoms, kept, grades = start.copy(), [], []
        stop: Stop = "completed"
        done = 0
        for step in range(1, self.steps + 1):
            done = step
            atoms.positions += rng.normal(scale=0.02, size=(len(atoms), 3))
            potential.predict([atoms])
            (grade,) = query.grade([atoms])
            if grade.verdict != "keep":
                kept.append(atoms.copy())
                grades.append(grade)
            if grade.verdict == "halt":
                stop = "grade"
                break
        reasons = tuple(f"grade {grade.value:.3f}" for grade in grades)
        trace = {"time_fs": np.arange(1.0, done + 1)}
        return Harvest(tuple(kept), tuple(grades), reasons, done, self.steps, stop, trace)


@dataclass(frozen=True)
class HungryQuery:
    """Grades by chance, milder the more it has seen."""

    size: int
    enough: int

    def grade(self, structures: Sequence[Atoms]) -> list[Grade]:
        values = [int(structure_id(atoms)[:13], 16) / 16**13 for atoms in structures]
        hunger = max(0.0, 1 - self.size / self.enough)
        return [
            Grade(
                value,
                np.full(len(atoms), value) if value > 0.5 else None,
                "halt" if value < 0.5 * hunger else "save" if value < hunger else "keep",
            )
            for value, atoms in zip(values, structures, strict=True)
        ]

    def select(
        self,
        pool: Sequence[Atoms],
        grades: Sequence[Grade],
        budget: int,
        rng: np.random.Generator,
    ) -> list[int]:
        return rng.permutation(len(pool))[:budget].tolist()


class HungryConfig(QueryConfig):
    """Halts a share of all structures that shrinks to nothing at `enough` frames."""

    requires: ClassVar[frozenset[str]] = frozenset({"features"})

    kind: Literal["hungry"] = "hungry"
    enough: int = 30

    def fit(self, potential: Potential, train: Dataset) -> HungryQuery:
        return HungryQuery(len(train), self.enough)


class ChoosyConfig(HungryConfig):
    """Needs what no fake potential has."""

    requires: ClassVar[frozenset[str]] = frozenset({"variance"})

    kind: Literal["choosy"] = "choosy"  # type: ignore[assignment]  # another kind, else the same


@dataclass(frozen=True)
class TrickyOracle(FakeOracle):
    """A fake oracle with one more trouble, which `trick` names."""

    trick: str = ""
    mark: Path | None = None

    @property
    def level(self) -> str:
        return "tricky"

    def label(self, atoms: Atoms, *, workdir: Path) -> Labels:
        labels = FakeOracle.label(self, atoms, workdir=workdir)
        first = self.mark is not None and not self.mark.exists()
        if self.mark is not None:
            self.mark.touch()
        if self.trick == "slow":
            time.sleep(1.0)
        if self.trick == "die" or (self.trick == "die once" and first):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.trick == "flaky" and first:
            raise OracleError("the licence server slept", retry=True)
        if self.trick == "nan":
            return Labels(float("nan"), labels.forces, labels.stress)
        if self.trick == "hartree":
            return Labels(labels.energy, labels.forces / 27.211386, labels.stress)
        if self.trick == "bug":
            raise ZeroDivisionError("oracle code has a bug")
        return labels

    def calculator(self, *, workdir: Path) -> Calculator:
        if self.trick == "offline":
            raise OracleError("the licence server sleeps")
        return FakeOracle.calculator(self, workdir=workdir)


class TrickyOracleConfig(OracleConfig):
    """See `TrickyOracle`."""

    kind: Literal["tricky"] = "tricky"
    trick: str = ""
    mark: Path | None = None
    log: Path | None = None
    refuse: float = 0.0

    def build(self) -> TrickyOracle:
        teacher = FakePotentialConfig.example(seed=0)
        tricks = {"trick": self.trick, "mark": self.mark, "refuse": self.refuse}
        return TrickyOracle(teacher, log=self.log, **tricks)


class DimerProperty(PropertyConfig):
    """The energy of two atoms at a distance."""

    kind: Literal["dimer"] = "dimer"
    distance: float = 2.8
    broken: bool = False

    def measure(
        self, potential: Calculator, reference: Calculator, *, seed: int, workdir: Path
    ) -> PropertyResult:
        if self.broken:
            raise ZeroDivisionError("this property cannot be measured")
        energies = []
        for calculator in (potential, reference):
            atoms = Atoms("Al2", positions=[[0, 0, 0], [0, 0, self.distance]])
            atoms.calc = calculator
            energies.append(atoms.get_potential_energy())
        quantity = Quantity("energy", energies[0], "eV", energies[1], passed=True)
        workdir.mkdir(parents=True, exist_ok=True)
        curve = {"distance": np.array([self.distance])}
        return PropertyResult("dimer", "Dimer", (quantity,), curve, ("one point only",))


class ScriptedProperty(PropertyConfig):
    """A value for each potential it meets, in order: what a gate is tried with."""

    kind: Literal["scripted"] = "scripted"
    values: tuple[float | None, ...] = (1.0,)
    spread: float | None = None

    def measure(
        self, potential: Calculator, reference: Calculator, *, seed: int, workdir: Path
    ) -> PropertyResult:
        workdir.mkdir(parents=True, exist_ok=True)
        # a potential that is measured again, after a kill, is the same potential
        met = workdir / "met.json"
        known = json.loads(met.read_bytes()) if met.exists() else []
        fake: Any = potential
        mine = list(fake.potential.theta)
        if mine not in known:
            known.append(mine)
            write_file(met, json.dumps(known).encode())
        value = self.values[min(known.index(mine), len(self.values) - 1)]
        if value is None:
            raise MeasurementError("it melted")
        quantity = Quantity("a", value, "Å", 10.0, self.spread, passed=True)
        return PropertyResult("scripted", "Scripted", (quantity,))
