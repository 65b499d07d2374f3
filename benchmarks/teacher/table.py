"""Fits to both sets, their errors on what both held out, and the paper's Table I."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from athanor.data.dataset import Dataset
from athanor.data.metrics import errors
from athanor.loading import load
from athanor.potentials import HasMembers, Potential
from athanor.structure import Labels
from teacher.settings import Settings, curve_sizes

VALID = 0.1
"""Share of a training set that decides when a member's rate falls and which weights are kept."""
PAPER = {
    "FCC/melt trained": {"FCC/melt test": (2.0, 4.0, 0.04, 0.07), "AL test": (40, 110, 0.49, 1.53)},
    "AL trained": {"FCC/melt test": (1.4, 1.9, 0.03, 0.04), "AL test": (1.3, 1.9, 0.04, 0.06)},
}
"""Table I of Smith et al. 2021: MAE and RMSE of energy, meV/atom, and force components, eV/Å."""
GOAL = {"energy_mae_meV": 2.0, "energy_rmse_meV": 3.0, "force_mae": 0.05, "force_rmse": 0.08}
"""Of the active-learning model on the active-learning test set, within 1,500 labels."""
WORSE = 10.0
"""How many times worse the other model is to be there at least."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Parts:
    """A set in two: what models are trained on, in the order of the set, and the test."""

    train: Dataset
    test: Dataset

    @classmethod
    def of(cls, data: Dataset, settings: Settings) -> Self:
        return cls(*data.split(settings.held_out, seed=settings.seed))


def sized(data: Dataset, count: int, settings: Settings) -> Dataset:
    """As many frames drawn at random, in their order; all if there are fewer."""
    chosen = np.random.default_rng(settings.seed).permutation(len(data))[:count]
    return data.subset(sorted(chosen.tolist()))


class Fits:
    """Models by name, fitted once and kept in a folder; an interrupted fit is gone on with."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings, self._folder = settings, folder

    def model(self, name: str, data: Dataset) -> Potential:
        """The model of that name, fitted to these frames if it is not there."""
        folder = self._folder / name
        saved = folder / "potential"
        if not saved.exists():
            begin = time.process_time()
            train, valid = data.split(VALID, seed=self._settings.seed)
            recipe = self._settings.recipe(len(data))
            potential = recipe.fit(train, valid, seed=self._settings.seed, workdir=folder / "fit")
            potential.save(saved)
            spent = time.process_time() - begin
            print(f"fit {name}: {len(data)} frames, {spent / 60:.1f} min of processor", flush=True)
        return load(saved)


def figures(predicted: Sequence[Labels], test: Dataset) -> Row:
    """MAE and RMSE, meV/atom and eV/Å, as athanor counts them (each configuration alike)."""
    found = errors(predicted, test.labels)
    return {
        "energy_mae_meV": 1000 * found.energy.mae,
        "energy_rmse_meV": 1000 * found.energy.rmse,
        "force_mae": found.forces.mae,
        "force_rmse": found.forces.rmse,
    }


def averaging(model: Potential, test: Dataset) -> Row:
    """How much lower the errors of the mean are than the members' on average, percent."""
    assert isinstance(model, HasMembers)
    each = model.predict_each(test.structures)
    singles = [figures(own, test) for own in zip(*each, strict=True)]
    whole = figures(model.predict(test.structures), test)
    member = {name: float(np.mean([one[name] for one in singles])) for name in whole}
    lower = {name: 100 * (1 - whole[name] / member[name]) for name in whole}
    return {"members": member, "mean": whole, "lower_percent": lower}


def table(active: Potential, melt: Potential, tests: dict[str, Dataset]) -> dict[str, Row]:
    """Errors by model and test, as the paper's Table I."""
    models = {"FCC/melt trained": melt, "AL trained": active}
    return {
        name: {test: figures(model.predict(data.structures), data) for test, data in tests.items()}
        for name, model in models.items()
    }


def contrast(rows: dict[str, Row]) -> Row:
    """How many times worse the FCC/melt model is than the other on each test."""
    melt, active = rows["FCC/melt trained"], rows["AL trained"]
    return {
        test: {name: melt[test][name] / active[test][name] for name in active[test]}
        for test in active
    }


def reached(rows: dict[str, Row]) -> dict[str, bool]:
    """Which goals are met, and which of the other model's errors are ten times as large."""
    active, worse = rows["AL trained"]["AL test"], contrast(rows)["AL test"]
    found = {f"{name} at most {goal}": active[name] <= goal for name, goal in GOAL.items()}
    return {**found, **{f"{name} {WORSE:.0f} times worse": worse[name] >= WORSE for name in worse}}


def curve(fits: Fits, train: Dataset, test: Dataset) -> list[Row]:
    """Errors on the active-learning test set against the labels trained on, earliest first."""
    rows = []
    for size in curve_sizes(len(train)):
        model = fits.model(active_name(size), train.subset(range(size)))
        rows.append({"labels": size, **figures(model.predict(test.structures), test)})
    return rows


def active_name(size: int) -> str:
    return f"active_{size}"


def printed(rows: dict[str, Row]) -> str:
    """Table I with the paper's figures in brackets."""
    lines = []
    for first, unit in ((0, "energy, meV/atom"), (2, "force components, eV/Å")):
        lines.append(f"{unit} (MAE/RMSE)")
        for name, by_test in rows.items():
            cells = []
            for test, found in by_test.items():
                ours = list(found.values())[first : first + 2]
                paper = PAPER[name][test][first : first + 2]
                form = "{:.1f}/{:.1f}" if first == 0 else "{:.3f}/{:.3f}"
                cells.append(f"{test} {form.format(*ours)} [{paper[0]}/{paper[1]}]")
            lines.append(f"  {name:17s} " + "   ".join(cells))
    return "\n".join(lines)
