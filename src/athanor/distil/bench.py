"""What a distillation's tasks do, in worker processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from athanor.campaign.bench import Bench, Maker
from athanor.campaign.labelling import buy, read_label
from athanor.campaign.parity import Parity, errors_of
from athanor.campaign.tasks import Task
from athanor.data.dataset import Dataset
from athanor.data.durable import write_file
from athanor.data.packing import npz_bytes, read_npz
from athanor.distil import drawn, kernels
from athanor.distil.config import DistilConfig
from athanor.distil.pooled import Pooled, read_pool, write_pool
from athanor.errors import ConfigError
from athanor.pool import Pool
from athanor.potentials import PotentialConfig, load_folder
from athanor.query._clusters.mapping import mds
from athanor.query._clusters.partition import partition, rand_index
from athanor.query._clusters.spectral import IntArray
from athanor.query._similarity.kernels import distance
from athanor.query._similarity.memory import check_memory, forecast
from athanor.search.config import SearchConfig
from athanor.search.propose import propose
from athanor.structure import structure_id

PASSAGE = "ramp"
POTENTIAL = "potential"
CLUSTERS = "clusters.npz"
MAP = "map.npz"
ROUNDS = 30
"""Of majorised stress after the classical map; each costs a product of two (n, n) matrices."""
MAPPED = 2000
"""Structures beyond which the map is the classical one."""


class DistilBench(Bench):
    """Performs the tasks of one distillation; keeps the pool it has read."""

    def __init__(self, config: DistilConfig, folder: Path) -> None:
        super().__init__(folder)
        self.config = config
        self._pool: tuple[str, Pooled] | None = None

    def makers(self) -> Mapping[str, Maker]:
        return {
            "pool": self._make_pool,
            "describe": self._describe,
            "distances": self._distances,
            "similarity": self._similarity,
            "partition": self._partition,
            "map": self._map,
            "draw": self._draw,
            "label": self._label,
            "propose": self._propose,
            "trial": self._trial,
            "test": self._test,
        }

    def _make_pool(self, task: Task, part: Path, work: Path) -> dict[str, Any]:
        oracle = None if self.config.oracle is None else self.config.oracle.build()
        pool = self.config.pool.frames(oracle=oracle, seed=task.stream, workdir=work)
        self._check_forces(pool)
        found = write_pool(part, pool, self.config.query, held_out=self.config.cycle.held_out)
        counts = len(found["eligible"]), found["largest"]
        said = forecast(*counts, self.config.query, n_species=len(found["species"]))
        # each worker clusters at a delta of its own
        every = replace(said, bytes=said.bytes * self.config.campaign.workers)
        check_memory(every, counts[0])
        return {**found, "forecast": said.sentence()}

    def _check_forces(self, pool: Pool) -> None:
        """Refuse before anything is computed what every fit would refuse."""
        if self._forces_optional:
            return
        for labels, origin in zip(pool.labels, pool.origins, strict=True):
            if labels is not None and not labels.has_forces:
                raise ConfigError(
                    f"[pool] {origin} has an energy and no forces, which a [potential] of this "
                    'kind is not fitted to; take kind = "gap", or give frames with forces'
                )

    def _describe(self, task: Task, part: Path, work: Path) -> dict[str, Any]:
        pool = self._read(task)
        some = pool.eligible[task.hints["first"] : task.hints["last"]]
        structures = [pool.structures[int(i)] for i in some]
        return kernels.describe(
            part,
            structures,
            self.config.query,
            species=task.payload["species"],
            names=[pool.origins[int(i)] for i in some],
        )

    def _distances(self, task: Task, part: Path, work: Path) -> dict[str, Any]:
        pool, config = self._read(task), self.config.query
        ranges = [task.payload["blocks"][int(one)] for one in task.inputs[1:]]
        first, second = (
            [pool.structures[int(i)] for i in pool.eligible[start:stop]] for start, stop in ranges
        )
        spectra, slope = None, 0.0
        if "described" in task.hints:
            folders = [self.artefacts.path(name) for name in task.hints["described"]]
            slope = kernels.atom_slope(config, folders[0])
            rows, columns = (kernels.spectra_of(folders, *one) for one in ranges)
            spectra = rows, columns
        if ranges[0] == ranges[1]:
            second = first
        names = [[pool.origins[int(i)] for i in pool.eligible[slice(*one)]] for one in ranges]
        return kernels.apart(
            part,
            first,
            second,
            size=task.payload["size"],
            config=config,
            spectra=spectra,
            slope=slope,
            names=(names[0], names[1]),
        )

    def _similarity(self, task: Task, part: Path, work: Path) -> dict[str, Any]:
        described = [self.artefacts.path(name) for name in task.hints["described"]]
        blocks = [(a, b, self.artefacts.path(name)) for a, b, name in task.hints["distances"]]
        return kernels.assemble(part, described, blocks, task.hints["blocks"], self.config.query)

    def _partition(self, task: Task, part: Path, work: Path) -> dict[str, Any]:
        pool = self._read(task)
        kernel = kernels.mixed(self.artefacts.path(task.inputs[0]), task.payload["delta"])
        config = self.config.query.model_copy(update={"affinity": task.payload["affinity"]})
        found = partition(kernel, pool.energies, config)
        write_file(part / CLUSTERS, npz_bytes({"clusters": found.clusters}))
        told = {key: _plain(value) for key, value in asdict(found).items() if key != "clusters"}
        sizes = np.bincount(found.clusters)
        told |= {key: task.payload[key] for key in ("delta", "affinity")}
        told["sizes"] = sizes.tolist()
        return {**told, "ari": agreement(pool, found.clusters)}

    def _map(self, task: Task, part: Path, work: Path) -> dict[str, Any]:
        apart = distance(kernels.mixed(self.artefacts.path(task.inputs[0]), task.payload["delta"]))
        points = mds(apart, rounds=ROUNDS if len(apart) <= MAPPED else 0)
        write_file(part / MAP, npz_bytes({"points": points}))
        return {"delta": task.payload["delta"]}

    def _draw(self, task: Task, part: Path, work: Path) -> dict[str, Any]:
        pool, payload = self._read(task), task.payload
        rng = np.random.default_rng(task.stream)
        clusters = self._clusters(payload["partition"])
        common: dict[str, Any] = {"eligible": pool.eligible, "fraction": payload["fraction"]}
        common |= {"cycle": task.hints["cycle"], "rng": rng}
        if payload["like"] is None:
            before = self._chosen(payload["before"])
            share = payload["train_fraction"]
            chosen = drawn.add_from_clusters(
                _required(clusters), before, train_fraction=share, **common
            )
        else:
            apart = None
            if payload["arm"] == "farthest":
                folder = self.artefacts.path(task.inputs[0])
                apart = distance(kernels.mixed(folder, payload["delta"]))
            like = self._chosen(payload["like"])
            chosen = drawn.choose_like(
                payload["arm"], like, clusters=clusters, distances=apart, **common
            )
        for one in chosen:
            one["structure"] = structure_id(pool.structures[one["index"]])
        return {"arm": payload["arm"], "chosen": chosen, **drawn.counts(chosen)}

    def _label(self, task: Task, part: Path, work: Path) -> dict[str, Any]:
        if self.config.oracle is None:
            raise ConfigError("structures of the pool have no labels; add a section [oracle]")
        source = self.artefacts.path(task.hints["artefact"])
        return buy(self.config.oracle, task, source=source, part=part, work=work)

    def _propose(self, task: Task, part: Path, work: Path) -> dict[str, Any]:
        space = self.config.space
        if space is None:
            raise ConfigError("[potential] has no field with a range; there is nothing to search")
        config = SearchConfig.parse(task.payload["search"], where="[search]")
        seen = [(point, score) for point, score in task.payload["seen"]]
        # one seed for all rounds of a cycle: they are one sequence
        seed = Task("propose", {"cycle": task.payload["cycle"]}, seed=task.seed).stream
        first = task.payload["first"]
        return {"points": propose(space, seen, config, seed=seed, first=first)}

    def _trial(self, task: Task, part: Path, work: Path) -> dict[str, Any]:
        train = self._frames(task, task.payload["train"])
        test = self._frames(task, task.payload["test"])
        recipe = self._recipe(task.payload["recipe"])
        potential = recipe.fit(train, test, seed=task.stream, workdir=work)
        potential.save(part / POTENTIAL)
        predicted = potential.predict(test.structures)
        if len(test):
            Parity.of(predicted, test).write(part)
        return {
            "recipe": task.payload["recipe"],
            "n_train": len(train),
            "n_test": len(test),
            "train": errors_of(potential.predict(train.structures), train),
            "test": errors_of(predicted, test) if len(test) else None,
        }

    def _test(self, task: Task, part: Path, work: Path) -> dict[str, Any]:
        potential = load_folder(self.artefacts.path(task.inputs[1]) / POTENTIAL)
        frames = self._frames(task, task.payload["frames"])
        predicted = potential.predict(frames.structures)
        Parity.of(predicted, frames).write(part)
        return dict(errors_of(predicted, frames))

    def _recipe(self, table: Mapping[str, Any]) -> PotentialConfig:
        return type(self.config.example).parse(table, where="[potential]")

    def _frames(self, task: Task, numbers: Sequence[int]) -> Dataset:
        """Frames of the pool, with labels that were bought where it has none."""
        pool, bought = self._read(task), task.hints.get("labels", {})
        frames = [
            read_label(self.artefacts.path(bought[str(i)])) if str(i) in bought else pool.frames[i]
            for i in numbers
        ]
        return Dataset.of(frames, forces_optional=self._forces_optional)

    @property
    def _forces_optional(self) -> bool:
        return not self.config.example.needs_forces

    def _read(self, task: Task) -> Pooled:
        """The pool, read once per process."""
        name = str(task.hints["pool"])
        if self._pool is None or self._pool[0] != name:
            self._pool = (name, read_pool(self.artefacts.path(name)))
        return self._pool[1]

    def _clusters(self, name: str | None) -> Any:
        if name is None:
            return None
        return read_npz(self.artefacts.path(name) / CLUSTERS)["clusters"]

    def _chosen(self, name: str | None) -> list[dict[str, Any]]:
        """What an earlier draw chose."""
        if name is None:
            return []
        return [dict(one) for one in self.artefacts.result(name)["summary"]["chosen"]]


def agreement(pool: Pooled, clusters: IntArray) -> float | None:
    """Adjusted Rand index of clusters and the pool's groups; None where fewer than two count.

    Groups whose name begins with "ramp" are passages between plateaus and do not count.
    """
    if pool.groups is None:
        return None
    names = [pool.groups[int(i)] for i in pool.eligible]
    counts = [k for k, name in enumerate(names) if not name.lower().startswith(PASSAGE)]
    if len({names[k] for k in counts}) < 2:
        return None
    return rand_index([names[k] for k in counts], clusters[counts])


def _required(clusters: Any) -> Any:
    if clusters is None:
        raise ConfigError("there are no clusters to choose from; this is a fault of athanor's")
    return clusters


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
