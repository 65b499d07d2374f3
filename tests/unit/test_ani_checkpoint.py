"""A fit of ANI networks that is killed goes on where it was, with the bits of one that was not."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from athanor.data.dataset import Dataset
from athanor.data.packing import Arrays
from athanor.errors import FolderError
from athanor.potentials._ani import trainer
from athanor.potentials._checkpoint import Checkpoint, Numbers
from athanor.potentials.ani import AniConfig, AniPotential
from athanor.structure import Frame

RECIPE = AniConfig(
    size=2,
    layers=(6, 5),
    radial_cutoff=4.5,
    angular_cutoff=3.5,
    n_radial=5,
    n_shells=2,
    n_angles=2,
    l0=1.0,
    batch_size=4,
    max_epochs=8,
    patience=2,
    learning_rate=0.01,
    threads=1,
)

Write = Callable[[Checkpoint, Arrays, Numbers], None]


class Killed(BaseException):
    """As from outside: nothing in the fit may catch it."""


@pytest.fixture(autouse=True)
def _every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "_SECONDS_BETWEEN_CHECKPOINTS", 0.0)


def data(seed: int, count: int = 10) -> Dataset:
    """Small cells labelled by random networks."""
    rng = np.random.default_rng(seed)
    teacher = AniConfig.example(seed=7)
    structures = []
    for _ in range(count):
        atoms = bulk("Al", a=rng.uniform(3.8, 4.3), cubic=True)
        atoms.rattle(0.2, rng=rng)
        structures.append(atoms)
    return Dataset.of(
        Frame(a, labels) for a, labels in zip(structures, teacher.predict(structures), strict=True)
    )


def fitted(folder: Path, *, seed: int = 3, config: AniConfig = RECIPE) -> AniPotential:
    found = config.fit(data(1), data(2, 3), seed=seed, workdir=folder)
    assert isinstance(found, AniPotential)
    return found


def bits(potential: AniPotential) -> tuple[bytes, ...]:
    (network,) = potential.model.networks
    parts = (*network.weights, *network.biases, potential.model.offsets)
    return tuple(part.tobytes() for part in parts)


def dying(after: int, real: Write) -> Write:
    """`Checkpoint.write` that kills after so many writes."""
    count = 0

    def write(self: Checkpoint, arrays: Arrays, numbers: Numbers) -> None:
        nonlocal count
        real(self, arrays, numbers)
        count += 1
        if count == after:
            raise Killed

    return write


@pytest.mark.parametrize("optimizer", ["adamw", "soap"])
def test_killed_after_every_epoch(
    optimizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = RECIPE.model_copy(update={"optimizer": optimizer, "max_epochs": 12})
    expected = bits(fitted(tmp_path / "whole", config=config))
    real = Checkpoint.write
    deaths = 0
    while True:
        folder = tmp_path / str(deaths)
        monkeypatch.setattr(Checkpoint, "write", dying(deaths + 1, real))
        try:
            fitted(folder, config=config)
        except Killed:
            deaths += 1
        else:
            break
        monkeypatch.setattr(Checkpoint, "write", real)
        assert bits(fitted(folder, config=config)) == expected, f"killed after write {deaths}"
    assert deaths > 10


def test_killed_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process gets one epoch further; no epoch is made twice in vain."""
    expected = bits(fitted(tmp_path / "whole"))
    real, deaths = Checkpoint.write, 0
    while deaths < 100:
        monkeypatch.setattr(Checkpoint, "write", dying(1, real))
        try:
            assert bits(fitted(tmp_path / "part")) == expected
        except Killed:
            deaths += 1
            # the last write is made even where nothing is left to do
            if deaths > RECIPE.max_epochs + 1:
                break
    monkeypatch.setattr(Checkpoint, "write", real)
    assert bits(fitted(tmp_path / "part")) == expected
    assert deaths == RECIPE.max_epochs + 2


def _die(folder: Path, after: int) -> None:
    trainer._SECONDS_BETWEEN_CHECKPOINTS = 0.0
    real = Checkpoint.write
    count = 0

    def write(self: Checkpoint, arrays: Arrays, numbers: Numbers) -> None:
        nonlocal count
        real(self, arrays, numbers)
        count += 1
        if count == after:
            os.kill(os.getpid(), signal.SIGKILL)

    Checkpoint.write = write  # type: ignore[method-assign] # only in the process that dies
    fitted(folder)


def test_kill_9(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_die, args=(tmp_path / "p", 3))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    assert len(list((tmp_path / "p").glob("fit-*.npz"))) == 1
    assert bits(fitted(tmp_path / "p")) == bits(fitted(tmp_path / "q"))


def test_a_finished_fit_is_not_made_again(tmp_path: Path) -> None:
    first = fitted(tmp_path)
    log = (tmp_path / "fit.jsonl").read_text()
    assert bits(fitted(tmp_path)) == bits(first)
    again = (tmp_path / "fit.jsonl").read_text()[len(log) :].splitlines()
    assert [line for line in again if "step" in line and "forecast" not in line] == []


def test_checkpoints_are_not_written_all_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "_SECONDS_BETWEEN_CHECKPOINTS", 1e9)
    written = []
    real = Checkpoint.write

    def write(self: Checkpoint, arrays: Arrays, numbers: Numbers) -> None:
        written.append(numbers["epoch"])
        real(self, arrays, numbers)

    monkeypatch.setattr(Checkpoint, "write", write)
    fitted(tmp_path)
    assert written == [RECIPE.max_epochs]


@pytest.mark.parametrize(
    "other", [{"seed": 4}, {"config": RECIPE.model_copy(update={"weight_decay": 0.1})}]
)
def test_what_another_fit_left_is_neither_used_nor_touched(
    other: dict[str, object], tmp_path: Path
) -> None:
    fitted(tmp_path / "a", **other)  # type: ignore[arg-type] # seed or config
    (kept,) = (tmp_path / "a").glob("fit-*.npz")
    before = kept.read_bytes()
    assert bits(fitted(tmp_path / "a")) == bits(fitted(tmp_path / "b"))
    assert kept.read_bytes() == before
    assert len(list((tmp_path / "a").glob("fit-*.npz"))) == 2


@pytest.mark.parametrize("damage", ["empty", "torn", "renamed", "text"])
def test_a_damaged_checkpoint_counts_as_none(damage: str, tmp_path: Path) -> None:
    expected = bits(fitted(tmp_path / "a"))
    (path,) = (tmp_path / "a").glob("fit-*.npz")
    whole = path.read_bytes()
    if damage == "renamed":  # the checkpoint of another fit under this one's name
        fitted(tmp_path / "b", seed=9)
        (other,) = (tmp_path / "b").glob("fit-*.npz")
        whole = other.read_bytes()
    found = {"empty": b"", "torn": whole[: len(whole) // 2], "text": b"fit", "renamed": whole}
    path.write_bytes(found[damage])
    assert bits(fitted(tmp_path / "a")) == expected


def test_a_workdir_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match=r"cannot be written"):
        fitted(tmp_path / "file" / "workdir")


def test_a_disk_that_is_full_loses_no_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = bits(fitted(tmp_path / "whole"))

    def full(self: Checkpoint, arrays: Arrays, numbers: Numbers) -> None:
        raise FolderError("no space left")

    real = Checkpoint.write
    monkeypatch.setattr(Checkpoint, "write", dying(4, real))
    with pytest.raises(Killed):
        fitted(tmp_path / "p")
    (kept,) = (tmp_path / "p").glob("fit-*.npz")
    before = kept.read_bytes()
    monkeypatch.setattr(Checkpoint, "write", full)
    with pytest.raises(FolderError, match="no space"):
        fitted(tmp_path / "p")
    assert kept.read_bytes() == before
    monkeypatch.setattr(Checkpoint, "write", real)
    assert bits(fitted(tmp_path / "p")) == expected


def test_threads_do_not_change_bits(tmp_path: Path) -> None:
    found = []
    for threads in (1, 3, None):
        # batches of several pieces, so that threads have something to share
        config = RECIPE.model_copy(update={"threads": threads, "batch_size": 10, "max_epochs": 3})
        found.append(bits(fitted(tmp_path / f"{threads}", config=config)))
    assert found[0] == found[1] == found[2]
