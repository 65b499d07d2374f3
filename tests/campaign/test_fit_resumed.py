"""A worker that dies inside a fit leaves its steps to whoever makes the task next."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk

from athanor.campaign.artefact import WORK, Artefacts
from athanor.campaign.tasks import Kind, Task
from athanor.data.dataset import Dataset
from athanor.errors import FolderError
from athanor.potentials import FIT_LOG
from athanor.potentials._mtp.checkpoint import Checkpoint
from athanor.potentials.mtp import MtpConfig
from athanor.structure import Frame

TASK = Task("fit", {}, seed=1)


def fit(part: Path, work: Path) -> dict[str, Any]:
    """What the workshop does, on a few frames."""
    rng = np.random.default_rng(1)
    structures = []
    for _ in range(10):
        atoms = bulk("Al", a=rng.uniform(3.8, 4.3), cubic=True)
        atoms.rattle(0.2, rng=rng)
        structures.append(atoms)
    labels = MtpConfig.example(seed=1).predict(structures)
    data = Dataset.of(Frame(a, found) for a, found in zip(structures, labels, strict=True))
    recipe = MtpConfig(level=6, radial_basis_size=5, min_dist=1.8, max_dist=4.5, steps=5, starts=2)
    recipe.fit(data, Dataset(), seed=1, workdir=work).save(part / "potential")
    (part / "log").write_text((work / FIT_LOG).read_text())
    return {"seconds": 0.0, "summary": {}}


def killed_in_a_fit(folder: Path) -> None:
    real, writes = Checkpoint.write, []

    def write(self: Checkpoint) -> None:
        real(self)
        writes.append(1)
        if len(writes) == 5:
            os.kill(os.getpid(), signal.SIGKILL)

    Checkpoint.write = write  # type: ignore[method-assign] # only in the process that dies
    Artefacts(folder).make(TASK, fit)


def test_the_next_worker_goes_on(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(
        target=killed_in_a_fit, args=(tmp_path / "a",)
    )
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    part = tmp_path / "a" / f"{TASK.id}.part"
    before = (part / WORK / FIT_LOG).read_text()
    assert before
    (part / "torn").mkdir()
    (part / "torn" / "file").write_text("left by the dead")
    (part / "half").write_text("left by the dead")
    for name in ("a", "b"):
        Artefacts(tmp_path / name).make(TASK, fit)
    one, other = (Artefacts(tmp_path / name).path(TASK.id) for name in ("a", "b"))
    model = "potential/potential.mtp"
    assert (one / model).read_bytes() == (other / model).read_bytes()
    assert sorted(p.name for p in one.iterdir()) == sorted(p.name for p in other.iterdir())
    # no step was made twice
    assert (one / "log").read_text().startswith(before)
    steps = [
        [(line["stage"], line["step"]) for line in map(json.loads, lines) if "step" in line]
        for lines in ((path / "log").read_text().splitlines() for path in (one, other))
    ]
    assert steps[0] == steps[1]
    assert not list((tmp_path / "a").glob("*.part"))


@pytest.mark.parametrize("end", [KeyboardInterrupt(), FolderError("the disk is full")])
@pytest.mark.parametrize(("kind", "kept"), [("fit", True), ("sample", False)])
def test_only_fits_keep_their_scratch(
    kind: Kind, kept: bool, end: BaseException, tmp_path: Path
) -> None:
    task, seen = Task(kind, {}), []

    def build(part: Path, work: Path) -> dict[str, Any]:
        seen.append((work / "step").exists())
        (work / "step").write_text("1")
        if len(seen) == 1:
            raise end
        return {"seconds": 0.0, "summary": {}}

    artefacts = Artefacts(tmp_path)
    with pytest.raises(type(end)):
        artefacts.make(task, build)
    artefacts.make(task, build)
    assert seen == [False, kept]
    assert artefacts.result(task.id)["summary"] == {}


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    def build(part: Path, work: Path) -> dict[str, Any]:
        (work / "step").write_text("1")
        raise ValueError("no such luck")

    with pytest.raises(ValueError, match="luck"):
        Artefacts(tmp_path).make(TASK, build)
    assert not list(tmp_path.glob("*.part"))
