"""The tasks of a distillation: what each depends on, which is its identity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from athanor.campaign.tasks import Task
from athanor.distil.config import DistilConfig
from athanor.search.space import Point, key

KERNEL_KEYS = ("degree", "c0", "slope", "average", "coulomb", "zeta")
SOAP_KEYS = ("species", "cutoff", "n_max", "l_max", "sigma", "basis")
PARTITION_KEYS = ("d_tol", "patience", "max_clusters")


@dataclass(frozen=True, slots=True)
class Chosen:
    """Structures that a potential is fitted to and judged on; numbers of the pool, ascending.

    `labels` maps the number of a structure whose label was bought to that label's task.
    """

    train: tuple[int, ...]
    test: tuple[int, ...]
    labels: Mapping[int, str]


def pool_task(config: DistilConfig, level: str) -> Task:
    """Read or make the pool; `level` is the oracle's, '' without one."""
    payload = {
        "pool": config.pool.model_dump(mode="json"),
        "oracle": None if config.oracle is None else config.oracle.model_dump(mode="json"),
        "level": level,
        "held_out": config.cycle.held_out,
    }
    return Task("pool", payload, seed=config.campaign.seed, title="the pool")


def describe_tasks(config: DistilConfig, pool: Task, found: Mapping[str, Any]) -> list[Task]:
    """Fingerprints, chunk by chunk; a chunk's name is that of its structures."""
    payload = {"soap": _slice(config, SOAP_KEYS), "species": found["species"]}
    payload["average"] = config.query.average
    return [
        Task(
            "describe",
            payload,
            (digest,),
            title=f"structures {first + 1} to {last}",
            hints={"pool": pool.id, "first": first, "last": last},
        )
        for first, last, digest in found["chunks"]
    ]


def distance_tasks(
    config: DistilConfig, pool: Task, found: Mapping[str, Any], described: Sequence[Task]
) -> list[Task]:
    """Distances between Coulomb matrices, a pair of blocks at a time."""
    ranges = found["blocks"]
    payload = {
        "coulomb": config.query.coulomb,
        "size": found["largest"],
        "blocks": ranges,
        "pairs": _slice(config, (*KERNEL_KEYS, *SOAP_KEYS)) if _by_pairs(config) else None,
    }
    hints: dict[str, Any] = {"pool": pool.id}
    if _by_pairs(config):
        hints["described"] = [task.id for task in described]
    return [
        Task(
            "distances",
            payload,
            (found["digest"], str(a), str(b)),
            title=f"blocks {a + 1} and {b + 1} of {len(ranges)}",
            hints=hints,
        )
        for a in range(len(ranges))
        for b in range(a + 1)
    ]


def similarity_task(
    config: DistilConfig,
    found: Mapping[str, Any],
    described: Sequence[Task],
    distances: Sequence[Task],
) -> Task:
    """Put the two kernels together."""
    pairs = [(*(int(one) for one in task.inputs[1:]), task.id) for task in distances]
    return Task(
        "similarity",
        {"kernel": _slice(config, KERNEL_KEYS)},
        tuple(task.id for task in (*described, *distances)),
        title="the kernels",
        hints={
            "described": [task.id for task in described],
            "distances": pairs,
            "blocks": found["blocks"],
        },
    )


def partition_task(
    config: DistilConfig, pool: Task, similarity: Task, delta: float, *, affinity: str
) -> Task:
    """Clusters at one delta."""
    return Task(
        "partition",
        {"delta": delta, "affinity": affinity, "partition": _slice(config, PARTITION_KEYS)},
        (similarity.id,),
        title=f"delta {delta:g} by {affinity}",
        hints={"pool": pool.id},
    )


def map_task(similarity: Task, delta: float) -> Task:
    """The plane of structures at the best delta."""
    return Task("map", {"delta": delta}, (similarity.id,), title="the map")


def draw_task(
    config: DistilConfig,
    pool: Task,
    similarity: Task,
    *,
    arm: str,
    seed: int,
    cycle: int,
    partition: Task | None = None,
    delta: float = 0.0,
    before: Task | None = None,
    like: Task | None = None,
) -> Task:
    """Choose structures of the cycle by one way of choosing.

    `before` is the draw that is added to, `like` the one whose sizes are copied at once.
    """
    payload: dict[str, Any] = {
        "arm": arm,
        "fraction": config.cycle.fraction,
        "delta": delta,
        "train_fraction": config.cycle.train_fraction,
        # by their roles: what is added to and what is copied must not be taken for each other
        "partition": None if partition is None else partition.id,
        "before": None if before is None else before.id,
        "like": None if like is None else like.id,
    }
    hints = {
        "pool": pool.id,
        "cycle": cycle,
    }
    return Task(
        "draw",
        payload,
        (similarity.id,),
        seed=seed,
        cycle=cycle,
        title=f"structures by {arm}",
        hints=hints,
    )


def propose_task(
    config: DistilConfig,
    cycle: int,
    data: Chosen,
    seen: Sequence[tuple[Point, float | None]],
    *,
    first: Point | None,
) -> Task:
    """The next points of a cycle's search, from what the others gave; it begins with `first`."""
    search = config.search.of_cycle(cycle).model_dump(mode="json")
    payload: dict[str, Any] = {"search": search}
    payload["seen"] = [[point, score] for point, score in seen]
    payload["first"] = [] if first is None else [first]
    inputs = (*map(str, data.train), "|", *map(str, data.test))
    return Task(
        "propose",
        {**payload, "space": dict(config.potential), "data": list(inputs), "cycle": cycle},
        seed=config.campaign.seed,
        cycle=cycle,
        title="the next trials",
    )


def trial_task(
    config: DistilConfig, pool: Task, digest: str, data: Chosen, point: Point, *, cycle: int
) -> Task:
    """Fit at one point of the search, and judge it on the test structures."""
    recipe = config.recipe(point).model_dump(mode="json")
    payload = {"recipe": recipe, "train": list(data.train), "test": list(data.test)}
    bought = {i: data.labels[i] for i in (*data.train, *data.test) if i in data.labels}
    return Task(
        "trial",
        payload,
        (digest, *(bought[i] for i in sorted(bought))),
        seed=config.campaign.seed,
        cycle=cycle,
        title=key(point) if point else "the fit",
        hints={"pool": pool.id, "labels": {str(i): name for i, name in bought.items()}},
    )


def held_out_task(pool: Task, digest: str, trial: Task, frames: Iterable[int], cycle: int) -> Task:
    """Errors of a trial's potential on structures that were never chosen."""
    return Task(
        "test",
        {"frames": list(frames)},
        (digest, trial.id),
        cycle=cycle,
        title="errors on held-out structures",
        hints={"pool": pool.id},
    )


def _by_pairs(config: DistilConfig) -> bool:
    return config.query.average == "pairs"


def _slice(config: DistilConfig, names: Iterable[str]) -> dict[str, Any]:
    whole = config.query.model_dump(mode="json")
    return {name: whole[name] for name in names}
