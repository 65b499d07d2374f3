"""kill -9 in the middle of a distillation: no finished fit, descriptor or label is repeated."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_campaign import PLUGIN
from small_pool import tables, write_pool

from athanor.campaign import Progress
from athanor.campaign.journal import NAME, read_journal
from athanor.distil import DistilConfig, run
from athanor.testing.fakes import calls

OUTCOME = ("certificate.json", "selected.extxyz", "potential/potential.json")
KILLS = 4


def drive(folder: Path, table: dict[str, Any], lines: int | None) -> None:
    """A driver: runs the campaign, and kills itself once the journal has so many lines."""

    def watch(_: Progress) -> None:
        if lines is not None and (folder / NAME).read_bytes().count(b"\n") >= lines:
            os.kill(os.getpid(), signal.SIGKILL)

    if str(PLUGIN) not in sys.path:
        sys.path.insert(0, str(PLUGIN))
    run(DistilConfig.of(table), folder, progress=watch)


@pytest.fixture(scope="module")
def drivers() -> Any:
    """Where drivers are forked from: a process of one thread that has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["athanor.distil", "athanor.testing.fakes"])
    return context


def started(drivers: Any, folder: Path, table: dict[str, Any], lines: int | None) -> int:
    """Run a driver to its end and return its exit code."""
    process = drivers.Process(target=drive, args=(folder, table, lines))
    process.start()
    process.join(300)
    code = process.exitcode
    process.close()
    assert isinstance(code, int)
    return code


def small(pool: Path, log: Path) -> dict[str, Any]:
    """A distillation that buys its labels."""
    found = tables(pool)
    del found["compare"]
    found["oracle"] = {"kind": "tricky", "log": str(log)}
    found["query"]["delta"] = 0.5
    found["stop"]["max_cycles"] = 2
    return found


def stamps(folder: Path) -> dict[str, int]:
    """When each finished artefact was made."""
    return {
        path.parent.name: path.stat().st_mtime_ns
        for path in (folder / "artefacts").glob("*/result.json")
        if not path.parent.suffix
    }


def test_killed(drivers: Any, tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool.extxyz", labelled=False)
    whole, log = tmp_path / "whole", tmp_path / "whole.log"
    assert started(drivers, whole, small(pool, log), None) == 0
    expected = [(whole / name).read_bytes() for name in OUTCOME]
    paid, lines = sorted(calls(log)), len(read_journal(whole / NAME))
    assert len(paid) == len(set(paid)) > 4
    rng = np.random.default_rng(11)
    for n in sorted(rng.choice(np.arange(2, lines), KILLS, replace=False).tolist()):
        folder, log = tmp_path / f"{n}", tmp_path / f"{n}.log"
        table = small(pool, log)
        assert started(drivers, folder, table, n) == -signal.SIGKILL
        table["campaign"]["workers"] = 1 + n % 2
        before = stamps(folder)
        assert started(drivers, folder, table, None) == 0
        after = stamps(folder)
        assert {name: after[name] for name in before} == before
        assert [(folder / name).read_bytes() for name in OUTCOME] == expected
        assert sorted(calls(log)) == paid
