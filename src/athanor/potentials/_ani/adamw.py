"""AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) with a rate of its own for each member."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


@dataclass(slots=True)
class Descent:
    """Parameters of all members on their way.

    Attributes
    ----------
    flat : (n_members, n_parameters).
    first, second : running means of the gradient and of its square.
    mean : running mean of `flat`, which is what is validated and kept.
    steps : so many were made.
    """

    flat: Tensor
    first: Tensor
    second: Tensor
    mean: Tensor
    steps: int = 0

    @classmethod
    def at(cls, flat: Tensor) -> Descent:
        """In the beginning."""
        return cls(flat, torch.zeros_like(flat), torch.zeros_like(flat), flat.clone())

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """All that a step depends on besides their number."""
        for name in ("flat", "first", "second", "mean"):
            yield name, getattr(self, name)

    def step(self, gradient: Tensor, rates: Tensor, *, decays: Tensor, average: float) -> None:
        """One step.

        `rates` (n_members, 1): those with rate 0 stay; `decays` (n_parameters,) weight decay by
        parameter; `average` the decay of the running mean, less in the first steps.
        """
        self.steps += 1
        self.first.lerp_(gradient, 1 - _BETA1)
        self.second.mul_(_BETA2).addcmul_(gradient, gradient, value=1 - _BETA2)
        size = (self.second / (1 - _BETA2**self.steps)).sqrt_().add_(_EPSILON)
        change = (self.first / (1 - _BETA1**self.steps)).div_(size)
        self.flat.addcmul_(rates, change.addcmul_(decays, self.flat), value=-1.0)
        kept = min(average, self.steps / (10.0 + self.steps))
        self.mean.lerp_(self.flat, 1 - kept)
