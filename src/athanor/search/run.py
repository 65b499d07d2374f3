"""The loop around `propose`, for whoever has a function and no campaign."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from athanor.search.config import SearchConfig
from athanor.search.propose import Result, propose
from athanor.search.space import Point, SearchSpace


def optimise(
    space: SearchSpace,
    objective: Callable[[Point], float | None],
    config: SearchConfig,
    *,
    seed: int,
    seen: Sequence[Result] = (),
) -> list[tuple[Point, float | None]]:
    """All results, in the order they were got, those `seen` first; see `best`.

    `objective` gives what to minimise, or None (or NaN) where it failed; what it raises comes
    through. Raises what `propose` does.
    """
    results: list[tuple[Point, float | None]] = [(dict(point), score) for point, score in seen]
    while points := propose(space, results, config, seed=seed):
        for point in points:
            score = objective(point)
            results.append((point, None if score is None else float(score)))
    return results
