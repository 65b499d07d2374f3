"""kill -9 after every line of the journal: nothing is lost, nothing is paid for twice."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from small_campaign import PLUGIN, tables

from athanor.campaign import CampaignConfig, Progress, run
from athanor.campaign.journal import NAME, read_journal
from athanor.testing.fakes import calls


def drive(folder: Path, table: dict[str, Any], lines: int | None) -> None:
    """A driver: runs the campaign, and kills itself once the journal has so many lines."""

    def watch(_: Progress) -> None:
        if lines is not None and (folder / NAME).read_bytes().count(b"\n") >= lines:
            os.kill(os.getpid(), signal.SIGKILL)

    if str(PLUGIN) not in sys.path:
        sys.path.insert(0, str(PLUGIN))
    run(CampaignConfig.of(table), folder, progress=watch)


def outcome(folder: Path) -> dict[str, str]:
    """The hashes of every file that a campaign is run for."""
    kept = [folder / "training.extxyz", folder / "validation.extxyz"]
    for part in ("store", "potential"):
        kept += [path for path in (folder / part).rglob("*") if path.is_file()]
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(kept)
        if path.exists()
    }


@pytest.fixture(scope="module")
def drivers() -> Any:
    """Where drivers are forked from: a process of one thread that has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["athanor.campaign", "athanor.testing.fakes"])
    return context


def started(drivers: Any, folder: Path, table: dict[str, Any], lines: int | None) -> int:
    """Run a driver to its end and return its exit code."""
    process = drivers.Process(target=drive, args=(folder, table, lines))
    process.start()
    process.join(120)
    code = process.exitcode
    process.close()
    assert isinstance(code, int)
    return code


def test_killed_after_every_line_of_the_journal(drivers: Any, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    log = tmp_path / "whole.log"
    stop = {"untriggered_cycles": 1, "max_cycles": 1}
    assert started(drivers, whole, {**tables(log), "stop": stop}, None) == 0
    expected, paid = outcome(whole), sorted(calls(log))
    lines = len(read_journal(whole / NAME))
    assert lines > 15
    assert len(paid) == len(set(paid)) >= 4
    assert {"training.extxyz", "potential/potential.json"} <= expected.keys()
    for n in range(1, lines):
        folder, log = tmp_path / f"{n}", tmp_path / f"{n}.log"
        table = {**tables(log), "stop": stop}
        assert started(drivers, folder, table, n) == -signal.SIGKILL
        assert len(read_journal(folder / NAME)) == n
        table["campaign"]["workers"] = 1 + n % 2
        assert started(drivers, folder, table, None) == 0
        assert outcome(folder) == expected, f"killed after line {n}"
        assert sorted(calls(log)) == paid, f"killed after line {n}"


def test_killed_again_and_again(drivers: Any, tmp_path: Path) -> None:
    whole, log = tmp_path / "whole", tmp_path / "whole.log"
    assert started(drivers, whole, tables(log), None) == 0
    expected, paid = outcome(whole), sorted(calls(log))
    folder, log = tmp_path / "folder", tmp_path / "folder.log"
    deaths = 0
    while started(drivers, folder, tables(log), 3 + 4 * deaths) != 0:
        deaths += 1
    assert deaths >= 5
    assert outcome(folder) == expected
    assert sorted(calls(log)) == paid


def test_workers_do_not_change_the_result(drivers: Any, tmp_path: Path) -> None:
    found = []
    for workers in (1, 2, 3):
        table = tables(tmp_path / f"{workers}.log")
        table["campaign"]["workers"] = workers
        assert started(drivers, tmp_path / f"{workers}", table, None) == 0
        found.append((outcome(tmp_path / f"{workers}"), sorted(calls(tmp_path / f"{workers}.log"))))
    assert found[0] == found[1] == found[2]


def test_another_seed_is_another_campaign(drivers: Any, tmp_path: Path) -> None:
    found = []
    for seed in (1, 2):
        table = tables()
        table["campaign"]["seed"] = seed
        assert started(drivers, tmp_path / f"{seed}", table, None) == 0
        found.append(outcome(tmp_path / f"{seed}"))
    assert found[0] != found[1]


def test_label_in_progress_is_adopted(drivers: Any, tmp_path: Path) -> None:
    """The driver dies while a label is being computed: the orphan ends it, the next run waits."""
    log = tmp_path / "log"
    table = tables(log)
    table["oracle"] |= {"trick": "slow"}
    table["stop"] = {"max_cycles": 0}
    # lines: started, opened, drawn, first label; by then the worker is at the second one
    assert started(drivers, tmp_path / "folder", table, 4) == -signal.SIGKILL
    assert started(drivers, tmp_path / "folder", table, None) == 0
    assert len(calls(log)) == len(set(calls(log))) == 3
