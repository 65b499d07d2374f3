"""The verb relax, run as a user would run it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.units import GPa

from athanor.cli import main, relaxed
from athanor.data.formats import read_frames, read_structures, write_structures
from athanor.errors import FolderError
from athanor.potentials.lj import LennardJones

AL = LennardJones(frozenset({"Al"}), cutoff=5.5, epsilon=0.2, sigma=2.5)
LINE = ["relax", "pot", "many.extxyz", "--cell"]


def rattled(count: int, *, seed: int, spread: float = 0.15) -> list[Atoms]:
    rng = np.random.default_rng(seed)
    cells = []
    for _ in range(count):
        atoms = bulk("Al", a=4.0).repeat(2)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.normal(0, 0.03, (3, 3))), True)
        atoms.positions += rng.normal(0, spread, (len(atoms), 3))
        cells.append(atoms)
    return cells


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a potential, a training set, and structures to relax."""
    monkeypatch.chdir(tmp_path)
    AL.save(tmp_path / "pot")
    write_structures("train.extxyz", rattled(4, seed=1, spread=0.05))
    write_structures("many.extxyz", rattled(8, seed=2))
    coinciding = Atoms("Al2", positions=np.zeros((2, 3)), cell=[4, 4, 4], pbc=True)
    write_structures("bad.extxyz", [*rattled(2, seed=3), coinciding, *rattled(1, seed=4)])
    write_structures("slab.extxyz", [Atoms("Al", cell=[4, 4, 9], pbc=[True, True, False])])
    return tmp_path


def names(folder: Path) -> set[str]:
    given = {"pot", "train.extxyz", "many.extxyz", "bad.extxyz", "slab.extxyz"}
    return {path.name for path in folder.iterdir()} - given


def test_results_are_in_order_and_the_same_from_any_number_of_workers(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*LINE, "--out", "one.extxyz", "--workers", "1"]) == 0
    assert (
        capsys.readouterr().out
        == "8 of 8 relaxed to 0.01 eV/Å and 0.1 GPa, written to one.extxyz\n"
    )
    assert main([*LINE, "--out", "two.extxyz", "--workers", "2"]) == 0
    assert (folder / "one.extxyz").read_bytes() == (folder / "two.extxyz").read_bytes()
    assert names(folder) == {"one.extxyz", "two.extxyz"}
    for index, atoms in enumerate(ase.io.read("one.extxyz", ":")):
        info = atoms.info
        assert (info["source"], info["converged"], info["stopped_by"]) == (index, True, "converged")
        assert info["energy_per_atom"] == pytest.approx(atoms.get_potential_energy() / 8)
        assert info["enthalpy_per_atom"] == pytest.approx(info["energy_per_atom"])
        assert info["volume"] == pytest.approx(atoms.get_volume())
        pressure = -np.trace(atoms.get_stress(voigt=False)) / 3 / GPa
        assert info["pressure_GPa"] == pytest.approx(pressure, abs=1e-9)
        assert np.linalg.norm(atoms.get_forces(), axis=1).max() == pytest.approx(info["fmax"])
        assert info["fmax"] < 0.01
        assert np.abs(atoms.get_stress()).max() / GPa == pytest.approx(info["smax_GPa"])
        assert info["smax_GPa"] < 0.1
        assert "grade" not in info


def test_options_reach_the_relaxation(folder: Path) -> None:
    start = read_structures("many.extxyz")
    line = [*LINE, "--cell-fixed-volume", "--fmax", "1e-4", "--out", "v.extxyz"]
    assert main(line) == 0
    for one, other in zip(start, read_structures("v.extxyz"), strict=True):
        assert other.get_volume() == pytest.approx(one.get_volume(), rel=1e-10)
    line = [*LINE, "--hydrostatic", "--pressure-GPa", "5", "--smax-GPa", "1e-3", "--out"]
    assert main([*line, "h.extxyz", "--max-step", "0.05"]) == 0
    for one, other in zip(start, ase.io.read("h.extxyz", ":"), strict=True):
        np.testing.assert_allclose(other.cell.angles(), one.cell.angles(), rtol=1e-9)
        assert other.info["pressure_GPa"] == pytest.approx(5, abs=1e-3)
        pv = 5 * GPa * other.get_volume() / 8
        enthalpy = other.info["energy_per_atom"] + pv
        assert other.info["enthalpy_per_atom"] == pytest.approx(enthalpy, rel=1e-9)
    assert main([*LINE, "--min-dist", "2.6", "--out", "d.extxyz"]) == 0
    ends = {atoms.info["stopped_by"] for atoms in ase.io.read("d.extxyz", ":")}
    assert ends == {"min_dist"}
    share = [*LINE, "--training", "train.extxyz", "--halt", "1e9", "--min-dist-share"]
    assert main([*share, "1.05", "--out", "s.extxyz"]) == 0
    ends = {atoms.info["stopped_by"] for atoms in ase.io.read("s.extxyz", ":")}
    assert "min_dist" in ends
    assert main([*share, "0.5", "--out", "t.extxyz"]) == 0
    ends = {atoms.info["stopped_by"] for atoms in ase.io.read("t.extxyz", ":")}
    assert ends == {"converged"}


def test_both_thresholds(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = [*LINE, "--training", "train.extxyz", "--save", "1.01", "--halt", "1.6"]
    assert main([*line, "--out", "out.extxyz"]) == 0
    said = capsys.readouterr().out
    assert "halted by grade, written to out.extxyz" in said
    assert "for labels in out.candidates.extxyz" in said
    results = ase.io.read("out.extxyz", ":")
    halted = [atoms.info for atoms in results if atoms.info["stopped_by"] == "grade"]
    assert 0 < len(halted) < len(results)
    ways = sorted(path.name for path in (folder / "out.halted").iterdir())
    assert ways == [f"{info['source']:06d}.extxyz" for info in halted]
    candidates = ase.io.read("out.candidates.extxyz", ":")
    for info in halted:
        way = ase.io.read(f"out.halted/{info['source']:06d}.extxyz", ":")
        assert [frame.info["step"] for frame in way] == list(range(info["steps"] + 1))
        assert all(frame.info["source"] == info["source"] for frame in way)
        grades = [frame.info["grade"] for frame in way]
        assert max(grades[:-1], default=0) <= 1.6 < grades[-1] == info["grade"]
        labels = read_frames(f"out.halted/{info['source']:06d}.extxyz").labels
        energies = [AL.predict([frame])[0].energy for frame in way]
        assert [one.energy for one in labels] == energies
        mine = [one.info for one in candidates if one.info["source"] == info["source"]]
        assert [one["step"] for one in mine] == [k for k, g in enumerate(grades) if g > 1.01]
        assert mine[-1]["grade"] == info["grade"]
    converged = {a.info["source"]: a.info for a in results if a.info["converged"]}
    for one in candidates:
        assert one.info["grade"] > 1.01
        if one.info["source"] in converged:
            assert one.info["grade"] <= converged[one.info["source"]]["grade"] <= 1.6
    assert any("above save 1.01" in one.info["reason"] for one in candidates)
    # what is selected of the candidates and learnt is no longer new
    assert (
        main(["select", "pot", "train.extxyz", "out.candidates.extxyz", "--out", "s.extxyz"]) == 0
    )
    write_structures("more.extxyz", read_structures("train.extxyz") + read_structures("s.extxyz"))
    line = [*LINE, "--training", "more.extxyz", "--save", "1.2", "--halt", "1.6"]
    assert main([*line, "--out", "again.extxyz"]) == 0
    again = ase.io.read("again.extxyz", ":")
    assert sum(a.info["stopped_by"] == "grade" for a in again) < len(halted)


def test_names_may_be_given_and_nothing_found_is_an_answer(folder: Path) -> None:
    line = [*LINE, "--training", "train.extxyz", "--halt", "1e9", "--save", "1e8", "--out"]
    assert main([*line, "o.cfg", "--candidates", "c.cfg", "--trajectories", "ways"]) == 0
    assert (folder / "c.cfg").read_bytes() == b""
    assert names(folder) == {"o.cfg", "c.cfg"}
    assert len(read_frames("o.cfg", ["Al"])) == 8


def test_unrelaxed_are_written_apart(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["relax", "pot", "bad.extxyz", "--cell", "--out", "r.extxyz", "--unrelaxed", "u.extxyz"]
    assert main(line) == 1
    out, err = capsys.readouterr()
    assert "3 of 4 relaxed to 0.01 eV/Å and 0.1 GPa, 1 failed, written to r.extxyz and u" in out
    assert err.startswith("athanor: bad.extxyz, frame 2 failed: ")
    assert [atoms.info["source"] for atoms in ase.io.read("r.extxyz", ":")] == [0, 1, 3]
    (failed,) = ase.io.read("u.extxyz", ":")
    assert (failed.info["source"], failed.info["stopped_by"]) == (2, "failed")
    assert "0.001 Å" in failed.info["error"]
    assert failed.calc is None
    line = ["relax", "pot", "bad.extxyz", "--cell", "--out", "all.extxyz"]
    assert main(line) == 1
    ends = [atoms.info["stopped_by"] for atoms in ase.io.read("all.extxyz", ":")]
    assert ends == ["converged", "converged", "failed", "converged"]
    line = ["relax", "pot", "many.extxyz", "--steps", "1", "--out", "n.extxyz"]
    assert main([*line, "--unrelaxed", "all-of-them.extxyz"]) == 0
    assert (folder / "n.extxyz").read_bytes() == b""
    assert len(read_frames("all-of-them.extxyz")) == 8


def test_many_failures_are_not_all_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    coinciding = Atoms("Al2", positions=np.zeros((2, 3)), cell=[4, 4, 4], pbc=True)
    write_structures("worse.extxyz", [coinciding] * 7)
    assert main(["relax", "pot", "worse.extxyz", "--out", "o.extxyz"]) == 1
    err = capsys.readouterr().err
    assert err.count("failed: ") == 5
    assert err.endswith("athanor: and 2 more; their info key error says why\n")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--smax-GPa 0 --cell", "--smax-GPa 0.0: it must be positive and finite, in GPa"),
        ("--max-step nan", "--max-step nan: it must be positive"),
        ("--min-dist -1", "--min-dist -1.0: give 0 or a positive number"),
        ("--min-dist-share inf", "--min-dist-share inf: give 0 or"),
        ("--hydrostatic", "--hydrostatic acts on the cell: give --cell as well"),
        ("--cell-fixed-volume", "--cell-fixed-volume acts on the cell"),
        ("--cell --cell-fixed-volume --hydrostatic", "leaves nothing to relax of the cell"),
        ("--cell --cell-fixed-volume --pressure-GPa 1", "does nothing at a fixed volume"),
        ("--min-dist-share 0.8", "--min-dist-share needs a training set"),
        ("--candidates c.extxyz", "--candidates needs a training set"),
        ("--trajectories c", "--trajectories needs a training set"),
        ("--training x.als --min-dist-share 0.8", "without structures to take"),
        ("--workers 0", "--workers"),
        ("--out o.vasp", "o.vasp: relaxed structures have labels"),
        ("--unrelaxed o.extxyz", "two results have the same name"),
        ("--training train.extxyz --candidates many.extxyz", "many.extxyz exists already"),
        ("--training train.extxyz --trajectories pot", "pot exists already"),
        ("--unrelaxed many.extxyz", "many.extxyz exists already"),
    ],
)
def test_what_has_no_sense_is_one_sentence(
    folder: Path, options: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["relax", "pot", "many.extxyz", "--out", "o.extxyz", *options.split()]
    assert main(line) == 1
    err = capsys.readouterr().err
    assert err.startswith("athanor: error: ")
    assert said in err
    assert err.count("\n") == 1
    assert names(folder) == set()


def test_a_slab_has_no_cell_to_relax(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["relax", "pot", "slab.extxyz", "--cell", "--out", "o.extxyz"]) == 1
    assert "slab.extxyz, frame 0: the structure Al is not periodic" in capsys.readouterr().err
    assert main(["relax", "pot", "slab.extxyz", "--out", "o.extxyz"]) == 0
    info = ase.io.read("o.extxyz").info
    assert not {"volume", "enthalpy_per_atom", "pressure_GPa", "smax_GPa"} & set(info)


def stopped(folder: Path, line: list[str], *, by: signal.Signals, after: int) -> int:
    """Start a run, and stop it when it has kept so many files; its exit code."""
    with subprocess.Popen(
        [sys.executable, "-m", "athanor.cli", *line],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as driver:
        end = time.monotonic() + 60
        while len(list((folder / "o.extxyz.part").glob("*.npz"))) < after:
            assert time.monotonic() < end, "nothing was kept"
            time.sleep(0.005)
        driver.send_signal(by)
    return driver.returncode


def test_a_killed_run_carries_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_structures("lots.extxyz", rattled(120, seed=9))
    line = ["relax", "pot", "lots.extxyz", "--cell", "--fmax", "1e-5", "--workers", "2", "--out"]
    assert stopped(folder, [*line, "o.extxyz"], by=signal.SIGINT, after=1) == 130
    assert stopped(folder, [*line, "o.extxyz"], by=signal.SIGKILL, after=3) == -signal.SIGKILL
    assert not (folder / "o.extxyz").exists()
    other = [*line[:4], "--fmax", "1e-4", "--out", "o.extxyz"]
    assert main(other) == 1
    assert "with another --fmax (was 1e-05, is 0.0001)" in capsys.readouterr().err
    assert main([*line, "o.extxyz"]) == 0
    assert "of 120 have ended already" in capsys.readouterr().out
    assert main([*line, "whole.extxyz", "--workers", "1"]) == 0
    assert (folder / "o.extxyz").read_bytes() == (folder / "whole.extxyz").read_bytes()
    assert {"o.extxyz", "whole.extxyz", "lots.extxyz"} == names(folder)


def killed_before_placing(
    line: list[str], monkeypatch: pytest.MonkeyPatch, *, survived: int = 0
) -> None:
    """Run until all is staged and the first `survived` results are in their place."""
    place = relaxed._place
    placed: list[Path] = []

    def fragile(target: Path) -> None:
        if len(placed) == survived:
            raise FolderError("the power is gone")
        placed.append(target)
        place(target)

    with monkeypatch.context() as patch:
        patch.setattr(relaxed, "_place", fragile)
        assert main(line) == 1


@pytest.mark.parametrize("survived", range(4))
def test_a_run_that_ends_while_it_writes(
    folder: Path, survived: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = [*LINE, "--training", "train.extxyz", "--save", "1.01", "--halt", "1.6", "--out"]
    apart = ["--unrelaxed"]
    assert main([*line, "whole.extxyz", *apart, "whole.left.extxyz"]) == 0
    again = [*line, "o.extxyz", *apart, "o.left.extxyz"]
    killed_before_placing(again, monkeypatch, survived=survived)
    assert not (folder / "o.extxyz").exists()
    assert main(again) == 0
    for suffix in (".extxyz", ".left.extxyz", ".candidates.extxyz"):
        whole, other = (folder / f"{stem}{suffix}" for stem in ("whole", "o"))
        assert whole.read_bytes() == other.read_bytes()
    assert len(list((folder / "o.halted").iterdir())) == len(
        list((folder / "whole.halted").iterdir())
    )
    assert not any(name.startswith(".") or name.endswith(".part") for name in names(folder))


def test_a_killed_run_finished_with_other_places_loses_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ["relax", "pot", "many.extxyz", "--steps", "1", "--out"]
    assert main([*line, "whole.extxyz"]) == 0
    killed_before_placing([*line, "o.extxyz", "--unrelaxed", "u.extxyz"], monkeypatch)
    assert main([*line, "o.extxyz"]) == 0
    assert (folder / "o.extxyz").read_bytes() == (folder / "whole.extxyz").read_bytes()
    assert names(folder) == {"o.extxyz", "whole.extxyz"}
    (folder / "o.extxyz").unlink()
    killed_before_placing([*line, "o.extxyz"], monkeypatch)
    assert main([*line, "o.extxyz", "--unrelaxed", "u.extxyz"]) == 0
    assert (folder / "u.extxyz").read_bytes() == (folder / "whole.extxyz").read_bytes()
    assert (folder / "o.extxyz").read_bytes() == b""
    assert names(folder) == {"o.extxyz", "u.extxyz", "whole.extxyz"}


def test_staged_trajectories_of_other_places_are_removed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = [*LINE, "--training", "train.extxyz", "--save", "1.01", "--halt", "1.6", "--out"]
    killed_before_placing([*line, "o.extxyz", "--trajectories", "ways"], monkeypatch)
    assert ".ways.written" in names(folder)
    assert main([*line, "o.extxyz"]) == 0
    assert names(folder) == {"o.extxyz", "o.candidates.extxyz", "o.halted"}


def test_places_are_not_changed_once_something_is_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["relax", "pot", "many.extxyz", "--steps", "1", "--out", "o.extxyz"]
    killed_before_placing([*line, "--unrelaxed", "u.extxyz"], monkeypatch, survived=1)
    before = names(folder)
    capsys.readouterr()
    for other in ([], ["--unrelaxed", "v.extxyz"]):
        assert main([*line, *other]) == 1
        err = capsys.readouterr().err
        assert "u.extxyz holds results of this job already" in err
        assert err.endswith("finish it with the same line --unrelaxed u.extxyz\n")
        assert names(folder) == before
    assert main([*line, "--unrelaxed", "u.extxyz"]) == 0
    assert names(folder) == {"o.extxyz", "u.extxyz"}
    assert len(read_frames("u.extxyz")) == 8


def test_places_that_were_not_asked_for_are_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["relax", "pot", "many.extxyz", "--steps", "1", "--out", "o.extxyz"]
    killed_before_placing(line, monkeypatch)
    (folder / ".o.written.extxyz").rename(folder / "o.extxyz")
    assert main([*line, "--unrelaxed", "u.extxyz"]) == 1
    assert capsys.readouterr().err.endswith("with the same line without --unrelaxed\n")
    assert main(line) == 0
    assert len(read_frames("o.extxyz")) == 8


@pytest.mark.parametrize("marker", [b"", b"[]"])
def test_a_marker_without_places_is_staged_anew(
    folder: Path, marker: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ["relax", "pot", "many.extxyz", "--steps", "1", "--out", "o.extxyz"]
    killed_before_placing([*line, "--unrelaxed", "u.extxyz"], monkeypatch)
    (folder / "o.extxyz.part" / relaxed.PLACING).write_bytes(marker)
    assert main(line) == 0
    assert len(read_frames("o.extxyz")) == 8


def test_results_that_were_removed_are_written_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a kill just before the end the results are there, and so is the job's folder."""
    monkeypatch.setattr(relaxed, "_finish", lambda _: None)
    assert main([*LINE, "--out", "o.extxyz"]) == 0
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    before = (folder / "o.extxyz").read_bytes()
    (folder / "o.extxyz").unlink()
    assert main([*LINE, "--out", "o.extxyz"]) == 0
    assert (folder / "o.extxyz").read_bytes() == before
    assert names(folder) == {"o.extxyz"}


def test_the_help_says_what_grading_costs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["relax", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "All steps of a graded relaxation are kept in memory until it ends." in said


def test_two_runs_do_not_write_the_same(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from athanor.campaign.lock import only_writer

    with only_writer(folder / "o.extxyz.part"):
        assert main([*LINE, "--out", "o.extxyz"]) == 1
    assert "in use by another run" in capsys.readouterr().err
