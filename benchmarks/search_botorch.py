"""The next points by BoTorch, with its defaults: what athanor's search is compared with.

BoTorch is no dependency of athanor: run this in an environment of its own.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np

from athanor.search.space import Point, SearchSpace, key

_RESTARTS, _RAW = 8, 256


def round_of(
    space: SearchSpace, seen: Sequence[tuple[Point, float]], count: int, *, seed: int
) -> list[Point]:
    """`count` points, each with those before it pending (qLogEI); discrete spaces whole."""
    import torch
    from botorch.acquisition.logei import qLogExpectedImprovement
    from botorch.exceptions import BotorchWarning
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import SingleTaskGP
    from botorch.optim import optimize_acqf, optimize_acqf_discrete
    from botorch.sampling import SobolQMCNormalSampler
    from gpytorch.mlls import ExactMarginalLogLikelihood

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    known = {key(point) for point, _ in seen}
    inputs = torch.tensor([_unit(space, point) for point, _ in seen], dtype=torch.float64)
    scores = np.array([score for _, score in seen])
    scores = np.log(scores) if scores.min() > 0 else scores
    values = torch.tensor(-(scores - scores.mean()) / max(scores.std(), 1e-10))[:, None]
    chosen: list[Point] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BotorchWarning)
        model = SingleTaskGP(inputs, values)
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        while len(chosen) < count:
            pending = torch.tensor([_unit(space, one) for one in chosen], dtype=torch.float64)
            wish = qLogExpectedImprovement(
                model,
                best_f=values.max(),
                sampler=SobolQMCNormalSampler(torch.Size([128]), seed=seed),
                X_pending=pending if chosen else None,
            )
            if space.size is None:
                bounds = torch.tensor([[0.0], [1.0]], dtype=torch.float64).repeat(
                    1, len(space.dimensions)
                )
                found, _ = optimize_acqf(
                    wish, bounds, q=1, num_restarts=_RESTARTS, raw_samples=_RAW
                )
                chosen.append(space.at(found[0].clamp(0, 1 - 1e-9).tolist()))
                continue
            free = [
                point
                for point in space.points()
                if key(point) not in known | {key(one) for one in chosen}
            ]
            rows = torch.tensor([_unit(space, point) for point in free], dtype=torch.float64)
            found, _ = optimize_acqf_discrete(wish, q=1, choices=rows, unique=True)
            chosen.append(free[int((rows - found).abs().sum(1).argmin())])
    return chosen


def _unit(space: SearchSpace, point: Point) -> list[float]:
    """Shares of the ranges; a choice of two is 0 or 1."""
    shares = []
    for one in space.dimensions:
        number = one.number(point[one.name])
        assert number is not None
        if one.log:
            shares.append(math.log(number / one.low) / math.log(one.high / one.low))
        else:
            shares.append((number - one.low) / (one.high - one.low))
    return shares
