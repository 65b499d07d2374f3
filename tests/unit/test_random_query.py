"""The baseline query: fair, deterministic, and blind."""

from __future__ import annotations

import numpy as np
import pytest

from athanor import query
from athanor.data.dataset import Dataset
from athanor.errors import ConfigError
from athanor.query.random import RandomConfig
from athanor.testing import structures
from athanor.testing.fakes import FakePotentialConfig

POTENTIAL = FakePotentialConfig.example(seed=0)


@pytest.fixture(scope="module")
def pool() -> list:
    rng = np.random.default_rng(7)
    return [structures.tiny(["Al"], rng) for _ in range(400)]


def test_it_is_discovered_and_requires_nothing() -> None:
    assert query.kinds()["random"] is RandomConfig
    assert RandomConfig.requires == frozenset()


@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_about_the_asked_fraction_is_saved_and_nothing_halts(pool: list, fraction: float) -> None:
    grades = RandomConfig(fraction=fraction).fit(POTENTIAL, Dataset()).grade(pool)
    saved = sum(grade.verdict == "save" for grade in grades)
    spread = np.sqrt(len(pool) * fraction * (1 - fraction))
    assert abs(saved - fraction * len(pool)) <= 4 * spread
    assert {grade.verdict for grade in grades} == {"keep", "save"}
    assert {grade.value for grade in grades} == {0.0}


def test_the_draw_belongs_to_the_structure(pool: list) -> None:
    fitted = RandomConfig(fraction=0.3).fit(POTENTIAL, Dataset())
    forward = [grade.verdict for grade in fitted.grade(pool)]
    backward = [grade.verdict for grade in fitted.grade(pool[::-1])]
    assert forward == backward[::-1]


def test_everything_is_saved_at_fraction_one(pool: list) -> None:
    grades = RandomConfig(fraction=1.0).fit(POTENTIAL, Dataset()).grade(pool)
    assert {grade.verdict for grade in grades} == {"save"}


def test_selection_is_a_seeded_draw_without_duplicates(pool: list) -> None:
    fitted = RandomConfig().fit(POTENTIAL, Dataset())
    few = [*pool[:20], *pool[:20]]
    one, two = (fitted.select(few, [], 10, np.random.default_rng(3)) for _ in range(2))
    assert one == two
    assert len(set(one)) == 10
    assert set(fitted.select(few, [], 99, np.random.default_rng(4))) == set(range(20))
    assert fitted.select(few, [], 0, np.random.default_rng(3)) == []
    assert one != fitted.select(few, [], 10, np.random.default_rng(5))


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.5, float("nan")])
def test_a_fraction_out_of_range_is_refused(fraction: float) -> None:
    with pytest.raises(ConfigError, match="fraction"):
        RandomConfig.parse({"fraction": fraction}, where="query")
