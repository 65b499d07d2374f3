"""Energies, forces, stresses and features of one structure by a network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from athanor.errors import ConfigError
from athanor.potentials._hipnn.batch import Batch
from athanor.potentials._hipnn.model import HipnnModel
from athanor.potentials._hipnn.network import Network, network_of
from athanor.potentials._hipnn.session import torch_threads
from athanor.structure import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Derivatives:
    """What a network says of a batch, differentiable where it was asked for.

    Attributes
    ----------
    energies : (n_frames,) eV, without offsets.
    forces : (n_atoms, 3) eV/Å.
    virials : (n_frames, 3, 3) dE/d(strain), eV.
    features : (n_atoms, n_features).
    """

    energies: Tensor
    forces: Tensor
    virials: Tensor
    features: Tensor


def derivatives(network: Network, batch: Batch, *, scale: float, fit: bool = False) -> Derivatives:
    """Evaluate; with `fit`, results can be differentiated by the weights."""
    types, frames, first, second = (
        torch.from_numpy(index) for index in (batch.types, batch.frames, batch.first, batch.second)
    )
    vectors = torch.from_numpy(batch.vectors).requires_grad_()
    sites, features = network(types, first, second, vectors)
    # float32 holds a site energy, but not the sum of many
    sites = scale * sites.double()
    energies = sites.new_zeros(batch.n_frames).index_add(0, frames, sites)
    slopes = torch.zeros_like(vectors)
    if len(vectors):
        (slopes,) = torch.autograd.grad(energies.sum(), vectors, create_graph=fit)
    forces = slopes.new_zeros((len(types), 3)).index_add(0, first, slopes)
    forces = forces.index_add(0, second, slopes, alpha=-1)
    # from pair vectors, so that atoms outside the box and left-handed cells need no care
    strained = vectors[:, :, None] * slopes[:, None, :]
    virials = slopes.new_zeros((batch.n_frames, 3, 3)).index_add(0, frames[first], strained)
    return Derivatives(energies, forces, virials, features)


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Of one structure: energy (eV), forces (eV/Å), dE/d(strain) (eV), features."""

    energy: float
    forces: FloatArray
    virial: FloatArray
    features: FloatArray


class Evaluator:
    """A model ready to be evaluated, on one thread; ConfigError when its weights do not fit."""

    def __init__(self, model: HipnnModel) -> None:
        self._model = model
        try:
            with torch_threads(1):
                self._network = network_of(model)
        except ValueError as error:
            raise ConfigError(
                f"the weights of this hipnn potential are not those of its header ({error}); use "
                "the folder as it was saved"
            ) from None

    def evaluate(self, batch: Batch) -> Evaluation:
        """Evaluate a batch of one structure."""
        with torch_threads(1), torch.enable_grad():
            found = derivatives(self._network, batch, scale=self._model.scale)
        species = np.eye(len(self._model.offsets))[batch.types]
        features = self._model.scale * found.features.detach().numpy().astype(float)
        virial = found.virials[0].detach().numpy()
        return Evaluation(
            energy=float(found.energies[0].detach()) + float(self._model.offsets @ species.sum(0)),
            forces=found.forces.detach().numpy(),
            virial=0.5 * (virial + virial.T),
            features=np.concatenate([features, species], axis=1),
        )
