"""Bayesian optimisation of hyperparameters: Gaussian processes, TPE, BoTorch, random search.

    python benchmarks/search.py tables DATA        the fits, once
    python benchmarks/search.py compare [--methods "gp;tpe;uniform"] [--seeds 20]
    python benchmarks/search.py summary

DATA is the folder of `mlearn_si` and `al_aimd_300k`. The objectives are tables of real fits of
moment tensor potentials (see search_objectives.py) and Hartmann's function of six arguments. Every
method gets 40 trials, the first eight spread evenly and the same for all methods of a seed, two at
a time after that; uniform draws at random without repetition. What is compared is the best score
after 10, 20 and 40 trials. The method botorch runs in an environment that has BoTorch. What stands
in the output file is not measured again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from search_botorch import round_of
from search_objectives import (
    GRIDS,
    HARTMANN,
    HARTMANN_LEAST,
    hartmann,
    measure,
    tabled,
)

from athanor.data.durable import write_file
from athanor.search.config import SearchConfig
from athanor.search.propose import propose
from athanor.search.run import optimise
from athanor.search.space import Point, SearchSpace, key

TRIALS = 40
AFTER = (10, 20, 40)
SETTINGS = {
    "gp": SearchConfig(trials=TRIALS, method="gp"),
    "tpe": SearchConfig(trials=TRIALS, method="tpe"),
    "even": SearchConfig(trials=TRIALS, method="random"),
    "gp, 4 initial": SearchConfig(trials=TRIALS, method="gp", initial=4),
    "gp, 12 initial": SearchConfig(trials=TRIALS, method="gp", initial=12),
    "gp, 1 at a time": SearchConfig(trials=TRIALS, method="gp", batch=1),
    "gp, 4 at a time": SearchConfig(trials=TRIALS, method="gp", batch=4),
}
Objective = Callable[[Point], float | None]


def uniform(space: SearchSpace, objective: Objective, *, seed: int) -> list[float | None]:
    """Scores of points drawn at random, none twice."""
    rng, known, scores = np.random.default_rng(seed), set(), []
    while len(scores) < TRIALS:
        point = space.at(rng.random(len(space.dimensions)).tolist())
        if key(point) not in known:
            known.add(key(point))
            scores.append(objective(point))
    return scores


def botorch(space: SearchSpace, objective: Objective, *, seed: int) -> list[float | None]:
    """Scores of BoTorch's points, after the same even ones as the others."""
    config = SETTINGS["gp"]
    seen = [(point, objective(point)) for point in propose(space, [], config, seed=seed)]
    while len(seen) < TRIALS:
        points = round_of(space, seen, config.batch, seed=seed + len(seen))
        seen += [(point, objective(point)) for point in points]
    return [score for _, score in seen]


def run(method: str, space: SearchSpace, objective: Objective, *, seed: int) -> dict[str, Any]:
    """The best score so far after every trial, and processor seconds."""
    begin = time.process_time()
    if method == "uniform":
        scores = uniform(space, objective, seed=seed)
    elif method == "botorch":
        scores = botorch(space, objective, seed=seed)
    elif method == "gp, plain scores":
        # a shift below zero: no logarithm is taken
        shifted = optimise(space, lambda p: (objective(p) or 0) - 1, SETTINGS["gp"], seed=seed)
        scores = [None if score is None else score + 1 for _, score in shifted]
    else:
        scores = [score for _, score in optimise(space, objective, SETTINGS[method], seed=seed)]
    worst = max(score for score in scores if score is not None)
    best = np.minimum.accumulate([worst if score is None else score for score in scores])
    return {
        "best": [float(f"{best[after - 1]:.6g}") for after in AFTER],
        "seconds": round(time.process_time() - begin, 2),
    }


def interval(values: np.ndarray) -> list[float]:
    """Mean and its 95 % bootstrap interval."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(len(values), size=(5000, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return [float(f"{value:.4g}") for value in (values.mean(), low, high)]


def objectives(tables: dict[str, Any]) -> dict[str, tuple[SearchSpace, Objective, float]]:
    """Space, function and least value of each."""
    found: dict[str, tuple[SearchSpace, Objective, float]] = {}
    for name, grid in GRIDS.items():
        if len(tables.get(name, [])) == grid.space.size:
            objective = tabled(grid, tables[name])
            scores = [objective(point) for point in grid.space.points()]
            found[name] = (grid.space, objective, min(s for s in scores if s is not None))
    found["hartmann"] = (HARTMANN, hartmann, HARTMANN_LEAST)
    return found


def summary(record: dict[str, Any]) -> dict[str, Any]:
    """How far above the least value each method came, and how far above `gp` on the same seeds.

    Percent of the least error among all fits of the table; Hartmann's function in its own unit.
    Means and 95 % intervals.
    """
    lines: dict[str, Any] = {}
    for name, (_, _, least) in objectives(record["tables"]).items():
        runs = record["runs"].get(name, {})
        above = {
            method: {
                seed: np.array(row["best"]) - least
                if least < 0
                else 100 * (np.array(row["best"]) / least - 1)
                for seed, row in seeds.items()
            }
            for method, seeds in runs.items()
        }
        for method, seeds in above.items():
            both = sorted(set(seeds) & set(above.get("gp", {})))
            more = [seeds[seed] - above["gp"][seed] for seed in both if method != "gp"]
            lines.setdefault(name, {})[method] = {
                "seeds": len(seeds),
                **_intervals(list(seeds.values())),
                "seconds": round(float(np.mean([r["seconds"] for r in runs[method].values()])), 2),
                **({"more than gp": {"seeds": len(both), **_intervals(more)}} if more else {}),
            }
    return lines


def _intervals(rows: list[np.ndarray]) -> dict[str, list[float]]:
    table = np.array(rows)
    return {str(after): interval(table[:, i]) for i, after in enumerate(AFTER)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=["tables", "compare", "summary"])
    parser.add_argument("data", nargs="?", type=Path)
    parser.add_argument("--methods", default="uniform;even;tpe;gp")
    parser.add_argument("--objectives", default="si,al,hartmann")
    parser.add_argument("--seeds", type=int, default=20)
    here = Path(__file__).parent / "results" / "search.json"
    parser.add_argument("--out", type=Path, default=here)
    options = parser.parse_args()
    fresh: dict[str, Any] = {"tables": {}, "runs": {}}
    record = json.loads(options.out.read_text()) if options.out.exists() else fresh

    def keep() -> None:
        write_file(options.out, (json.dumps(record) + "\n").encode())

    if options.part == "tables":
        for name, grid in GRIDS.items():
            rows = record["tables"].setdefault(name, [])
            measure(grid, options.data, known=rows, keep=keep)
    elif options.part == "compare":
        there = objectives(record["tables"])
        for seed in range(options.seeds):
            for name in options.objectives.split(","):
                for method in options.methods.split(";"):
                    done = record["runs"].setdefault(name, {}).setdefault(method, {})
                    if str(seed) not in done:
                        done[str(seed)] = run(method, *there[name][:2], seed=seed)
            keep()
    record["summary"] = summary(record)
    keep()
    print(json.dumps(record["summary"], indent=1))


if __name__ == "__main__":
    main()
