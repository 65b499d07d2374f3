"""The journal: chained lines, torn tails, damage, and one writer."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from athanor.campaign.events import (
    CampaignFinished,
    CampaignStarted,
    Event,
    FailuresForgiven,
    RunOpened,
    SnapshotMade,
    TaskFailed,
    TaskFinished,
    decode,
    encode,
)
from athanor.campaign.journal import Journal, read_journal
from athanor.campaign.lock import only_writer, writer
from athanor.campaign.state import State, apply, fold
from athanor.errors import FolderError, FormatError


def events(rng: np.random.Generator, count: int) -> list[Event]:
    """Random events of every kind in random order, after a start."""
    at = np.cumsum(rng.random(count + 1)).tolist()
    found: list[Event] = [CampaignStarted(at[0], "grün", 3, "pbe", {"stop": {"max_cycles": 2}})]
    for time in at[1:]:
        task = f"{rng.integers(2**32):032x}"
        cycle = int(rng.integers(5))
        made: list[Event] = [
            RunOpened(time, int(rng.integers(2**16))),
            TaskFinished(time, task, "label", cycle, rng.random(), {"n": [1, {"x": rng.random()}]}),
            TaskFailed(time, task, "label", cycle, "start 1", "no licence"),
            FailuresForgiven(time, (task, "b")),
            SnapshotMade(time, cycle, "a", "b", 3, 1, (task,)),
            CampaignFinished(time, "max_cycles", cycle, task, ()),
        ]
        found.append(made[int(rng.integers(len(made)))])
    return found


def written(path: Path, what: list[Event]) -> None:
    with Journal(path) as journal:
        for event in what:
            journal.append(event)


@pytest.mark.parametrize("seed", range(3))
def test_events_come_back(tmp_path: Path, seed: int) -> None:
    kept = events(np.random.default_rng(seed), 30)
    path = tmp_path / "journal.jsonl"
    written(path, kept[:11])
    written(path, kept[11:])
    assert read_journal(path) == kept
    assert fold(read_journal(path)) == fold(kept)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["n"] for line in lines] == list(range(1, 32))


def test_absent_and_empty_are_no_events(tmp_path: Path) -> None:
    assert read_journal(tmp_path / "absent") == []
    (tmp_path / "empty").touch()
    assert read_journal(tmp_path / "empty") == []


@pytest.mark.parametrize("seed", range(3))
def test_torn_last_line_is_dropped_wherever_it_tore(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    kept = events(rng, 5)
    path = tmp_path / "journal.jsonl"
    written(path, kept)
    data = path.read_bytes()
    last = len(data.splitlines(keepends=True)[-1])
    for cut in range(1, last):
        path.write_bytes(data[:-cut])
        before = path.read_bytes()
        assert read_journal(path) == kept[:-1]
        assert path.read_bytes() == before, "reading changes nothing"
        written(path, kept[-1:])
        assert path.read_bytes() == data


def test_last_line_of_zeros_is_torn(tmp_path: Path) -> None:
    """A power cut may leave the length of a line without its bytes."""
    kept = events(np.random.default_rng(9), 4)
    path = tmp_path / "journal.jsonl"
    written(path, kept)
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(40) + b"\n")
    assert read_journal(path) == kept
    written(path, [])
    assert path.read_bytes() == whole


@pytest.mark.parametrize("seed", range(20))
def test_damage_before_the_last_line_is_an_error(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    kept = events(rng, 6)
    path = tmp_path / "journal.jsonl"
    written(path, kept)
    lines = path.read_bytes().splitlines(keepends=True)
    index = int(rng.integers(len(lines) - 1))
    line = bytearray(lines[index])
    line[int(rng.integers(len(line)))] ^= 1 << int(rng.integers(7))
    path.write_bytes(b"".join([*lines[:index], bytes(line), *lines[index + 1 :]]))
    with pytest.raises(FormatError, match="the journal is damaged here") as caught:
        read_journal(path)
    assert caught.value.line in (index + 1, index + 2)
    before = path.read_bytes()
    with pytest.raises(FormatError):
        Journal(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("change", ["removed", "swapped", "repeated", "foreign", "list"])
def test_lines_cannot_be_moved(tmp_path: Path, change: str) -> None:
    path = tmp_path / "journal.jsonl"
    written(path, events(np.random.default_rng(1), 6))
    lines = path.read_bytes().splitlines(keepends=True)
    if change == "removed":
        del lines[2]
    elif change == "swapped":
        lines[2], lines[3] = lines[3], lines[2]
    elif change == "repeated":
        lines.insert(2, lines[2])
    else:
        lines[2] = b'{"hello": 1}\n' if change == "foreign" else b"[1, 2]\n"
    path.write_bytes(b"".join(lines))
    with pytest.raises(FormatError, match=r"line [34]: the journal is damaged"):
        read_journal(path)


def test_unknown_events_are_refused() -> None:
    with pytest.raises(ValueError, match="there is no event 'dance'"):
        decode("dance", {})
    with pytest.raises(ValueError, match="expected"):
        decode("opened", {"at": 1.0})
    for event in events(np.random.default_rng(2), 20):
        assert decode(*encode(event)) == event


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_full_disk_is_one_sentence_and_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    kept = events(np.random.default_rng(5), 4)
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    for event in kept[:3]:
        journal.append(event)

    def full(_: int) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(FolderError, match=r"no space left|cannot be written"):
            journal.append(kept[3])
    with pytest.raises(FolderError, match="an earlier line could not be written"):
        journal.append(kept[3])
    assert read_journal(path)[:3] == kept[:3]
    written(path, kept[4:])
    assert read_journal(path)[-1] == kept[-1]


def test_a_journal_that_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="cannot be read"):
        read_journal(tmp_path)


def test_one_writer(tmp_path: Path) -> None:
    folder = tmp_path / "campaign"
    code = (
        "import sys; from pathlib import Path; from athanor.campaign.lock import only_writer\n"
        "with only_writer(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    assert writer(folder) is None
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        assert writer(folder) == other.pid
        with (
            pytest.raises(FolderError, match=f"in use by another run \\(process {other.pid}\\)"),
            only_writer(folder),
        ):
            pass
        other.kill()
    assert writer(folder) is None
    with only_writer(folder):
        assert writer(folder) == os.getpid()
    assert writer(folder) is None


def test_state_counts_no_pauses() -> None:
    state = State()
    for event in [
        CampaignStarted(100.0, "a", 0, "pbe", {}),
        RunOpened(100.0, 1),
        TaskFinished(107.0, "t", "label", 0, 5.0, {}),
        RunOpened(5000.0, 2),
        TaskFinished(5002.5, "u", "fit", 3, 1.0, {}),
    ]:
        state = apply(state, event)
    assert state.elapsed_s == pytest.approx(9.5)
    assert (state.labels_bought, state.cycle, state.stopped_by) == (1, 3, None)
