"""The door to Optuna: results go in, a point to try comes out; nothing is stored there."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from athanor.component import require_libraries
from athanor.search.config import Method
from athanor.search.dimension import Dimension
from athanor.search.space import Point, SearchSpace

_NEEDS = {"gp": ("optuna", "torch"), "tpe": ("optuna",), "random": ()}


class Model:
    """What the results say about the space; ask it, and tell it what is being tried meanwhile."""

    def __init__(self, space: SearchSpace, method: Method, *, seed: int) -> None:
        self._space = space
        with _quiet():
            import optuna

            self._distributions = {one.name: _distribution(one) for one in space.dimensions}
            self._study: Any = optuna.create_study(sampler=_sampler(method, seed))
        self._threads = _one_torch_thread if method == "gp" else contextlib.nullcontext

    def tell(self, results: Sequence[tuple[Point, float]]) -> None:
        """Results, with scores to minimise."""
        with _quiet():
            self._study.add_trials([self._trial(point, score) for point, score in results])

    def ask(self) -> Point:
        """The point that promises most; it may be one that is known, or that a recipe refuses."""
        import optuna

        with _quiet(), self._threads():
            trial = self._study.ask(self._distributions)
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        params = {one.name: trial.params[one.name] for one in self._space.dimensions}
        return {
            one.name: one.value(params[one.name]) if one.choices else one.nearest(params[one.name])
            for one in self._space.dimensions
        }

    def expect(self, point: Point) -> None:
        """This point is being tried: the next is to be good beside it, whatever it gives."""
        with _quiet():
            self._study.add_trial(self._trial(point, None))

    def _trial(self, point: Point, score: float | None) -> Any:
        import optuna

        state = optuna.trial.TrialState
        return optuna.trial.create_trial(
            state=state.RUNNING if score is None else state.COMPLETE,
            params={
                one.name: int(one.number(point[one.name]) or 0) if one.choices else point[one.name]
                for one in self._space.dimensions
            },
            distributions=self._distributions,
            value=score,
        )


def require_extra(method: Method) -> None:
    """Raise MissingExtraError unless what the method needs is there; imports nothing."""
    require_libraries(dict.fromkeys(_NEEDS[method], "search"))


def model_of(
    space: SearchSpace, results: Sequence[tuple[Point, float]], method: Method, *, seed: int
) -> Model | None:
    """The model of these results; None where there are none, or for random search."""
    if method == "random" or not results:
        return None
    model = Model(space, method, seed=seed)
    model.tell(results)
    return model


def _sampler(method: Method, seed: int) -> Any:
    from optuna.samplers import GPSampler, TPESampler

    if method == "gp":
        return GPSampler(seed=seed, n_startup_trials=1, warn_independent_sampling=False)
    return TPESampler(seed=seed, n_startup_trials=1, multivariate=True, constant_liar=True)


def _distribution(one: Dimension) -> Any:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if one.choices:
        # by number: Optuna wants choices to be scalars
        return CategoricalDistribution(range(len(one.choices)))
    if one.integer:
        return IntDistribution(int(one.low), int(one.high), log=one.log, step=one.step or 1)
    return FloatDistribution(one.low, one.high, log=one.log)


@contextlib.contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Around the Gaussian process: with more threads torch adds up in another order."""
    from athanor.potentials._hipnn.session import torch_threads

    with torch_threads(1):
        yield


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Around calls of Optuna: no line for each study, no word on what it calls experimental."""
    log = logging.getLogger("optuna")
    level = log.level
    with warnings.catch_warnings():
        from optuna.exceptions import ExperimentalWarning

        warnings.simplefilter("ignore", ExperimentalWarning)
        # a warning there says only that greenlet would make it faster
        log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            log.setLevel(level)
