"""Whoever waits for a fit sees how far it is."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from athanor.cli import main, watch
from athanor.data.steps_log import last_record
from athanor.potentials import FIT_LOG
from athanor.potentials.mtp import MtpConfig
from athanor.testing.structures import dense


def test_the_log_is_shown_while_the_block_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "SECONDS_BETWEEN_LOOKS", 0.01)
    monkeypatch.setattr(watch, "SECONDS_BETWEEN_LINES", 0.0)
    line = {
        "stage": "full",
        "step": 2,
        "steps": 10,
        "loss": 0.25,
        "seconds": 5.0,
        "stage_began": 1.0,
    }
    with watch.watched(tmp_path):
        (tmp_path / FIT_LOG).write_text(json.dumps(line) + "\n" + '{"torn')
        time.sleep(0.3)
    said = capsys.readouterr().err
    assert "full: step 2 of at most 10, loss 0.25" in said
    assert "at most 16 s left" in said


@pytest.mark.parametrize("text", ["", "torn", "not json\n", "[1]\n"])
def test_a_log_that_says_nothing_is_no_trouble(text: str, tmp_path: Path) -> None:
    (tmp_path / FIT_LOG).write_text(text)
    assert last_record(tmp_path / FIT_LOG) is None
    assert last_record(tmp_path / "absent") is None


def test_a_share_of_the_training_set_can_stop_the_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from athanor.data.formats import write_structures

    teacher = MtpConfig.example(seed=1)
    rng = np.random.default_rng(1)
    structures = [dense(["Al", "Ni"], rng) for _ in range(8)]
    write_structures(tmp_path / "t.extxyz", structures, labels=teacher.predict(structures))
    (tmp_path / "r.toml").write_text('kind = "mtp"\nlevel = 4\nmax_dist = 4.0\nsteps = 2\n')
    line = ["fit", "r.toml", "t.extxyz", "--out", "p", "--valid-fraction", "0.25"]
    line[1:3] = [str(tmp_path / name) for name in line[1:3]]
    line[4] = str(tmp_path / "p")
    assert main(line) == 0
    said = capsys.readouterr().out
    assert "6 structures" in said
    assert "stopped by 2 structures" in said
    assert "errors, training" in said
    assert "errors, validation" in said


def test_what_a_fit_will_take_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by a fit that is over before anybody looks; what an earlier one said is not repeated."""
    (tmp_path / FIT_LOG).write_text('{"forecast": "expected: a year"}\n')
    monkeypatch.setattr(watch, "SECONDS_BETWEEN_LOOKS", 5.0)
    with watch.watched(tmp_path):
        time.sleep(0.05)  # until the thread has counted the old lines
        with (tmp_path / FIT_LOG).open("a") as file:
            file.write('{"forecast": "expected: a minute"}\n{"forecast": "expected: two"}\n')
    assert capsys.readouterr().err == "expected: a minute\n"
    assert last_record(tmp_path / FIT_LOG) is None
