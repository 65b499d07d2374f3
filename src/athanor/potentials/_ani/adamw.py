"""AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) with a rate of its own for each member.

Steps are taken in the bases of `bases.py`, where there are some, and then with the shorter memory
that its authors use.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from athanor.potentials._ani.bases import Bases, Diverged

_BETA1, _BETA2 = 0.9, 0.999
_BETA1_TURNED, _BETA2_TURNED = 0.95, 0.95
_EPSILON = 1e-10
"""Losses per atom have small gradients."""


@dataclass(slots=True)
class Descent:
    """Parameters of all members on their way.

    Attributes
    ----------
    flat : (n_members, n_parameters).
    first, second : running means of the gradient and of its square.
    mean : running mean of `flat`, which is what is validated and kept.
    bases : in which steps are taken; None for those of the parameters themselves.
    steps : so many were made.
    """

    flat: Tensor
    first: Tensor
    second: Tensor
    mean: Tensor
    bases: Bases | None = None
    steps: int = 0

    @classmethod
    def at(cls, flat: Tensor, *, bases: Bases | None = None) -> Descent:
        """In the beginning."""
        return cls(flat, torch.zeros_like(flat), torch.zeros_like(flat), flat.clone(), bases)

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """All that a step depends on besides their number."""
        for name in ("flat", "first", "second", "mean"):
            yield name, getattr(self, name)
        if self.bases is not None:
            yield from self.bases.tensors()

    def step(self, gradient: Tensor, rates: Tensor, *, decays: Tensor, average: float) -> None:
        """One step.

        `rates` (n_members, 1): those with rate 0 stay; `decays` (n_parameters,) weight decay by
        parameter; `average` the decay of the running mean, less in the first steps.

        Raises Diverged, and may not be used any more, where squares of the gradient or the
        parameters are not finite: divided by an infinite second moment nothing would move.
        """
        self.steps += 1
        first = _BETA1 if self.bases is None else _BETA1_TURNED
        second = _BETA2 if self.bases is None else _BETA2_TURNED
        self.first.lerp_(gradient, 1 - first)
        mean = self.first
        if self.bases is not None:
            self.bases.see(gradient, self.steps)
            gradient, mean = self.bases.turned(gradient), self.bases.turned(mean)
        self.second.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        size = (self.second / (1 - second**self.steps)).sqrt_().add_(_EPSILON)
        change = (mean / (1 - first**self.steps)).div_(size)
        if self.bases is not None:
            change = self.bases.back(change)
        self.flat.addcmul_(rates, change.addcmul_(decays, self.flat), value=-1.0)
        kept = min(average, self.steps / (10.0 + self.steps))
        self.mean.lerp_(self.flat, 1 - kept)
        # extremes of what holds a NaN are NaN
        for part in (self.second.max(), self.flat.min(), self.flat.max()):
            if not bool(torch.isfinite(part)):
                raise Diverged
