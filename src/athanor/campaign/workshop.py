"""The workshop: where a worker process turns tasks into artefacts."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from threadpoolctl import threadpool_limits

from athanor.calculator import calculator
from athanor.campaign.artefact import Artefacts
from athanor.campaign.config import CampaignConfig
from athanor.campaign.harvests import (
    Candidates,
    read_candidates,
    read_structures,
    write_drawn,
    write_harvest,
)
from athanor.campaign.parity import Parity, errors_of
from athanor.campaign.tasks import Task
from athanor.data.dataset import Dataset
from athanor.data.durable import FULL, write_file
from athanor.data.packing import npz_bytes, pack_frames, read_npz, unpack_frames
from athanor.data.store import Store
from athanor.errors import AthanorError, FolderError, OracleError
from athanor.oracle.selfcheck import selfcheck
from athanor.potentials import Potential
from athanor.query import Query
from athanor.structure import (
    Frame,
    Labels,
    bare,
    check_structure,
    check_trainable,
    structure_id,
)

POTENTIAL = "potential"
LABEL = "label.npz"
PROPERTY = "property.json"

ATTEMPTS = 3
"""How often a label is tried when the oracle says that another try may help."""


class Workshop:
    """Performs the tasks of one campaign; travels to a worker by pickle and keeps models there."""

    def __init__(self, config: CampaignConfig, folder: Path) -> None:
        self.config = config
        self.folder = folder
        self.artefacts = Artefacts(folder / "artefacts")
        self.store = Store(folder / "store")
        self._model: tuple[str, str, Potential, Query] | None = None

    def __call__(self, task: Task) -> None:
        """Make the artefact of a task, unless it is there. BLAS keeps to one thread, so that the
        bits of a result do not depend on the machine's load."""

        def build(part: Path, work: Path) -> dict[str, Any]:
            begun = time.monotonic()
            summary = self._makers()[task.kind](task, part, work)
            return {"seconds": time.monotonic() - begun, "summary": summary}

        with threadpool_limits(limits=1):
            self.artefacts.make(task, build)

    def _makers(self) -> dict[str, Callable[[Task, Path, Path], dict[str, Any]]]:
        return {
            "draw": self._draw,
            "selfcheck": self._selfcheck,
            "label": self._label,
            "fit": self._fit,
            "sample": self._sample,
            "select": self._select,
            "test": self._test,
            "validate": self._validate,
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
        folder = self.artefacts.path(task.hints["artefact"])
        atoms = bare(read_structures(folder)[task.hints["index"]])
        with _reserved(part, atoms):
            labels = self._bought(atoms, work)
        frame = Frame(atoms, labels, level=task.payload["level"])
        write_file(part / LABEL, npz_bytes(pack_frames([frame])))
        return {
            "structure": task.inputs[0],
            "formula": atoms.get_chemical_formula(),
            "n_atoms": len(atoms),
            "reason": task.title,
        }

    def _bought(self, atoms: Atoms, work: Path) -> Labels:
        """Ask the oracle; whatever goes wrong but a full disk becomes an OracleError."""
        oracle = self.config.oracle.build()
        for attempt in range(1, ATTEMPTS + 1):
            scratch = work / f"attempt-{attempt}"
            scratch.mkdir()
            try:
                check_structure(atoms)
                labels = oracle.label(atoms.copy(), workdir=scratch)
                check_trainable(labels, len(atoms), where="the oracle's labels")
                return labels
            except OracleError as error:
                if attempt == ATTEMPTS or not error.retry:
                    raise
            except FolderError:
                raise
            except AthanorError as error:
                raise OracleError(str(error)) from error
            except Exception as error:
                if isinstance(error, OSError) and error.errno in FULL:
                    raise FolderError(f"{work}: no space left for the oracle's files") from error
                raise OracleError(
                    f"the oracle failed with {type(error).__name__}: {error}"
                ) from error
        raise AssertionError("unreachable: the last attempt returns or raises")

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
        (start,) = self.config.start.structures(1, rng)
        seed = int(rng.integers(2**31))
        harvest = self.config.sample.run(start, potential, query, seed=seed, workdir=work)
        write_harvest(part, harvest)
        times = harvest.trace.get("time_fs", np.zeros(0))
        return {
            "steps": harvest.steps,
            "planned": harvest.planned,
            "stopped_by": harvest.stopped_by,
            "candidates": len(harvest.structures),
            "grades": [_finite(grade.value) for grade in harvest.grades],
            "formula": start.get_chemical_formula(),
            "n_atoms": len(start),
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
        data = json.dumps(asdict(result), default=_plain).encode()
        write_file(part / PROPERTY, data)
        verdicts = [quantity.passed for quantity in result.quantities]
        return {"title": result.title, "passed": verdicts.count(True), "of": len(verdicts)}

    def _potential(self, fit: str) -> Potential:
        return self.config.potential.load(self.artefacts.path(fit) / POTENTIAL)

    def _fitted(self, fit: str, train: str) -> tuple[Potential, Query]:
        """The potential and the query fitted to it, rebuilt once per process and generation."""
        if self._model is None or self._model[:2] != (fit, train):
            potential = self._potential(fit)
            query = self.config.query.fit(potential, self.store.dataset(train))
            self._model = (fit, train, potential, query)
        return self._model[2:]


@contextlib.contextmanager
def _reserved(part: Path, atoms: Atoms) -> Iterator[None]:
    """Hold twice the space of a label until it is bought, so that none is paid for and lost."""
    nothing = Labels(0.0, np.zeros((len(atoms), 3)), np.zeros((3, 3)))
    size = len(npz_bytes(pack_frames([Frame(atoms, nothing)])))
    place = part / "reserved"
    write_file(place, bytes(2 * size + 4096))
    try:
        yield
    finally:
        place.unlink()


def read_label(folder: Path) -> Frame:
    """The frame of a label artefact."""
    (frame,) = unpack_frames(read_npz(folder / LABEL))
    return frame


def _finite(value: float) -> float | None:
    """A float for JSON: None stands for what is not finite."""
    return float(value) if np.isfinite(value) else None


def _plain(value: Any) -> Any:
    """NumPy values as plain ones, for the curves of a property."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not plain data")
