"""Pools larger than memory: read, graded, chosen from and written piece by piece, or not at all."""

from __future__ import annotations

import gc
import gzip
import os
import signal
import subprocess
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from athanor.cli import main
from athanor.cli.progress import progress, size
from athanor.data import batches
from athanor.data.batches import batches_of
from athanor.data.census import Census, census
from athanor.data.dataset import Dataset
from athanor.data.durable import whole_file
from athanor.data.formats import iter_structures, read_frames, write_structures
from athanor.data.writer import structure_writer
from athanor.errors import ConfigError, FolderError, FormatError
from athanor.potentials.lj import LennardJones
from athanor.query import _search
from athanor.query.doptimality import DOptimalityConfig
from athanor.structure import Frame

ALUMINIUM = LennardJones(frozenset({"Al"}), cutoff=5.5, epsilon=0.2, sigma=2.5)


def drawn(count: int, *, seed: int, spread: float = 0.3) -> list[Atoms]:
    """Shaken cells of 8 atoms, of various densities."""
    rng = np.random.default_rng(seed)
    cells = []
    for _ in range(count):
        atoms = bulk("Al", a=float(rng.uniform(3.9, 4.3))).repeat(2)
        atoms.positions += rng.normal(0, spread, (len(atoms), 3))
        cells.append(atoms)
    return cells


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a potential and a training set; batches are of ten structures."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(batches, "ATOMS_AT_ONCE", 80)
    ALUMINIUM.save(tmp_path / "pot")
    write_structures("train.extxyz", drawn(5, seed=1, spread=0.05))
    return tmp_path


@pytest.mark.parametrize("suffix", ["extxyz", "cfg"])
def test_a_file_is_read_as_far_as_is_asked_for(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"s.{suffix}"
    structures = drawn(40, seed=2)
    write_structures(path, structures, species=["Al"])
    with path.open("a") as file:
        file.write("nonsense\n")
    found = list(islice(iter_structures(path, ["Al"]), 40))
    for atoms, right in zip(found, structures, strict=True):
        np.testing.assert_array_equal(atoms.positions, right.positions)
    line = path.read_text().count("\n")
    with pytest.raises(FormatError, match=rf"s.{suffix}, line {line}: found 'nonsense'"):
        list(iter_structures(path, ["Al"]))


@pytest.mark.parametrize("name", ["s.traj", "s.xyz.gz", "XDATCAR"])
def test_other_formats_pass_by_too(name: str, tmp_path: Path) -> None:
    structures = [atoms.copy() for atoms in drawn(5, seed=3)]
    for atoms in structures:
        atoms.set_cell(structures[0].cell)
    ase.io.write(tmp_path / name, structures)
    found = list(iter_structures(tmp_path / name))
    for atoms, right in zip(found, structures, strict=True):
        np.testing.assert_allclose(
            atoms.get_scaled_positions(), right.get_scaled_positions(), atol=1e-6
        )


def test_warnings_stay_on_while_structures_pass_by(tmp_path: Path) -> None:
    write_structures(tmp_path / "s.extxyz", drawn(3, seed=4))
    for _ in iter_structures(tmp_path / "s.extxyz"):
        with pytest.warns(UserWarning, match="still heard"):
            warnings.warn("still heard", stacklevel=1)
        with pytest.raises(FloatingPointError), np.errstate(divide="raise"):
            np.ones(1) / np.zeros(1)
        with pytest.warns(RuntimeWarning):
            np.ones(1) / np.zeros(1)


def test_batches_are_of_few_atoms_or_of_one_structure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "ATOMS_AT_ONCE", 20)
    small, large = drawn(1, seed=5)[0], drawn(1, seed=5)[0].repeat(2)
    given = [small, small, small, large, small]
    assert [len(batch) for batch in batches_of(given)] == [2, 1, 1, 1]
    assert [atoms for batch in batches_of(iter(given)) for atoms in batch] == given
    assert list(batches_of([])) == []


def test_a_census_counts_without_reading(tmp_path: Path) -> None:
    structures = [*drawn(3, seed=6), drawn(1, seed=6)[0].repeat(2)]
    for name in ("s.extxyz", "s.cfg", "s.xyz"):
        write_structures(tmp_path / name, structures, species=["Al"])
        assert census(tmp_path / name) == Census(4, 88, 64)
    packed = tmp_path / "p.xyz.gz"
    packed.write_bytes(gzip.compress((tmp_path / "s.xyz").read_bytes()))
    assert census(packed) == Census(4, 88, 64)
    (tmp_path / "v.xyz").write_text("1\n\nAl 0 0 0\nVEC1 4 0 0\nVEC2 0 4 0\n1\n\nAl 0 0 0\n\n")
    assert census(tmp_path / "v.xyz") == Census(2, 2, 1)
    (tmp_path / "size.cfg").write_text("BEGIN_CFG\n Size 3\nEND_CFG\n")
    assert census(tmp_path / "size.cfg") == Census(1, 3, 3)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("s.xyz", b"hello\n"),
        ("s.xyz", b""),
        ("s.xyz", b"1\n\nAl 0 0 0\n\xff\xfe\n"),
        ("s.xyz.gz", b"not packed"),
        ("s.cfg", b"BEGIN_CFG\n Size\n  many\n"),
        ("POSCAR", b"1\n"),
        ("s.traj", b"1\n"),
    ],
)
def test_what_cannot_be_counted_is_not(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert census(tmp_path / name) is None
    assert census(tmp_path / "absent.xyz") is None


@pytest.mark.parametrize("suffix", ["extxyz", "xyz", "cfg"])
def test_what_is_written_one_by_one_is_what_is_written_at_once(suffix: str, tmp_path: Path) -> None:
    structures = drawn(4, seed=7)
    labels = ALUMINIUM.predict(structures)
    info = [{"grade": 0.1 * index, "verdict": "save"} for index in range(4)]
    one, two = tmp_path / f"one.{suffix}", tmp_path / f"two.{suffix}"
    with structure_writer(one, species=["Al"]) as writer:
        for atoms, label, keys in zip(structures, labels, info, strict=True):
            writer.write(atoms, labels=label, info=keys)
    assert writer.written == 4
    write_structures(two, structures, labels=labels, info=info, species=["Al"])
    assert one.read_bytes() == two.read_bytes()
    assert len(read_frames(one, ["Al"])) == 4


def test_a_block_that_fails_leaves_no_file(tmp_path: Path) -> None:
    path, structure = tmp_path / "s.extxyz", drawn(1, seed=8)[0]

    def fails() -> None:
        with structure_writer(path) as writer:
            writer.write(structure)
            assert list(tmp_path.iterdir()) != []
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_came_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "s.extxyz"
    path.write_text("mine")
    with pytest.raises(FolderError, match="exists already"), structure_writer(path):
        raise AssertionError("not reached")
    path.unlink()
    with pytest.raises(FolderError, match="exists already"), structure_writer(path):
        path.write_text("mine")
    assert path.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="such a suffix"), structure_writer(tmp_path / "POSCAR"):
        raise AssertionError("not reached")
    with (
        pytest.raises(FolderError, match="cannot be written"),
        whole_file(tmp_path / "no" / "file"),
    ):
        raise AssertionError("not reached")
    full = Path("/dev/full")
    if full.exists():
        (tmp_path / f".s.xyz.{os.getpid()}.part").symlink_to(full)
        with (
            pytest.raises(FolderError, match="no space left"),
            whole_file(tmp_path / "s.xyz") as write,
        ):
            write(b"x" * 100_000)


def peak(run: Callable[[], object]) -> int:
    """Most bytes allocated by Python and NumPy at a time while something runs."""
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.fixture
def frozen() -> Iterator[None]:
    """What is there already is not looked through by the garbage collector, which is quick then."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("frozen")
def test_memory_does_not_grow_with_the_pool(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is remembered of each structure of a pool: its name, in `select`."""
    monkeypatch.setattr(batches, "ATOMS_AT_ONCE", 640)
    few, many = ([atoms.repeat((2, 2, 1)) for atoms in drawn(count, seed=9)] for count in (20, 140))
    write_structures("few.extxyz", few)
    write_structures("many.extxyz", many)
    structure = peak(lambda: [atoms.copy() for atoms in many]) / len(many)
    inner = LennardJones.features

    def features(self: LennardJones, structures: list[Atoms]) -> list[np.ndarray]:
        gc.collect()  # else the peak is a matter of when Python clears up
        return inner(self, structures)

    monkeypatch.setattr(LennardJones, "features", features)

    def ran(verb: str, name: str) -> None:
        Path("o.extxyz").unlink(missing_ok=True)
        assert main([verb, "pot", "train.extxyz", f"{name}.extxyz", "--out", "o.extxyz"]) == 0

    for verb in ("grade", "select"):
        ran(verb, "many")  # what is imported, or cached up to a limit, is not counted
        small, large = (peak(partial(ran, verb, name)) for name in ("few", "many"))
        assert (large - small) / (len(many) - len(few)) < 0.5 * structure


def test_the_number_and_the_memory_are_told_first(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_structures("pool.extxyz", drawn(30, seed=10))
    assert main(["grade", "pot", "train.extxyz", "pool.extxyz", "--out", "o.extxyz"]) == 0
    said, done = capsys.readouterr().out.splitlines()
    assert said.startswith("pool.extxyz: 30 structures, 240 atoms; grading them batch by batch")
    assert said.endswith(" MB of memory")
    assert done.startswith("30 structures graded")
    ase.io.write("pool.traj", drawn(30, seed=10))
    assert main(["select", "pot", "train.extxyz", "pool.traj", "--out", "p.extxyz"]) == 0
    assert capsys.readouterr().out.startswith("pool.traj: selecting them batch by batch")


@pytest.mark.parametrize("verb", ["grade", "select"])
def test_what_cannot_be_written_is_said_before_anything_is_computed(
    folder: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, "pot", "absent.extxyz", "absent.extxyz", "--out", "POSCAR"]) == 1
    assert "only to .extxyz, .xyz, .cfg; give the file such a suffix" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["grade", "select"])
@pytest.mark.parametrize("end", ["8\n", "1\nProperties=species:S:1:pos:R:3\nAl 0 0 nan\n"])
def test_a_pool_that_is_wrong_at_its_end_leaves_nothing(
    folder: Path, verb: str, end: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_structures("pool.extxyz", drawn(35, seed=11))
    with Path("pool.extxyz").open("a") as file:
        file.write(end)
    before = sorted(folder.iterdir())
    assert main([verb, "pot", "train.extxyz", "pool.extxyz", "--out", "o.extxyz"]) == 1
    assert "pool.extxyz, " in capsys.readouterr().err
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("verb", ["grade", "select"])
def test_a_refused_structure_in_a_later_pass_or_batch_is_named(
    folder: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = drawn(35, seed=12)
    pool[33].positions[3] = pool[33].positions[5]
    write_structures("pool.extxyz", pool)
    assert main([verb, "pot", "train.extxyz", "pool.extxyz", "--out", "o.extxyz"]) == 1
    assert "pool.extxyz, frame 33: " in capsys.readouterr().err


@pytest.mark.parametrize(("verb", "calls"), [("grade", 3), ("select", 3), ("select", 9)])
def test_an_interrupted_verb_leaves_nothing(
    folder: Path, verb: str, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the middle of a pass; `select` also in its second."""
    write_structures("pool.extxyz", drawn(60, seed=13))
    inner, asked = LennardJones.features, []

    def features(self: LennardJones, structures: list[Atoms]) -> list[np.ndarray]:
        asked.append(len(structures))
        if len(asked) == calls:
            raise KeyboardInterrupt
        return inner(self, structures)

    before = sorted(folder.iterdir())
    monkeypatch.setattr(LennardJones, "features", features)
    line = [verb, "pot", "train.extxyz", "pool.extxyz", "--out", "o.extxyz"]
    assert main(line) == 130
    assert sorted(folder.iterdir()) == before
    assert main(line) == 0


def test_a_killed_grade_leaves_nothing_under_its_name(folder: Path) -> None:
    write_structures("pool.extxyz", drawn(50, seed=14) * 100)
    line = ["grade", "pot", "train.extxyz", "pool.extxyz", "--out", "o.extxyz"]
    running = subprocess.Popen(
        [sys.executable, "-m", "athanor.cli", *line],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
    )
    begun = time.monotonic()
    while not any(part.stat().st_size for part in folder.glob(".o.extxyz.*")):
        assert running.poll() is None
        assert time.monotonic() - begun < 100
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    assert not Path("o.extxyz").exists()


def test_select_passes_until_no_grade_is_above_save(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few rows are held: the pool passes by more often then."""
    write_structures("pool.extxyz", drawn(120, seed=15))
    monkeypatch.setattr(_search, "room_beside", lambda m: m)
    assert main(["select", "pot", "train.extxyz", "pool.extxyz", "--out", "few.extxyz"]) == 0
    chosen = ase.io.read("few.extxyz", ":")
    assert {"pool_index", "grade"} <= set(chosen[0].info)
    pool = list(iter_structures("pool.extxyz"))
    training = [*iter_structures("train.extxyz"), *(pool[a.info["pool_index"]] for a in chosen)]
    write_structures("more.extxyz", training)
    assert main(["grade", "pot", "more.extxyz", "pool.extxyz", "--out", "after.extxyz"]) == 0
    assert max(a.info["grade"] for a in ase.io.read("after.extxyz", ":")) <= 1.1 + 1e-6


def test_memory_is_foreseen() -> None:
    """What the verbs say beforehand: derivatives of a batch, active rows, and those near them."""
    train = [
        Frame(atoms, labels)
        for atoms, labels in zip(drawn(5, seed=1), ALUMINIUM.predict(drawn(5, seed=1)), strict=True)
    ]
    fitted = DOptimalityConfig().fit(ALUMINIUM, Dataset.of(train))
    pool = drawn(40, seed=16)
    tables = sum(table.nbytes for table in ALUMINIUM.features(pool))
    assert tables < fitted.held(320) < fitted.held(320, selecting=True)
    assert fitted.held(640) > fitted.held(320) + tables


def test_progress_without_a_total_tells_what_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    times = iter([0.0, 5.0, 70.0])
    monkeypatch.setattr("athanor.cli.progress.time.monotonic", lambda: next(times))
    with progress("grading", total=None) as advance:
        advance(2)
        advance(3)
    assert capsys.readouterr().err == "grading: 5 in 1 min 10 s\n"


def test_progress_without_a_total_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with progress("grading", total=None) as advance:
        advance(2)


@pytest.mark.parametrize(
    ("n_bytes", "words"), [(10, "1 MB"), (4.4e6, "4 MB"), (999e6, "999 MB"), (1.44e9, "1.4 GB")]
)
def test_sizes_for_people(n_bytes: float, words: str) -> None:
    assert size(n_bytes) == words
