"""[search]: how many trials, what is minimised and how the next ones are chosen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from athanor.component import Component

Method = Literal["gp", "tpe", "random"]


class SearchConfig(Component):
    """How the marked fields of a recipe are searched; one trial is one fit.

    `trials` is what a search spends altogether, `initial` of them spread evenly over the space
    before anything is inferred. `batch` are proposed at a time, whatever the number of workers:
    results do not depend on that. `objective` is the validation RMSE of the energy (eV/atom), or
    with "weighted" that plus `force_weight` (Å/atom) times the force RMSE (eV/Å).
    """

    trials: int = Field(default=20, ge=1)
    batch: int = Field(default=2, ge=1)
    initial: int = Field(default=8, ge=1)
    objective: Literal["energy", "weighted"] = "energy"
    force_weight: float = Field(default=0.01, ge=0)
    method: Method = "gp"

    @model_validator(mode="after")
    def _check_weight(self) -> Self:
        # a section written out with its defaults is read back
        default = type(self).model_fields["force_weight"].default
        if self.force_weight != default and self.objective == "energy":
            raise ValueError(
                'force_weight has no effect with objective = "energy"; write "weighted"'
            )
        return self

    def score(self, errors: Mapping[str, Any]) -> float | None:
        """What a trial is judged by, the smaller the better, from what `errors_of` gives.

        None, a failed trial, where the energies or forces that count have no finite error.
        """
        weights = {"energy_rmse": 1.0}
        if self.objective == "weighted":
            weights["forces_rmse"] = self.force_weight
        score = 0.0
        for name, weight in weights.items():
            error = errors.get(name)
            if error is None or not math.isfinite(error):
                return None
            score += weight * error
        return score
