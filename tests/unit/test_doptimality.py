"""D-optimality with potentials whose derivatives are known."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace

import numpy as np
import pytest
from ase import Atoms

from athanor import query
from athanor.data import batches
from athanor.data.dataset import Dataset
from athanor.errors import ConfigError, FitError
from athanor.query import doptimality
from athanor.query.doptimality import DOptimalityConfig, DOptimalQuery, rows_of
from athanor.structure import FloatArray, Frame, Labels
from athanor.testing import structures
from athanor.testing.fakes import FakePotential, FakePotentialConfig

POTENTIAL = FakePotentialConfig.example(seed=0)


def labelled(atoms: list[Atoms]) -> Dataset:
    return Dataset.of(Frame(a, POTENTIAL.predict([a])[0]) for a in atoms)


def drawn(rng: np.random.Generator, count: int, low: float, high: float) -> list[Atoms]:
    """Dense cells of various densities: spacing between `low` and `high` Å."""
    return [
        structures.dense(POTENTIAL.elements, rng, spacing=float(rng.uniform(low, high)))
        for _ in range(count)
    ]


@pytest.fixture
def train() -> Dataset:
    return labelled(drawn(np.random.default_rng(1), 20, 2.7, 2.9))


@pytest.fixture
def pool() -> list[Atoms]:
    return drawn(np.random.default_rng(2), 40, 2.2, 3.4)


def test_it_is_discovered_and_needs_features() -> None:
    assert query.kinds()["doptimality"] is DOptimalityConfig
    assert DOptimalityConfig.requires == {"features"}


@pytest.mark.parametrize("by", ["structure", "atom"])
def test_the_training_set_is_interpolated(train: Dataset, by: str) -> None:
    fitted = DOptimalityConfig(by=by).fit(POTENTIAL, train)
    grades = fitted.grade(train.structures)
    assert max(grade.value for grade in grades) <= 1.001 + 1e-9
    assert {grade.verdict for grade in grades} == {"keep"}


def test_a_grade_by_structure_is_that_of_the_mean_row(train: Dataset, pool: list[Atoms]) -> None:
    fitted = DOptimalityConfig().fit(POTENTIAL, train)
    for atoms, grade in zip(pool, fitted.grade(pool), strict=True):
        features = POTENTIAL.features([atoms])[0]
        by_atom = np.abs(np.linalg.solve(fitted.active.rows.T, features.T)).max(axis=0)
        whole = np.linalg.solve(fitted.active.rows.T, features.mean(axis=0))
        assert grade.value == pytest.approx(np.abs(whole).max(), rel=1e-6)
        assert grade.value <= by_atom.mean() * (1 + 1e-9)
        # atoms are graded where it is of use
        assert (grade.per_atom is None) == (grade.verdict == "keep")
        if grade.per_atom is not None:
            np.testing.assert_allclose(grade.per_atom, by_atom, rtol=1e-6)


def test_a_grade_by_atom_is_that_of_the_worst_atom(train: Dataset, pool: list[Atoms]) -> None:
    fitted = DOptimalityConfig(by="atom").fit(POTENTIAL, train)
    for atoms, grade in zip(pool, fitted.grade(pool), strict=True):
        assert grade.per_atom.shape == (len(atoms),)
        assert grade.value == grade.per_atom.max()


def test_a_supercell_has_the_grade_of_its_cell(train: Dataset, pool: list[Atoms]) -> None:
    for by in ("structure", "atom"):
        fitted = DOptimalityConfig(by=by).fit(POTENTIAL, train)
        one, two = fitted.grade([pool[0], pool[0].repeat((2, 1, 1))])
        assert two.value == pytest.approx(one.value, rel=1e-8)


def test_the_novel_atom_is_pointed_out(train: Dataset) -> None:
    atoms = structures.dense(
        POTENTIAL.elements, np.random.default_rng(3), repeats=(3, 3, 3), spacing=2.8
    )
    distances = atoms.get_all_distances(mic=True)
    nearest = int(np.argsort(distances[0])[1])
    atoms.positions[0] += 0.4 * atoms.get_distance(0, nearest, mic=True, vector=True)
    grade = DOptimalityConfig().fit(POTENTIAL, train).grade([atoms])[0]
    assert int(np.argmax(grade.per_atom)) in (0, nearest)


def test_verdicts_follow_the_thresholds(train: Dataset, pool: list[Atoms]) -> None:
    values = sorted(g.value for g in DOptimalityConfig().fit(POTENTIAL, train).grade(pool))
    save, halt = 1.5, float(np.mean(values[-4:-2]))
    fitted = DOptimalityConfig(save=save, halt=halt).fit(POTENTIAL, train)
    found = {"keep": [], "save": [], "halt": []}
    for grade in fitted.grade(pool):
        found[grade.verdict].append(grade.value)
    assert all(found.values()), "the pool must have some of each"
    assert max(found["keep"]) <= save < min(found["save"])
    assert max(found["save"]) <= halt < min(found["halt"])


@pytest.mark.parametrize("by", ["structure", "atom"])
def test_the_selected_few_cover_the_pool(train: Dataset, pool: list[Atoms], by: str) -> None:
    config = DOptimalityConfig(by=by)
    fitted = config.fit(POTENTIAL, train)
    grades = fitted.grade(pool)
    extrapolating = [g.value for g in grades if g.value > config.save]
    chosen = fitted.select(pool, grades, 100, np.random.default_rng(0))
    assert 0 < len(chosen) < len(extrapolating)
    assert len(set(chosen)) == len(chosen)
    rows = [pool[i] for i in chosen]
    after = config.fit(POTENTIAL, train.joined(labelled(rows))).grade(pool)
    # not exactly `save`: the set chosen from scratch is another, still dominant, one
    assert max(g.value for g in after) <= 2 * config.save
    assert max(g.value for g in grades) > 2 * config.save


def test_selection_is_ordered_cut_and_deterministic(train: Dataset, pool: list[Atoms]) -> None:
    fitted = DOptimalityConfig(save=1.01, halt=1.02).fit(POTENTIAL, train)
    grades = fitted.grade(pool)
    every = fitted.select(pool, grades, 100, np.random.default_rng(0))
    assert len(every) > 1
    assert every == fitted.select(pool, grades, 100, np.random.default_rng(99))
    assert fitted.select(pool, grades, 1, np.random.default_rng(0)) == every[:1]
    assert fitted.select(pool, grades, 0, np.random.default_rng(0)) == []
    assert fitted.select([], [], 5, np.random.default_rng(0)) == []


def test_the_most_extrapolating_structure_comes_first(train: Dataset, pool: list[Atoms]) -> None:
    fitted = DOptimalityConfig().fit(POTENTIAL, train)
    grades = fitted.grade(pool)
    worst = int(np.argmax([g.value for g in grades]))
    mild = [i for i, g in enumerate(grades) if g.value < 1]
    few = [pool[i] for i in [*mild[:3], worst]]
    assert fitted.select(few, fitted.grade(few), 9, np.random.default_rng(0)) == [3]


def test_equal_structures_are_selected_once(train: Dataset, pool: list[Atoms]) -> None:
    fitted = DOptimalityConfig(by="atom").fit(POTENTIAL, train)
    once = fitted.select(pool, fitted.grade(pool), 100, np.random.default_rng(0))
    doubled = [*pool, *pool]
    twice = fitted.select(doubled, fitted.grade(doubled), 100, np.random.default_rng(0))
    assert twice == once


def test_a_pool_within_the_training_set_needs_nothing(train: Dataset) -> None:
    fitted = DOptimalityConfig().fit(POTENTIAL, train)
    pool = train.structures
    assert fitted.select(pool, fitted.grade(pool), 10, np.random.default_rng(0)) == []


@pytest.mark.parametrize("by", ["structure", "atom"])
def test_after_labelling_no_grade_in_a_passing_pool_is_above_save(
    train: Dataset, pool: list[Atoms], by: str
) -> None:
    fitted = DOptimalityConfig(by=by).fit(POTENTIAL, train)
    parts = [pool[:1], pool[1:8], pool[8:31], pool[31:]]
    chosen = fitted.select_from(lambda: iter(parts), budget=100)
    owners: list[int] = []
    grown = fitted.active.extended_by(lambda: fitted._chunks(parts, owners), threshold=fitted.save)
    after = replace(fitted, active=grown)
    assert max(g.value for g in after.grade(pool)) <= fitted.save * (1 + 1e-5)
    assert max(g.value for g in fitted.grade(pool)) > 2 * fitted.save
    labels = [pool[i] for i in chosen]
    rows = np.concatenate([fitted.active.rows, rows_of(POTENTIAL, labels, by)[0]])
    held = {row.tobytes() for row in rows}
    assert all(row.tobytes() in held for row in grown.rows), "only rows of those selected"
    # whatever the batches are, and a budget leaves the most wanted
    assert set(fitted.select_from(lambda: iter([pool]), budget=100)) == set(chosen)
    assert fitted.select_from(lambda: iter(parts), budget=1) == chosen[:1]


def test_equal_structures_in_different_batches_are_selected_once(
    train: Dataset, pool: list[Atoms]
) -> None:
    fitted = DOptimalityConfig(by="atom").fit(POTENTIAL, train)
    once = fitted.select_from(lambda: iter([pool]), budget=100)
    parts = [pool[:20], [*pool[10:30], pool[5]], pool[20:], pool]
    twice = fitted.select_from(lambda: iter(parts), budget=100)
    every = [atoms for batch in parts for atoms in batch]
    assert len(twice) == len(once)
    assert all(every[i] == pool[k] for i, k in zip(twice, once, strict=True))
    assert all(every.index(every[i]) == i for i in twice), "the first of them"


@pytest.mark.parametrize("by", ["structure", "atom"])
def test_a_pool_at_hand_is_evaluated_once_unless_it_is_large(
    train: Dataset, pool: list[Atoms], by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = DOptimalityConfig(by=by).fit(POTENTIAL, train)
    inner, asked = FakePotential.features, []

    def features(self: FakePotential, structures: list[Atoms]) -> list[FloatArray]:
        asked.extend(structures)
        return inner(self, structures)

    monkeypatch.setattr(FakePotential, "features", features)
    chosen = fitted.select(pool, [], 100, np.random.default_rng(0))
    assert len(asked) == len(pool)
    monkeypatch.setattr(doptimality, "TABLE_BYTES", 0)
    assert fitted.select(pool, [], 100, np.random.default_rng(0)) == chosen
    assert len(asked) >= 3 * len(pool)


def test_labels_and_grades_come_together(train: Dataset, pool: list[Atoms]) -> None:
    for by in ("structure", "atom"):
        fitted = DOptimalityConfig(by=by).fit(POTENTIAL, train)
        both = fitted.evaluated(pool)
        for one, (labels, grade), right in zip(
            fitted.grade(pool), both, POTENTIAL.predict(pool), strict=True
        ):
            assert (grade.value, grade.verdict) == (one.value, one.verdict)
            assert labels.energy == right.energy
            np.testing.assert_array_equal(labels.forces, right.forces)
            np.testing.assert_array_equal(labels.stress, right.stress)
        assert all(one.stress is None for one, _ in fitted.evaluated(pool, stress=False))
        assert fitted.evaluated([]) == fitted.grade([]) == []


def test_a_training_set_by_atom_that_is_too_large_passes_by(
    train: Dataset, pool: list[Atoms], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = DOptimalityConfig(by="atom").fit(POTENTIAL, train)
    monkeypatch.setattr(doptimality, "TABLE_BYTES", 0)
    monkeypatch.setattr(batches, "ATOMS_AT_ONCE", 20)
    passed = DOptimalityConfig(by="atom").fit(POTENTIAL, train)
    assert max(grade.value for grade in passed.grade(train.structures)) <= 1 + 1e-5
    assert passed.active.seen == at_once.active.seen == train.n_atoms
    assert passed.active.log_volume == pytest.approx(at_once.active.log_volume, abs=0.5)


@dataclass(frozen=True)
class Spoiled(FakePotential):
    """Derivatives that overflow for cells denser than a limit."""

    def features(self, structures: list[Atoms]) -> list[FloatArray]:
        found = FakePotential.features(self, structures)
        return [
            np.full_like(table, np.nan) if atoms.cell.volume / len(atoms) < 10 else table
            for atoms, table in zip(structures, found, strict=True)
        ]


def test_derivatives_that_are_not_finite_halt_and_are_not_selected(train: Dataset) -> None:
    spoiled = Spoiled(POTENTIAL.elements, POTENTIAL.cutoff, POTENTIAL.theta)
    crushed = drawn(np.random.default_rng(4), 2, 1.9, 2.0)
    fitted = DOptimalityConfig().fit(spoiled, train)
    grades = fitted.grade(crushed)
    assert [(g.value, g.verdict) for g in grades] == [(np.inf, "halt")] * 2
    assert fitted.select(crushed, grades, 5, np.random.default_rng(0)) == []
    with pytest.raises(FitError, match="not finite"):
        DOptimalityConfig().fit(spoiled, train.joined(labelled(crushed)))


def test_the_query_pickles(train: Dataset, pool: list[Atoms]) -> None:
    fitted = DOptimalityConfig().fit(POTENTIAL, train)
    again = pickle.loads(pickle.dumps(fitted))
    assert isinstance(again, DOptimalQuery)
    assert [g.value for g in again.grade(pool)] == [g.value for g in fitted.grade(pool)]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"save": 3.0, "halt": 2.0}, "must be smaller than halt"),
        ({"save": 2.0, "halt": 2.0}, "must be smaller than halt"),
        ({"save": 0.9}, "save = 0.9 is not allowed"),
        ({"halt": 1.0}, "halt = 1.0 is not allowed"),
        ({"by": "molecule"}, "'structure' or 'atom'"),
        ({"threshold": 2.0}, "unknown key 'threshold'"),
    ],
)
def test_impossible_settings_are_refused(table: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        DOptimalityConfig.parse(table, where="query")


class Featureless:
    elements = frozenset({"Al"})
    cutoff = 5.0

    def predict(self, structures: list[Atoms], *, stress: bool = True) -> list[Labels]:
        return []

    def save(self, folder: object) -> None: ...


def test_a_potential_without_features_is_refused(train: Dataset) -> None:
    with pytest.raises(ConfigError, match="Featureless has no derivatives"):
        DOptimalityConfig().fit(Featureless(), train)


def test_an_empty_training_set_is_refused() -> None:
    with pytest.raises(FitError, match="training set is empty"):
        DOptimalityConfig().fit(POTENTIAL, Dataset())
