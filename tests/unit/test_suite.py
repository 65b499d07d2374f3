"""Suites: measured once, kept, compared, judged; from the file to the exit code."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ase.build import bulk
from ase.io import write

from athanor.campaign.events import CampaignStarted, TaskFailed, TaskFinished
from athanor.campaign.journal import NAME, Journal, read_journal
from athanor.campaign.lock import only_writer
from athanor.campaign.sections import CampaignSection
from athanor.cli import main
from athanor.errors import ConfigError, FolderError, FormatError
from athanor.potentials.lj import LennardJones
from athanor.suite import Subject, SuiteConfig, run
from athanor.suite.runner import tasks_of

EOS = '[[property]]\nkind = "eos"\nelement = "Al"\nlattices = ["fcc"]\npoints = 5\n'
EMT = '[oracle]\nkind = "ase"\ncalculator = "emt"\n'
PAIRS = (
    '[oracle]\nkind = "ase"\ncalculator = "lj"\n'
    "settings = { sigma = 2.5, epsilon = 0.4, rc = 8.0, smooth = true }\n"
)
LATTICE_CONSTANT = "fcc lattice constant"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two oracles, a potential of another element and a suite."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "emt.toml").write_text(EMT)
    (tmp_path / "pairs.toml").write_text(PAIRS)
    (tmp_path / "metal.toml").write_text('[suite]\nname = "metal"\nworkers = 1\n' + EOS)
    return tmp_path


def measured(folder: Path) -> list[str]:
    """Kinds of all measurements that were finished, in their order."""
    events = read_journal(folder / NAME)
    return [event.task for event in events if isinstance(event, TaskFinished)]


def on(text: str, *given: str, against: str = "") -> SuiteConfig:
    """A suite on what is at these places."""
    import tomllib

    subjects = [Subject.open(one) for one in given]
    if against:
        subjects.append(Subject.open(against, is_reference=True))
    return SuiteConfig.of(tomllib.loads(text)).on(*subjects)


def numbers(entry: dict[str, Any], subject: str) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in entry["quantities"][subject]}


def test_each_is_measured_once_and_stands_beside_the_others(place: Path) -> None:
    told = []
    config = on(EOS, "pairs.toml", against="emt.toml")
    found = run(config, place / "s", progress=told.append)
    (entry,) = found["properties"]
    mine, theirs = numbers(entry, "pairs"), numbers(entry, "emt")
    assert mine[LATTICE_CONSTANT]["reference"] == theirs[LATTICE_CONSTANT]["value"]
    assert mine[LATTICE_CONSTANT]["value"] != theirs[LATTICE_CONSTANT]["value"]
    assert theirs[LATTICE_CONSTANT]["reference"] is None
    assert found["failures"] == 0
    assert {moment.phase for moment in told} == {"measure"}
    assert (told[-1].done, told[-1].planned) == (2, 2)
    assert all(set(panel["lines"]) == {"pairs", "emt"} for panel in entry["panels"].values())
    assert len(measured(place / "s")) == 2
    before = (place / "s" / "suite.json").read_bytes()
    assert run(config, place / "s") == found
    assert len(measured(place / "s")) == 2
    assert (place / "s" / "suite.json").read_bytes() == before


def test_only_what_is_new_is_measured(place: Path) -> None:
    run(on(EOS, against="emt.toml"), place / "s")
    more = EOS + EOS.replace('"fcc"', '"bcc"')
    run(on(more, "pairs.toml", against="emt.toml"), place / "s")
    assert len(measured(place / "s")) == 4
    # what judges a measurement does not measure it again
    judged = EOS + f'tolerance = {{ "{LATTICE_CONSTANT}" = 1e-9 }}\nliterature = {{ a = 1.0 }}\n'
    found = run(on(judged, "pairs.toml", against="emt.toml"), place / "s")
    assert len(measured(place / "s")) == 4
    mine = numbers(found["properties"][0], "pairs")
    assert mine[LATTICE_CONSTANT]["passed"] is False
    other = EOS.replace("points = 5", "points = 7")
    run(on(other, "pairs.toml", against="emt.toml"), place / "s")
    assert len(measured(place / "s")) == 6


def test_a_file_that_changed_is_measured_again(place: Path) -> None:
    write(place / "one.extxyz", bulk("Al", a=4.0))
    text = '[[property]]\nkind = "eos"\nfiles = ["one.extxyz"]\n'
    run(on(text, "emt.toml"), place / "s")
    run(on(text, "emt.toml"), place / "s")
    assert len(measured(place / "s")) == 1
    write(place / "one.extxyz", bulk("Al", "bcc", a=3.2))
    run(on(text, "emt.toml"), place / "s")
    assert len(measured(place / "s")) == 2


LIQUID = (
    'element = "Al"\nlattice = "fcc"\nvolume = 19.0\ntemperature_K = 1500.0\natoms = 32\n'
    "timestep_fs = 4.0\nequilibration_ps = 0.06\nsampling_ps = 0.12\ninterval_ps = 0.02\n"
)


def test_properties_of_one_liquid_share_its_run(place: Path) -> None:
    def item(kind: str, more: str = "") -> str:
        return f'[[property]]\nkind = "{kind}"\n{LIQUID}{more}'

    both = item("rdf") + item("structure_factor", 'method = "transform"\n')
    found = run(on(both, "pairs.toml", against="emt.toml"), place / "s")
    assert found["failures"] == 0
    made = sorted((place / "s" / "trajectories").rglob("*.npz"))
    assert len({path.parent for path in made}) == 2  # one for each subject
    notes = [one["notes"]["emt"][0].partition(";")[0].strip(".") for one in found["properties"]]
    assert notes[0] == notes[1]
    stamps = [path.stat().st_mtime_ns for path in made]
    # what is made of the frames may change: the run is there
    run(on(item("rdf", "r_max = 6.0\n"), "pairs.toml", against="emt.toml"), place / "s")
    assert len(measured(place / "s")) == 6
    assert sorted((place / "s" / "trajectories").rglob("*.npz")) == made
    assert [path.stat().st_mtime_ns for path in made] == stamps


def test_what_fails_says_why_and_the_rest_goes_on(place: Path) -> None:
    LennardJones(frozenset({"Ar"}), cutoff=8.0, epsilon=0.01, sigma=3.4).save(place / "argon")
    found = run(on(EOS, "argon", "pairs.toml", against="emt.toml"), place / "s")
    (entry,) = found["properties"]
    assert list(entry["failed"]) == ["argon"]
    assert "Al" in entry["failed"]["argon"][0]
    assert numbers(entry, "pairs")[LATTICE_CONSTANT]["reference"] is not None
    assert found["failures"] == 1


def test_a_worker_that_died_is_tried_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = on(EOS, "pairs.toml")
    monkeypatch.setattr("athanor.suite.runner.SuiteBench", Dying)
    found = run(config, place / "s")
    assert found["failures"] == 1
    assert "died" in found["properties"][0]["failed"]["pairs"][0]
    events = list(read_journal(place / "s" / NAME))
    assert any(isinstance(event, TaskFailed) for event in events)
    monkeypatch.undo()
    monkeypatch.chdir(place)
    assert run(config, place / "s")["failures"] == 0


class Dying:
    """A bench at which every process dies."""

    def __init__(self, config: SuiteConfig, folder: Path) -> None:
        pass

    def __call__(self, task: object) -> None:
        import os

        os._exit(1)


def test_a_property_of_two_needs_a_reference(place: Path) -> None:
    text = EOS + '[[property]]\nkind = "heldout"\nelement = "Al"\n'
    assert len(tasks_of(on(text, "pairs.toml"))) == 1
    assert len(tasks_of(on(text, "pairs.toml", against="emt.toml"))) == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"there is no section \[\[property\]\]"),
        ("[property]\nkind = 'eos'\n", r"write each property as a section \[\[property\]\]"),
        ("[suit]\n" + EOS, r"unknown section \[suit\] \(did you mean 'suite'\?\)"),
        (EOS.replace("eos", "eso"), r"\[\[property\]\] number 1: there is no kind 'eso'"),
        ("[suite]\nworkers = 0\n" + EOS, r"\[suite\].*workers"),
    ],
)
def test_a_wrong_suite_file_is_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        on(text)


def test_two_of_one_name_are_refused(place: Path) -> None:
    with pytest.raises(ConfigError, match="two of what is to be measured are called 'emt'"):
        on(EOS, "emt.toml", against="emt.toml")
    (place / "full").mkdir()
    (place / "full" / "mine").write_text("")
    with pytest.raises(FolderError, match="it holds 'mine'"):
        run(on(EOS, "emt.toml"), place / "full")


def test_the_command_prints_a_table_and_says_by_its_exit_code_what_came_out(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["validate", "pairs.toml", "--against", "emt.toml", "--suite", "metal.toml"]
    code = main(line)
    said = capsys.readouterr()
    row = next(one.split() for one in said.out.splitlines() if LATTICE_CONSTANT in one)
    assert row[:4] == ["fcc", "lattice", "constant,", "Å"]
    assert len([word for word in row[4:] if word[0].isdigit()]) == 2
    assert "published" not in said.out
    # the pair potential is no aluminium
    assert code == 2
    assert "not met" in said.err
    alone = ["validate", "emt.toml", "--suite", "metal.toml", "--folder", "alone", "--json"]
    assert main([*alone, "--workers", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads((place / "alone" / "suite.json").read_text())
    assert main(["validate", "gone", "--suite", "metal.toml"]) == 1
    assert main(["validate", "emt.toml", "--suite", "gone.toml"]) == 1


def test_the_reference_may_stand_in_the_suite(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "metal.toml").write_text(EOS + EMT)
    main(["validate", "other=pairs.toml", "--suite", "metal.toml", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in found["subjects"]] == ["other", "reference"]
    assert found["reference"] == "reference"


def test_a_baseline_says_what_got_worse(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["--against", "emt.toml", "--suite", "metal.toml"]
    main(["validate", "pairs.toml", *line])
    old = place / "metal.athanor" / "suite.json"
    kept = place / "old.json"
    kept.write_bytes(old.read_bytes())
    capsys.readouterr()
    # the same is not worse
    main(["validate", "pairs.toml", *line, "--baseline", "old.json"])
    assert "worse" not in capsys.readouterr().err
    assert json.loads(old.read_text())["regressions"] == {"pairs": []}
    # farther from the reference's lattice constant
    (place / "worse.toml").write_text(PAIRS.replace("sigma = 2.5", "sigma = 2.4"))
    assert main(["validate", "worse.toml", *line, "--baseline", "old.json"]) == 2
    assert "worse than in the baseline" in capsys.readouterr().err
    told = json.loads(old.read_text())["regressions"]["worse"]
    assert any(LATTICE_CONSTANT in sentence for sentence in told)
    assert "worse" in (place / "metal.athanor" / "report.html").read_text()


def test_how_a_suite_stands(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["validate", "emt.toml", "--suite", "metal.toml"])
    capsys.readouterr()
    assert main(["status", "metal.athanor"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("metal: measured; 1 measurement kept")
    assert LATTICE_CONSTANT in said
    (place / "metal.toml").write_text(EOS + f'literature = {{ "{LATTICE_CONSTANT}" = 4.05 }}\n')
    main(["validate", "emt.toml", "--suite", "metal.toml"])
    said = capsys.readouterr().out
    assert "published" in said
    assert next(line for line in said.splitlines() if LATTICE_CONSTANT in line).endswith("4.05 ")
    assert main(["status", "metal.athanor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["summary"] == json.loads((place / "metal.athanor" / "suite.json").read_text())
    with only_writer(place / "metal.athanor"):
        assert main(["status", "metal.athanor"]) == 0
    assert f"metal: running as process {os.getpid()}" in capsys.readouterr().out
    (place / "metal.athanor" / "suite.json").unlink()
    assert main(["status", "metal.athanor"]) == 0
    assert "unfinished" in capsys.readouterr().out
    assert main(["report", "metal.athanor"]) == 1
    assert "is not there yet" in capsys.readouterr().err


def test_a_campaign_s_folder_is_no_suite_s(place: Path) -> None:
    section = CampaignSection(name="c")
    with Journal(place / "journal.jsonl") as journal:
        journal.append(CampaignStarted(0.0, section.name, section.seed, "", {}))
    (place / "c").mkdir()
    (place / "journal.jsonl").rename(place / "c" / NAME)
    before = (place / "c" / NAME).read_bytes()
    with pytest.raises(FolderError, match="it holds a campaign"):
        run(on(EOS, "emt.toml"), place / "c")
    assert (place / "c" / NAME).read_bytes() == before


def test_a_damaged_measurement_is_named(place: Path) -> None:
    config = on(EOS, "emt.toml")
    run(config, place / "s")
    (path,) = (place / "s" / "artefacts").glob("*/measured.json")
    path.write_text("{")
    with pytest.raises(FormatError, match=r"measured\.json.*cannot be read"):
        run(config, place / "s")


def test_a_wrong_baseline_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["validate", "emt.toml", "--suite", "metal.toml", "--baseline", "old.json"]
    assert main(line) == 1
    for text in ("{", "{}", '{"subjects": [1], "properties": []}'):
        (place / "old.json").write_text(text)
        assert main(line) == 1
        assert "no suite.json" in capsys.readouterr().err
    empty = {"subjects": [{"name": "emt", "reference": False}], "properties": []}
    (place / "old.json").write_text(json.dumps(empty))
    assert main(line) == 1
    assert "no property and potential of this suite" in capsys.readouterr().err


def test_the_page_is_drawn_again(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["validate", "emt.toml", "--suite", "metal.toml"])
    page = (place / "metal.athanor" / "report.html").read_text()
    assert main(["report", "metal.athanor", "--out", "again.html"]) == 0
    assert (place / "again.html").read_text() == page
    for damaged, words in (
        ("{", "cannot be read"),
        ("[1]", "cannot be read"),
        ("{}", "suite.json"),
    ):
        (place / "metal.athanor" / "suite.json").write_text(damaged)
        assert main(["report", "metal.athanor", "--out", "third.html"]) == 1
        said = capsys.readouterr().err
        assert words in said
        assert "metal.athanor/suite.json" in said
