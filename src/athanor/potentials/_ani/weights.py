"""Parameters in training and the networks of a model: drawn, taken from a model, and put into one.

In training inputs are standardised and all is of order one; the model's first layer has the shift
and stretch of the inputs folded in, so that nobody else knows of them.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from athanor.potentials._ani.evaluation import Standard
from athanor.potentials._ani.model import AevSpec, AniModel, Network
from athanor.potentials._ani.networks import Layout
from athanor.structure import FloatArray


def drawn(layout: Layout, members: int, *, seed: int) -> Tensor:
    """(members, size) float64: normal weights of variance 2 / n_in (1 / n_in for the last layer),
    biases zero; a member's do not depend on how many others there are."""
    flat = torch.zeros(members, layout.size, dtype=torch.float64)
    rngs = [np.random.default_rng([seed, member, 1]) for member in range(members)]
    for weights, _ in layout.views(flat):
        for layer in weights:
            out, fan_in = layer.shape[1:]
            spread = (1 if layer is weights[-1] else 2) / fan_in
            for member, rng in enumerate(rngs):
                values = spread**0.5 * rng.normal(size=(out, fan_in))
                layer[member] = torch.from_numpy(values)
    return flat


def decays(layout: Layout, weight_decay: float) -> Tensor:
    """(size,) float64: the weight decay of each parameter; biases have none."""
    row = torch.zeros(1, layout.size, dtype=torch.float64)
    for weights, _ in layout.views(row):
        for layer in weights:
            layer.fill_(weight_decay)
    return row[0]


def unfolded(model: AniModel, layout: Layout, standard: Standard, offsets: FloatArray) -> Tensor:
    """(n_members, size) float64: parameters that give what `model` gives, with other offsets,
    scale and standardised inputs."""
    flat = torch.zeros(model.n_members, layout.size, dtype=torch.float64)
    ratio = model.scale / standard.scale
    for species, (network, views) in enumerate(
        zip(model.networks, layout.views(flat), strict=True)
    ):
        weights = [w.astype(float) for w in network.weights]
        biases = [b.astype(float) for b in network.biases]
        biases[0] += weights[0] @ standard.shift
        weights[0] *= standard.stretch
        weights[-1] *= ratio
        apart = (model.offsets[:, species] - offsets[species]) / standard.scale
        biases[-1] = biases[-1] * ratio + apart[:, None]
        for target, value in zip([*views[0], *views[1]], [*weights, *biases], strict=True):
            target.copy_(torch.from_numpy(value))
    return flat


def folded(
    flat: Tensor, layout: Layout, standard: Standard, *, aev: AevSpec, offsets: FloatArray
) -> AniModel:
    """The model of (n_members, size) parameters."""
    networks = []
    for views in layout.views(flat.double().cpu()):
        weights, biases = ([part.numpy().copy() for part in parts] for parts in views)
        weights[0] /= standard.stretch
        biases[0] -= weights[0] @ standard.shift
        networks.append(
            Network(
                tuple(np.ascontiguousarray(w, dtype=np.float32) for w in weights),
                tuple(np.ascontiguousarray(b, dtype=np.float32) for b in biases),
            )
        )
    table = np.tile(offsets, (len(flat), 1))
    return AniModel(aev, tuple(networks), table, standard.scale)
