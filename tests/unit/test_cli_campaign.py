"""The verbs on campaigns, and what a running one shows."""

from __future__ import annotations

import dataclasses
import io
import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import athanor
from athanor.campaign import CampaignConfig
from athanor.campaign.progress import Progress
from athanor.cli import main
from athanor.cli.kinds import families
from athanor.cli.live import board, display, line
from athanor.cli.standing import word
from athanor.cli.starter import solid, starter
from athanor.data.formats import read_frames
from athanor.errors import ConfigError

TINY = """
[campaign]
name = "tiny <b>"
seed = 3
workers = 1
[potential]
kind = "lj"
cutoff = 4.5
[query]
kind = "doptimality"
by = "atom"
[start]
kind = "disorder"
composition = "Al"
edges = [6.0, 7.0]
density = [2.4, 3.0]
min_distance = 2.0
[sample]
kind = "md"
steps = 20
min_distance = 1.2
[oracle]
kind = "ase"
calculator = "lj"
settings = { sigma = 2.4, epsilon = 0.2, rc = 4.5, smooth = true }
[cycle]
initial = 2
trajectories = 2
labels = 2
[stop]
untriggered_cycles = 1
max_cycles = 3
[[validate]]
kind = "eos"
element = "Al"
lattices = ["fcc", "bcc"]
points = 5
"""

MOMENT = Progress(
    cycle=3,
    phase="sample",
    detail="trajectory 2, trajectory 5",
    done=4,
    planned=8,
    survival=(3, (1.0, 0.5, 0.01)),
    labels=21,
    failed_labels=1,
    max_labels=60,
    errors={"energy_rmse": 0.0123, "forces_rmse": 0.21},
    elapsed_s=72.0,
    remaining_s=190.0,
    stopped_by=None,
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(TINY)
    return tmp_path


def test_run_from_the_first_line_to_the_report(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "tiny.toml"]) == 0
    said = capsys.readouterr().out
    assert "tiny <b>: running in tiny.athanor" in said
    assert "ran their full schedule" in said
    assert "report        tiny.athanor/report.html" in said
    home = folder / "tiny.athanor"
    assert "tiny &lt;b&gt;" in (home / "report.html").read_text()
    fitted = athanor.load(home / "potential")
    frames = read_frames(home / "training.extxyz")
    assert fitted.elements == {"Al"}
    assert main(["errors", str(home / "potential"), str(home / "training.extxyz"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n_frames"] == len(frames)

    before = (home / "journal.jsonl").read_bytes()
    assert main(["run", "tiny.toml"]) == 0  # there is nothing left to do
    assert (home / "journal.jsonl").read_bytes() == before

    capsys.readouterr()
    assert main(["status", "tiny.athanor", "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert (table["status"], table["stopped_by"]) == ("converged", "untriggered")
    assert table["labels"] == sum(len(cycle["labels"]) for cycle in table["cycles"])
    assert table["potential"] == "tiny.athanor/potential"
    assert main(["status", "tiny.athanor"]) == 0
    assert "tiny <b>: converged" in capsys.readouterr().out

    assert main(["report", "tiny.athanor", "--out", "r.html"]) == 0
    assert (folder / "r.html").read_bytes() == (home / "report.html").read_bytes()
    assert main(["report", "tiny.athanor", "--out", "r.html"]) == 1
    assert main(["report", "tiny.athanor"]) == 0


def test_a_limit_ends_with_two(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    limited = TINY.replace("untriggered_cycles = 1\nmax_cycles = 3", "max_labels = 2")
    (folder / "limited.toml").write_text(limited)
    assert main(["run", "limited.toml", "--folder", "elsewhere"]) == 2
    out, err = capsys.readouterr()
    assert "elsewhere: stopped by the limit max_labels" in err
    assert "report        elsewhere/report.html" in out
    assert "stopped by a limit" in (folder / "elsewhere" / "report.html").read_text()
    assert main(["status", "elsewhere"]) == 0
    assert "stopped by the limit max_labels" in capsys.readouterr().out


def test_an_unfinished_campaign_has_a_status_and_a_report(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupting:
        def __enter__(self) -> object:
            return self

        def __exit__(self, *_: object) -> None:
            return None

        def __call__(self, moment: Progress) -> None:
            if moment.labels == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr("athanor.cli.live.display", lambda _: Interrupting())
    assert main(["run", "tiny.toml"]) == 130
    assert "start the same line again to carry on" in capsys.readouterr().err
    assert main(["status", "tiny.athanor", "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert (table["status"], table["labels"], table["potential"]) == ("unfinished", 2, None)
    assert main(["report", "tiny.athanor"]) == 0
    page = (folder / "tiny.athanor" / "report.html").read_text()
    assert "This campaign has not ended" in page
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    assert main(["run", "tiny.toml"]) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "absent.toml"], "absent.toml: cannot be read"),
        (["run", "wrong.toml"], "unknown section [stopp] (did you mean 'stop'?)"),
        (["run", "tiny.toml", "--folder", "full"], "full"),
        (["status", "full"], "there is no campaign here"),
        (["report", "full"], "there is no campaign here"),
        (["report", "full", "--out", "tiny.toml"], "exists already"),
        (["init", "tiny.toml"], "exists already"),
        (["init", "new", "--element", "Al,Q"], "'Q' is not a chemical symbol"),
        (["init", "new", "--element", "Mo"], "emt knows only"),
        (["init", "new", "--potential", "mpt"], "did you mean 'mtp'?"),
        (["init", "new", "--level", "13"], "level = 13 is not allowed"),
    ],
)
def test_bad_input(
    folder: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "wrong.toml").write_text(TINY.replace("[stop]", "[stopp]"))
    (folder / "full").mkdir()
    (folder / "full" / "thesis.tex").write_text("do not touch")
    before = sorted(folder.rglob("*"))
    assert main(arguments) == 1
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert sorted(path for path in folder.rglob("*") if path.name != "lock") == before


def test_init_writes_a_campaign_that_reads_back(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init"]) == 0
    assert "athanor run campaign.toml" in capsys.readouterr().out
    config = CampaignConfig.read("campaign.toml")
    assert config.campaign.name == "al"
    assert main(["init", "deep/down", "--element", "Cu,Ni", "--level", "8", "--seed", "5"]) == 0
    config = CampaignConfig.read("deep/down/campaign.toml")
    assert (config.campaign.name, config.campaign.seed) == ("cu-ni", 5)
    assert config.potential.model_dump()["level"] == 8
    assert config.start.model_dump()["composition"] == {"Cu": 0.5, "Ni": 0.5}
    assert len(config.validate) == 2
    assert main(["init", "moly.toml", "--element", "Mo", "--oracle", "gpaw"]) == 0
    assert CampaignConfig.read("moly.toml").campaign.name == "moly"
    assert main(["init", "pair.toml", "--potential", "lj"]) == 0
    assert CampaignConfig.read("pair.toml").potential.model_dump()["kind"] == "lj"


@pytest.mark.parametrize("symbol", ["Al", "Fe", "Si", "Mg", "Po", "Ga", "O", "W"])
def test_starter_is_possible_for_any_element(symbol: str) -> None:
    text = starter(name="x", elements=[symbol], potential="mtp", level=8, oracle="vasp", seed=0)
    config = CampaignConfig.of(tomllib.loads(text))
    assert config.start.structures(1, np.random.default_rng(0))


def test_starter_refuses_what_emt_does_not_know() -> None:
    with pytest.raises(ConfigError, match="emt knows only"):
        starter(name="x", elements=["Fe"], potential="mtp", level=8, oracle="emt", seed=0)


def test_solids() -> None:
    aluminium, magnesium, silicon = solid("Al"), solid("Mg"), solid("Si")
    assert aluminium.distance == pytest.approx(4.05 / 2**0.5)
    assert aluminium.volume == pytest.approx(4.05**3 / 4)
    assert magnesium.volume == pytest.approx(23.2, rel=0.01)  # tabulated, Å³ per atom
    assert silicon.distance == pytest.approx(2.352, rel=0.001)


def test_kinds_lists_what_can_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kinds", "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert {name: set(found) for name, found in table.items()} == {
        name: set(found) for name, found in families().items()
    }
    assert table["potential"]["lj"]["keys"]["cutoff"]["default"] == 6.0
    assert table["start"]["disorder"]["keys"]["composition"]["required"]
    assert main(["kinds"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for found in table.values() for name in found)


def test_the_board_says_everything() -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(board("aluminium", MOMENT))
    text = console.export_text()
    for fact in (
        "aluminium · cycle 3",
        "sampling, 4 of 8 done: trajectory 2, trajectory 5",
        "1 of 3 ran their full schedule in cycle 3 (mean 50 %)",
        "21 of 60 bought, 1 failed",
        "12.3 meV/atom, 210 meV/Å on the newest labels",
        "1 min 12 s elapsed, at most 3 min 10 s left",
    ):
        assert fact in text


def test_lines_tell_the_fact_of_their_phase() -> None:
    assert "1 of 3 ran their full schedule" in line(MOMENT)
    label = dataclasses.replace(MOMENT, phase="label", max_labels=None, failed_labels=0)
    assert line(label).endswith("; labels 21 bought")
    fit = dataclasses.replace(MOMENT, phase="fit", errors={"energy_rmse": None})
    assert "energy not finite, forces not finite on the newest labels" in line(fit)
    measuring = dataclasses.replace(MOMENT, phase="validate", remaining_s=5.0, detail="")
    assert line(measuring) == "[1 min 12 s elapsed] cycle 3, validating, 4 of 8 done"


def test_a_line_when_a_phase_ends_and_when_one_lasts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr("athanor.cli.live.time.monotonic", lambda: now[0])
    with display("x") as show:
        for seconds, done in ((1, 0), (5, 2), (12, 4), (13, 5), (14, 8), (30, 8)):
            now[0] = float(seconds)
            show(dataclasses.replace(MOMENT, done=done))
    said = capsys.readouterr().out.splitlines()
    assert [part.split("sampling, ")[1].split(" done")[0] for part in said] == ["4 of 8", "8 of 8"]


def test_the_board_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    with display("x") as show:
        show(MOMENT)
    assert capsys.readouterr().err == ""


def test_words_of_a_status() -> None:
    from athanor.campaign import CampaignStatus

    status = CampaignStatus("x", "f", None, MOMENT, ())
    assert word(status) == "unfinished"
    assert word(dataclasses.replace(status, running=12)) == "running"
    ended = dataclasses.replace(MOMENT, stopped_by="max_hours")
    assert word(dataclasses.replace(status, progress=ended)) == "limit"
