"""Pools, and starts from a file."""

from __future__ import annotations

import dataclasses
import gc
import re
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from athanor.data import batches
from athanor.errors import ConfigError, FormatError, StructureError
from athanor.potentials.lj import LennardJones
from athanor.query import Grade
from athanor.sample import Harvest, sampler_kinds, start_kinds
from athanor.sample.file import FileStart
from athanor.sample.pool import PoolSampler

ARGON = LennardJones(frozenset({"Ar"}), cutoff=6.5, epsilon=0.0104, sigma=3.4)


@dataclass(frozen=True)
class ByVolume:
    """Grade = Å³ per atom; refuses what `refuse` is the volume of."""

    save: float
    halt: float = 1e9
    refuse: float = -1.0

    def grade(self, structures: Sequence[Atoms]) -> list[Grade]:
        return [self._one(atoms) for atoms in structures]

    def _one(self, atoms: Atoms) -> Grade:
        value = atoms.get_volume() / len(atoms)
        if value == pytest.approx(self.refuse):
            raise StructureError("atoms 0 and 1 coincide")
        verdict = "halt" if value > self.halt else "save" if value > self.save else "keep"
        return Grade(value, None, verdict)

    def select(self, pool, grades, budget, rng) -> list[int]:  # type: ignore[no-untyped-def]  # unused
        raise AssertionError("a sampler selects nothing")


@pytest.fixture
def lengths() -> np.ndarray:
    return np.random.default_rng(8).permutation(np.linspace(5.0, 6.0, 100))


@pytest.fixture
def file(tmp_path: Path, lengths: np.ndarray) -> Path:
    path = tmp_path / "pool.xyz"
    ase.io.write(path, [bulk("Ar", "fcc", a=a) for a in lengths], format="extxyz")
    return path


def ran(path: Path, query: ByVolume, **keys: object) -> Harvest:
    sampler = PoolSampler.parse({"path": path, **keys}, where="[sample]")
    return sampler.run(Atoms(), ARGON, query, seed=0, workdir=Path())


def test_kinds_are_found() -> None:
    assert sampler_kinds()["pool"] is PoolSampler
    assert start_kinds()["file"] is FileStart
    assert "pool" not in start_kinds()


def test_what_the_query_would_save_comes_home(file: Path, lengths: np.ndarray) -> None:
    volumes = lengths**3 / 4
    harvest = ran(file, ByVolume(save=5.5**3 / 4, halt=5.9**3 / 4))
    wanted = [i for i, v in enumerate(volumes) if v > 5.5**3 / 4]
    assert [g.value for g in harvest.grades] == pytest.approx(volumes[wanted].tolist())
    assert {g.verdict for g in harvest.grades} == {"save", "halt"}
    assert harvest.reasons[0].endswith(f"in pool.xyz, structure {wanted[0]}")
    assert (harvest.steps, harvest.planned, harvest.stopped_by) == (100, 100, "completed")
    np.testing.assert_allclose(harvest.trace["grade"], volumes)


def test_what_is_unphysical_stays_and_words_are_told(file: Path, lengths: np.ndarray) -> None:
    class Floor(ByVolume):
        def _one(self, atoms: Atoms) -> Grade:
            grade = ByVolume._one(self, atoms)
            return dataclasses.replace(
                grade, because="too wide", unphysical=grade.verdict == "halt"
            )

    volumes = lengths**3 / 4
    harvest = ran(file, Floor(save=5.5**3 / 4, halt=5.9**3 / 4))
    wanted = volumes[(volumes > 5.5**3 / 4) & (volumes < 5.9**3 / 4)]
    assert [g.value for g in harvest.grades] == pytest.approx(wanted.tolist())
    assert all(" (too wide) in pool.xyz" in reason for reason in harvest.reasons)


def test_what_is_kept_is_held_and_nothing_else(
    file: Path, lengths: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "ATOMS_AT_ONCE", 7)
    alive: list[int] = []
    known: list[weakref.ref[Atoms]] = []

    class Watched(ByVolume):
        def grade(self, structures: Sequence[Atoms]) -> list[Grade]:
            known.extend(map(weakref.ref, structures))
            gc.collect()
            alive.append(sum(one() is not None for one in known))
            return ByVolume.grade(self, structures)

    harvest = ran(file, Watched(save=5.9**3 / 4))
    assert len(known) == 100
    assert 0 < len(harvest.structures) < 15
    assert max(alive) <= 2 * 7 + len(harvest.structures)


def test_stride_takes_every_nth(file: Path, lengths: np.ndarray) -> None:
    harvest = ran(file, ByVolume(save=0), stride=7)
    assert [g.value for g in harvest.grades] == pytest.approx((lengths[::7] ** 3 / 4).tolist())
    assert harvest.reasons[1].endswith("structure 7")


def test_a_structure_that_cannot_be_graded_is_named(file: Path, lengths: np.ndarray) -> None:
    with pytest.raises(StructureError, match=r"pool.xyz, structure 83: atoms 0 and 1 coincide"):
        ran(file, ByVolume(save=0, refuse=lengths[83] ** 3 / 4))


def test_a_missing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked for from the current directory, and the message says where that was."""
    monkeypatch.chdir(tmp_path)
    path = Path("some") / "nothing.xyz"
    says = f"there is no file {tmp_path / path}; relative paths count from the current directory"
    asked = (
        lambda: ran(path, ByVolume(save=0)),
        PoolSampler(path=path).check,
        lambda: FileStart(path=path).structures(1, np.random.default_rng(0)),
        FileStart(path=path).check,
    )
    for ask in asked:
        with pytest.raises(ConfigError, match=re.escape(says)):
            ask()


def test_a_file_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "pool.xyz").write_text("hello\n")
    with pytest.raises(FormatError, match=r"pool\.xyz, line 1: found 'hello'"):
        ran(tmp_path / "pool.xyz", ByVolume(save=0))


def test_a_relative_path(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    PoolSampler(path=Path(file.name)).check()
    assert ran(Path(file.name), ByVolume(save=0)).steps == 100


def test_an_empty_pool_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import athanor.data.formats

    (tmp_path / "empty.xyz").touch()
    monkeypatch.setattr(
        athanor.data.formats, "iter_structures", lambda path, species=None: iter(())
    )
    with pytest.raises(ConfigError, match="the pool is empty"):
        ran(tmp_path / "empty.xyz", ByVolume(save=0))
    with pytest.raises(ConfigError, match="it has no structures"):
        FileStart(path=tmp_path / "empty.xyz").structures(1, np.random.default_rng(0))


def test_starts_are_drawn_at_random_each_once_first(file: Path, lengths: np.ndarray) -> None:
    start = FileStart(path=file)
    drawn = start.structures(250, np.random.default_rng(4))
    volumes = [round(atoms.get_volume(), 6) for atoms in drawn]
    everything = sorted(np.round(lengths**3 / 4, 6))
    assert sorted(volumes[:100]) == sorted(volumes[100:200]) == pytest.approx(everything, abs=1e-5)
    assert volumes[:100] != volumes[100:200]
    assert len(set(volumes[200:])) == 50
    again = start.structures(250, np.random.default_rng(4))
    assert drawn == again
    assert start.structures(0, np.random.default_rng(4)) == []
