"""Many relaxations: on processes, kept as they end, resumed, with workers that are killed."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from athanor.campaign import relaxations
from athanor.campaign._ended import Ended, packed, unpacked
from athanor.campaign.pools import performed
from athanor.campaign.relaxations import HEADER, Relaxations, Relaxer, fingerprint
from athanor.data.dataset import Dataset
from athanor.data.packing import npz_bytes, read_npz
from athanor.errors import FolderError, FormatError, StructureError
from athanor.potentials.lj import LennardJones
from athanor.query.doptimality import DOptimalityConfig, DOptimalQuery
from athanor.sample.relax import RelaxOptions
from athanor.structure import Frame, Labels

HERE = str(Path(__file__).parent)
AL = LennardJones(frozenset({"Al"}), cutoff=5.5, epsilon=0.2, sigma=2.5)
OPTIONS = RelaxOptions(cell="free", path=True, capacity=501)
LINE = {"structures": "a" * 64, "--fmax": "0.01"}


@dataclass(frozen=True)
class Deadly:
    """Aluminium; evaluating more than eight atoms kills the process, `times` times."""

    folder: Path
    times: int
    elements: frozenset[str] = frozenset({"Al"})
    cutoff: float = 5.5

    def predict(self, structures: Sequence[Atoms], *, stress: bool = True) -> list[Labels]:
        if max(map(len, structures)) > 8:
            with (self.folder / "deaths").open("ab") as file:
                file.write(b"x")
            if (self.folder / "deaths").stat().st_size <= self.times:
                os.kill(os.getpid(), signal.SIGKILL)
        return AL.predict(structures, stress=stress)

    def save(self, folder: Path) -> None:
        raise AssertionError("not saved")


@dataclass(frozen=True)
class Buggy(LennardJones):
    """What a programming error in somebody's potential looks like."""

    def predict(self, structures: Sequence[Atoms], *, stress: bool = True) -> list[Labels]:
        raise ZeroDivisionError


def rattled(count: int, *, seed: int = 0) -> list[Atoms]:
    rng = np.random.default_rng(seed)
    cells = []
    for _ in range(count):
        atoms = bulk("Al", a=4.0).repeat(2)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.normal(0, 0.03, (3, 3))), True)
        atoms.positions += rng.normal(0, 0.2, (len(atoms), 3))
        cells.append(atoms)
    return cells


def graded(structures: Sequence[Atoms]) -> DOptimalQuery:
    known = Dataset(
        tuple(
            Frame(atoms, Labels(0.0, np.zeros((len(atoms), 3)), None)) for atoms in structures[:2]
        )
    )
    query = DOptimalityConfig(save=1.01, halt=1.5).fit(AL, known)
    assert isinstance(query, DOptimalQuery)
    return query


def run(folder: Path, structures: Sequence[Atoms], **how: object) -> list[bytes]:
    """Relax all; what is kept of each, as bytes."""
    settings = {"potential": AL, "query": None, "options": OPTIONS, "workers": 1, **how}
    done = Relaxations(folder, LINE)
    ended = list(done.run(structures, **settings))  # type: ignore[arg-type]  # a table of settings
    assert len(done) == len(structures)
    assert len({one.index for one in ended}) == len(ended)
    return [npz_bytes(packed([done[index]])) for index in range(len(structures))]


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers import this file."""
    monkeypatch.syspath_prepend(HERE)


def test_the_number_of_workers_changes_no_bit(tmp_path: Path) -> None:
    structures = rattled(11)
    structures[4] = Atoms("Al2", positions=np.zeros((2, 3)), cell=[4, 4, 4], pbc=True)
    query = graded(structures)
    one, two, three = (
        run(tmp_path / str(workers), structures, query=query, workers=workers)
        for workers in (1, 2, 3)
    )
    assert one == two == three
    done = Relaxations(tmp_path / "1", LINE)
    ends = [done[index].info["stopped_by"] for index in range(11)]
    assert ends.count("failed") == 1
    assert (ends[4], done[4].labels) == ("failed", None)
    assert "nearer than 0.001 Å" in done[4].info["error"]
    assert "grade" in ends
    assert any(done[index].candidates for index in range(11))
    for index in range(11):
        assert bool(done[index].path) == (ends[index] == "grade")


def test_what_has_ended_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    structures = rattled(9)
    whole = run(tmp_path / "whole", structures)
    monkeypatch.setattr(relaxations, "AT_ONCE", 2)
    done = Relaxations(tmp_path / "part", LINE)
    running = done.run(structures, AL, None, options=OPTIONS, workers=1)
    some = [next(running).index for _ in range(5)]
    running.close()
    kept = sorted((tmp_path / "part").glob("*.npz"))
    kept[0].write_bytes(kept[0].read_bytes()[:-40])  # as a crash of the machine may leave it
    before = {path: path.stat().st_mtime_ns for path in kept[1:]}
    again = Relaxations(tmp_path / "part", LINE)
    assert len(again) == len(some) + 1 - 2  # the file it was read from has two
    assert run(tmp_path / "part", structures, workers=2) == whole
    assert {path: path.stat().st_mtime_ns for path in kept[1:]} == before


@pytest.mark.usefixtures("importable")
def test_a_killed_worker_costs_one_more_try(tmp_path: Path) -> None:
    structures = [*rattled(5), bulk("Al", a=4.1).repeat((3, 3, 1)), *rattled(2, seed=1)]
    potential = Deadly(tmp_path, times=1)
    assert run(tmp_path / "a", structures, potential=potential, workers=2) == run(
        tmp_path / "b", structures
    )


@pytest.mark.usefixtures("importable")
def test_a_structure_that_kills_every_worker_is_the_only_one_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    structures = [*rattled(3), bulk("Al", a=4.1).repeat((3, 3, 1)), *rattled(4, seed=1)]
    monkeypatch.setattr(relaxations.math, "ceil", lambda _: 4)  # all in two batches
    run(tmp_path / "a", structures, potential=Deadly(tmp_path, times=99), workers=2)
    done = Relaxations(tmp_path / "a", LINE)
    ends = [done[index].info["stopped_by"] for index in range(8)]
    assert ends == ["converged"] * 3 + ["failed"] + ["converged"] * 4
    assert "the worker process died (signal SIGKILL)" in done[3].info["error"]


def test_a_bug_in_a_potential_fails_structures_and_not_the_run(tmp_path: Path) -> None:
    potential = Buggy(frozenset({"Al"}), cutoff=5.5, epsilon=0.2, sigma=2.5)
    run(tmp_path / "a", rattled(2), potential=potential)
    info = Relaxations(tmp_path / "a", LINE)[1].info
    assert (info["stopped_by"], info["error"]) == ("failed", "ZeroDivisionError")


def test_another_line_is_told_what_differs(tmp_path: Path) -> None:
    run(tmp_path / "a", rattled(1))
    with pytest.raises(FolderError, match=r"with another --fmax \(was 0.01, is 0.02\); give the"):
        Relaxations(tmp_path / "a", {**LINE, "--fmax": "0.02"})
    with pytest.raises(FolderError, match=r"with another structures; give"):
        Relaxations(tmp_path / "a", {**LINE, "structures": "b" * 64})
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "letter.txt").write_text("mine")
    with pytest.raises(FolderError, match="was not made by athanor relax"):
        Relaxations(tmp_path / "b", LINE)
    (tmp_path / "a" / HEADER).write_text("[]")
    with pytest.raises(FolderError, match="was not made by athanor relax"):
        Relaxations(tmp_path / "a", LINE)


def test_a_folder_of_a_version_with_other_options(tmp_path: Path) -> None:
    Relaxations(tmp_path / "a", LINE)
    Relaxations(tmp_path / "a", {**LINE, "--new": "none"})  # not given: nothing differs
    with pytest.raises(FolderError, match=r"with another --new \(was none, is 3\); give the"):
        Relaxations(tmp_path / "a", {**LINE, "--new": "3"})
    Relaxations(tmp_path / "b", {**LINE, "--gone": "3"})
    with pytest.raises(FolderError, match=r"with another --gone \(was 3, is none\); give the"):
        Relaxations(tmp_path / "b", LINE)


def test_a_kill_while_the_header_is_written(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / f".{HEADER}.4711.part").write_text("{")
    (tmp_path / "a" / "lock").write_text("4711")
    assert len(Relaxations(tmp_path / "a", LINE)) == 0
    assert (tmp_path / "a" / HEADER).exists()


def test_what_cannot_be_read_for_once_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    structures = rattled(2)
    whole = run(tmp_path / "a", structures)
    before = {path: path.read_bytes() for path in (tmp_path / "a").glob("*.npz")}

    def broken(path: Path) -> bytes:
        raise OSError(errno.EIO, "Input/output error", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", broken)
        assert len(Relaxations(tmp_path / "a", LINE)) == 0
    assert {path: path.read_bytes() for path in (tmp_path / "a").glob("*.npz")} == before
    assert len(Relaxations(tmp_path / "a", LINE)) == 2
    assert run(tmp_path / "a", structures) == whole


def test_a_disk_that_is_full_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = Relaxations(tmp_path / "a", LINE)

    def full(path: Path, data: bytes) -> None:
        raise FolderError(f"{path}: no space left")

    monkeypatch.setattr(relaxations, "write_file", full)
    with pytest.raises(FolderError, match="no space left"):
        list(done.run(rattled(2), AL, None, options=OPTIONS, workers=1))
    assert len(done) == 0


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    structures = rattled(3)
    relaxer = Relaxer(AL, graded(structures), replace(OPTIONS, steps=3), tmp_path)
    ended = [relaxer._relaxed(index, atoms) for index, atoms in enumerate(structures)]
    ended.append(Ended.failed(3, structures[0], "no reason"))
    (tmp_path / "x.npz").write_bytes(npz_bytes(packed(ended)))
    found = unpacked(read_npz(tmp_path / "x.npz"), tmp_path / "x.npz")
    for one, other in zip(ended, found, strict=True):
        assert (one.index, one.info, one.atoms) == (other.index, other.info, other.atoms)
        assert [info for _, info in one.path] == [info for _, info in other.path]
        assert [atoms for atoms, _ in one.candidates] == [atoms for atoms, _ in other.candidates]
        assert (one.labels is None) == (other.labels is None)
        if one.labels is not None and other.labels is not None:
            assert np.array_equal(one.labels.forces, other.labels.forces)
    arrays = read_npz(tmp_path / "x.npz")
    del arrays["final_energy"]
    with pytest.raises(FormatError, match="not a file of relaxations"):
        unpacked(arrays, tmp_path / "x.npz")


def test_fingerprints_know_names_and_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "one").write_text("1")
    assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "b")
    assert fingerprint(tmp_path / "a" / "one") == fingerprint(tmp_path / "b" / "one")
    (tmp_path / "b" / "one").rename(tmp_path / "b" / "two")
    assert fingerprint(tmp_path / "a") != fingerprint(tmp_path / "b")
    (tmp_path / "a" / "one").write_text("2")
    assert fingerprint(tmp_path / "a") != fingerprint(tmp_path / "b")
    with pytest.raises(FormatError, match=r"absent: it cannot be read \(No such file"):
        fingerprint(tmp_path / "absent")


def test_an_input_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one").write_text("1")

    def denied(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", denied)
    with pytest.raises(FormatError, match=r"one: it cannot be read \(Permission denied\)"):
        fingerprint(tmp_path)


def _odd(number: int) -> None:
    if number % 2:
        raise StructureError(f"{number} is odd")


@pytest.mark.usefixtures("importable")
@pytest.mark.parametrize("workers", [1, 2])
def test_performed_yields_every_item_with_its_failure(workers: int, tmp_path: Path) -> None:
    found = dict(performed(_odd, range(5), workers=workers, log=tmp_path / "log"))
    assert {number for number, failure in found.items() if failure is None} == {0, 2, 4}
    assert str(found[3]) == "3 is odd"
    assert isinstance(found[3], StructureError)
