"""When rates fall and when a member has learned enough: the plateau schedule of ANI-Al, by member.

The published training divides its rate by two after 100 epochs without a better validation loss
and ends below 1e-5. Here each member has its own rate and its own end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from athanor.structure import FloatArray

_BETTER = 1e-4
"""A loss that is lower by a smaller fraction is no better one."""

_RISE = 100
"""Steps until rates are full, unless a twentieth of all is less."""


@dataclass(slots=True)
class Plateau:
    """The state of the schedule.

    Attributes
    ----------
    rates : (n_members,) learning rates; a member whose rate is below `final_rate` has ended.
    best : (n_members,) best validation loss so far, that of the first weights included.
    waited : (n_members,) epochs since.
    patience, decay, final_rate : see FitSettings.
    """

    rates: FloatArray
    best: FloatArray
    waited: FloatArray
    patience: int
    decay: float
    final_rate: float

    @classmethod
    def begin(
        cls, size: int, *, rate: float, patience: int, decay: float, final_rate: float
    ) -> Plateau:
        """All members at the same rate."""
        rates, best = np.full(size, rate), np.full(size, np.inf)
        return cls(rates, best, np.zeros(size), patience, decay, final_rate)

    @property
    def running(self) -> NDArray[np.bool_]:
        """(n_members,) who has not ended."""
        return self.rates >= self.final_rate

    def see(self, losses: FloatArray) -> NDArray[np.bool_]:
        """Take in the losses of an epoch; says for which members it is the best so far.

        A member whose loss is NaN has nothing to be validated by: its last epoch is its best.
        """
        judged = ~np.isnan(losses)
        running = self.running & judged
        better = running & (losses < self.best)
        clearly = running & (losses < (1 - _BETTER) * self.best)
        self.best = np.where(better, losses, self.best)
        self.waited = np.where(clearly, 0.0, self.waited + running)
        late = running & (self.waited >= self.patience)
        self.rates = np.where(late, self.rates * self.decay, self.rates)
        self.waited = np.where(late, 0.0, self.waited)
        last: NDArray[np.bool_] = better | ~judged
        return last


def tempered(step: int, steps: int, cooldown: float) -> float:
    """The factor of all rates at a step, counted from 0, of so many.

    It rises over the first steps, in which AdamW's second moments are poor, is 1, and falls to 0
    over the last share `cooldown`.
    """
    rise = (step + 1) / max(1.0, min(_RISE, steps / 20))
    fall = (steps - step) / (cooldown * steps) if cooldown else 1.0
    return max(0.0, min(1.0, rise, fall))
