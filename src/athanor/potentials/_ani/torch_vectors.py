"""Environment vectors in PyTorch, for devices that the core does not run on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from athanor.potentials._ani.model import AevSpec
from athanor.potentials._ani.twin import SHRINK


@dataclass(frozen=True, slots=True)
class Local:
    """Neighbours of a few atoms, all on one device.

    Attributes
    ----------
    i : (n_pairs,) atom of each pair, from 0.
    kinds : (n_pairs,) species index of the neighbour.
    first, second : (n_triples,) the two pairs of each triple.
    n_atoms : how many atoms.
    """

    i: Tensor
    kinds: Tensor
    first: Tensor
    second: Tensor
    n_atoms: int


class TorchAev:
    """The environment vectors of a specification; gradients are autograd's."""

    def __init__(self, spec: AevSpec, *, device: torch.device, kind: torch.dtype) -> None:
        self.spec = spec
        self._shf_r = torch.tensor(spec.shf_r, device=device, dtype=kind)
        self._shf_a = torch.tensor(spec.shf_a, device=device, dtype=kind)
        shf_z = torch.tensor(spec.shf_z, device=device, dtype=torch.float64)
        self._cosines, self._sines = torch.cos(shf_z).to(kind), torch.sin(shf_z).to(kind)

    def values(self, vectors: Tensor, local: Local) -> Tensor:
        """(n_atoms, length) from pair vectors (n_pairs, 3), Å."""
        distances = torch.linalg.vector_norm(vectors, dim=1)
        units = vectors / distances[:, None]
        radial = self._radial(distances, local)
        angular = self._angular(distances, units, local)
        return torch.cat([radial, angular], dim=1)

    def _radial(self, distances: Tensor, local: Local) -> Tensor:
        spec = self.spec
        away = distances[:, None] - self._shf_r
        terms = 0.25 * torch.exp(-spec.eta_r * away**2) * _edge(distances, spec.radial_cutoff)
        n = len(spec.species)
        table = terms.new_zeros((local.n_atoms * n, terms.shape[1]))
        return table.index_add(0, local.i * n + local.kinds, terms).reshape(local.n_atoms, -1)

    def _angular(self, distances: Tensor, units: Tensor, local: Local) -> Tensor:
        spec, n = self.spec, len(self.spec.species)
        first, second = local.first, local.second
        low = torch.minimum(local.kinds[first], local.kinds[second])
        high = torch.maximum(local.kinds[first], local.kinds[second])
        n_blocks = n * (n + 1) // 2
        # pairs of species (0,0), (0,1), ..., (1,1), ... one after the other
        row = local.i[first] * n_blocks + low * n - low * (low - 1) // 2 + high - low

        edge = _edge(distances, spec.angular_cutoff)
        away = 0.5 * (distances[first] + distances[second])[:, None] - self._shf_a
        ring = 2 * edge[first] * edge[second] * torch.exp(-spec.eta_a * away**2)
        x = SHRINK * (units[first] * units[second]).sum(dim=1).clamp(-1.0, 1.0)[:, None]
        base = 0.5 * (1 + x * self._cosines + torch.sqrt(1 - x**2) * self._sines)
        turn = base.clamp(min=0.0) ** spec.zeta
        terms = (ring[:, :, None] * turn[:, None, :]).flatten(1)
        table = terms.new_zeros((local.n_atoms * n_blocks, terms.shape[1]))
        return table.index_add(0, row, terms).reshape(local.n_atoms, -1)


def _edge(r: Tensor, cutoff: float) -> Tensor:
    """(n, 1) the cosine cutoff, zero beyond it."""
    angle = (torch.pi / cutoff) * r.clamp(max=cutoff)
    return (0.5 * torch.cos(angle) + 0.5)[:, None]
