"""The loss of Smith et al. 2021, eq. 1, of every member and structure, and its derivatives."""

from __future__ import annotations

from dataclasses import dataclass

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
    energy_errors : (n_members, n_frames) eV per atom.
    force_errors : (n_members, n_frames) mean squared force component, eV²/Å².
    """

    losses: FloatArray
    energies: FloatArray
    gradient: FloatArray
    strain: FloatArray
    energy_errors: FloatArray
    force_errors: FloatArray


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
        energy_errors=energy / sizes,
        force_errors=squared / (3 * sizes),
    )
