"""Errors of a potential against labels (Novikov et al. 2021, eqs 8-10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.units import GPa

from athanor.errors import InputError
from athanor.structure import FloatArray, Labels, check_labels


@dataclass(frozen=True, slots=True)
class Errors:
    """Errors of one kind of label.

    Attributes
    ----------
    mae, rmse, maximum : mean absolute, root mean square and largest absolute error. The means are
        over configurations of the mean over the components of each, 1/K sum_k 1/(3 N_k) sum: a
        small cell counts as much as a large one (eqs 8-10).
    scale : what 100 % is. Forces and stress: the same root mean square of the reference. Energy:
        the standard deviation of the reference energies per atom, since their zero is arbitrary.
        None when that is zero (equal energies, or all forces zero).
    """

    mae: float
    rmse: float
    maximum: float
    scale: float | None

    @property
    def mae_percent(self) -> float | None:
        return self._percent(self.mae)

    @property
    def rmse_percent(self) -> float | None:
        """100 rms(error) / rms(reference): the figure that is usually quoted."""
        return self._percent(self.rmse)

    @property
    def maximum_percent(self) -> float | None:
        return self._percent(self.maximum)

    def _percent(self, error: float) -> float | None:
        if self.scale is None:
            return None
        with np.errstate(all="ignore"):
            value = float(np.float64(100.0) * error / self.scale)
        return value if np.isfinite(value) else None

    def times(self, factor: float) -> Errors:
        """The same errors in another unit."""
        scale = None if self.scale is None else self.scale * factor
        return Errors(self.mae * factor, self.rmse * factor, self.maximum * factor, scale)

    def as_dict(self) -> dict[str, float | None]:
        return {
            "mae": self.mae,
            "rmse": self.rmse,
            "max": self.maximum,
            "mae_percent": self.mae_percent,
            "rmse_percent": self.rmse_percent,
            "max_percent": self.maximum_percent,
        }


@dataclass(frozen=True, slots=True)
class ErrorTable:
    """Errors of energy per atom (eV/atom), force components (eV/Å), stress components (eV/Å³).

    `stress` is None when no configuration has both a predicted and a reference stress;
    `n_stress` says how many have.
    """

    energy: Errors
    forces: Errors
    stress: Errors | None
    n_frames: int
    n_atoms: int
    n_stress: int

    @property
    def stress_GPa(self) -> Errors | None:
        """The stress errors in GPa, for people."""
        return None if self.stress is None else self.stress.times(1 / GPa)

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON; never NaN or infinite, None where there is nothing to say."""
        stress, stress_GPa = self.stress, self.stress_GPa
        return {
            "n_frames": self.n_frames,
            "n_atoms": self.n_atoms,
            "n_stress": self.n_stress,
            "energy_eV_per_atom": self.energy.as_dict(),
            "forces_eV_per_A": self.forces.as_dict(),
            "stress_eV_per_A3": None if stress is None else stress.as_dict(),
            "stress_GPa": None if stress_GPa is None else stress_GPa.as_dict(),
        }


def errors(predicted: Sequence[Labels], reference: Sequence[Labels]) -> ErrorTable:
    """Compare predictions with reference labels, configuration by configuration.

    Raises
    ------
    InputError : nothing to compare, different numbers of configurations or atoms, or labels too
        large to square.
    LabelError : labels that are not finite.
    """
    if len(reference) == 0 or len(predicted) != len(reference):
        raise InputError(
            f"errors: {len(predicted)} predictions and {len(reference)} references; "
            "give as many of each, at least one"
        )
    for index, (one, other) in enumerate(zip(predicted, reference, strict=True)):
        _check_pair(one, other, where=f"errors, configuration {index}")
    counts = [len(one.forces) for one in reference]
    energies = _per_atom(reference, counts)
    stressed = [
        (one.stress, other.stress)
        for one, other in zip(predicted, reference, strict=True)
        if one.stress is not None and other.stress is not None
    ]
    return ErrorTable(
        energy=_errors(_per_atom(predicted, counts), energies, centre=float(np.mean(energies))),
        forces=_errors([one.forces for one in predicted], [one.forces for one in reference]),
        stress=_errors(*map(list, zip(*stressed, strict=True))) if stressed else None,
        n_frames=len(counts),
        n_atoms=sum(counts),
        n_stress=len(stressed),
    )


def _check_pair(one: Labels, other: Labels, *, where: str) -> None:
    if one.forces.shape != other.forces.shape or len(one.forces) == 0:
        raise InputError(
            f"{where}: predicted forces have shape {one.forces.shape}, the reference "
            f"{other.forces.shape}; both must be (n_atoms, 3) of one structure"
        )
    check_labels(one, len(one.forces), where=f"{where}, predicted")
    check_labels(other, len(other.forces), where=f"{where}, reference")


def _per_atom(labels: Sequence[Labels], counts: Sequence[int]) -> list[FloatArray]:
    return [np.array(one.energy / n) for one, n in zip(labels, counts, strict=True)]


def _errors(
    predicted: Sequence[FloatArray], reference: Sequence[FloatArray], *, centre: float = 0.0
) -> Errors:
    """Errors over configurations; `centre` is taken off the reference before its size is taken."""
    with np.errstate(all="ignore"):
        wrong = [one - other for one, other in zip(predicted, reference, strict=True)]
        size = _rms([other - centre for other in reference])
        found = Errors(
            mae=float(np.mean([np.abs(one).mean() for one in wrong])),
            rmse=_rms(wrong),
            maximum=float(max(np.abs(one).max() for one in wrong)),
            scale=size if size > 0 else None,
        )
    if not np.isfinite([found.mae, found.rmse, found.maximum, size]).all():
        raise InputError("errors: the labels are too large to be compared; mend them")
    return found


def _rms(values: Sequence[FloatArray]) -> float:
    """Root of the mean over configurations of the mean square of each."""
    return float(np.sqrt(np.mean([np.square(one).mean() for one in values])))
