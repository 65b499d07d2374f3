"""A fit that is killed goes on where it was, and ends with the bits of one that was not."""

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
from athanor.errors import FolderError
from athanor.potentials._mtp.checkpoint import Checkpoint
from athanor.potentials.mtp import MomentTensorPotential, MtpConfig
from athanor.structure import Frame

RECIPE = MtpConfig(level=6, radial_basis_size=5, min_dist=1.8, max_dist=4.5, steps=5, starts=3)


class Killed(BaseException):
    """As from outside: nothing in the fit may catch it."""


def data(seed: int, count: int = 14) -> Dataset:
    """Frames labelled by a potential of more coefficients than the recipe's."""
    rng = np.random.default_rng(seed)
    teacher = MtpConfig.example(seed=7)
    structures = []
    for _ in range(count):
        atoms = bulk("Al", a=rng.uniform(3.8, 4.3), cubic=True).repeat((2, 1, 1))
        atoms.rattle(0.2, rng=rng)
        structures.append(atoms)
    return Dataset.of(
        Frame(a, labels) for a, labels in zip(structures, teacher.predict(structures), strict=True)
    )


def fitted(folder: Path, *, seed: int = 3, config: MtpConfig = RECIPE) -> MomentTensorPotential:
    found = config.fit(data(1), data(2, 4), seed=seed, workdir=folder)
    assert isinstance(found, MomentTensorPotential)
    return found


def bits(potential: MomentTensorPotential) -> tuple[bytes, ...]:
    model = potential.model
    return tuple(a.tobytes() for a in (model.radial, model.species_coeffs, model.moment_coeffs))


def dying(after: int, real: Callable[[Checkpoint], None]) -> Callable[[Checkpoint], None]:
    """`Checkpoint.write` that kills after so many writes."""
    count = 0

    def write(self: Checkpoint) -> None:
        nonlocal count
        real(self)
        count += 1
        if count == after:
            raise Killed

    return write


def test_killed_after_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = bits(fitted(tmp_path / "whole"))
    real = Checkpoint.write
    deaths = 0
    while True:
        folder = tmp_path / str(deaths)
        monkeypatch.setattr(Checkpoint, "write", dying(deaths + 1, real))
        try:
            fitted(folder)
        except Killed:
            deaths += 1
        else:
            break
        monkeypatch.setattr(Checkpoint, "write", real)
        assert bits(fitted(folder)) == expected, f"killed after write {deaths}"
    assert deaths > 10


def test_killed_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process gets one step further; no step is made twice in vain."""
    expected = bits(fitted(tmp_path / "whole"))
    real, deaths = Checkpoint.write, 0
    while deaths < 100:
        monkeypatch.setattr(Checkpoint, "write", dying(1, real))
        try:
            assert bits(fitted(tmp_path / "part")) == expected
        except Killed:
            deaths += 1
        else:
            break
    assert 10 < deaths < 100


def _die(folder: Path, after: int) -> None:
    real = Checkpoint.write
    count = 0

    def write(self: Checkpoint) -> None:
        nonlocal count
        real(self)
        count += 1
        if count == after:
            os.kill(os.getpid(), signal.SIGKILL)

    Checkpoint.write = write  # type: ignore[method-assign] # only in the process that dies
    fitted(folder)


@pytest.mark.parametrize("after", [2, 9])
def test_kill_9(after: int, tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(
        target=_die, args=(tmp_path / "p", after)
    )
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert len(list((tmp_path / "p").glob("fit-*.npz"))) == 1
    assert bits(fitted(tmp_path / "p")) == bits(fitted(tmp_path / "q"))


def test_a_finished_fit_is_not_made_again(tmp_path: Path) -> None:
    first = fitted(tmp_path)
    log = (tmp_path / "fit.jsonl").read_text()
    assert bits(fitted(tmp_path)) == bits(first)
    assert [
        line
        for line in (tmp_path / "fit.jsonl").read_text()[len(log) :].splitlines()
        if "step" in line
    ] == []


@pytest.mark.parametrize(
    "other", [{"seed": 4}, {"config": RECIPE.model_copy(update={"ridge": 1e-8})}]
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


def test_a_disk_that_is_full_loses_no_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = bits(fitted(tmp_path / "whole"))

    def full(self: Checkpoint) -> None:
        raise FolderError("no space left")

    real = Checkpoint.write
    monkeypatch.setattr(Checkpoint, "write", dying(4, real))
    with pytest.raises(Killed):
        fitted(tmp_path / "p")
    monkeypatch.setattr(Checkpoint, "write", full)
    with pytest.raises(FolderError, match="no space"):
        fitted(tmp_path / "p")
    monkeypatch.setattr(Checkpoint, "write", real)
    assert bits(fitted(tmp_path / "p")) == expected


def test_threads_do_not_change_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for threads in (1, 3):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=threads: set(range(n)))
        found.append(bits(fitted(tmp_path / f"{threads}")))
    assert found[0] == found[1]
