"""Fitting a moment tensor potential: several cheap starts, then the full basis.

The radial functions that a low level finds are a good start for a high one and cost a fraction,
so the search for a good minimum is made at a low level.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from athanor.data.dataset import Dataset
from athanor.errors import FitError
from athanor.potentials import FIT_LOG
from athanor.potentials._mtp.model import IndexTables, MtpModel
from athanor.potentials._mtp.program import program_of
from athanor.potentials._mtp.projection import Projection, damped_step, project
from athanor.potentials._mtp.rows import Block, LossWeights, blocks_of, triangle
from athanor.structure import FloatArray

_MAX_RETRIES = 6
_FIRST_DAMPING = 1e-2


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How to descend.

    Attributes
    ----------
    weights : the loss.
    ridge : relative penalty of the linear coefficients.
    steps : most Levenberg-Marquardt steps at the full level.
    tolerance : stop when a step lowers the loss by less than this fraction.
    patience : stop after so many steps without a better validation loss.
    core : whether pairs below min_dist repel.
    """

    weights: LossWeights
    ridge: float
    steps: int
    tolerance: float
    patience: int
    core: bool


@dataclass(frozen=True, slots=True)
class Data:
    """Training and validation frames as rows; rows do not depend on the level of the basis."""

    train: Sequence[Block]
    valid: Sequence[Block]
    n_frames: int

    @classmethod
    def of(cls, train: Dataset, valid: Dataset, *, model: MtpModel, settings: FitSettings) -> Data:
        silent = replace(
            model,
            species_coeffs=np.zeros_like(model.species_coeffs),
            moment_coeffs=np.zeros_like(model.moment_coeffs),
        )
        offset = program_of(silent, core=settings.core)
        blocks = [
            blocks_of(part, species=model.species, weights=settings.weights, offset=offset)
            for part in (train, valid)
        ]
        return cls(blocks[0], blocks[1], len(train))


@dataclass(frozen=True, slots=True)
class Fitted:
    """A model with its loss on the training rows and, if there are any, the validation rows."""

    model: MtpModel
    loss: float
    valid_loss: float


class Descent:
    """One model on its way down; every step leaves a better one or ends."""

    def __init__(self, data: Data, settings: FitSettings, *, log: Path) -> None:
        self._data = data
        self._settings = settings
        self._log = log
        self._threads = min(8, os.cpu_count() or 1)
        self._started = time.monotonic()
        self._stage = ("", 0, 0.0)

    def run(self, model: MtpModel, *, steps: int, label: str) -> Fitted:
        """Descend from the radial coefficients of `model`; the best by validation is returned."""
        self._stage = (label, steps, time.monotonic() - self._started)
        best = current = self._solved(model)
        self._write(0, current, 0.0)
        damping, stale = _FIRST_DAMPING, 0
        for step in range(1, steps + 1):
            stepped = self._step(current, damping)
            if stepped is None:
                break
            before, (current, damping) = current, stepped
            self._write(step, current, damping)
            stale = 0 if current.valid_loss < best.valid_loss else stale + 1
            best = current if stale == 0 else best
            gained = 1 - current.loss / before.loss if before.loss > 0 else 0.0
            if gained < self._settings.tolerance or stale >= self._settings.patience:
                break
        return best

    def _step(self, at: Fitted, damping: float) -> tuple[Fitted, float] | None:
        """One accepted step, or None when no damping lowers the loss."""
        model = _normalised(at.model)
        slope = self._project(model, radial=True)
        for _ in range(_MAX_RETRIES):
            moved = model.radial + damped_step(slope, damping).reshape(model.radial.shape)
            trial = self._solved(replace(model, radial=moved))
            if trial.loss < at.loss:
                return trial, max(damping / 5, 1e-12)
            damping *= 6
        return None

    def _project(self, model: MtpModel, *, radial: bool) -> Projection:
        factor = triangle(
            self._data.train,
            program_of(model, core=self._settings.core),
            n_radial=model.radial.size if radial else 0,
            threads=self._threads,
        )
        n_linear = len(model.species_coeffs) + len(model.moment_coeffs)
        return project(factor, n_linear=n_linear, ridge=self._settings.ridge)

    def _solved(self, model: MtpModel) -> Fitted:
        """The best linear coefficients for the model's radial ones."""
        solution = self._project(model, radial=False)
        n_species = len(model.species_coeffs)
        solved = replace(
            model,
            species_coeffs=solution.linear[:n_species].copy(),
            moment_coeffs=solution.linear[n_species:].copy(),
        )
        if not np.isfinite(solution.linear).all():
            raise FitError("the linear coefficients are not finite; raise `ridge`")
        program = program_of(solved, core=self._settings.core)
        valid = sum(block.loss(program) for block in self._data.valid)
        loss = solution.loss / self._data.n_frames
        return Fitted(solved, loss, valid if self._data.valid else loss)

    def _write(self, step: int, fitted: Fitted, damping: float) -> None:
        label, steps, began = self._stage
        line = {
            "stage": label,
            "stage_began": round(began, 3),
            "step": step,
            "steps": steps,
            "loss": fitted.loss,
            "valid_loss": fitted.valid_loss,
            "damping": damping,
            "seconds": round(time.monotonic() - self._started, 3),
        }
        with self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def fit_model(
    blank: MtpModel,
    low: IndexTables | None,
    train: Dataset,
    valid: Dataset,
    *,
    settings: FitSettings,
    starts: int,
    seed: int,
    start: FloatArray | None,
    workdir: Path,
) -> Fitted:
    """Fit `blank` (its coefficients are ignored) to `train`.

    Parameters
    ----------
    low : tables of a lower level to search at, or None to search with the full ones.
    start : radial coefficients to start from, shaped as the model's; no search is made then.

    Raises FitError for an empty training set or rows that are not finite. Deterministic: BLAS runs
    on one thread and the kernel's rows do not depend on the number of threads.
    """
    if len(train) == 0:
        raise FitError("the training set is empty; label at least one structure")
    workdir.mkdir(parents=True, exist_ok=True)
    with threadpool_limits(limits=1, user_api="blas"):
        data = Data.of(train, valid, model=blank, settings=settings)
        descent = Descent(data, settings, log=workdir / FIT_LOG)
        radial = start
        if radial is None:
            radial = _searched(blank, low or blank.tables, descent, starts=starts, seed=seed)
        return descent.run(replace(blank, radial=radial), steps=settings.steps, label="full")


def _searched(
    blank: MtpModel, tables: IndexTables, descent: Descent, *, starts: int, seed: int
) -> FloatArray:
    """Radial coefficients of the best of several random starts at the level of `tables`."""
    rng = np.random.default_rng(seed)
    n_low = tables.n_radial
    found: list[Fitted] = []
    first: FloatArray | None = None
    for number in range(starts):
        radial = _random_radial(blank.radial.shape, rng)
        first = radial if first is None else first
        model = replace(
            blank,
            tables=tables,
            radial=radial[:, :, :n_low],
            moment_coeffs=np.zeros(len(tables.mapping)),
        )
        found.append(descent.run(model, steps=8, label=f"start {number}"))
    best = min(found, key=lambda fitted: fitted.loss)
    assert first is not None, "starts is at least 1"
    radial = first.copy()
    radial[:, :, :n_low] = best.model.radial
    return radial


def _random_radial(shape: tuple[int, ...], rng: np.random.Generator) -> FloatArray:
    """Radial function mu starts as the mu-th Chebyshev function with noise: unlike each other."""
    radial = 0.3 * rng.normal(size=shape)
    for mu in range(shape[2]):
        radial[:, :, mu, mu % shape[3]] += 1.0
    return radial


def _normalised(model: MtpModel) -> MtpModel:
    """Scale each radial function to unit mean square coefficient; its moments follow exactly.

    A scalar function with d_mu factors of radial function mu scales by the product of s_mu^d_mu,
    which its coefficient takes back.
    """
    mean = np.sqrt(np.mean(model.radial**2, axis=(0, 1, 3)))
    scale = 1 / np.where(mean > 0, mean, 1.0)
    degrees = _degrees(model.tables)
    factor = np.prod(scale**degrees, axis=1)
    return replace(
        model,
        radial=model.radial * scale[:, None],
        moment_coeffs=model.moment_coeffs / factor,
    )


def _degrees(tables: IndexTables) -> FloatArray:
    """(n_scalars, n_radial): how often each radial function enters each scalar function."""
    degrees = np.zeros((tables.n_moments, tables.n_radial))
    degrees[np.arange(len(tables.basic)), tables.basic[:, 0]] = 1
    for i, j, _, k in tables.times:
        degrees[k] = degrees[i] + degrees[j]
    return degrees[tables.mapping]
