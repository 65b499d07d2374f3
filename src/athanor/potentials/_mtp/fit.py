"""Fitting a moment tensor potential: several starts on few frames, then the best on all of them.

Where a start leads shows on a part of the training set, at a part of the cost: a few frames give
far more rows than there are coefficients. Above level 16 the search is made at that level, and
its radial functions start the full one.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from athanor.data.dataset import Dataset
from athanor.data.durable import make_folder
from athanor.errors import FitError
from athanor.potentials._checkpoint import fingerprint
from athanor.potentials._mtp.checkpoint import Checkpoint
from athanor.potentials._mtp.cost import Forecast, check_memory, forecast, width
from athanor.potentials._mtp.descent import Descent, Fitted, Stage
from athanor.potentials._mtp.log import FitLog
from athanor.potentials._mtp.model import IndexTables, MtpModel
from athanor.potentials._mtp.problem import Data, FitSettings, thinned
from athanor.potentials._mtp.radials import random_radial
from athanor.structure import FloatArray

__all__ = ["Data", "FitSettings", "Fitted", "fit_model"]

_FEW_ROWS, _MORE_ROWS = 30, 60
"""Rows per coefficient of the frames that all starts see, and of those that the best see."""
_FIRST_STEPS = 6
"""Of every start; a third of them, at least one, go on."""
_MORE_STEPS = 20
_ROUGH = 3e-3
"""The tolerance of the search."""

_WARM_TOLERANCE = 1e-2
"""A fit that starts from a model is one of many: the next one goes on where it stops."""

_FIRST_PASSES, _MORE_PASSES, _FULL_PASSES, _WARM_PASSES = 10.0, 14.0, 7.0, 2.0
"""Traversals that fits have taken: per start, per start that goes on, at the end, from a model."""


def fit_model(
    blank: MtpModel,
    low: IndexTables | None,
    train: Dataset,
    valid: Dataset,
    *,
    settings: FitSettings,
    starts: int,
    seed: int,
    start: MtpModel | FloatArray | None,
    workdir: Path,
) -> Fitted:
    """Fit `blank` (its coefficients are ignored) to `train`.

    Parameters
    ----------
    low : tables of a lower level to search at, or None to search with the full ones.
    start : a model with radial coefficients shaped as the blank one's, or these alone, to start
        from; no search is made then.
    workdir : progress is appended to its log, and what is reached is kept there after every step:
        the same call goes on from it and ends with the bits of one that was never interrupted.

    Raises FitError for an empty training set or rows that are not finite. Deterministic: BLAS runs
    on one thread and the kernel's rows do not depend on the number of threads.
    """
    if len(train) == 0:
        raise FitError("the training set is empty; label at least one structure")
    make_folder(workdir)
    with threadpool_limits(limits=1, user_api="blas"):
        data = Data.of(train, valid, model=blank, settings=settings)
        first = _start(blank, start)
        identity = _identity(blank, low, data, first, settings, starts=starts, seed=seed)
        check_memory(data.train, width(blank))
        log = FitLog(workdir)
        descent = Descent(settings, log=log, checkpoint=Checkpoint(workdir, identity))

        def cost(model: MtpModel, data: Data, passes: float) -> Forecast:
            threads, core = descent.threads, settings.core
            return forecast(model, data.train, passes=passes, threads=threads, core=core)

        warm, tolerance = first is not None, settings.tolerance
        if first is not None:
            tolerance = max(tolerance, _WARM_TOLERANCE)
            log.forecast(cost(blank, data, _WARM_PASSES).sentence())
        else:
            model = _searcher(blank, low)
            few, more = _parts(model, train, data, settings, seed=seed)
            search = cost(model, few, _FIRST_PASSES * starts)
            search += cost(model, more, _MORE_PASSES * _ahead(starts))
            log.forecast((search + cost(blank, data, _FULL_PASSES)).sentence())
            first = _searched(blank, model, few, more, descent, starts=starts, seed=seed)
        stage = Stage("full", data, settings.steps, tolerance, brief=warm)
        return descent.run(first, stage=stage)


def _start(blank: MtpModel, start: MtpModel | FloatArray | None) -> MtpModel | None:
    """The full model to start from; linear coefficients of another basis mean nothing in it."""
    if not isinstance(start, MtpModel):
        return None if start is None else replace(blank, radial=start)
    if not np.array_equal(start.tables.mapping, blank.tables.mapping):
        return replace(blank, radial=start.radial)
    return replace(
        blank,
        radial=start.radial,
        species_coeffs=start.species_coeffs,
        moment_coeffs=start.moment_coeffs,
    )


def _identity(
    blank: MtpModel,
    low: IndexTables | None,
    data: Data,
    first: MtpModel | None,
    settings: FitSettings,
    *,
    starts: int,
    seed: int,
) -> str:
    """Fingerprint of all that decides about the result."""
    basis = [part for t in (blank.tables, low) if t for part in (t.basic, t.times, t.mapping)]
    scale = (blank.species, blank.min_dist, blank.max_dist, blank.scaling, blank.radial.shape)
    given = () if first is None else (first.radial, first.species_coeffs, first.moment_coeffs)
    return fingerprint([scale, *basis, settings, starts, seed, *given, *data.arrays()])


def _searcher(blank: MtpModel, low: IndexTables | None) -> MtpModel:
    """The model that the search is made with."""
    tables = low or blank.tables
    return replace(
        blank,
        tables=tables,
        radial=blank.radial[:, :, : tables.n_radial],
        moment_coeffs=np.zeros(len(tables.mapping)),
    )


def _parts(
    model: MtpModel, train: Dataset, data: Data, settings: FitSettings, *, seed: int
) -> tuple[Data, Data]:
    """As many frames as the two rounds of the search need, without validation."""
    n_coefficients = width(model) - 1
    shares = [min(1.0, rows * n_coefficients / data.n_rows) for rows in (_FEW_ROWS, _MORE_ROWS)]
    few, more = (
        Data.of(thinned(train, share=share, seed=seed), Dataset(), model=model, settings=settings)
        for share in shares
    )
    return few, more


def _ahead(starts: int) -> int:
    """How many starts go on."""
    return max(1, starts // 3)


def _searched(
    blank: MtpModel,
    model: MtpModel,
    few: Data,
    more: Data,
    descent: Descent,
    *,
    starts: int,
    seed: int,
) -> MtpModel:
    """Where the best of several random starts leads with the basis of `model`, as a full one."""
    rng = np.random.default_rng(seed)
    n_radial = model.tables.n_radial
    randoms = [random_radial(blank.radial.shape, rng) for _ in range(starts)]
    found: list[tuple[float, int, Fitted]] = []
    for number, radial in enumerate(randoms):
        stage = Stage(f"start {number}", few, _FIRST_STEPS, _ROUGH)
        fitted = descent.run(replace(model, radial=radial[:, :, :n_radial]), stage=stage)
        found.append((fitted.loss, number, fitted))
    ahead = sorted(found)[: _ahead(starts)]
    further = []
    for _, number, fitted in ahead:
        stage = Stage(f"start {number}, further", more, _MORE_STEPS, _ROUGH)
        further.append(descent.run(fitted.model, stage=stage))
    best = min(further, key=lambda fitted: fitted.loss).model
    if model.tables is blank.tables:
        return best
    radial = randoms[0].copy()
    radial[:, :, :n_radial] = best.radial
    return replace(blank, radial=radial)
