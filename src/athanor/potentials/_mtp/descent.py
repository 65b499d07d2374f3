"""Levenberg-Marquardt on the radial coefficients, every linear coefficient solved for exactly.

A step costs one traversal of the training set. Radial columns depend on the linear coefficients,
which are known only once the rows have been solved; so they are taken at the coefficients that the
last rows predict for the new radial ones. When a step fails and the columns were taken at such a
guess, they are made anew at the solution before the damping is blamed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import numpy as np

from athanor.errors import FitError
from athanor.potentials._checkpoint import Numbers
from athanor.potentials._mtp.checkpoint import Checkpoint
from athanor.potentials._mtp.log import FitLog
from athanor.potentials._mtp.model import MtpModel
from athanor.potentials._mtp.problem import Data, FitSettings
from athanor.potentials._mtp.program import program_of
from athanor.potentials._mtp.projection import Projection, damped_step, project
from athanor.potentials._mtp.radials import normalised
from athanor.potentials._mtp.rows import triangle
from athanor.structure import FloatArray

FIRST_DAMPING = 1e-2
_LEAST_DAMPING = 1e-6
_MAX_TRIES = 7
_MAX_SLOW = 2
_LITTLE = 0.05
"""Expected gain that a brief stage tries for only once."""
_GOOD, _POOR = 0.7, 0.25
"""Gain over expected gain above which the damping falls, and below which it rises."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a fit: its name, the data it sees, and when it ends (see FitSettings).

    A brief one ends with the first step that gains less than the tolerance, and when a step fails
    that promised little: it comes from a model that is nearly as good as it can be.
    """

    label: str
    data: Data
    steps: int
    tolerance: float
    brief: bool = False


@dataclass(frozen=True, slots=True)
class Fitted:
    """A model with its loss per training frame and, if there are any, on the validation frames."""

    model: MtpModel
    loss: float
    valid_loss: float


@dataclass(frozen=True, slots=True)
class _View:
    """Rows at `model`, solved: `linear` are the best coefficients for its radial ones.

    `sure` when the radial columns were taken at that very solution.
    """

    model: MtpModel
    slope: Projection
    loss: float
    sure: bool


@dataclass(frozen=True, slots=True)
class _State:
    """Where a stage stands between two steps."""

    view: _View
    damping: float
    step: int
    slow: int
    stale: int
    here: Fitted
    best: Fitted


class Descent:
    """Runs the stages of one fit; what is reached is kept in the checkpoint after every step."""

    def __init__(self, settings: FitSettings, *, log: FitLog, checkpoint: Checkpoint) -> None:
        self._settings = settings
        self._log = log
        self._checkpoint = checkpoint
        self.threads = min(8, _cores())

    def run(self, model: MtpModel, *, stage: Stage) -> Fitted:
        """Descend from `model`, whose linear coefficients may be zero; the best by validation."""
        kept = self._checkpoint.get(f"{stage.label} end", model)
        if kept is not None:
            return Fitted(kept[0], kept[1]["loss"], kept[1]["valid_loss"])
        self._log.begin(stage.label, stage.steps)
        state = self._resumed(model, stage) or self._first(model, stage)
        while not self._ended(state, stage):
            following = self._step(state, stage)
            if following is None:
                break
            state = following
            self._keep(state, stage)
        self._finish(state.best, stage)
        return state.best

    def _ended(self, state: _State, stage: Stage) -> bool:
        return (
            state.step >= stage.steps
            or state.slow >= (1 if stage.brief else _MAX_SLOW)
            or state.stale >= self._settings.patience
        )

    def _first(self, model: MtpModel, stage: Stage) -> _State:
        sure = False
        if not model.moment_coeffs.any():
            model = _with_linear(model, self._projected(model, stage, radial=False).linear)
            sure = True
        view = self._view(normalised(model), stage, sure=sure)
        here = self._fitted(view, stage)
        self._log.step(0, here.loss, here.valid_loss, damping=0.0)
        return _State(view, FIRST_DAMPING, 0, 0, 0, here, here)

    def _step(self, state: _State, stage: Stage) -> _State | None:
        """The next accepted step; None when none gains more than half the tolerance."""
        view, damping = state.view, state.damping
        for _ in range(_MAX_TRIES):
            move = damped_step(view.slope, damping)
            expected = view.slope.expected(move) / stage.data.n_frames
            if view.loss - expected < 0.5 * stage.tolerance * view.loss:
                return None
            trial = self._view(_moved(view, move), stage, sure=False)
            if trial.loss < view.loss:
                ratio = (view.loss - trial.loss) / (view.loss - expected)
                return self._accepted(state, trial, _next_damping(damping, ratio), stage)
            if stage.brief and view.loss - expected < _LITTLE * view.loss:
                return None
            if not view.sure:
                solved = normalised(_with_linear(view.model, view.slope.linear))
                view = self._view(solved, stage, sure=True)
            damping *= 8
        return None

    def _accepted(self, state: _State, trial: _View, damping: float, stage: Stage) -> _State:
        here = self._fitted(trial, stage)
        better = here.valid_loss < state.best.valid_loss
        gained = 1 - here.loss / state.here.loss
        return _State(
            trial,
            damping,
            state.step + 1,
            state.slow + 1 if gained < stage.tolerance else 0,
            0 if better else state.stale + 1,
            here,
            here if better else state.best,
        )

    def _view(self, model: MtpModel, stage: Stage, *, sure: bool) -> _View:
        slope = self._projected(model, stage, radial=True)
        return _View(model, slope, slope.loss / stage.data.n_frames, sure)

    def _projected(self, model: MtpModel, stage: Stage, *, radial: bool) -> Projection:
        factor = triangle(
            stage.data.train,
            program_of(model, core=self._settings.core),
            n_radial=model.radial.size if radial else 0,
            threads=self.threads,
        )
        n_linear = len(model.species_coeffs) + len(model.moment_coeffs)
        found = project(factor, n_linear=n_linear, ridge=self._settings.ridge)
        if not np.isfinite(found.linear).all():
            raise FitError("the linear coefficients are not finite; raise `ridge`")
        return found

    def _fitted(self, view: _View, stage: Stage) -> Fitted:
        model = _with_linear(view.model, view.slope.linear)
        if not stage.data.valid:
            return Fitted(model, view.loss, view.loss)
        program = program_of(model, core=self._settings.core)
        return Fitted(model, view.loss, sum(block.loss(program) for block in stage.data.valid))

    def _keep(self, state: _State, stage: Stage) -> None:
        here, best = state.here, state.best
        self._log.step(state.step, here.loss, here.valid_loss, damping=state.damping)
        numbers: Numbers = {
            "damping": state.damping,
            "step": state.step,
            "slow": state.slow,
            "stale": state.stale,
            "sure": state.view.sure,
        }
        self._checkpoint.put(f"{stage.label} at", state.view.model, numbers)
        self._checkpoint.put(f"{stage.label} best", best.model, _losses(best))
        self._checkpoint.write()

    def _resumed(self, model: MtpModel, stage: Stage) -> _State | None:
        """The state after the last step kept; the rows are made again, with equal bits."""
        at = self._checkpoint.get(f"{stage.label} at", model)
        best = self._checkpoint.get(f"{stage.label} best", model)
        if at is None or best is None:
            return None
        numbers = at[1]
        view = self._view(at[0], stage, sure=bool(numbers["sure"]))
        return _State(
            view,
            numbers["damping"],
            int(numbers["step"]),
            int(numbers["slow"]),
            int(numbers["stale"]),
            self._fitted(view, stage),
            Fitted(best[0], best[1]["loss"], best[1]["valid_loss"]),
        )

    def _finish(self, best: Fitted, stage: Stage) -> None:
        for part in ("at", "best"):
            self._checkpoint.drop(f"{stage.label} {part}")
        self._checkpoint.put(f"{stage.label} end", best.model, _losses(best))
        self._checkpoint.write()


def _cores() -> int:
    """Processors this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # there is none on macOS
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _moved(view: _View, move: FloatArray) -> MtpModel:
    """The model after a step, its linear coefficients those that the rows predict there."""
    model, slope = view.model, view.slope
    radial = model.radial + move.reshape(model.radial.shape)
    linear = slope.linear + slope.response @ move
    return normalised(_with_linear(replace(model, radial=radial), linear))


def _with_linear(model: MtpModel, linear: FloatArray) -> MtpModel:
    n_species = len(model.species_coeffs)
    return replace(
        model,
        species_coeffs=linear[:n_species].copy(),
        moment_coeffs=linear[n_species:].copy(),
    )


def _next_damping(damping: float, ratio: float) -> float:
    if ratio > _GOOD:
        return max(damping / 4, _LEAST_DAMPING)
    return 3 * damping if ratio < _POOR else damping


def _losses(fitted: Fitted) -> Numbers:
    return {"loss": fitted.loss, "valid_loss": fitted.valid_loss}
