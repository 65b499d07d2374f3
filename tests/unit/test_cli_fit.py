"""`athanor fit`: killed or interrupted, the same line goes on; nothing else is left behind."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from athanor.cli import main
from athanor.cli.files import labelled
from athanor.data.formats import write_structures
from athanor.data.metrics import errors as measure
from athanor.errors import FitError, FolderError
from athanor.loading import load
from athanor.potentials._mtp.checkpoint import Checkpoint
from athanor.potentials.mtp import MtpConfig
from athanor.testing.structures import dense

RECIPE = 'kind = "mtp"\nlevel = 6\nmin_dist = 1.5\nmax_dist = 4.0\nsteps = 4\nstarts = 2\n'


@pytest.fixture
def line(tmp_path: Path) -> list[str]:
    """A line that fits, in a folder with its recipe and its training set."""
    teacher = MtpConfig.example(seed=1)
    rng = np.random.default_rng(1)
    structures = [dense(["Al", "Ni"], rng) for _ in range(8)]
    write_structures(tmp_path / "t.extxyz", structures, labels=teacher.predict(structures))
    (tmp_path / "r.toml").write_text(RECIPE)
    return ["fit", str(tmp_path / "r.toml"), str(tmp_path / "t.extxyz"), "--out"]


def interrupting(after: int, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    real, writes = Checkpoint.write, []

    def write(self: Checkpoint) -> None:
        real(self)
        writes.append(1)
        if len(writes) == after:
            raise error

    monkeypatch.setattr(Checkpoint, "write", write)


def test_interrupted_and_started_again(
    line: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert main([*line, str(tmp_path / "whole")]) == 0
    capsys.readouterr()
    with monkeypatch.context() as patch:
        interrupting(5, KeyboardInterrupt(), patch)
        assert main([*line, str(tmp_path / "p")]) == 130
    assert "start the same line again" in capsys.readouterr().err
    assert not (tmp_path / "p").exists()
    assert (tmp_path / "p.part").is_dir()
    assert main([*line, str(tmp_path / "p")]) == 0
    assert "going on with what an interrupted fit" in capsys.readouterr().out
    for name in ("potential.mtp", "potential.json"):
        assert (tmp_path / "p" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not list(tmp_path.glob("*.part"))


def test_kill_9_and_started_again(line: list[str], tmp_path: Path) -> None:
    """Whenever it dies: before, in or after the fit."""
    assert main([*line, str(tmp_path / "whole")]) == 0
    command = [sys.executable, "-m", "athanor.cli", *line, str(tmp_path / "p")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("p.part/fit-*.npz")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    if not (tmp_path / "p").exists():
        assert main([*line, str(tmp_path / "p")]) == 0
    whole = (tmp_path / "whole" / "potential.mtp").read_bytes()
    assert (tmp_path / "p" / "potential.mtp").read_bytes() == whole


def test_says_what_it_will_take(
    line: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*line, str(tmp_path / "p")]) == 0
    said = capsys.readouterr().err.splitlines()
    (expected,) = [text for text in said if "expected: about" in text]
    assert "of computing" in expected
    assert "MB of memory" in expected


@pytest.mark.parametrize(
    ("error", "kept"), [(FitError("no luck"), False), (FolderError("no space"), True)]
)
def test_only_what_another_try_can_use_is_left(
    error: Exception,
    kept: bool,
    line: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    interrupting(3, error, monkeypatch)
    assert main([*line, str(tmp_path / "p")]) == 1
    assert (tmp_path / "p.part").exists() == kept
    assert not (tmp_path / "p").exists()


def test_what_is_in_the_way_is_left_alone(
    line: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.part").mkdir()
    (tmp_path / "p.part" / "thesis").write_text("mine")
    (tmp_path / "q.part").symlink_to(tmp_path)
    for name in ("p", "q"):
        assert main([*line, str(tmp_path / name)]) == 1
        assert "is in the way and was not left by a fit" in capsys.readouterr().err
    assert (tmp_path / "p.part" / "thesis").read_text() == "mine"
    assert not (tmp_path / "p").exists()


def test_two_at_once_are_refused(
    line: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.part").mkdir()
    handle = os.open(tmp_path / "p.part" / "athanor-fit.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    assert main([*line, str(tmp_path / "p")]) == 1
    assert "another fit is writing" in capsys.readouterr().err
    os.close(handle)
    assert main([*line, str(tmp_path / "p")]) == 0


def test_going_on_from_a_potential(
    line: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No search: the radial functions are those given, and some steps further."""
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    assert main([*line, first]) == 0
    assert main([*line, second, "--start", first, "--seed", "7"]) == 0
    capsys.readouterr()
    train = labelled(tmp_path / "t.extxyz", species=None)
    before, after = (
        measure(load(Path(path)).predict(train.structures), train.labels).as_dict()
        for path in (first, second)
    )
    cold = tmp_path / "cold"
    assert main([*line, str(cold), "--seed", "7"]) == 0
    assert after["forces_eV_per_A"]["rmse"] <= 1.05 * before["forces_eV_per_A"]["rmse"]
    assert (cold / "potential.mtp").read_bytes() != (
        tmp_path / "second" / "potential.mtp"
    ).read_bytes()


def test_a_start_that_is_not_there(
    line: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*line, str(tmp_path / "p"), "--start", str(tmp_path / "nothing")]) == 1
    assert "nothing" in capsys.readouterr().err
    assert not list(tmp_path.glob("p*"))


def test_a_refused_line_leaves_what_an_interrupted_one_left(
    line: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupting(5, KeyboardInterrupt(), patch)
        assert main([*line, str(tmp_path / "p")]) == 130
    kept = sorted(path.name for path in (tmp_path / "p.part").iterdir())
    recipe = (tmp_path / "r.toml").read_text()
    (tmp_path / "r.toml").write_text(recipe + 'species = ["Al"]\n')
    assert main([*line, str(tmp_path / "p")]) == 1
    assert set(kept) <= {path.name for path in (tmp_path / "p.part").iterdir()}
    (tmp_path / "r.toml").write_text(recipe)
    assert main([*line, str(tmp_path / "p")]) == 0
    assert not (tmp_path / "p.part").exists()
