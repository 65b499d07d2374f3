"""The pictures: errors against labels, and predicted against the teacher's forces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib import pyplot as plt

from athanor.data.dataset import Dataset
from athanor.potentials import Potential

MOST_POINTS = 20_000


def learning_curve(rows: list[dict[str, Any]], path: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), constrained_layout=True)
    labels = [row["labels"] for row in rows]
    for axis, kind, unit, goals in (
        (axes[0], "energy_{}_meV", "energy, meV/atom", (2.0, 3.0)),
        (axes[1], "force_{}", "force component, eV/Å", (0.05, 0.08)),
    ):
        for number, name in enumerate(("mae", "rmse")):
            values = [row[kind.format(name)] for row in rows]
            axis.loglog(labels, values, "o-", color=f"C{number}", label=name.upper())
            axis.axhline(goals[number], color=f"C{number}", linestyle=":", linewidth=1)
        axis.set_xlabel("labels trained on")
        axis.set_ylabel(unit)
        axis.legend(frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def correlation(models: dict[str, Potential], tests: dict[str, Dataset], path: Path) -> None:
    """Energies and forces of both models on both tests (the paper's Figs S6 and S7)."""
    figure, axes = plt.subplots(2, 4, figsize=(13, 6.4), constrained_layout=True)
    panels = [(model, test) for model in models for test in tests]
    for column, (model, test) in enumerate(panels):
        data = tests[test]
        predicted = models[model].predict(data.structures)
        sizes = np.array([len(atoms) for atoms in data.structures])
        both = (predicted, data.labels)
        energies = [np.array([one.energy for one in part]) / sizes for part in both]
        forces = [np.concatenate([one.forces.ravel() for one in part]) for part in both]
        keep = np.random.default_rng(0).permutation(forces[0].size)[:MOST_POINTS]
        _panel(axes[0, column], energies[1], energies[0], "energy, eV/atom")
        _panel(axes[1, column], forces[1][keep], forces[0][keep], "force component, eV/Å")
        axes[0, column].set_title(f"{model},\n{test}", fontsize=9)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _panel(axis: Any, x: np.ndarray, y: np.ndarray, unit: str) -> None:
    ends = [min(x.min(), y.min()), max(x.max(), y.max())]
    axis.plot(ends, ends, color="0.7", linewidth=1)
    axis.plot(x, y, ".", markersize=2)
    axis.set_xlabel(f"teacher: {unit}", fontsize=8)
    axis.set_ylabel("model", fontsize=8)
