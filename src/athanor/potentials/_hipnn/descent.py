"""AdamW with a running mean of the weights and a plateau schedule, all of it to be continued."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from athanor.data.packing import Arrays
from athanor.potentials._checkpoint import Numbers
from athanor.potentials._hipnn.model import Weights
from athanor.potentials._hipnn.network import Network, get_weights, put_weights
from athanor.potentials._hipnn.settings import FitSettings

_BETTER = 1e-4
"""A loss that is lower by a smaller fraction is no better one."""
_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(slots=True)
class Plateau:
    """When the rate falls: after `patience` epochs without a better loss.

    Attributes
    ----------
    rate : learning rate.
    best : validation loss so far.
    waited : epochs since it was clearly better.
    """

    rate: float
    best: float = math.inf
    waited: float = 0.0

    def see(self, loss: float, settings: FitSettings) -> bool:
        """Take in the loss of an epoch; says whether it is the best so far."""
        clearly = loss < (1 - _BETTER) * self.best
        self.waited = 0.0 if clearly else self.waited + 1
        if self.waited >= settings.patience:
            self.rate, self.waited = self.rate * settings.decay, 0.0
        better = loss < self.best
        self.best = min(self.best, loss)
        return better


def cooled(epoch: float, settings: FitSettings) -> float:
    """The factor of the rate at a time, in epochs: 1, then down to 0 over the last share."""
    begin = (1 - settings.cooldown) * settings.max_epochs
    if epoch <= begin:
        return 1.0
    return max(0.0, (settings.max_epochs - epoch) / (settings.max_epochs - begin))


class Descent:
    """A network on its way.

    Parameters
    ----------
    network : is changed by steps; `mean` holds the running mean of its weights.
    """

    def __init__(self, network: Network, settings: FitSettings) -> None:
        self.network = network
        self.mean = copy.deepcopy(network).requires_grad_(False)
        self.steps = 0
        self._settings = settings
        decaying = {id(parameter) for parameter in network.body.regularization_params()}
        parameters = list(network.parameters())
        groups = [
            {
                "params": [p for p in parameters if id(p) in decaying],
                "weight_decay": settings.weight_decay,
            },
            {"params": [p for p in parameters if id(p) not in decaying], "weight_decay": 0.0},
        ]
        self._adam = torch.optim.AdamW(groups, lr=settings.learning_rate, foreach=False)

    def step(self, loss: Tensor, rate: float) -> None:
        """Go down the gradient of the loss."""
        for group in self._adam.param_groups:
            group["lr"] = rate
        self._adam.zero_grad()
        torch.autograd.backward(loss)
        self._adam.step()
        self.steps += 1
        # in the first steps the mean is a short one, else it would remember the random start
        kept = min(self._settings.average, self.steps / (10.0 + self.steps))
        with torch.no_grad():
            for mean, own in zip(self.mean.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(own, 1 - kept if self._settings.average else 1.0)

    def arrays(self) -> Arrays:
        """All that the next step depends on besides `steps`."""
        moments = {
            f"{moment}/{name}": self._adam.state[parameter][moment].numpy().copy()
            for name, parameter in self.network.named_parameters()
            for moment in _MOMENTS
            if parameter in self._adam.state
        }
        return {
            **{f"now/{name}": array for name, array in get_weights(self.network).items()},
            **{f"mean/{name}": array for name, array in get_weights(self.mean).items()},
            **moments,
        }

    def restore(self, arrays: Mapping[str, NDArray[np.generic]], steps: int) -> None:
        """Go on from what `arrays` gave after so many steps."""
        put_weights(self.network, part(arrays, "now"))
        put_weights(self.mean, part(arrays, "mean"))
        self.steps = steps
        if steps == 0:
            return
        for name, parameter in self.network.named_parameters():
            self._adam.state[parameter] = {
                "step": torch.tensor(float(steps)),
                **{m: torch.from_numpy(np.array(arrays[f"{m}/{name}"])) for m in _MOMENTS},
            }


def part(arrays: Mapping[str, NDArray[np.generic]], prefix: str) -> Weights:
    """The arrays whose names begin with the prefix and a slash, without these."""
    return {
        name.removeprefix(f"{prefix}/"): array
        for name, array in arrays.items()
        if name.startswith(f"{prefix}/")
    }


def numbers_of(plateau: Plateau, **others: float) -> Numbers:
    """The plateau and other numbers for a checkpoint."""
    return {**asdict(plateau), **others}
