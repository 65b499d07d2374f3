"""Where a worker process measures one property of one subject."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from athanor.campaign.bench import Bench, Maker
from athanor.campaign.measured import json_bytes
from athanor.campaign.tasks import Task
from athanor.data.durable import make_folder, write_file
from athanor.errors import AthanorError
from athanor.potentials import FIT_LOG
from athanor.suite.config import SuiteConfig
from athanor.suite.subjects import Subject
from athanor.validate import AloneConfig, PropertyConfig, Tell

MEASURED = "measured.json"
PARTS = "parts"
"""Folder of what a long measurement keeps until it is whole."""
RUNS = "trajectories"
"""Folder of the dynamics that several properties are measured on, and others may be later."""


class SuiteBench(Bench):
    """Performs the measurements of a suite."""

    def __init__(self, config: SuiteConfig, folder: Path) -> None:
        super().__init__(folder)
        self.config = config

    def makers(self) -> Mapping[str, Maker]:
        return {"measure": self._measure}

    def _measure(self, task: Task, part: Path, work: Path) -> dict[str, Any]:
        item = self.config.properties[task.hints["property"]]
        subject = self._subject(task.inputs[0])
        oracle = work / "calculator"
        make_folder(oracle)
        mine = subject.calculator(workdir=oracle)
        if isinstance(item, AloneConfig):
            run, place = item.shared_run, work / PARTS
            if run is not None:
                place = self.folder / RUNS / Task("measure", run, task.inputs, seed=task.seed).id
            seed = _seed(task, task.payload if run is None else run)
            found = item.attempt(mine, seed=seed, workdir=place, tell=_teller(work))
            data, failures = found.plain(), len(found.failures)
        else:
            seed = _seed(task, task.payload)
            data, failures = self._compare(item, task, mine, seed=seed, work=work)
        write_file(part / MEASURED, json_bytes(data))
        return {"failures": failures}

    def _compare(
        self, item: PropertyConfig, task: Task, mine: Any, *, seed: int, work: Path
    ) -> tuple[dict[str, Any], int]:
        """A property that is nothing but the difference of two."""
        place = work / "reference"
        make_folder(place)
        reference = self._subject(task.inputs[1]).calculator(workdir=place)
        # frames that the reference alone decides serve every subject
        shared = self.folder / "references" / Task("measure", task.payload, task.inputs[1:]).id
        try:
            result = item.measure(mine, reference, seed=seed, workdir=shared)
        except AthanorError as error:
            return {"failures": [str(error)]}, 1
        return asdict(result), 0

    def _subject(self, level: str) -> Subject:
        return next(one for one in self.config.subjects if one.level == level)


def _seed(task: Task, what: Mapping[str, Any]) -> int:
    """One for all subjects, so that they begin from the same."""
    return Task("measure", what, (), seed=task.seed).stream


def _teller(work: Path) -> Tell:
    """Write how far a measurement is where the driver looks for it."""
    log = work / FIT_LOG

    def tell(share: float, words: str) -> None:
        record = {"stage": words, "step": round(100 * share), "steps": 100}
        with log.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(record) + "\n")

    return tell
