"""Predictions beside labels, and what their differences come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from athanor.data.dataset import Dataset
from athanor.data.durable import write_file
from athanor.data.metrics import Errors, errors
from athanor.data.packing import npz_bytes, read_npz
from athanor.errors import InputError
from athanor.structure import FloatArray, Labels

FILE = "parity.npz"


@dataclass(frozen=True, slots=True)
class Parity:
    """Labels and predictions side by side.

    Attributes
    ----------
    energy, energy_predicted : (n,), eV/atom.
    forces, forces_predicted : (n_components,), eV/Å, of the frames that have them.
    stress, stress_predicted : (n_components,), eV/Å³, of the frames that have it.
    """

    energy: FloatArray
    energy_predicted: FloatArray
    forces: FloatArray
    forces_predicted: FloatArray
    stress: FloatArray
    stress_predicted: FloatArray

    @classmethod
    def of(cls, predicted: Sequence[Labels], dataset: Dataset) -> Parity:
        """Put what a potential predicts beside the labels of every frame."""
        sizes = np.array([len(atoms) for atoms in dataset.structures], dtype=float)
        labels = dataset.labels
        both = [
            (a.stress, b.stress)
            for a, b in zip(labels, predicted, strict=True)
            if a.stress is not None and b.stress is not None
        ]
        moved = [
            (a.forces.ravel(), b.forces.ravel())
            for a, b in zip(labels, predicted, strict=True)
            if a.has_forces
        ]
        return cls(
            np.array([label.energy for label in labels]) / sizes,
            np.array([label.energy for label in predicted]) / sizes,
            np.concatenate([np.zeros(0), *(a for a, _ in moved)]),
            np.concatenate([np.zeros(0), *(b for _, b in moved)]),
            np.concatenate([np.zeros(0), *(a.ravel() for a, _ in both)]),
            np.concatenate([np.zeros(0), *(b.ravel() for _, b in both)]),
        )

    def write(self, folder: Path) -> None:
        """Keep the points for the report."""
        arrays = {name: getattr(self, name) for name in self.__dataclass_fields__}
        write_file(folder / FILE, npz_bytes(arrays))

    @classmethod
    def read(cls, folder: Path) -> Parity:
        """Read what `write` wrote."""
        return cls(**read_npz(folder / FILE))


def errors_of(predicted: Sequence[Labels], dataset: Dataset) -> dict[str, float | None]:
    """MAE, RMSE and maximum of energy (eV/atom), forces (eV/Å), stress (eV/Å³), for the journal.

    The same numbers as `athanor errors` gives (see `athanor.data.metrics`); None where there are
    no labels, and everywhere when a prediction is not finite.
    """
    labels = dataset.labels
    energies_alone = not any(label.has_forces for label in labels)
    if energies_alone:
        pairs = zip(labels, predicted, strict=True)
        labels = [replace(label, forces=one.forces) for label, one in pairs]
    try:
        table = errors(predicted, labels)
        kinds: dict[str, Errors | None] = {
            "energy": table.energy,
            "forces": None if energies_alone else table.forces,
            "stress": table.stress,
        }
    except InputError:
        # a potential that overflows on a new label must not end the campaign that mends it
        kinds = {"energy": None, "forces": None, "stress": None}
    found: dict[str, float | None] = {"frames": float(len(dataset))}
    for name, one in kinds.items():
        found[f"{name}_mae"] = None if one is None else one.mae
        found[f"{name}_rmse"] = None if one is None else one.rmse
        found[f"{name}_max"] = None if one is None else one.maximum
    return found
