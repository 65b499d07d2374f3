"""The self-rebuilding process pool, with processes that are really killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from athanor.campaign.pools import ONE_THREAD, ProcessPool, WorkerLost
from athanor.errors import AthanorError, FormatError, OracleError
from athanor.potentials._mtp import cost

HERE = str(Path(__file__).parent)


@dataclass(frozen=True)
class Target:
    """Performs 'verb argument' items in a folder; lives in the worker."""

    folder: Path

    def __call__(self, item: str) -> None:
        verb, _, argument = item.partition(" ")
        mark = self.folder / argument
        if verb == "touch":
            mark.touch()
        elif verb == "pid":
            mark.write_text(str(os.getpid()))
        elif verb == "die" or (verb == "die-once" and not mark.exists()):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        elif verb == "exit":
            os._exit(7)
        elif verb == "count":
            with mark.open("a") as file:
                file.write("x")
            os._exit(1)
        elif verb == "environment":
            mark.write_text(json.dumps(dict(os.environ)))
        elif verb == "slow":
            (self.folder / f"{argument}.begun").touch()
            time.sleep(1.0)
            mark.touch()
        elif verb == "refuse":
            raise OracleError(argument, retry=True)
        elif verb == "format":
            raise FormatError(mark, 3, "bad")
        elif verb == "bug":
            raise ZeroDivisionError(argument)
        elif verb == "fill":
            raise MemoryError


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProcessPool[str]]:
    monkeypatch.syspath_prepend(HERE)
    made = ProcessPool(Target(tmp_path), workers=2, retries=2, log=tmp_path / "log")
    yield made
    made.stop()


def until(true: Callable[[], bool]) -> None:
    """Wait for a fact, at most 30 s."""
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_many_items(pool: ProcessPool[str], tmp_path: Path) -> None:
    futures = [pool.submit(f"touch {i}") for i in range(50)]
    assert [future.result(30) for future in futures] == [None] * 50
    assert {path.name for path in tmp_path.iterdir()} - {"log"} == {str(i) for i in range(50)}


def test_a_killed_worker_costs_its_task_one_try_and_others_nothing(
    pool: ProcessPool[str], tmp_path: Path
) -> None:
    slow = pool.submit("slow kept")
    until((tmp_path / "kept.begun").exists)
    (tmp_path / "kept.begun").unlink()
    assert pool.submit("die-once a").result(30) is None
    assert slow.result(30) is None
    assert not (tmp_path / "kept.begun").exists(), "it was not begun again"


def test_a_task_that_kills_its_worker_each_time(pool: ProcessPool[str], tmp_path: Path) -> None:
    with pytest.raises(WorkerLost, match=r"signal SIGKILL.*each of 3 times"):
        pool.submit("die a").result(30)
    with pytest.raises(WorkerLost, match="exit code 7"):
        pool.submit("exit").result(30)
    with pytest.raises(WorkerLost):
        pool.submit("count tries").result(30)
    assert (tmp_path / "tries").read_text() == "xxx"
    assert pool.submit("touch b").result(30) is None, "the pool goes on"


def test_errors_come_back_typed(pool: ProcessPool[str], tmp_path: Path) -> None:
    with pytest.raises(OracleError) as refused:
        pool.submit("refuse no licence").result(30)
    assert (refused.value.reason, refused.value.retry) == ("no licence", True)
    with pytest.raises(FormatError) as broken:
        pool.submit("format x").result(30)
    assert (broken.value.path, broken.value.line) == (tmp_path / "x", 3)
    with pytest.raises(RuntimeError, match=r"(?s)Traceback.*ZeroDivisionError: sorry"):
        pool.submit("bug sorry").result(30)
    with pytest.raises(AthanorError, match="a worker ran out of memory: make structures"):
        pool.submit("fill").result(30)


def test_stop_abandons_and_spares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(HERE)
    pool = ProcessPool(Target(tmp_path), workers=2, log=tmp_path / "log")
    kept, lost = pool.submit("slow kept"), pool.submit("slow lost")
    queued = pool.submit("touch queued")
    until(lambda: all((tmp_path / f"{name}.begun").exists() for name in ("kept", "lost")))
    begun = time.monotonic()
    pool.stop(lambda item: item == "slow kept")
    assert time.monotonic() - begun < 0.9, "it does not wait for the spared one"
    assert isinstance(lost.exception(30), WorkerLost)
    assert queued.cancelled()
    assert kept.result(30) is None
    assert (tmp_path / "kept").exists()
    assert not (tmp_path / "lost").exists()
    assert not (tmp_path / "queued").exists()


def test_workers_know_how_many_they_are_and_keep_to_one_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(HERE)
    for name in ONE_THREAD:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "3")
    monkeypatch.setattr(cost, "free_memory", lambda: 600)
    pool = ProcessPool(Target(tmp_path), workers=2, log=tmp_path / "log")
    try:
        assert pool.submit("environment told").result(30) is None
    finally:
        pool.stop()
    told = json.loads((tmp_path / "told").read_text())
    assert [told[name] for name in ONE_THREAD] == ["1", "1", "3"], "the user's own word counts"
    assert not set(ONE_THREAD) & set(os.environ) - {"MKL_NUM_THREADS"}, "the driver keeps its own"
    monkeypatch.setattr(os, "environ", told)
    assert cost.share_of_memory() == cost.Share(300, 2)


def test_what_workers_print_goes_to_the_log(tmp_path: Path) -> None:
    pool = ProcessPool(print, workers=1, log=tmp_path / "log")
    assert pool.submit("hello from the worker").result(30) is None
    pool.stop()
    assert "hello from the worker" in (tmp_path / "log").read_text()


def test_target_that_cannot_travel(tmp_path: Path) -> None:
    pool = ProcessPool(lambda _: None, workers=1, log=tmp_path / "log")
    assert isinstance(pool.submit("x").exception(30), Exception)
    pool.stop()


def test_orphans_end_their_task_and_then_themselves(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from test_pools import Target\n"
        "from athanor.campaign.pools import ProcessPool\n"
        "folder = Path(sys.argv[1])\n"
        "pool = ProcessPool(Target(folder), workers=2, log=folder / 'log')\n"
        "pool.submit('pid pid').result(); pool.submit('slow done'); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([HERE, *sys.path])},
    ) as driver:
        until((tmp_path / "done.begun").exists)
        worker = int((tmp_path / "pid").read_text())
        driver.send_signal(signal.SIGKILL)
    until((tmp_path / "done").exists)
    until(lambda: not alive(worker))
