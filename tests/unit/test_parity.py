"""Predictions beside labels, as a campaign keeps them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from athanor.campaign.parity import Parity, errors_of
from athanor.data.dataset import Dataset
from athanor.data.metrics import errors
from athanor.structure import Frame, Labels


def drawn(rng: np.random.Generator) -> tuple[list[Labels], Dataset]:
    """Predictions and labels of structures of 1 to 6 atoms, every other one periodic."""
    predicted, frames = [], []
    for n in range(1, 7):
        stress = n % 2 == 0
        one, other = (
            Labels(float(rng.normal()), rng.normal(size=(n, 3)), np.eye(3) * k if stress else None)
            for k in rng.normal(size=2)
        )
        atoms = Atoms(f"Al{n}", positions=rng.uniform(size=(n, 3)), cell=[4, 4, 4], pbc=stress)
        predicted.append(one)
        frames.append(Frame(atoms, other))
    return predicted, Dataset.of(frames)


def test_errors_are_those_of_the_command_line() -> None:
    predicted, frames = drawn(np.random.default_rng(1))
    found = errors_of(predicted, frames)
    table = errors(predicted, frames.labels)
    assert table.stress is not None
    assert found == {
        "frames": 6.0,
        **{f"energy_{k}": v for k, v in _three(table.energy.as_dict()).items()},
        **{f"forces_{k}": v for k, v in _three(table.forces.as_dict()).items()},
        **{f"stress_{k}": v for k, v in _three(table.stress.as_dict()).items()},
    }


def _three(table: dict[str, float | None]) -> dict[str, float | None]:
    return {name: table[name] for name in ("mae", "rmse", "max")}


def test_no_stress_is_none() -> None:
    predicted, frames = drawn(np.random.default_rng(2))
    found = errors_of(predicted[::2], frames.subset([0, 2, 4]))
    assert found["forces_rmse"] is not None
    assert found["stress_rmse"] is found["stress_mae"] is found["stress_max"] is None


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_prediction_that_is_not_finite_has_no_errors(bad: float, tmp_path: Path) -> None:
    predicted, frames = drawn(np.random.default_rng(3))
    predicted[2] = replace(predicted[2], energy=bad)
    found = errors_of(predicted, frames)
    assert found.pop("frames") == 6.0
    assert set(found.values()) == {None}


def test_points_come_back(tmp_path: Path) -> None:
    predicted, frames = drawn(np.random.default_rng(4))
    parity = Parity.of(predicted, frames)
    assert parity.energy_predicted[5] == predicted[5].energy / 6
    assert len(parity.forces) == len(parity.forces_predicted) == 3 * 21
    assert len(parity.stress) == len(parity.stress_predicted) == 9 * 3
    parity.write(tmp_path)
    again = Parity.read(tmp_path)
    for name in Parity.__slots__:
        np.testing.assert_array_equal(getattr(again, name), getattr(parity, name))
