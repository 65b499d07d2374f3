"""The verbs on a distillation: run, status, report."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from distilled_cases import campaign_text, write_pool

from athanor.campaign.events import CampaignFinished, TaskFailed, TaskFinished
from athanor.campaign.journal import NAME, read_journal
from athanor.campaign.state import State, fold
from athanor.cli import main
from athanor.cli.distilled import ending, show, word
from athanor.distil import Distillation


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place where a small campaign file was run to its limit."""
    place = tmp_path_factory.mktemp("run")
    (place / "small.toml").write_text(campaign_text(write_pool(place / "pool.extxyz")))
    assert main(["run", str(place / "small.toml"), "--folder", str(place / "small.athanor")]) == 2
    return place


def early(folder: Path, wanted: str) -> State:
    """The state when the first task of a kind was done."""
    events = []
    for event in read_journal(folder / NAME):
        events.append(event)
        if isinstance(event, TaskFinished) and event.kind == wanted:
            break
    return fold(events)


def test_the_page_is_there_and_can_be_drawn_again(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = home / "small.athanor"
    page = (folder / "report.html").read_text()
    assert "small &lt;b&gt;pool&lt;/b&gt;" in page
    assert main(["report", str(folder), "--out", str(home / "again.html")]) == 0
    assert (home / "again.html").read_text() == page
    assert main(["report", str(folder), "--out", str(home / "again.html")]) == 1
    assert "again.html" in capsys.readouterr().err


def test_status(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = home / "small.athanor"
    assert main(["status", str(folder)]) == 0
    said = capsys.readouterr().out
    lines = said.splitlines()
    found = Distillation(folder)
    assert lines[0].startswith("small <b>pool</b>: stopped by the limit max_cycles; ")
    assert lines[1].startswith("pool of 36 structures; ")
    assert "…" not in said
    table = [line.split() for line in lines if line.strip()[:1].isdigit()]
    for row, one in zip(table, found.cycles, strict=True):
        counts = [str(one.number), str(one.n_train), str(one.n_test)]
        assert row[:5] == [*counts, f"{100 * one.fraction:.1f}", str(len(one.trials))]
    held_out = found.cycles[-1].held_out
    assert held_out is not None
    energy, force = held_out["energy_rmse"], held_out["forces_rmse"]
    assert energy is not None
    assert [table[-1][6], table[-1][8]] == [f"{1000 * energy:.2f}", f"{force:.3f}"]
    assert "(tolerance 0.001 on both)" in said
    assert "the clustered choice" in said


def test_status_for_scripts(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = home / "small.athanor"
    assert main(["status", str(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["status"], told["stopped_by"]) == ("limit", "max_cycles")
    assert told["potential"] == str(folder / "potential")
    assert [one["number"] for one in told["cycles"]] == [1, 2]
    certificate = json.loads((folder / "certificate.json").read_text())
    assert told["cycles"][-1]["held_out"] == certificate["errors"]["held_out"]


def test_the_ending(home: Path) -> None:
    folder = home / "small.athanor"
    found = Distillation(folder)
    lines = ending(found, folder).splitlines()
    assert lines[0].startswith("small <b>pool</b>: 2 cycles, ")
    assert "on held-out structures" in lines[2]
    (compared,) = [line for line in lines if line.startswith("  comparison ")]
    assert compared.startswith("  comparison    For energies, the clustered choice")
    for line in lines[lines.index(compared) + 1 :]:
        assert Path(line.split(maxsplit=1)[1]).exists(), line
    over = found.state.ended
    bare = dataclasses.replace(found.config, compare=None)
    without = Distillation(folder, config=bare, state=found.state)
    without.__dict__["cycles"] = tuple(
        dataclasses.replace(one, held_out=None, test={"energy_rmse": None, "forces_rmse": None})
        for one in found.cycles
    )
    assert isinstance(over, CampaignFinished)
    text = ending(without, folder)
    assert "energy not finite, no forces on its own test structures" in text
    assert "comparison" not in text


def test_status_while_it_is_young(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = home / "small.athanor"
    config = Distillation(folder).config
    show(Distillation(folder, config=config, state=early(folder, "pool")))
    said = capsys.readouterr().out
    assert "small <b>pool</b>: unfinished, describing structures, 0 of 2 done; " in said
    assert "cycle" not in said
    failure = TaskFailed(0.0, "x", "trial", 1, "[bold]a trial", "it did not converge")
    state = dataclasses.replace(early(folder, "map"), failed_tasks={"x": failure})
    show(Distillation(folder, config=config, state=state))
    said = capsys.readouterr().out
    assert "pool of 36 structures" in said
    assert "failed: [bold]a trial: it did not converge" in said


def test_words_of_a_status(home: Path) -> None:
    status = Distillation(home / "small.athanor").status()
    assert word(status) == "limit"

    def stopped(by: str | None) -> str:
        now = dataclasses.replace(status.progress, stopped_by=by)
        return word(dataclasses.replace(status, progress=now, running=7 if by is None else None))

    assert stopped("tolerance") == "converged"
    assert stopped(None) == "running"
    young = dataclasses.replace(status.progress, stopped_by=None)
    assert word(dataclasses.replace(status, progress=young)) == "unfinished"
