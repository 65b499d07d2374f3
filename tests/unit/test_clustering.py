"""Clustering as a query of an ordinary campaign: its config, grades and selections."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest
from ase import Atoms

from athanor.data.dataset import Dataset
from athanor.errors import ConfigError, FitError, MissingExtraError, UnknownElementError
from athanor.potentials.lj import LennardJonesConfig
from athanor.query import Grade, QueryConfig, kinds
from athanor.query._similarity.measure import Measure
from athanor.query.clustering import DELTAS, ClusteringConfig, ClusteringQuery
from athanor.structure import Frame, Labels
from athanor.testing import structures as made

ELEMENTS = ("Al", "Cu")
SMALL = {"cutoff": 4.0, "n_max": 3, "l_max": 2, "basis": "gto"}


class Potential:
    """Knows its elements only: the query asks nothing else."""

    elements = frozenset(ELEMENTS)
    cutoff = 4.0


def dataset(structures: list[Atoms]) -> Dataset:
    return Dataset.of(
        Frame(atoms, Labels(0.0, np.zeros((len(atoms), 3)), None)) for atoms in structures
    )


def fitted(train: list[Atoms], **changes: object) -> ClusteringQuery:
    return ClusteringConfig.parse({**SMALL, **changes}, where="[query]").fit(
        Potential(), dataset(train)
    )


@pytest.fixture(scope="module")
def train() -> list[Atoms]:
    rng = np.random.default_rng(1)
    return [made.dense(ELEMENTS, rng) for _ in range(5)]


@pytest.fixture(scope="module")
def pool(train) -> list[Atoms]:
    """Copies of three crystals slightly displaced, a duplicate and a training structure."""
    rng = np.random.default_rng(2)
    crystals = [made.dense(ELEMENTS, rng, repeats=(2, 2, 1)) for _ in range(3)]
    found = []
    for number in range(12):
        atoms = crystals[number % 3].copy()
        atoms.positions += rng.normal(0, 0.02, (len(atoms), 3))
        found.append(atoms)
    return [*found, found[4].copy(), train[2].copy()]


def test_it_is_found_by_its_kind() -> None:
    assert kinds()["clustering"] is ClusteringConfig
    assert issubclass(ClusteringConfig, QueryConfig)
    assert ClusteringConfig.requires == frozenset()
    assert (
        ClusteringConfig().deltas == DELTAS == (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)
    )
    assert ClusteringConfig(delta=0.25).deltas == (0.25,)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"species": ("Xy",)}, "there is no element 'Xy'"),
        ({"delta": 1.5}, "delta = 1.5 is not allowed"),
        ({"basis": "wavelets"}, "basis = 'wavelets' is not allowed"),
        ({"cutof": 5.0}, "did you mean 'cutoff'"),
        ({"max_clusters": 1}, "max_clusters = 1 is not allowed"),
    ],
)
def test_a_wrong_setting_is_one_sentence(table, words) -> None:
    with pytest.raises(ConfigError, match=words):
        ClusteringConfig.parse(table, where="[query]")


@pytest.mark.parametrize("average", ["fingerprint", "pairs"])
@pytest.mark.parametrize("coulomb", ["sorted", "eigenvalues"])
def test_a_grade_is_the_distance_to_the_nearest_training_structure(
    train, pool, average, coulomb
) -> None:
    query = fitted(train, average=average, coulomb=coulomb, delta=0.3)
    grades = query.grade([*train, *pool])
    assert [grade.value for grade in grades[:5]] == [0.0] * 5
    assert [grade.verdict for grade in grades[:5]] == ["keep"] * 5
    kernel = query.measure.between([*train, *pool])
    apart = np.sqrt(2 - 2 * kernel)[5:, :5].min(axis=1)
    np.testing.assert_allclose([grade.value for grade in grades[5:]], apart, atol=1e-7)
    assert {grade.verdict for grade in grades[5:-1]} == {"save"}
    assert all(grade.per_atom is None and not grade.unphysical for grade in grades)
    # neither the batch nor the process changes a grade
    again = pickle.loads(pickle.dumps(query))
    assert [again.grade([atoms])[0].value for atoms in pool] == pytest.approx(
        [grade.value for grade in grades[5:]], abs=1e-7
    )
    assert query.grade([]) == []


def test_parameters_come_from_the_training_set(train) -> None:
    given = fitted(train, slope=0.5, zeta=2.0, delta=0.9).measure
    assert (given.slope, given.zeta, given.delta) == (0.5, 2.0, 0.9)
    taken = fitted(train).measure
    apart = (
        np.median(
            -np.log(fitted(train, zeta=1e-3, delta=1.0).measure.between(train))[
                np.triu_indices(5, 1)
            ]
        )
        / 1e-3
    )
    assert taken.zeta == pytest.approx(1 / apart, rel=1e-9)
    assert taken.delta == 0.5
    one = fitted(train[:1]).measure
    assert 0 < one.zeta < 1
    assert np.isfinite(one.to_training(train)).all()


def test_every_cluster_is_asked_in_turn(train, pool) -> None:
    query = fitted(train)
    grades = query.grade(pool)
    rng = np.random.default_rng(0)
    chosen = query.select(pool, grades, 3, rng)
    assert {number % 3 for number in chosen} == {0, 1, 2}
    for budget in (1, 2, 5, 8, 40):
        found = query.select(pool, grades, budget, rng)
        # one of the duplicates, no training structure, nothing twice
        assert len(found) == len(set(found)) == min(budget, 12)
        assert 13 not in found
        assert not {4, 12} <= set(found)
    assert query.select(pool, grades, 8, rng) == query.select(pool, grades, 8, rng)
    assert query.select(pool, grades, 0, rng) == query.select([], [], 5, rng) == []


def test_what_is_not_worth_a_label_is_not_selected(train, pool) -> None:
    rng = np.random.default_rng(0)
    query = fitted(train)
    grades = query.grade(pool)
    cut = sorted(grade.value for grade in grades)[7]
    above = fitted(train, save=cut)
    judged = above.grade(pool)
    expected = {k for k, grade in enumerate(grades) if grade.value > cut}
    assert {k for k, grade in enumerate(judged) if grade.verdict == "save"} == expected
    assert set(above.select(pool, judged, 99, rng)) <= expected
    halted = [Grade(1.0, None, "halt", unphysical=True), *grades[1:]]
    assert 0 not in query.select(pool, halted, 99, rng)


def test_larger_candidates_than_the_training_set_are_measured(train) -> None:
    query = fitted(train, coulomb="sorted")
    large = made.dense(ELEMENTS, np.random.default_rng(3), repeats=(3, 2, 2))
    (grade,) = query.grade([large])
    assert 0 < grade.value < np.sqrt(2)


def test_coulomb_matrices_pass_in_chunks(train, pool, monkeypatch) -> None:
    from athanor.query._similarity import measure

    whole = fitted(train, coulomb="sorted").measure.between(pool)
    monkeypatch.setattr(measure, "CHUNK_BYTES", 1)
    np.testing.assert_allclose(
        fitted(train, coulomb="sorted").measure.between(pool), whole, atol=1e-12
    )


def test_what_it_cannot_be_fitted_to_is_refused(train, monkeypatch) -> None:
    with pytest.raises(FitError, match="training set, which is empty"):
        fitted([])
    with pytest.raises(UnknownElementError, match=r"\[query\] species lacks Cu"):
        fitted(train, species=("Al", "Si"))
    assert fitted(train, species=("Al", "Cu", "Si")).grade(train)[0].value == 0.0
    with pytest.raises(UnknownElementError, match="structure 0: it holds Ne"):
        fitted(train).grade([made.isolated("Ne")])
    monkeypatch.setitem(sys.modules, "dscribe", None)
    with pytest.raises(MissingExtraError, match=r"athanor\[clustering\]"):
        fitted(train)


def test_a_real_potential_will_do(train) -> None:
    potential = LennardJonesConfig.example(seed=0)
    atoms = [made.dense(potential.elements, np.random.default_rng(seed)) for seed in range(3)]
    query = ClusteringConfig(**SMALL).fit(potential, dataset(atoms))
    assert isinstance(query.measure, Measure)
    assert [grade.value for grade in query.grade(atoms)] == [0.0] * 3
