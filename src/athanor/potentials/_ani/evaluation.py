"""Losses of all members on a piece of the data, and their exact gradient by the weights.

Forces are -J^T g with J the derivative of the environment vectors G and g = dE/dG. The gradient of
the force term by the weights is that of (J v) . g with J v held fixed, v being the derivative of
the loss by dE/dr: one product with J^T and one with J. No second derivative of G is ever formed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from athanor.potentials._ani.displaced import displaced_frames
from athanor.potentials._ani.frames import Frames
from athanor.potentials._ani.loss import Errors, Predicted, Residuals, errors, residuals
from athanor.potentials._ani.networks import Layout, Trace, ahead, behind
from athanor.potentials._ani.settings import LossWeights
from athanor.structure import FloatArray

DISPLACEMENT = 1e-3
"""Å; the largest of an atom in the paper's route."""


_QUIET = np.errstate(over="ignore", invalid="ignore")
"""What is not finite is found by whoever asked for it."""


class Aev(Protocol):
    """Environment vectors of many structures at once; `_core.Aev` or its twin."""

    @property
    def length(self) -> int: ...

    def values(self, *geometry: Any, threads: int = 1, double: bool = False) -> Any: ...

    def vjp(self, *geometry: Any, threads: int = 1) -> Any: ...

    def jvp(self, *geometry: Any, threads: int = 1, double: bool = False) -> Any: ...


@dataclass(frozen=True, slots=True, eq=False)
class Standard:
    """How inputs are standardised, (G - shift) / stretch, and the scale of outputs, eV."""

    shift: FloatArray
    stretch: FloatArray
    scale: float


class Evaluation:
    """Evaluates members on pieces of the data.

    Parameters
    ----------
    aev : environment vectors.
    layout : of the parameters.
    standard : of inputs and outputs.
    weights : of the loss.
    dtype, device : of the networks.
    """

    def __init__(
        self,
        aev: Aev,
        layout: Layout,
        standard: Standard,
        *,
        weights: LossWeights,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
    ) -> None:
        self.layout, self.standard, self.weights = layout, standard, weights
        self.dtype, self.device = dtype, device
        self._aev = aev
        self._double = dtype == torch.float64
        self._stretch = torch.tensor(standard.stretch, dtype=dtype, device=device)

    def inputs(self, frames: Frames) -> Tensor:
        """(n_atoms, n_in) standardised environment vectors, on the CPU."""
        values = self._aev.values(*geometry(frames), double=self._double)
        # where a table lies in memory may decide how a library adds up: torch's own are alike
        return self.standardised(values).clone()

    def standardised(self, values: Any) -> Tensor:
        """The same from environment vectors that are known, in their place."""
        values -= self.standard.shift.astype(values.dtype)
        values /= self.standard.stretch.astype(values.dtype)
        return torch.from_numpy(values)

    @_QUIET
    def losses(
        self, flat: Tensor, frames: Frames, inputs: Tensor, *, members: NDArray[np.intp]
    ) -> Residuals:
        """Residuals of the members `members`, by number."""
        chosen = flat[torch.from_numpy(members)]
        _, predicted = self._predicted(chosen, frames, inputs)
        ones = np.ones(predicted.energies.shape)
        return residuals(predicted, frames, ones, self.weights)

    @_QUIET
    def errors(self, flat: Tensor, frames: Frames, inputs: Tensor) -> Errors:
        """What all members are off by."""
        _, predicted = self._predicted(flat, frames, inputs)
        return errors(predicted, frames, self.weights)

    @_QUIET
    def gradient(
        self, flat: Tensor, frames: Frames, inputs: Tensor, *, shares: FloatArray
    ) -> tuple[Tensor, Residuals]:
        """(n_members, size): of sum(shares * losses) by the parameters, exactly."""
        traces, predicted = self._predicted(flat, frames, inputs)
        found = residuals(predicted, frames, shares, self.weights)
        tangent = self._aev.jvp(
            *geometry(frames), found.gradient, found.strain, double=self._double
        )
        tangents = torch.from_numpy(tangent).to(self.device, self.dtype) * self.standard.scale
        return self._behind(flat, frames, traces, found.energies, tangents), found

    @_QUIET
    def displaced_gradient(
        self, flat: Tensor, frames: Frames, inputs: Tensor, *, shares: FloatArray
    ) -> tuple[Tensor, Residuals]:
        """The same to second order in DISPLACEMENT, by two first-order passes (Smith et al. 2021).

        Structures are displaced along the derivative of the loss by dE/dr, as every member has it.
        """
        traces, predicted = self._predicted(flat, frames, inputs)
        found = residuals(predicted, frames, shares, self.weights)
        total = self._behind(flat, frames, traces, found.energies, None)
        largest = displacements(found, frames)
        if not np.isfinite(largest).all():
            return total.fill_(torch.nan), found  # no kernel may see where atoms would be then
        for sign in (1.0, -1.0):
            step = sign * DISPLACEMENT / np.where(largest > 0, largest, 1.0)
            moved = displaced_frames(frames, found.gradient, found.strain, step)
            shape = (len(flat), len(inputs), -1)
            there = self.inputs(moved).to(self.device).reshape(shape)
            bar = np.where(largest > 0, 0.5 / step, 0.0)
            total += self._behind(flat, frames, self._ahead(flat, frames, there), bar, None)
        return total, found

    def _groups(self, frames: Frames) -> list[Tensor | slice]:
        """The atoms of each species."""
        if self.layout.n_species == 1:
            return [slice(None)]
        types = torch.from_numpy(frames.types)
        return [torch.nonzero(types == k)[:, 0] for k in range(self.layout.n_species)]

    def _ahead(
        self, flat: Tensor, frames: Frames, inputs: Tensor, *, slopes: bool = False
    ) -> list[Trace]:
        found = []
        groups = self._groups(frames)
        for (weights, biases), group in zip(self.layout.views(flat), groups, strict=True):
            first = weights[0] / self._stretch if slopes else None
            found.append(ahead(weights, biases, inputs[..., group, :], first))
        return found

    def _predicted(
        self, flat: Tensor, frames: Frames, inputs: Tensor
    ) -> tuple[list[Trace], Predicted]:
        traces = self._ahead(flat, frames, inputs.to(self.device), slopes=True)
        shape = (len(flat), len(inputs))
        outputs = torch.zeros(shape, dtype=self.dtype)
        adjoints = torch.zeros((*shape, self.layout.widths[0]), dtype=self.dtype)
        for trace, group in zip(traces, self._groups(frames), strict=True):
            assert trace.gradient is not None
            outputs[:, group] = trace.outputs.cpu()
            adjoints[:, group] = trace.gradient.cpu()
        scale = self.standard.scale
        energies = np.add.reduceat(outputs.numpy(), frames.offsets[:-1], axis=1, dtype=float)
        gradient, strain = self._aev.vjp(*geometry(frames), adjoints.numpy())
        return traces, Predicted(scale * energies, scale * gradient, scale * strain)

    def _behind(
        self,
        flat: Tensor,
        frames: Frames,
        traces: list[Trace],
        energies_bar: FloatArray,
        tangents: Tensor | None,
    ) -> Tensor:
        """Gradient by the parameters, from the derivative by energies, (n_members, n_frames)."""
        by_atom = np.repeat(self.standard.scale * energies_bar, frames.sizes, axis=1)
        bar = torch.from_numpy(by_atom).to(self.device, self.dtype, copy=True)
        gradient = torch.zeros_like(flat)
        parts = zip(
            self.layout.views(flat),
            self.layout.views(gradient),
            traces,
            self._groups(frames),
            strict=True,
        )
        for (weights, _), targets, trace, group in parts:
            found = behind(
                trace,
                weights,
                outputs_bar=bar[:, group],
                tangent=None if tangents is None else tangents[:, group],
                first=weights[0] / self._stretch,
                stretch=self._stretch,
            )
            for place, values in zip(targets, found, strict=True):
                for target, value in zip(place, values, strict=True):
                    target.copy_(value)
        return gradient


def displacements(found: Residuals, frames: Frames) -> FloatArray:
    """(n_members, n_frames): how far the farthest atom goes for a step of one."""
    lengths = np.sqrt((found.gradient**2).sum(axis=2))
    moved = np.maximum.reduceat(lengths, frames.offsets[:-1], axis=1)
    edges = np.sqrt((frames.cells**2).sum(axis=2)).max(axis=1)
    bent: FloatArray = np.abs(found.strain).sum(axis=(2, 3)) * edges
    return np.maximum(moved, bent)


def geometry(frames: Frames) -> tuple[Any, ...]:
    """What the kernels take of structures."""
    return frames.positions, frames.types, frames.offsets, frames.cells, frames.periodic
