"""What the search methods are compared on: tables of real fits, and a function of six arguments.

A table holds the validation errors of a moment tensor potential at every point of a grid of
hyperparameters, so that many seeds of many methods can be run over fits that were made once.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from athanor.campaign.parity import errors_of
from athanor.data.formats import read_frames
from athanor.errors import FitError
from athanor.potentials.mtp import MtpConfig
from athanor.search.config import SearchConfig
from athanor.search.space import Point, SearchSpace, key

Errors = tuple[float | None, float | None]
"""RMSE of energy (eV/atom) and forces (eV/Å) on the validation frames; None: the fit failed."""

VALID = 40
"""Frames that a fit does not see."""


@dataclass(frozen=True)
class Grid:
    """A table of fits: `file` of the data folder, `train` frames, the space and what is judged.

    max_dist is in tenths of an Å, force_weight the exponent of sqrt(10).
    """

    file: str
    train: int
    space: SearchSpace
    search: SearchConfig


def _grid(**ranges: Any) -> SearchSpace:
    return SearchSpace.of(**ranges)


GRIDS = {
    "si": Grid(
        "mlearn_si/training.extxyz",
        24,
        _grid(
            level={"low": 6, "high": 10, "step": 2},
            max_dist={"low": 40, "high": 60, "step": 4},
            force_weight={"low": -8, "high": -2},
            radial_basis_size={"low": 4, "high": 10, "step": 2},
        ),
        SearchConfig(),
    ),
    "al": Grid(
        "al_aimd_300k/train.extxyz",
        20,
        _grid(
            level={"low": 4, "high": 6, "step": 2},
            max_dist={"low": 40, "high": 64, "step": 6},
            force_weight={"low": -8, "high": 0, "step": 2},
            radial_basis_size={"low": 4, "high": 10, "step": 3},
            weighting={"choices": ["vibrations", "molecules"]},
        ),
        SearchConfig(objective="weighted", force_weight=0.01),
    ),
}


def recipe(point: Point) -> MtpConfig:
    """The recipe at a point of a grid."""
    values = dict(point)
    values["max_dist"] = values["max_dist"] / 10
    values["force_weight"] = math.sqrt(10) ** values["force_weight"]
    return MtpConfig(starts=1, steps=8, **values)


def measure(grid: Grid, folder: Path, *, known: list[Errors], keep: Callable[[], None]) -> None:
    """Append to `known` the errors at every further point, in the order of `space.points()`."""
    frames = read_frames(folder / grid.file)
    order = np.random.default_rng(0).permutation(len(frames))
    train = frames.subset(order[: grid.train])
    valid = frames.subset(order[grid.train : grid.train + VALID])
    for number, point in enumerate(grid.space.points()):
        if number < len(known):
            continue
        with tempfile.TemporaryDirectory() as workdir:
            try:
                fitted = recipe(point).fit(train, valid, seed=0, workdir=Path(workdir))
            except FitError:
                known.append((None, None))
                continue
        found = errors_of(fitted.predict(valid.structures), valid)
        known.append((found["energy_rmse"], found["forces_rmse"]))
        if number % 20 == 0:
            keep()
    keep()


def tabled(grid: Grid, table: list[Errors]) -> Callable[[Point], float | None]:
    """The objective that looks fits up."""
    scores = {
        key(point): grid.search.score({"energy_rmse": row[0], "forces_rmse": row[1]})
        for point, row in zip(grid.space.points(), table, strict=True)
    }
    return lambda point: scores[key(point)]


_A = np.array(
    [
        [10, 3, 17, 3.5, 1.7, 8],
        [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8],
        [17, 8, 0.05, 10, 0.1, 14],
    ]
)
_P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)
_HEIGHTS = np.array([1.0, 1.2, 3.0, 3.2])
HARTMANN = SearchSpace.of(**{f"x{i}": {"low": 0.0, "high": 1.0} for i in range(6)})
HARTMANN_LEAST = -3.32237


def hartmann(point: Point) -> float:
    """Hartmann's function of six arguments; least -3.32237."""
    x = np.array([point[f"x{i}"] for i in range(6)])
    return float(-(_HEIGHTS * np.exp(-(_A * (x - _P) ** 2).sum(axis=1))).sum())
