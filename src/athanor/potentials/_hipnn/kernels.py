"""Sums over neighbours for hippynn's interaction layers, as batched matrix products.

hippynn's own CPU kernels need numba or a C++ compiler at run time, or hold a number for every
pair, sensitivity and feature. Here the neighbours of every atom are padded to the longest list, so
that memory grows with pairs times (sensitivities + features), and results do not depend on what
else is installed. Every step can be differentiated twice.
"""

from __future__ import annotations

import warnings

import torch
from hippynn import custom_kernels
from hippynn.custom_kernels import env_pytorch
from hippynn.custom_kernels.registry import MessagePassingKernels
from torch import Tensor

_NAME = "athanor"


def envsum(sensitivities: Tensor, features: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """env[i, s, f] = sum over pairs p of atom i of sensitivities[p, s] * features[second[p], f].

    (n_pairs, n_s), (n_atoms, n_f), (n_pairs,), (n_pairs,) -> (n_atoms, n_s, n_f).
    """
    n_atoms, n_s = len(features), sensitivities.shape[1]
    counts = torch.bincount(first, minlength=n_atoms)
    longest = int(counts.max()) if len(first) else 0
    if longest == 0:
        return features.new_zeros((n_atoms, n_s, features.shape[1]))
    if bool((first[1:] < first[:-1]).any()):
        order = torch.argsort(first, stable=True)
        sensitivities, second = sensitivities[order], second[order]
    places = torch.arange(longest)
    table = (torch.cumsum(counts, 0) - counts)[:, None] + places
    # places without a neighbour read the row of zeros after the last pair
    table = torch.where(places < counts[:, None], table, len(first)).reshape(-1)
    padded = torch.cat([sensitivities, sensitivities.new_zeros((1, n_s))])
    neighbours = torch.cat([second, second.new_zeros(1)])
    left = padded.index_select(0, table).reshape(n_atoms, longest, n_s)
    right = features.index_select(0, neighbours[table]).reshape(n_atoms, longest, -1)
    return torch.bmm(left.transpose(1, 2), right)


def use_padded_kernels() -> None:
    """Make hippynn sum by `envsum`, in this process; results are those of its own kernels."""
    MessagePassingKernels(_NAME, envsum, env_pytorch.sensesum, env_pytorch.featsum, wrap=False)
    with warnings.catch_warnings():
        # hippynn warns of any kernel that is not one of its own
        warnings.simplefilter("ignore", UserWarning)
        custom_kernels.set_custom_kernels(_NAME)
