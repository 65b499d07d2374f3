"""The workshop: where a worker process turns tasks into artefacts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from athanor.calculator import calculator
from athanor.campaign.bench import Bench, Maker
from athanor.campaign.config import CampaignConfig
from athanor.campaign.gate import gated, judged
from athanor.campaign.harvests import (
    Candidates,
    read_candidates,
    read_structures,
    write_drawn,
    write_harvest,
)
from athanor.campaign.labelling import buy, read_label
from athanor.campaign.measured import read_property, write_property
from athanor.campaign.parity import Parity, errors_of
from athanor.campaign.tasks import Task
from athanor.data.dataset import Dataset
from athanor.data.store import Store
from athanor.oracle.selfcheck import selfcheck
from athanor.potentials import Potential
from athanor.query import Query
from athanor.sample._batch import run_each
from athanor.structure import (
    bare,
    structure_id,
)

POTENTIAL = "potential"


class Workshop(Bench):
    """Performs the tasks of a campaign that samples by itself."""

    def __init__(self, config: CampaignConfig, folder: Path) -> None:
        super().__init__(folder)
        self.config = config
        self.store = Store(folder / "store")
        self._model: tuple[str, str, Potential, Query] | None = None

    def makers(self) -> Mapping[str, Maker]:
        return {
            "draw": self._draw,
            "selfcheck": self._selfcheck,
            "label": self._label,
            "fit": self._fit,
            "sample": self._sample,
            "select": self._select,
            "test": self._test,
            "validate": self._validate,
            "gate": self._gate,
        }

    def _draw(self, task: Task, part: Path, work: Path) -> dict[str, Any]:
        rng = np.random.default_rng(task.stream)
        drawn = self.config.start.structures(task.payload["count"], rng)
        write_drawn(part, drawn)
        return {"structures": [structure_id(atoms) for atoms in drawn]}

    def _selfcheck(self, task: Task, part: Path, work: Path) -> dict[str, Any]:
        folder = self.artefacts.path(task.hints["artefact"])
        atoms = bare(read_structures(folder)[task.hints["index"]])
        selfcheck(self.config.oracle.build(), atoms, workdir=work, seed=task.stream)
        return {"formula": atoms.get_chemical_formula()}

    def _label(self, task: Task, part: Path, work: Path) -> dict[str, Any]:
        source = self.artefacts.path(task.hints["artefact"])
        return buy(self.config.oracle, task, source=source, part=part, work=work)

    def _fit(self, task: Task, part: Path, work: Path) -> dict[str, Any]:
        train, valid, before = task.inputs
        training, validation = self.store.dataset(train), self.store.dataset(valid)
        start = self._potential(before) if before else None
        potential = self.config.potential.fit(
            training, validation, seed=task.stream, workdir=work, start=start
        )
        potential.save(part / POTENTIAL)
        return {
            "n_train": len(training),
            "n_valid": len(validation),
            "train": errors_of(potential.predict(training.structures), training),
            "valid": errors_of(potential.predict(validation.structures), validation)
            if len(validation)
            else None,
        }

    def _sample(self, task: Task, part: Path, work: Path) -> dict[str, Any]:
        potential, query = self._fitted(*task.inputs)
        rng = np.random.default_rng(task.stream)
        before = (task.payload["cycle"] - 1) * self.config.cycle.trajectories
        starts = self.config.start.part(before + task.payload["trajectory"] - 1, rng)
        harvest = run_each(self.config.sample, starts, potential, query, rng=rng, workdir=work)
        write_harvest(part, harvest)
        times = harvest.trace.get("time_fs", np.zeros(0))
        return {
            "steps": harvest.steps,
            "planned": harvest.planned,
            "stopped_by": harvest.stopped_by,
            "candidates": len(harvest.structures),
            "grades": [_finite(grade.value) for grade in harvest.grades],
            "formula": starts[0].get_chemical_formula(),
            "n_atoms": len(starts[0]),
            "time_fs": float(times[-1]) if len(times) else None,
        }

    def _select(self, task: Task, part: Path, work: Path) -> dict[str, Any]:
        fit, train, valid, *harvests = task.inputs
        _, query = self._fitted(fit, train)
        known = {
            structure_id(atoms)
            for snapshot in (train, valid)
            for atoms in self.store.dataset(snapshot).structures
        }
        pool = Candidates([], [], [])
        origin: list[dict[str, Any]] = []
        for name in harvests:
            found = read_candidates(self.artefacts.path(name))
            for index, atoms in enumerate(found.structures):
                identity = structure_id(atoms)
                label = Task("label", {"level": task.payload["level"]}, (identity,)).id
                if identity in known or label in task.payload["failed"]:
                    continue
                known.add(identity)
                pool.structures.append(atoms)
                pool.grades.append(found.grades[index])
                pool.reasons.append(found.reasons[index])
                origin.append({"artefact": name, "index": index, "structure": identity})
        rng = np.random.default_rng(task.stream)
        budget = task.payload["budget"]
        picked = query.select(pool.structures, pool.grades, budget, rng) if origin else []
        chosen = [
            {**origin[i], "grade": _finite(pool.grades[i].value), "reason": pool.reasons[i]}
            for i in picked
        ]
        return {"chosen": chosen, "offered": len(origin)}

    def _test(self, task: Task, part: Path, work: Path) -> dict[str, Any]:
        fit, *labels = task.inputs
        frames = Dataset.of(read_label(self.artefacts.path(name)) for name in labels)
        predicted = self._potential(fit).predict(frames.structures)
        Parity.of(predicted, frames).write(part)
        return dict(errors_of(predicted, frames))

    def _validate(self, task: Task, part: Path, work: Path) -> dict[str, Any]:
        (fit,) = task.inputs
        reference = work / "oracle"
        reference.mkdir()
        # what only the reference decides is kept there for the next potential, and after a kill
        same = Task("validate", task.payload, (), seed=task.seed)
        result = self.config.validate[task.hints["number"]].measure(
            calculator(self._potential(fit)),
            self.config.oracle.build().calculator(workdir=reference),
            seed=same.stream,
            workdir=self.folder / "references" / same.id,
        )
        write_property(part, result)
        verdicts = [quantity.passed for quantity in result.quantities]
        return {"title": result.title, "passed": verdicts.count(True), "of": len(verdicts)}

    def _gate(self, task: Task, part: Path, work: Path) -> dict[str, Any]:
        return judged(task, gated(task, lambda name: read_property(self.artefacts.path(name))))

    def _potential(self, fit: str) -> Potential:
        return self.config.potential.load(self.artefacts.path(fit) / POTENTIAL)

    def _fitted(self, fit: str, train: str) -> tuple[Potential, Query]:
        """The potential and the query fitted to it, rebuilt once per process and generation."""
        if self._model is None or self._model[:2] != (fit, train):
            potential = self._potential(fit)
            query = self.config.query.fit(potential, self.store.dataset(train))
            self._model = (fit, train, potential, query)
        return self._model[2:]


def _finite(value: float) -> float | None:
    """A float for JSON: None stands for what is not finite."""
    return float(value) if np.isfinite(value) else None
