"""Predictions beside labels, and what their differences come to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from athanor.data.dataset import Dataset
from athanor.data.durable import write_file
from athanor.data.packing import npz_bytes, read_npz
from athanor.potentials import Potential
from athanor.structure import FloatArray

FILE = "parity.npz"


@dataclass(frozen=True, slots=True)
class Parity:
    """Labels and predictions side by side.

    Attributes
    ----------
    energy, energy_predicted : (n,), eV/atom.
    forces, forces_predicted : (n_components,), eV/Å.
    stress, stress_predicted : (n_components,), eV/Å³, of the frames that have it.
    """

    energy: FloatArray
    energy_predicted: FloatArray
    forces: FloatArray
    forces_predicted: FloatArray
    stress: FloatArray
    stress_predicted: FloatArray

    @classmethod
    def of(cls, potential: Potential, dataset: Dataset) -> Parity:
        """Evaluate the potential on every frame."""
        predicted = potential.predict(dataset.structures)
        sizes = np.array([len(atoms) for atoms in dataset.structures], dtype=float)
        labels = dataset.labels
        both = [
            (a.stress, b.stress)
            for a, b in zip(labels, predicted, strict=True)
            if a.stress is not None and b.stress is not None
        ]
        return cls(
            np.array([label.energy for label in labels]) / sizes,
            np.array([label.energy for label in predicted]) / sizes,
            np.concatenate([np.zeros(0), *(label.forces.ravel() for label in labels)]),
            np.concatenate([np.zeros(0), *(label.forces.ravel() for label in predicted)]),
            np.concatenate([np.zeros(0), *(a.ravel() for a, _ in both)]),
            np.concatenate([np.zeros(0), *(b.ravel() for _, b in both)]),
        )

    def errors(self) -> dict[str, float | None]:
        """MAE, RMSE and maximum of energy (eV/atom), forces (eV/Å), stress (eV/Å³), or None."""
        found: dict[str, float | None] = {"frames": float(len(self.energy))}
        for name in ("energy", "forces", "stress"):
            difference = np.abs(getattr(self, name) - getattr(self, f"{name}_predicted"))
            found[f"{name}_mae"] = _number(difference.mean()) if difference.size else None
            rmse = np.sqrt((difference**2).mean()) if difference.size else np.nan
            found[f"{name}_rmse"] = _number(rmse)
            found[f"{name}_max"] = _number(difference.max()) if difference.size else None
        return found

    def write(self, folder: Path) -> None:
        """Keep the points for the report."""
        arrays = {name: getattr(self, name) for name in self.__dataclass_fields__}
        write_file(folder / FILE, npz_bytes(arrays))

    @classmethod
    def read(cls, folder: Path) -> Parity:
        """Read what `write` wrote."""
        return cls(**read_npz(folder / FILE))


def _number(value: float) -> float | None:
    """A float for JSON: None stands for what is not finite."""
    return float(value) if np.isfinite(value) else None
