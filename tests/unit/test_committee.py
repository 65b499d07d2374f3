"""The committee query: disagreement of an ensemble's members as a grade."""

from __future__ import annotations

import pickle
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms

from athanor.data.dataset import Dataset
from athanor.errors import ConfigError
from athanor.potentials.ani import AniConfig
from athanor.potentials.ensemble import Ensemble, Spread
from athanor.potentials.lj import LennardJones, LennardJonesConfig
from athanor.query import GradesInPassing, kinds
from athanor.query.committee import CommitteeConfig, CommitteeQuery
from athanor.structure import Frame, Labels
from athanor.testing import structures

ENSEMBLE = Ensemble.of([LennardJonesConfig.example(seed=k) for k in range(4)])


def pool(count: int, *, seed: int) -> list[Atoms]:
    rng = np.random.default_rng(seed)
    return [structures.dense(["Al", "Ni"], rng) for _ in range(count)]


def made(ensemble: Any = ENSEMBLE, **keys: Any) -> CommitteeQuery:
    return CommitteeConfig(**keys).fit(ensemble, Dataset())


@dataclass(frozen=True)
class Told:
    """A featureless member that predicts what it is told."""

    energy: float
    force: float
    elements: frozenset[str] = frozenset({"Al"})
    cutoff: float = 4.0

    def predict(self, structures: Sequence[Atoms], *, stress: bool = True) -> list[Labels]:
        return [Labels(self.energy, np.full((len(a), 3), self.force), None) for a in structures]

    def save(self, folder: Path) -> None:
        raise NotImplementedError


@pytest.mark.parametrize("measure", ["force_max", "force_mean", "energy"])
def test_the_grade_is_the_chosen_spread(measure: str) -> None:
    found = pool(6, seed=1)
    query = made(measure=measure)
    for atoms, grade in zip(found, query.grade(found), strict=True):
        spread = Spread.of([member.predict([atoms])[0] for member in ENSEMBLE.members])
        assert grade.value == pytest.approx(getattr(spread, measure), rel=1e-12)
        np.testing.assert_allclose(grade.per_atom, spread.forces, rtol=1e-12)


def test_networks_that_are_evaluated_together_are_a_committee() -> None:
    potential = AniConfig.example(seed=3)
    found = pool(5, seed=26)
    query = made(potential, measure="force_mean", save=1e-9, halt=1e9)
    for atoms, (grade, spread) in zip(found, query.grade_with_spread(found), strict=True):
        alone = Spread.of([member.predict([atoms])[0] for member in potential.members])
        assert grade.value == pytest.approx(alone.force_mean, rel=1e-9)
        assert spread.energy == pytest.approx(alone.energy, rel=1e-6, abs=1e-12)
    chosen = query.select(found, query.grade(found), 3, np.random.default_rng(0))
    assert len(set(chosen)) == 3


def test_labels_come_with_the_grade() -> None:
    found = pool(3, seed=2)
    query = made()
    assert isinstance(query, GradesInPassing)
    expected = zip(ENSEMBLE.predict(found), query.grade(found), strict=True)
    for (labels, grade), (alone, plain) in zip(query.evaluated(found), expected, strict=True):
        assert labels.energy == alone.energy
        assert labels.forces.tobytes() == alone.forces.tobytes()
        assert labels.stress is not None
        assert labels.stress.tobytes() == alone.stress.tobytes()
        assert grade.value == plain.value
    assert all(labels.stress is None for labels, _ in query.evaluated(found, stress=False))


def test_verdicts_by_two_thresholds() -> None:
    (atoms,) = pool(1, seed=3)
    value = made().grade([atoms])[0].value
    for save, halt, verdict in (
        (1.1 * value, 2 * value, "keep"),
        (0.5 * value, 1.1 * value, "save"),
        (0.1 * value, 0.9 * value, "halt"),
    ):
        assert made(save=save, halt=halt).grade([atoms])[0].verdict == verdict


@pytest.mark.parametrize(
    ("measure", "save", "halt"),
    [("force_max", 0.05, 0.2), ("force_mean", 0.02, 0.1), ("energy", 0.01, 0.05)],
)
def test_defaults_go_with_the_measure_and_are_told(measure: Any, save: float, halt: float) -> None:
    query = made(measure=measure)
    assert (query.save, query.halt) == (save, halt)
    fields = CommitteeConfig.model_fields
    assert f"{save:g} eV" in str(fields["save"].description)
    assert f"{halt:g} eV" in str(fields["halt"].description)
    assert kinds()["committee"] is CommitteeConfig


def test_a_member_that_is_not_finite_halts() -> None:
    for wrong in (Told(np.nan, 0.0), Told(0.0, np.inf), Told(1e308, 1e308)):
        query = made(Ensemble.of([Told(0.0, 0.0), Told(-1e308, -1e308), wrong]))
        (grade,) = query.grade([Atoms("Al2", positions=[[0, 0, 0], [0, 0, 2.5]])])
        assert grade.verdict == "halt"
        assert grade.value == np.inf


def test_selection_takes_the_largest_without_duplicates() -> None:
    """Without features it is the order of the grades."""
    query = made(Ensemble.of([Told(0.0, 0.0), Told(0.0, 1.0)]), save=0.1, halt=9.0)
    found = pool(8, seed=4)
    found += [found[2].copy(), found[5].copy()]
    values = np.random.default_rng(5).uniform(0.0, 1.0, 8)
    values = np.append(values, values[[2, 5]])
    grades = [type(g)(v, None, "save") for v, g in zip(values, query.grade(found), strict=True)]
    rng = np.random.default_rng(6)
    wanted = [int(k) for k in np.argsort(-values[:8]) if values[k] > 0.1]
    assert query.select(found, grades, 100, rng) == wanted
    assert query.select(found, grades, 3, rng) == wanted[:3]
    assert query.select(found, grades, 0, rng) == []
    assert query.select([], [], 5, rng) == []
    calm = [type(g)(0.05, None, "keep") for g in grades]
    assert query.select(found, calm, 5, rng) == []


def test_selection_is_diverse_where_there_are_features() -> None:
    """Two families of near copies: one of each comes before a second of either."""
    rng = np.random.default_rng(7)
    parents = pool(2, seed=8)
    found = []
    for _ in range(4):
        for parent in parents:
            atoms = parent.copy()
            atoms.positions += rng.normal(scale=1e-3, size=(len(atoms), 3))
            found.append(atoms)
    query = made(save=1e-6, halt=1e9)
    grades = query.grade(found)
    chosen = query.select(found, grades, 2, rng)
    assert sorted(index % 2 for index in chosen) == [0, 1]
    values = [grade.value for grade in grades]
    assert chosen[0] == int(np.argmax(values))
    everything = query.select(found, grades, 8, rng)
    assert everything == sorted(range(8), key=lambda index: -values[index])
    five = query.select(found, grades, 5, rng)
    assert len(set(five)) == 5
    assert five[:2] == chosen


def test_selection_with_infinite_grades() -> None:
    found = pool(6, seed=9)
    query = made(save=1e-6, halt=1e9)
    grades = [
        type(g)(np.inf if k in (1, 4) else g.value, None, "halt")
        for k, g in enumerate(query.grade(found))
    ]
    chosen = query.select(found, grades, 3, np.random.default_rng(0))
    assert chosen[0] == 1
    assert chosen[1] == 4
    assert len(set(chosen)) == 3


def test_it_pickles() -> None:
    found = pool(2, seed=10)
    query = made()
    again = pickle.loads(pickle.dumps(query))
    assert [g.value for g in again.grade(found)] == [g.value for g in query.grade(found)]


def test_what_is_no_committee_is_refused() -> None:
    single = LennardJones(frozenset({"Al"}), 5.0, 0.1, 2.5)
    for potential in (single, Ensemble.of([single])):
        with pytest.raises(ConfigError, match="no ensemble of two or more members"):
            made(potential)


def test_thresholds_in_the_wrong_order_are_refused() -> None:
    for table in ({"save": 0.3}, {"save": 0.2, "halt": 0.2}, {"measure": "energy", "halt": 0.005}):
        with pytest.raises(ConfigError, match=r"save = .* must be smaller than halt"):
            CommitteeConfig.parse(table, where="[query]")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"measure": "force"}, "no measure 'force' .did you mean 'force_max'"),
        ({"measure": ["energy", "forces_mean"]}, "no measure 'forces_mean' .did you mean"),
        ({"measure": []}, "no measure ''; give one of force_max, force_mean, energy"),
        ({"measure": 3}, "no measure 3; give one of"),
        ({"measure": ["energy", "energy"]}, "names a measure twice"),
        ({"save": -0.1}, "save: -0.1 is no threshold; give a number above zero"),
        ({"halt": "much"}, "halt: 'much' is no threshold"),
        ({"save": [0.1, True], "measure": ["energy", "force_max"]}, "True is no threshold"),
        ({"save": [0.1, 0.2]}, r"save = .* is 2 and measure 1; give one save for each"),
        ({"measure": ["energy", "force_max"], "halt": 0.2}, "halt = 0.2 is 1 and measure 2"),
        (
            {"measure": ["energy", "force_max"], "save": [0.01, 0.5]},
            "save = 0.5 must be smaller than halt = 0.2 for measure = 'force_max'",
        ),
        ({"min_distance": 0}, "min_distance = 0 is not allowed"),
    ],
)
def test_wrong_tables(table: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        CommitteeConfig.parse(table, where="[query]")


SEVERAL = ("energy", "force_max", "force_mean")


def several(**keys: Any) -> CommitteeQuery:
    return made(measure=SEVERAL, **keys)


def test_several_measures_have_the_defaults_of_each() -> None:
    found = [(one.measure, one.save, one.halt) for one in several().criteria]
    alone = [made(measure=measure) for measure in SEVERAL]
    assert found == [(q.criteria[0].measure, q.save, q.halt) for q in alone]
    assert (several().save, several().halt) == (1.0, None)
    assert CommitteeConfig(measure=SEVERAL).thresholds == (1.0, None)
    assert CommitteeConfig(measure=("energy",)).thresholds == (0.01, 0.05)
    assert CommitteeConfig(measure="force_mean", halt=0.3).thresholds == (0.02, 0.3)
    table = CommitteeConfig(measure=SEVERAL).model_dump(mode="json")
    assert table["measure"] == list(SEVERAL)
    # one measure is written down as it always was
    assert CommitteeConfig(measure="energy", save=0.02).model_dump(mode="json") == {
        "kind": "committee",
        "measure": "energy",
        "save": 0.02,
        "halt": None,
        "min_distance": None,
    }


def test_the_first_measure_exceeded_decides() -> None:
    """Thresholds drawn about the measures: verdict and value follow from each measure alone."""
    rng = np.random.default_rng(21)
    verdicts = set()
    for atoms in pool(40, seed=22):
        spread = Spread.of([member.predict([atoms])[0] for member in ENSEMBLE.members])
        values = np.array([spread.energy, spread.force_max, spread.force_mean])
        saves = values * rng.choice([0.7, 1.4, 3.0], 3)
        halts = saves * rng.choice([1.2, 2.0], 3)
        (grade,) = several(save=tuple(saves), halt=tuple(halts)).grade([atoms])
        assert grade.value == pytest.approx((values / saves).max(), rel=1e-12)
        expected = (
            "halt" if (values > halts).any() else "save" if (values > saves).any() else "keep"
        )
        assert grade.verdict == expected
        assert (grade.because == "") == (expected == "keep")
        if expected != "keep":
            name, value, unit, above, limit = re.fullmatch(
                r"(\w+) (\S+) (eV/Å|eV) above (\w+) (\S+)", grade.because
            ).groups()
            which = SEVERAL.index(name)
            assert above == expected
            assert (unit == "eV") == (name == "energy")
            assert float(value) == pytest.approx(values[which], rel=6e-3)
            assert float(limit) == pytest.approx(
                (halts if above == "halt" else saves)[which], rel=6e-3
            )
            assert values[which] > (halts if above == "halt" else saves)[which]
        verdicts.add(grade.verdict)
    assert verdicts == {"keep", "save", "halt"}


def test_several_measures_select_above_one() -> None:
    found = pool(12, seed=23)
    values = [q.value for q in several().grade(found)]
    middle = float(np.median(values))
    criteria = several().criteria
    query = several(
        save=tuple(one.save * middle for one in criteria),
        halt=tuple(one.halt * middle for one in criteria),
    )
    chosen = query.select(found, query.grade(found), 100, np.random.default_rng(0))
    assert sorted(chosen) == [k for k, value in enumerate(values) if value > middle]


def test_atoms_too_near_halt_and_are_not_selected() -> None:
    found = pool(10, seed=24)
    shortest = [
        float(a.get_all_distances(mic=True)[np.triu_indices(len(a), 1)].min()) for a in found
    ]
    floor = float(np.median(shortest))
    query = made(save=1e-9, halt=1e9, min_distance=floor)
    grades = query.grade(found)
    free = made(save=1e-9, halt=1e9).grade(found)
    for length, grade, plain in zip(shortest, grades, free, strict=True):
        assert grade.unphysical == (length < floor)
        assert grade.verdict == ("halt" if length < floor else "save")
        assert grade.value == plain.value
        if length < floor:
            words = f"two atoms {length:.2f} Å apart, below min_distance {floor:.2f} Å"
            assert grade.because == words
    chosen = query.select(found, grades, 100, np.random.default_rng(0))
    assert set(chosen) == {k for k, length in enumerate(shortest) if length >= floor}


def test_a_pool_in_batches_gives_what_the_pool_gives() -> None:
    """With and without features, with equal and known structures in it."""
    found = pool(14, seed=25)
    found += [found[3].copy(), found[9].copy()]
    train = Dataset.of([Frame(found[5], Labels(0.0, np.zeros((len(found[5]), 3)), None))])
    blind = Ensemble.of([Told(0.0, 0.0), Told(0.0, 1.0)])
    for ensemble in (ENSEMBLE, blind):
        query = CommitteeConfig(save=1e-9, halt=1e9).fit(ensemble, train)
        grades = query.grade(found)
        for budget in (0, 1, 4, 100):
            whole = query.select(found, grades, budget, np.random.default_rng(0))
            batches = [found[:5], found[5:6], found[6:]]
            assert query.select_from(lambda b=batches: iter(b), budget=budget) == whole
            assert len(whole) == min(budget, 13)
            assert len(set(whole)) == len(whole)
            assert not {5, 14, 15} & set(whole)
