"""The loss of Smith et al. 2021, eq. 1, of every member and structure, and its derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from athanor.potentials._ani.frames import Frames
from athanor.potentials._ani.settings import LossWeights
from athanor.structure import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """What members say of structures: energies (n_members, n_frames) eV, derivatives of the energy
    by positions (n_members, n_atoms, 3) eV/Å and by strain (n_members, n_frames, 3, 3) eV."""

    energies: FloatArray
    gradient: FloatArray
    strain: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Residuals:
    """How far predictions are off.

    Attributes
    ----------
    losses : (n_members, n_frames) eV², not multiplied by shares.
    energies, gradient, strain : derivatives of sum(shares * losses) by what was predicted.
    """

    losses: FloatArray
    energies: FloatArray
    gradient: FloatArray
    strain: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Errors:
    """How far predictions are off, in numbers that do not overflow as squares do.

    Attributes
    ----------
    roots : (n_members, n_frames) eV, about the root of the loss, to compare structures by.
    energies : (n_members, n_frames) eV per atom, absolute.
    forces : (n_members, n_frames) eV/Å, root of the mean squared component.
    virials : (n_members, n_frames) eV per atom, the largest component.
    """

    roots: FloatArray
    energies: FloatArray
    forces: FloatArray
    virials: FloatArray

    @classmethod
    def joined(cls, parts: Sequence[Errors]) -> Errors:
        """Those of all structures of several pieces."""
        return cls(
            *(
                np.concatenate([getattr(part, field.name) for part in parts], axis=1)
                for field in fields(cls)
            )
        )


# a loss that is not finite is found by whoever asked for it
@np.errstate(over="ignore", invalid="ignore")
def residuals(
    predicted: Predicted, frames: Frames, shares: FloatArray, weights: LossWeights
) -> Residuals:
    """Compare predictions with labels; `shares` (n_members, n_frames) multiply the losses."""
    sizes = frames.sizes
    energy = predicted.energies - frames.energies
    per_energy = 1.0 / sizes.astype(float) ** 2 if weights.per_atom else np.ones(len(sizes))
    # forces are minus the gradient
    force = predicted.gradient + frames.forces
    force *= np.repeat(frames.has_forces, sizes)[:, None]
    squared = np.add.reduceat((force**2).sum(axis=2), frames.offsets[:-1], axis=1)
    losses = per_energy * energy**2 + weights.l0 / sizes * squared
    by_energy = 2 * shares * per_energy * energy
    by_force = 2 * weights.l0 * shares / sizes
    strain = np.zeros_like(predicted.strain)
    if weights.stress_weight:
        per_virial = weights.stress_weight * per_energy * frames.has_stress
        virial = predicted.strain - frames.virials
        losses += per_virial * (virial**2).sum(axis=(2, 3))
        strain = 2 * (shares * per_virial)[:, :, None, None] * virial
    return Residuals(
        losses=losses,
        energies=by_energy,
        gradient=np.repeat(by_force, sizes, axis=1)[:, :, None] * force,
        strain=strain,
    )


def errors(predicted: Predicted, frames: Frames, weights: LossWeights) -> Errors:
    """Compare predictions with labels by numbers for people."""
    sizes, first = frames.sizes, frames.offsets[:-1]
    energies = np.abs(predicted.energies - frames.energies)
    force = np.abs(predicted.gradient + frames.forces)
    force *= np.repeat(frames.has_forces, sizes)[:, None]
    largest = np.maximum.reduceat(force.max(axis=2), first, axis=1)
    force /= np.repeat(np.where(largest > 0, largest, 1.0), sizes, axis=1)[:, :, None]
    forces = largest * np.sqrt(np.add.reduceat((force**2).sum(axis=2), first, axis=1) / sizes / 3)
    virial = np.abs(predicted.strain - frames.virials) * frames.has_stress[:, None, None]
    virials = virial.max(axis=(2, 3)) / sizes
    # |V s| is its largest component within a factor of 3
    weighted = np.hypot(energies / sizes, np.sqrt(weights.stress_weight) * virials)
    weighted *= 1.0 if weights.per_atom else sizes
    roots = np.hypot(weighted, np.sqrt(3 * weights.l0) * forces)
    return Errors(roots, energies / sizes, forces, virials)
