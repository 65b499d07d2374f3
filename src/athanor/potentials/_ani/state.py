"""Where a fit is: all that the next epoch depends on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from athanor.data.packing import Arrays
from athanor.potentials._ani.adamw import Descent
from athanor.potentials._ani.bases import Bases
from athanor.potentials._ani.schedule import Plateau
from athanor.potentials._checkpoint import Numbers

_SCHEDULE = ("rates", "best", "waited")


@dataclass(slots=True)
class State:
    """After a number of epochs.

    Attributes
    ----------
    descent, plateau : parameters and rates of all members.
    first : (n_members, n_parameters) the parameters in the beginning.
    best : likewise each member's best so far.
    epoch : so many are done.
    """

    descent: Descent
    plateau: Plateau
    first: Tensor
    best: Tensor
    epoch: int = 0

    @classmethod
    def begin(cls, flat: Tensor, plateau: Plateau, *, bases: Bases | None) -> State:
        return cls(Descent.at(flat, bases=bases), plateau, flat.clone(), flat.clone())

    def packed(self) -> tuple[Arrays, Numbers]:
        """Copies of everything but `first`, which the same fit begins with again."""
        arrays: Arrays = {name: part.cpu().numpy().copy() for name, part in self.descent.tensors()}
        arrays["kept"] = self.best.cpu().numpy().copy()
        arrays.update({name: getattr(self.plateau, name).copy() for name in _SCHEDULE})
        return arrays, {"epoch": self.epoch, "steps": self.descent.steps}

    def restore(self, arrays: Arrays, numbers: Numbers) -> None:
        """Go to where `packed` was called."""
        for name, part in self.descent.tensors():
            part.copy_(torch.from_numpy(arrays[name]))
        self.best.copy_(torch.from_numpy(arrays["kept"]))
        for name in _SCHEDULE:
            setattr(self.plateau, name, arrays[name])
        self.epoch, self.descent.steps = int(numbers["epoch"]), int(numbers["steps"])
