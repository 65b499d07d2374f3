"""HIP-NN as a torch module: hippynn's layers, fed with pairs from our own neighbour list.

hippynn's periodic pair finders refuse cells thinner than the cutoff and know no mixed boundary
conditions, so pairs and their vectors are given to its modules as they are.
"""

from __future__ import annotations

import numpy as np
import torch
from hippynn.layers.hiplayers import InverseSensitivityModule
from hippynn.layers.targets import HEnergy
from hippynn.networks.hipnn import Hipnn, HipnnQuad, HipnnVec
from torch import Tensor

from athanor.potentials._hipnn.kernels import use_padded_kernels
from athanor.potentials._hipnn.model import HipnnModel, HipnnSpec, Weights

use_padded_kernels()

_NETWORKS = {0: Hipnn, 1: HipnnVec, 2: HipnnQuad}
DTYPES = {"float32": torch.float32, "float64": torch.float64}


class Sensitivity(InverseSensitivityModule):
    """Gaussians in the inverse distance, without hippynn's warning about short distances.

    Disordered starts have such on purpose; which ones are trusted is for queries to say.
    """

    def forward(self, distances: Tensor, warn_low_distances: bool | None = None) -> Tensor:
        """(n_pairs,) Å -> (n_pairs, n_sensitivities)."""
        out: Tensor = super().forward(distances, warn_low_distances=False)
        return out


class Network(torch.nn.Module):
    """Site energies and features of atoms from species and pair vectors."""

    def __init__(self, spec: HipnnSpec) -> None:
        super().__init__()
        self.spec = spec
        cusp = {"cusp_reg": spec.cusp_reg} if spec.tensor_order else {}
        self.body = _NETWORKS[spec.tensor_order](
            n_features=spec.width,
            n_sensitivities=spec.sensitivities,
            dist_soft_min=spec.soft_min,
            dist_soft_max=spec.soft_max,
            dist_hard_max=spec.cutoff,
            n_atom_layers=spec.atom_layers,
            n_interaction_layers=spec.interactions,
            n_input_features=len(spec.species),
            sensitivity_type=Sensitivity,
            **cusp,
        )
        # energies of single atoms are offsets in float64, so the features before any interaction,
        # which say no more than the species, are left out
        self.head = HEnergy(self.body.feature_sizes, first_is_interacting=True)

    def forward(
        self, types: Tensor, first: Tensor, second: Tensor, vectors: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(n_atoms,), (n_pairs,), (n_pairs,), (n_pairs, 3) Å -> site energies (n_atoms,) without
        scale and offsets, features (n_atoms, interactions * width)."""
        dtype = DTYPES[self.spec.precision]
        species = torch.eye(len(self.spec.species), dtype=dtype)[types]
        distances = torch.linalg.vector_norm(vectors, dim=1).to(dtype)
        pairs = [first, second, distances]
        if self.spec.tensor_order:
            pairs.append(vectors.to(dtype))
        features = self.body(species, *pairs)
        together = torch.zeros(len(types), dtype=torch.int64)
        _, sites, *_ = self.head(features, together, 1)
        return sites[:, 0], torch.cat(features[1:], dim=1)


def new_network(spec: HipnnSpec, *, seed: int) -> Network:
    """Random weights as hippynn draws them; the state of torch's generator is left alone."""
    default = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_default_dtype(torch.float32)
        try:
            network = Network(spec)
        finally:
            torch.set_default_dtype(default)
    return network.to(DTYPES[spec.precision])


def random_model(spec: HipnnSpec, *, seed: int) -> HipnnModel:
    """An untrained model with random offsets of a few eV."""
    offsets = np.random.default_rng(seed).normal(size=len(spec.species))
    return HipnnModel(spec, get_weights(new_network(spec, seed=seed)), offsets, 1.0)


def network_of(model: HipnnModel) -> Network:
    """The network of a model; ValueError when weights are missing, too many or of other shapes."""
    network = new_network(model.spec, seed=0)
    put_weights(network, model.weights)
    return network.requires_grad_(False)


def get_weights(network: Network) -> Weights:
    """Copies of all parameters by name."""
    return {
        name: parameter.detach().numpy().copy() for name, parameter in network.named_parameters()
    }


def put_weights(network: Network, weights: Weights) -> None:
    """Set all parameters; ValueError when they are not those of this network."""
    own = dict(network.named_parameters())
    if own.keys() != weights.keys():
        odd = sorted(own.keys() ^ weights.keys())
        raise ValueError(f"the weights {', '.join(odd[:3])} are missing or too many")
    for name, parameter in own.items():
        given = weights[name]
        if given.shape != tuple(parameter.shape):
            raise ValueError(f"{name} has shape {given.shape}, expected {tuple(parameter.shape)}")
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(np.array(given)))
