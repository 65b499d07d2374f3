"""ANI ensembles through PyTorch, for a CUDA device; the core is faster on processors.

Pairs are found by the core. Site energies depend on an atom's own neighbours alone, so atoms go
block by block, forward and backward, and memory is bounded by the triples of one block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from athanor import _core
from athanor.potentials._ani.model import CELU_ALPHA, AniModel
from athanor.potentials._ani.neighbours import Ints, couples, near_pairs
from athanor.potentials._ani.program import Evaluation
from athanor.potentials._ani.torch_vectors import Local, TorchAev
from athanor.structure import FloatArray

CUDA = "cuda"
_NUMBERS = 3e8
"""Angular terms of one block times right-hand sides: about 10 GB in float32."""


def has_cuda() -> bool:
    """Whether PyTorch finds a CUDA device."""
    return torch.cuda.is_available()


@dataclass(frozen=True, slots=True)
class _Results:
    """Where blocks write: on the device, in float64."""

    forces: Tensor
    virials: Tensor
    sites: Tensor
    features: Tensor


@dataclass(frozen=True, slots=True)
class _Block:
    """Atoms start to stop, their pairs (atoms i, j) and, by species, their numbers from 0."""

    start: int
    stop: int
    i: Tensor
    j: Tensor
    of_species: list[Tensor]
    vectors: Tensor
    local: Local


class TorchAni:
    """An ensemble on one structure, with the methods of `_core.Ani`.

    Parameters
    ----------
    model : the ensemble.
    device : as torch names it.
    double : float64 inside; float32 otherwise. Energies and forces are summed in float64 with
        either. On CUDA sums are in no fixed order, so last digits differ from call to call.

    `threads`, `isa` and `skin` are ignored. Raises `_core.StructureFault` as the kernel does.
    """

    def __init__(self, model: AniModel, *, device: str, double: bool = False) -> None:
        self.model = model
        self.device = torch.device(device)
        self.kind = torch.float64 if double else torch.float32
        self.aev = TorchAev(model.aev, device=self.device, kind=self.kind)
        self._networks = [
            [
                (self._moved(weight).transpose(1, 2), self._moved(bias)[:, None, :])
                for weight, bias in zip(network.weights, network.biases, strict=True)
            ]
            for network in model.networks
        ]
        self._offsets = torch.tensor(model.offsets, device=self.device)
        sizes = [network.weights[-1].shape[2] + 1 for network in model.networks]
        self._feature_ends = np.cumsum([0, *sizes]).tolist()

    @property
    def n_members(self) -> int:
        return self.model.n_members

    def evaluate(
        self,
        positions: FloatArray,
        types: NDArray[np.int32],
        cell: FloatArray,
        periodic: NDArray[np.bool_],
        *,
        forces: bool = True,
        each: bool = False,
        features: bool = False,
        threads: int = 1,
        isa: str = "auto",
        skin: _core.SkinList | None = None,
    ) -> Evaluation:
        """Energies, forces, strain derivatives, volume, site energies, features."""
        n, count = len(types), self.n_members
        k = 0 if not forces else count if each else 1
        results = _Results(
            forces=self._zeros(k, n, 3),
            virials=self._zeros(k, 3, 3),
            sites=self._zeros(count, n),
            features=self._zeros(n if features else 0, self._feature_ends[-1]),
        )
        i, j, vectors = near_pairs(positions, cell, periodic, cutoff=self.model.aev.cutoff)
        for block in self._blocks(types, i, j, vectors, n_rhs=max(k, 1)):
            self._add(block, results, n_rhs=k)
        volume = abs(float(np.linalg.det(cell))) if periodic.all() else 0.0
        sites = results.sites.cpu().numpy()
        return (
            sites.sum(axis=1),
            results.forces.cpu().numpy(),
            results.virials.cpu().numpy(),
            volume,
            sites,
            results.features.cpu().numpy(),
        )

    def _zeros(self, *shape: int) -> Tensor:
        return torch.zeros(shape, device=self.device, dtype=torch.float64)

    def _moved(self, array: NDArray[np.float32]) -> Tensor:
        return torch.tensor(array, device=self.device, dtype=self.kind)

    def _blocks(
        self, types: NDArray[np.int32], i: Ints, j: Ints, vectors: FloatArray, *, n_rhs: int
    ) -> Iterator[_Block]:
        spec = self.model.aev
        near = (vectors**2).sum(axis=1) < spec.angular_cutoff**2
        counts = np.bincount(i[near], minlength=len(types))
        terms = len(spec.shf_a) * len(spec.shf_z) * n_rhs * (1 + counts * (counts - 1) // 2)
        number = np.cumsum(terms) // int(_NUMBERS)
        edges = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(types)]
        for start, stop in pairwise(edges):
            mine = slice(*np.searchsorted(i, [start, stop]).tolist())
            kept = np.flatnonzero(near[mine])
            first, second = couples(i[mine][kept])
            local = Local(
                i=self._whole(i[mine] - start),
                kinds=self._whole(types[j[mine]]),
                first=self._whole(kept[first]),
                second=self._whole(kept[second]),
                n_atoms=stop - start,
            )
            yield _Block(
                start=start,
                stop=stop,
                i=self._whole(i[mine]),
                j=self._whole(j[mine]),
                of_species=[
                    self._whole(np.flatnonzero(types[start:stop] == species))
                    for species in range(len(spec.species))
                ],
                vectors=torch.tensor(vectors[mine], device=self.device),
                local=local,
            )

    def _whole(self, numbers: NDArray[np.integer]) -> Tensor:
        return torch.tensor(numbers, device=self.device, dtype=torch.int64)

    def _add(self, block: _Block, results: _Results, *, n_rhs: int) -> None:
        """Add what the atoms of a block give to the results."""
        with torch.set_grad_enabled(n_rhs > 0):
            vectors = block.vectors.to(self.kind).detach().requires_grad_(n_rhs > 0)
            sites = self._site_energies(self.aev.values(vectors, block.local), block, results)
            results.sites[:, block.start : block.stop] = sites.detach()
            if n_rhs == 0:
                return
            energies = sites.sum(dim=1)
            if n_rhs == 1:
                (pull,) = torch.autograd.grad(energies.mean(), vectors)
                pulls = pull[None]
            else:
                each = torch.eye(n_rhs, device=self.device, dtype=energies.dtype)
                (pulls,) = torch.autograd.grad(energies, vectors, each, is_grads_batched=True)
        pulls = pulls.to(torch.float64)
        results.forces.index_add_(1, block.i, pulls)
        results.forces.index_add_(1, block.j, -pulls)
        results.virials.add_(torch.einsum("px,kpy->kxy", block.vectors, pulls))

    def _site_energies(self, values: Tensor, block: _Block, results: _Results) -> Tensor:
        """(n_members, n_atoms) eV in float64; writes features where they are wanted."""
        sites = self._zeros(self.n_members, block.stop - block.start)
        for species, layers in enumerate(self._networks):
            mine = block.of_species[species]
            if len(mine) == 0:
                continue
            hidden = values[mine].expand(self.n_members, -1, -1)
            for weight, bias in layers[:-1]:
                hidden = _celu(torch.baddbmm(bias, hidden, weight))
            weight, bias = layers[-1]
            output = torch.baddbmm(bias, hidden, weight)[:, :, 0].to(torch.float64)
            energies = self.model.scale * output + self._offsets[:, species, None]
            sites = sites.index_add(1, mine, energies)
            if len(results.features):
                begin, end = self._feature_ends[species : species + 2]
                last = self.model.scale * hidden[0].detach().to(torch.float64)
                results.features[block.start + mine, begin : end - 1] = last
                results.features[block.start + mine, end - 1] = self.model.scale
        return sites


def _celu(x: Tensor) -> Tensor:
    """CELU; the library's own has a float64 slope that is off by 6e-8."""
    bent = CELU_ALPHA * torch.expm1(x.clamp(max=0.0) / CELU_ALPHA)
    return torch.where(x > 0, x, bent)
