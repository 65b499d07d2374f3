"""Predicted variance as a query: grades, thresholds, a diverse selection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from ase import Atoms

from athanor.component import choose
from athanor.data.dataset import Dataset
from athanor.errors import ConfigError
from athanor.potentials._gap.examples import random_crystals
from athanor.potentials.gap import GapConfig
from athanor.query import QueryConfig
from athanor.query.gpvariance import GpVarianceConfig, measured
from athanor.structure import Frame, Labels
from athanor.testing.fakes import FakePotential, FakePotentialConfig


@dataclass(frozen=True)
class Doubtful(FakePotential):
    """Its standard deviation, eV, is the distance of an atom from the origin over 100 Å."""

    def variance(self, structures: Sequence[Atoms]) -> list[np.ndarray]:
        return [(np.linalg.norm(atoms.positions, axis=1) / 100) ** 2 for atoms in structures]


@pytest.fixture
def doubtful() -> Doubtful:
    made = FakePotentialConfig.example(seed=0)
    return Doubtful(made.elements, made.cutoff, made.theta)


def dimer(away: float, apart: float = 2.0) -> Atoms:
    return Atoms("Al2", positions=[[0, 0, away - apart], [0, 0, away]])


def dataset(*structures: Atoms) -> Dataset:
    return Dataset(tuple(Frame(a, Labels(0.0, np.zeros((len(a), 3)), None)) for a in structures))


def test_grades_and_verdicts(doubtful) -> None:
    query = GpVarianceConfig(save=0.05, halt=0.2, min_distance=1.0).fit(doubtful, Dataset())
    grades = query.grade([dimer(4), dimer(6), dimer(30), dimer(4, 0.5)])
    assert [grade.verdict for grade in grades] == ["keep", "save", "halt", "halt"]
    assert [grade.unphysical for grade in grades] == [False, False, False, True]
    assert grades[1].value == pytest.approx(0.06)
    assert grades[1].per_atom == pytest.approx([0.04, 0.06])
    assert "0.50 Å apart, below min_distance 1.00 Å" in grades[3].because
    mean = replace(query, measure="mean").grade([dimer(6)])
    assert mean[0].value == pytest.approx(0.05)
    assert query.grade([]) == []
    assert measured("mean", np.array([1.0, np.nan])) == np.inf


def test_thresholds_come_from_the_training_set(doubtful) -> None:
    train = dataset(*(dimer(away) for away in np.linspace(2, 8, 120)))
    query = GpVarianceConfig().fit(doubtful, train)
    assert query.save == pytest.approx(0.12)
    assert query.halt == pytest.approx(0.24)
    assert GpVarianceConfig(halt=0.5).fit(doubtful, train).halt == 0.5
    with pytest.raises(ConfigError, match=r"halt = 0\.1 eV is not above save, 0\.12 eV"):
        GpVarianceConfig(halt=0.1).fit(doubtful, train)
    with pytest.raises(ConfigError, match="the training set is empty"):
        GpVarianceConfig().fit(doubtful, Dataset())


def test_selects_the_most_uncertain_then_what_is_unlike_it(doubtful) -> None:
    rng = np.random.default_rng(0)
    known = dimer(20)
    query = GpVarianceConfig(save=0.05, halt=1.0).fit(doubtful, dataset(known))
    pool = [dimer(10), dimer(10), dimer(10.01), dimer(9, 3.5), dimer(1), known]
    grades = query.grade(pool)
    assert query.select(pool, grades, 2, rng) == [2, 3]
    assert query.select(pool, grades, 9, rng) == [2, 0, 3]
    assert query.select(pool, grades, 0, rng) == []
    unphysical = [replace(grade, unphysical=True) for grade in grades]
    assert query.select(pool, unphysical, 3, rng) == []


def test_wrong_recipes_are_one_sentence(doubtful) -> None:
    def parsed(**table: object) -> QueryConfig:
        return choose(
            "athanor.query", QueryConfig, {"kind": "gpvariance", **table}, where="[query]"
        )

    with pytest.raises(ConfigError, match=r"save = 0\.2 must be smaller than halt = 0\.1"):
        parsed(save=0.2, halt=0.1)
    with pytest.raises(ConfigError, match=r"measure = 'sum' is not allowed"):
        parsed(measure="sum")
    with pytest.raises(ConfigError, match=r"save = 0\.0 is not allowed"):
        parsed(save=0.0)
    with pytest.raises(ConfigError, match="FakePotential predicts no variance"):
        GpVarianceConfig(save=0.1).fit(FakePotentialConfig.example(seed=0), Dataset())
    assert GpVarianceConfig.requires <= GapConfig.provides


def test_a_gap_is_least_certain_of_what_it_never_saw() -> None:
    potential = GapConfig.example(seed=1)
    seen = random_crystals(1)
    query = GpVarianceConfig().fit(potential, seen)
    rng = np.random.default_rng(2)
    pressed = seen[0].atoms.copy()
    pressed.set_cell(0.8 * pressed.cell.array, scale_atoms=True)
    pressed.positions += rng.normal(0, 0.15, pressed.positions.shape)
    alike, unlike = query.grade([seen[1].atoms, pressed])
    assert alike.verdict == "keep"
    assert unlike.verdict in ("save", "halt")
    assert query.select([seen[1].atoms, pressed], [alike, unlike], 2, rng) == [1]
