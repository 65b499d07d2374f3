"""[search]: defaults, what is refused, and what a trial is judged by."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from ase import Atoms

from athanor.campaign.parity import errors_of
from athanor.data.dataset import Dataset
from athanor.errors import ConfigError
from athanor.search.config import SearchConfig
from athanor.structure import Frame, Labels


def test_the_energy_alone_by_default() -> None:
    config = SearchConfig()
    assert config.score({"energy_rmse": 0.002, "forces_rmse": 0.1}) == 0.002
    assert config.score({"energy_rmse": 0.002, "forces_rmse": None}) == 0.002


def test_energy_and_forces_together() -> None:
    config = SearchConfig(objective="weighted", force_weight=0.02)
    assert config.score({"energy_rmse": 0.002, "forces_rmse": 0.1}) == pytest.approx(0.004)


@pytest.mark.parametrize("objective", ["energy", "weighted"])
@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_no_score_without_the_errors_that_count(objective: str, value: float | None) -> None:
    config = SearchConfig.parse({"objective": objective}, where="[search]")
    assert config.score({"energy_rmse": value, "forces_rmse": 0.1}) is None
    forces = config.score({"energy_rmse": 0.1, "forces_rmse": value})
    assert forces == (0.1 if objective == "energy" else None)
    assert config.score({}) is None


def test_the_errors_are_those_of_the_journal() -> None:
    rng = np.random.default_rng(0)
    structures = [Atoms("Si2", rng.random((2, 3)) * 3) for _ in range(3)]
    labels = [Labels(float(rng.normal()), rng.normal(size=(2, 3)), None) for _ in structures]
    data = Dataset.of(map(Frame, structures, labels))
    shifted = [Labels(one.energy + 0.2, one.forces + 0.3, None) for one in labels]
    found = errors_of(shifted, data)
    assert SearchConfig().score(found) == pytest.approx(0.1)
    weighted = SearchConfig(objective="weighted", force_weight=0.5)
    assert weighted.score(found) == pytest.approx(0.25)


def test_a_section_written_out_with_its_defaults_is_read_back() -> None:
    for config in (SearchConfig(trials=7), SearchConfig(objective="weighted", force_weight=0.3)):
        assert SearchConfig.parse(config.model_dump(mode="json"), where="[search]") == config


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"trial": 30}, "unknown key 'trial' (did you mean 'trials'?)"),
        ({"trials": 0}, "trials = 0 is not allowed"),
        ({"batch": 0}, "batch = 0 is not allowed"),
        ({"initial": 0}, "initial = 0 is not allowed"),
        ({"objective": "forces"}, "objective = 'forces' is not allowed"),
        ({"objective": "weighted", "force_weight": -1}, "force_weight = -1 is not allowed"),
        ({"method": "grid"}, "method = 'grid' is not allowed"),
        ({"force_weight": 0.1}, 'no effect with objective = "energy"; write "weighted"'),
    ],
)
def test_a_wrong_section(table: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SearchConfig.parse(table, where="pool.toml: [search]")
    assert str(caught.value).startswith("pool.toml: [search]: ")
    assert words in str(caught.value)
