"""The bases in which AdamW's steps are taken: SOAP (Vyas et al. 2024, arXiv:2409.11321).

The second moment of a layer's gradient G, an (n_out, n_in + 1) matrix with the bias as its last
column, is taken to be a Kronecker product of the means of G G^T and G^T G. In the eigenvectors of
both AdamW's assumption of a diagonal one holds far better, and a fit needs fewer steps.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from athanor.potentials._ani.networks import Layout

_KEPT = 0.95
"""Decay per step of the running means."""
_STEPS_BETWEEN_TURNS = 10
"""Steps after which the eigenvectors are followed by one step of orthogonal iteration."""


class Diverged(ArithmeticError):
    """A step cannot be made: numbers that are not finite, or that no eigenvectors are found of."""


class Bases:
    """Orthogonal bases of the rows and columns of every layer and member.

    Parameters
    ----------
    layout, members : of the parameters.
    like : a tensor of the same type and place.
    """

    def __init__(self, layout: Layout, members: int, like: Tensor) -> None:
        self._layout = layout
        self._shapes = [
            (out, fan_in + 1)
            for _ in range(layout.n_species)
            for fan_in, out in zip(layout.widths[:-1], layout.widths[1:], strict=True)
        ]
        self.means = [like.new_zeros(members, n, n) for shape in self._shapes for n in shape]
        self.axes = [
            torch.eye(n, dtype=like.dtype, device=like.device).repeat(members, 1, 1)
            for shape in self._shapes
            for n in shape
        ]

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """All that a step depends on."""
        for name, parts in (("means", self.means), ("axes", self.axes)):
            for number, part in enumerate(parts):
                yield f"{name}{number}", part

    def see(self, gradient: Tensor, steps: int) -> None:
        """Take in a gradient (n_members, n_parameters), the number `steps`.

        Raises Diverged where its square is not finite or has no eigenvectors.
        """
        for number, matrix in enumerate(self._matrices(gradient)):
            for side, product in ((0, matrix @ matrix.mT), (1, matrix.mT @ matrix)):
                mean = self.means[2 * number + side]
                mean.lerp_(product, 1 - _KEPT)
                if steps == 1:
                    self.axes[2 * number + side].copy_(_eigenvectors(mean))
        if steps % _STEPS_BETWEEN_TURNS == 0:
            for mean, axes in zip(self.means, self.axes, strict=True):
                followed = torch.linalg.qr(mean @ axes)[0]
                if not bool(torch.isfinite(followed).all()):
                    raise Diverged
                axes.copy_(followed)

    def turned(self, flat: Tensor) -> Tensor:
        """Parameters or gradients seen in the bases."""
        parts = [
            self.axes[2 * k].mT @ matrix @ self.axes[2 * k + 1]
            for k, matrix in enumerate(self._matrices(flat))
        ]
        return self._flat(parts, flat)

    def back(self, flat: Tensor) -> Tensor:
        """The reverse of `turned`."""
        parts = [
            self.axes[2 * k] @ matrix @ self.axes[2 * k + 1].mT
            for k, matrix in enumerate(self._matrices(flat))
        ]
        return self._flat(parts, flat)

    def _matrices(self, flat: Tensor) -> list[Tensor]:
        return [
            torch.cat([weight, bias[:, :, None]], dim=2)
            for weights, biases in self._layout.views(flat)
            for weight, bias in zip(weights, biases, strict=True)
        ]

    def _flat(self, parts: list[Tensor], like: Tensor) -> Tensor:
        result = torch.empty_like(like)
        left = iter(parts)
        for weights, biases in self._layout.views(result):
            for weight, bias in zip(weights, biases, strict=True):
                part = next(left)
                weight.copy_(part[:, :, :-1])
                bias.copy_(part[:, :, -1])
        return result


def _eigenvectors(means: Tensor) -> Tensor:
    """Of each matrix, those of the largest eigenvalues first."""
    try:
        found: Tensor = torch.linalg.eigh(means)[1].flip(2)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined] # public, but not in its __all__
        raise Diverged from None
    if not bool(torch.isfinite(found).all()):
        raise Diverged
    return found
