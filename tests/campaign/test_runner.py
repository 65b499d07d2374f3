"""Whole campaigns: what goes right, and one sentence for each thing that goes wrong."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_campaign import PLUGIN

from athanor.campaign import Campaign, CampaignConfig, Progress, run
from athanor.campaign.journal import NAME, read_journal
from athanor.campaign.lock import only_writer
from athanor.data.formats import read_structures
from athanor.errors import AthanorError, ConfigError, FitError, FolderError, FormatError
from athanor.structure import structure_id
from athanor.testing.fakes import calls

Make = Callable[..., CampaignConfig]


def test_a_whole_campaign(make: Make, tmp_path: Path) -> None:
    told: list[Progress] = []
    log = tmp_path / "log"
    state = run(make(log=log), tmp_path / "folder", progress=told.append)
    assert state.stopped_by == "max_cycles"
    assert len(calls(log)) == len(set(calls(log))) == state.labels_bought
    assert told[-1].stopped_by == "max_cycles"
    assert {"start", "label", "fit", "sample", "select", "validate"} <= {p.phase for p in told}
    assert [p.elapsed_s for p in told] == sorted(p.elapsed_s for p in told)
    campaign = Campaign(tmp_path / "folder")
    assert campaign.state == state
    lines = (tmp_path / "folder" / NAME).read_bytes()
    assert run(make(log=log), tmp_path / "folder") == state, "a finished campaign has nothing to do"
    assert (tmp_path / "folder" / NAME).read_bytes() == lines
    leftovers = [p.name for p in (tmp_path / "folder").rglob("*") if p.suffix in (".part", ".lock")]
    assert leftovers == []


def test_reading_a_campaign(make: Make, tmp_path: Path) -> None:
    run(make(), tmp_path)
    campaign = Campaign(tmp_path)
    assert campaign.name == "small"
    assert campaign.config == make()
    cycles = campaign.cycles
    assert [cycle.number for cycle in cycles] == [0, 1, 2]
    assert len(cycles[0].labels) == 3
    assert cycles[0].trajectories == ()
    assert cycles[0].errors is None
    training, validation = campaign.training(), campaign.validation()
    assert len(training) + len(validation) == len(campaign.purchases)
    assert (cycles[-1].n_train, cycles[-1].n_valid) == (len(training), len(validation))
    assert {frame.level for frame in training} == {"tricky"}
    assert all(frame.origin.startswith("cycle ") for frame in training)
    potential = campaign.load_potential()
    first = training.structures[:1]
    kept = run(make(), tmp_path)
    assert kept.ended is not None
    exported = read_structures(tmp_path / "training.extxyz")
    assert [structure_id(a) for a in exported] == [structure_id(a) for a in training.structures]
    assert potential.predict(first)[0].energy == campaign.load_potential().predict(first)[0].energy
    (dimer,) = campaign.properties
    assert (dimer.kind, dimer.quantities[0].unit) == ("dimer", "eV")
    assert dimer.curves == {"distance": [2.8]}
    told = campaign.status().as_dict()
    assert (told["running"], told["stopped_by"], len(told["cycles"])) == (None, "max_cycles", 3)
    assert len(campaign.starts()) == 3


def test_reading_cycles(make: Make, tmp_path: Path) -> None:
    run(make(), tmp_path)
    campaign = Campaign(tmp_path)
    for cycle in campaign.cycles[1:]:
        assert len(cycle.trajectories) == 2
        for trajectory in cycle.trajectories:
            assert 0 < trajectory.survival <= 1
            structures, grades, reasons = campaign.candidates(trajectory.task)
            assert len(structures) == len(grades) == len(reasons) == len(trajectory.grades)
            assert [grade.value for grade in grades] == list(trajectory.grades)
            per_atom = [grade.per_atom is not None for grade in grades]
            assert per_atom == [grade.value > 0.5 for grade in grades]
            assert len(campaign.trace(trajectory.task)["time_fs"]) == trajectory.steps
        parity = campaign.parity(cycle.number)
        assert parity is not None
        assert cycle.errors is not None
        worst = np.abs(parity.forces - parity.forces_predicted).max()
        assert cycle.errors["forces_max"] == pytest.approx(worst, rel=1e-12)
        frames = [campaign.frame(label.task) for label in cycle.labels]
        energies = [f.labels.energy / len(f.atoms) for f in frames]
        assert parity.energy.tolist() == energies
    assert campaign.parity(0) is None


def test_reading_while_nothing_is_there_yet(make: Make, tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    def stop(progress: Progress) -> None:
        if progress.phase == "label":
            raise Enough

    with pytest.raises(Enough):
        run(make(), tmp_path, progress=stop)
    campaign = Campaign(tmp_path)
    assert len(campaign.training()) == 0
    with pytest.raises(FormatError, match="no potential has been fitted yet"):
        campaign.load_potential()
    assert campaign.status().progress.phase == "label"
    assert campaign.properties == ()
    with pytest.raises(FormatError, match="there is no campaign here"):
        Campaign(tmp_path / "absent")


def test_errors_are_of_the_potential_before_the_fit(make: Make, tmp_path: Path) -> None:
    config = make(validate=[])
    run(config, tmp_path)
    campaign = Campaign(tmp_path)
    frames = [campaign.frame(label.task) for label in campaign.cycles[1].labels]
    fits = [r for r in campaign.state.finished_tasks.values() if r.kind == "fit"]
    before = config.potential.load(tmp_path / "artefacts" / fits[0].task / "potential")
    predicted = before.predict([frame.atoms for frame in frames])
    difference = np.concatenate(
        [(p.forces - f.labels.forces).ravel() for p, f in zip(predicted, frames, strict=True)]
    )
    errors = campaign.cycles[1].errors
    assert errors is not None
    assert errors["forces_rmse"] == pytest.approx(np.sqrt((difference**2).mean()), rel=1e-12)
    assert errors["forces_mae"] == pytest.approx(np.abs(difference).mean(), rel=1e-12)


def test_more_cycles_go_on_without_paying_again(make: Make, tmp_path: Path) -> None:
    short, long = (make(log=tmp_path / f"{n}.log", stop={"max_cycles": n}) for n in (1, 3))
    run(short, tmp_path / "folder")
    with pytest.raises(ConfigError, match=r"oracle\.log was"):
        run(long, tmp_path / "folder")
    long = make(log=tmp_path / "1.log", stop={"max_cycles": 3}, validate=[])
    state = run(long, tmp_path / "folder")
    assert state.cycle == 3
    assert len(calls(tmp_path / "1.log")) == len(set(calls(tmp_path / "1.log")))
    straight = run(make(log=tmp_path / "1.log", stop={"max_cycles": 3}), tmp_path / "straight")
    assert state.ended is not None
    assert straight.ended is not None
    assert state.ended.potential == straight.ended.potential


def test_another_config_is_refused(make: Make, tmp_path: Path) -> None:
    run(make(stop={"max_cycles": 0}), tmp_path)
    before = (tmp_path / NAME).read_bytes()
    with pytest.raises(ConfigError, match=r"sample\.steps was 5 and is now 6; put it back"):
        run(make(sample={"steps": 6}), tmp_path)
    assert (tmp_path / NAME).read_bytes() == before


def test_label_budget(make: Make, tmp_path: Path) -> None:
    state = run(make(log=tmp_path / "log", stop={"max_labels": 4}), tmp_path / "folder")
    assert state.stopped_by == "max_labels"
    assert len(calls(tmp_path / "log")) == 4
    campaign = Campaign(tmp_path / "folder")
    assert len(campaign.training()) + len(campaign.validation()) == 4


@pytest.mark.parametrize("budget", [2, 4])
def test_a_raised_label_budget_loses_no_label(make: Make, tmp_path: Path, budget: int) -> None:
    """The cycle that the first budget cut short gets its other labels, and all are trained on."""
    first, second = (make(log=tmp_path / "log", stop={"max_labels": n}) for n in (budget, 6))
    assert run(first, tmp_path / "folder").labels_bought == budget
    state = run(second, tmp_path / "folder")
    straight = run(second, tmp_path / "straight")
    assert state.ended is not None
    assert straight.ended is not None
    assert state.ended.potential == straight.ended.potential
    campaign = Campaign(tmp_path / "folder")
    assert len(campaign.training()) + len(campaign.validation()) == state.labels_bought == 6


def test_a_finished_campaign_that_goes_on_has_not_ended(make: Make, tmp_path: Path) -> None:
    run(make(stop={"max_cycles": 0}), tmp_path)
    assert Campaign(tmp_path).status().progress.stopped_by == "max_cycles"
    seen: list[str | None] = []

    def look(progress: Progress) -> None:
        if progress.phase == "sample":
            seen.append(Campaign(tmp_path).status().progress.stopped_by)

    run(make(stop={"max_cycles": 1}), tmp_path, progress=look)
    assert set(seen) == {None}
    assert Campaign(tmp_path).state.stopped_by == "max_cycles"


def test_folder_in_use(make: Make, tmp_path: Path) -> None:
    with only_writer(tmp_path), pytest.raises(FolderError, match=f"process {os.getpid()}"):
        run(make(), tmp_path)


def test_folder_of_something_else(make: Make, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(FolderError, match=r"it holds 'thesis\.tex' but no journal"):
        run(make(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(FolderError, match="this is a file"):
        run(make(), tmp_path / "thesis.tex")


@pytest.mark.parametrize(
    ("section", "kind"), [("start", "file"), ("sample", "pool")], ids=["start", "sample"]
)
def test_a_file_that_is_not_there_is_told_before_a_label_is_paid(
    make: Make, tmp_path: Path, section: str, kind: str
) -> None:
    missing = tmp_path / "missing.xyz"
    with pytest.raises(ConfigError, match=rf"\[{section}\] there is no file {missing}"):
        run(make(**{section: {"kind": kind, "path": str(missing)}}), tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize(
    ("trick", "says"),
    [
        ("nan", "the oracle's labels: the energy is nan"),
        ("bug", "the oracle failed with ZeroDivisionError: oracle code has a bug"),
        ("die", "the worker process died (signal SIGKILL) each of 3 times"),
    ],
)
def test_every_label_fails_and_then_not(make: Make, tmp_path: Path, trick: str, says: str) -> None:
    folder = tmp_path / "folder"
    small = {"cycle": {"initial": 1}, "stop": {"max_cycles": 0}}
    bad = make(oracle={"trick": trick}, **small)
    with pytest.raises(AthanorError, match="every label of the first structures failed") as caught:
        run(bad, folder)
    assert says in str(caught.value)
    (failure,) = Campaign(folder).failures
    assert says in failure.reason
    if trick != "bug":
        return
    # the same line again tries again
    with pytest.raises(AthanorError, match="every label of the first structures failed"):
        run(bad, folder)
    journal = read_journal(folder / NAME)
    assert sum(type(event).__name__ == "FailuresForgiven" for event in journal) == 1


@pytest.mark.parametrize(("trick", "tries"), [("flaky", 2), ("die once", 2)])
def test_a_second_try(make: Make, tmp_path: Path, trick: str, tries: int) -> None:
    oracle = {"trick": trick, "mark": str(tmp_path / "mark")}
    log = tmp_path / "log"
    state = run(make(log=log, oracle=oracle, stop={"max_cycles": 0}), tmp_path / "folder")
    assert state.failed_tasks == {}
    assert len(calls(log)) == 3 + tries - 1


def test_broken_sampler(make: Make, tmp_path: Path) -> None:
    with pytest.raises(AthanorError, match=r"every trajectory of cycle 1 failed; .*breaks every"):
        run(make(sample={"broken": True}), tmp_path)


def test_broken_property(make: Make, tmp_path: Path) -> None:
    validate = [{"kind": "dimer", "broken": True}, {"kind": "dimer"}]
    state = run(make(stop={"max_cycles": 0}, validate=validate), tmp_path)
    assert state.stopped_by == "max_cycles"
    campaign = Campaign(tmp_path)
    assert len(campaign.properties) == 1
    (failure,) = campaign.failures
    assert failure.reason == "ZeroDivisionError: this property cannot be measured"


def test_a_fit_that_fails(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = make(stop={"max_cycles": 0})

    class Unfit(Exception):
        pass

    from athanor.campaign import driver

    def refuse(*_: object) -> None:
        raise FitError("the loss is not finite")

    monkeypatch.setattr(driver.Driver, "_settle", refuse)
    with pytest.raises(FitError, match="the loss is not finite"):
        run(config, tmp_path)
    monkeypatch.undo()
    monkeypatch.syspath_prepend(str(PLUGIN))
    assert run(config, tmp_path).stopped_by == "max_cycles"


@pytest.mark.parametrize("after", [1, 6, 17])
def test_no_space_left_in_the_driver(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    config = make(log=tmp_path / "log", stop={"max_cycles": 1})
    left = after
    real = os.fsync

    def full(handle: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(FolderError, match="no space left") as caught:
            run(config, tmp_path / "folder")
    assert "\n" not in str(caught.value)
    state = run(config, tmp_path / "folder")
    assert state.stopped_by == "max_cycles"
    assert len(calls(tmp_path / "log")) == len(set(calls(tmp_path / "log")))


def test_no_space_left_in_a_worker(make: Make, tmp_path: Path, plugin: Path) -> None:
    """A limit on the size of files stands for a full disk: no label is bought that has no place."""
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from small_campaign import tables; from athanor.campaign import CampaignConfig, run\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))\n"
        "try: run(CampaignConfig.of(tables(Path(sys.argv[3]))), Path(sys.argv[1]))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    folder, log = tmp_path / "folder", tmp_path / "log"
    here = str(Path(__file__).parent)
    told = subprocess.run(
        [sys.executable, "-c", code, str(folder), "5000", str(log)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([here, str(PLUGIN), *sys.path])},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert told.stdout.startswith("FolderError")
    assert "no space left" in told.stdout
    assert told.stdout.count("\n") == 1
    assert calls(log) == []
    state = run(make(log=log, stop={"max_cycles": 0}), folder)
    assert state.stopped_by == "max_cycles"
    assert len(calls(log)) == len(set(calls(log)))


def test_ctrl_c_keeps_the_label_in_progress(make: Make, tmp_path: Path) -> None:
    log = tmp_path / "log"
    config = make(log=log, oracle={"trick": "slow"}, cycle={"initial": 2}, stop={"max_cycles": 0})

    def press(progress: Progress) -> None:
        if progress.phase == "label" and log.exists():
            signal.raise_signal(signal.SIGINT)

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path / "folder", progress=press)
    assert time.monotonic() - begun < 30
    assert run(config, tmp_path / "folder").stopped_by == "max_cycles"
    assert len(calls(log)) == 2


def test_damaged_artefact(make: Make, tmp_path: Path) -> None:
    run(make(stop={"max_cycles": 0}), tmp_path)
    for path in (tmp_path / "store").glob("*.npz"):
        path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(FormatError, match="does not match its name"):
        run(make(stop={"max_cycles": 1}), tmp_path)


def test_what_was_taken_away_after_the_end_is_handed_over_again(make: Make, tmp_path: Path) -> None:
    run(make(), tmp_path)
    journal, data = (tmp_path / NAME).read_bytes(), (tmp_path / "training.extxyz").read_bytes()
    saved = sorted(path.name for path in (tmp_path / "potential").iterdir())
    (tmp_path / "training.extxyz").unlink()
    shutil.rmtree(tmp_path / "potential")
    run(make(), tmp_path)
    assert (tmp_path / "training.extxyz").read_bytes() == data
    assert sorted(path.name for path in (tmp_path / "potential").iterdir()) == saved
    assert (tmp_path / NAME).read_bytes() == journal


def test_nothing_is_handed_over_unless_all_is_whole(make: Make, tmp_path: Path) -> None:
    run(make(), tmp_path)
    shard = sorted((tmp_path / "store").glob("*.npz"))[0]
    shard.write_bytes(shard.read_bytes()[:-1])
    (tmp_path / "training.extxyz").unlink()
    handed = {path: path.read_bytes() for path in (tmp_path / "potential").iterdir()}
    with pytest.raises(FormatError, match="does not match its name"):
        run(make(), tmp_path)
    assert {path: path.read_bytes() for path in (tmp_path / "potential").iterdir()} == handed
