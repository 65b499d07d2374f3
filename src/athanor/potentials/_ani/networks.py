"""The networks of all members side by side: energies, gradients and the double backward, by hand.

With c the activation, a hidden layer is z = W h + b, h' = c(z). Besides energies and their
gradients by the inputs, training needs the gradient by the weights of
    S = sum_i (y_bar_i y_i + T_i . dy_i/dx_i)
with given y_bar and T, and T . dy/dx is the tangent of y along T: one forward pass of tangents
s = W t, t' = c'(z) s, and one backward pass. With d = dy/dz known from the gradient by the inputs,
the adjoint of s is d itself, and z_bar = c'(z) h_bar + c''(z)/c'(z) d s. CELU has c''/c' = 1/alpha
below zero and 0 above, and c' is a function of h', so nothing but h', d and s is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from athanor.potentials._ani.model import CELU_ALPHA


@dataclass(frozen=True, slots=True)
class Layout:
    """Where weights and biases lie in a row of parameters: species by species, layer by layer.

    Attributes
    ----------
    n_species : networks of one member.
    widths : inputs, hidden units of each layer, and the single output.
    """

    n_species: int
    widths: tuple[int, ...]

    @property
    def per_species(self) -> int:
        fan_ins = self.widths[:-1]
        return sum((n + 1) * out for n, out in zip(fan_ins, self.widths[1:], strict=True))

    @property
    def size(self) -> int:
        """Parameters of one member."""
        return self.n_species * self.per_species

    def views(self, flat: Tensor) -> list[tuple[list[Tensor], list[Tensor]]]:
        """Per species the weights (n_members, n_out, n_in) and biases (n_members, n_out) in
        (n_members, size) parameters, without copying."""
        found, at = [], 0
        for _ in range(self.n_species):
            weights, biases = [], []
            for fan_in, out in zip(self.widths, self.widths[1:], strict=False):
                weights.append(flat[:, at : at + out * fan_in].view(-1, out, fan_in))
                at += out * fan_in
                biases.append(flat[:, at : at + out])
                at += out
            found.append((weights, biases))
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """What a pass leaves: inputs and activations h (n_members, n, width), and dy/dz of each hidden
    layer; gradient (n_members, n, n_in) is None unless asked for."""

    outputs: Tensor
    gradient: Tensor | None
    hidden: list[Tensor]
    slopes: list[Tensor]


def _bend(upstream: Tensor, hidden: Tensor) -> Tensor:
    """upstream * c'(z), by the activation: the library's fused kernel."""
    bent: Tensor = torch.ops.aten.elu_backward(
        upstream, CELU_ALPHA, 1.0, 1 / CELU_ALPHA, True, hidden
    )
    return bent


def ahead(
    weights: Sequence[Tensor], biases: Sequence[Tensor], inputs: Tensor, first: Tensor | None
) -> Trace:
    """Outputs (n_members, n) of inputs (n, n_in), shared by all members, or (n_members, n, n_in).

    `first` are the weights of the first layer by which the gradient is taken (those by inputs as
    they were before they were standardised), None for outputs alone.
    """
    members = len(weights[0])
    hidden = [inputs.expand(members, *inputs.shape[-2:])]
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        z = torch.baddbmm(bias[:, None, :], hidden[-1], weight.mT)
        hidden.append(torch.nn.functional.celu_(z, CELU_ALPHA))
    outputs = torch.baddbmm(biases[-1][:, None, :], hidden[-1], weights[-1].mT)[:, :, 0]
    if first is None:
        return Trace(outputs, None, hidden, [])
    slopes = [_bend(weights[-1].expand_as(hidden[-1]), hidden[-1])]
    for weight, h in zip(weights[-2:0:-1], hidden[-2:0:-1], strict=True):
        slopes.insert(0, _bend(torch.bmm(slopes[0], weight), h))
    return Trace(outputs, torch.bmm(slopes[0], first), hidden, slopes)


def behind(
    trace: Trace,
    weights: Sequence[Tensor],
    *,
    outputs_bar: Tensor,
    tangent: Tensor | None,
    first: Tensor,
    stretch: Tensor,
) -> tuple[list[Tensor], list[Tensor]]:
    """Gradient of S by weights and biases; `outputs_bar` (n_members, n), `tangent` the T above.

    `tangent` (n_members, n, n_in) is by inputs before they were standardised, that is, divided by
    `stretch` (n_in,); `first` = weights[0] / stretch. None leaves the second term out.
    """
    tangents, pulls = _tangents(trace, weights, tangent, first)
    last = torch.bmm(outputs_bar[:, None, :], trace.hidden[-1])
    if tangents:
        last += tangents[-1].sum(1, keepdim=True)
    by_weights, by_biases = [last], [outputs_bar.sum(1, keepdim=True)]
    h_bar = outputs_bar[:, :, None] * weights[-1]
    for layer in range(len(trace.hidden) - 1, 0, -1):
        z_bar = _bend(h_bar, trace.hidden[layer])
        if tangents:
            z_bar.add_(pulls[layer - 1], alpha=1 / CELU_ALPHA)
        by_weight = torch.bmm(z_bar.mT, trace.hidden[layer - 1])
        if tangents and layer > 1:
            by_weight.baddbmm_(trace.slopes[layer - 1].mT, tangents[layer - 1])
        elif tangents:
            by_weight += torch.bmm(trace.slopes[0].mT, tangents[0]) / stretch
        by_weights.insert(0, by_weight)
        by_biases.insert(0, z_bar.sum(1))
        if layer > 1:
            h_bar = torch.bmm(z_bar, weights[layer - 1])
    return by_weights, by_biases


def _tangents(
    trace: Trace, weights: Sequence[Tensor], tangent: Tensor | None, first: Tensor
) -> tuple[list[Tensor], list[Tensor]]:
    """Tangents t of inputs and activations, and d s where z < 0 (0 elsewhere) of each layer."""
    if tangent is None:
        return [], []
    tangents, pulls = [tangent], []
    for weight, h, d in zip([first, *weights[1:-1]], trace.hidden[1:], trace.slopes, strict=True):
        s = torch.bmm(tangents[-1], weight.mT)
        tangents.append(_bend(s, h))
        pulls.append(s.mul_(d).masked_fill_(h > 0, 0.0))
    return tangents, pulls
