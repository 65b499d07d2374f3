"""convert and mindist: which structures, in which cell, of a state, how near."""

from __future__ import annotations

from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from mlip_states import SPECIES, Case, cells, second

import athanor
from athanor.cli import main
from athanor.data.formats import read_frames, read_structures, write_structures
from athanor.data.lattice import reduced
from athanor.errors import StructureError
from athanor.potentials.lj import LennardJones


def potential() -> LennardJones:
    return LennardJones(frozenset(SPECIES), cutoff=4.5, epsilon=0.2, sigma=2.3)


def skewed(count: int, *, seed: int) -> list[Atoms]:
    """Cells described by long vectors, atoms far outside, some cells left-handed."""
    rng = np.random.default_rng(seed)
    found = cells(count, seed=seed)
    for atoms in found:
        mix = np.eye(3) + np.triu(rng.integers(-3, 4, (3, 3)), 1)
        atoms.set_cell((mix @ atoms.cell.array)[rng.permutation(3)])
        atoms.positions += rng.integers(-4, 5, atoms.positions.shape) @ atoms.cell.array
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    found = skewed(9, seed=21)
    write_structures(tmp_path / "nine.extxyz", found, labels=potential().predict(found))
    return tmp_path


def test_reduced_is_the_same_crystal() -> None:
    model = potential()
    for atoms in skewed(12, seed=22):
        labels = model.predict([atoms])[0]
        found, turned = reduced(atoms, labels)
        assert turned is not None
        assert np.abs(np.triu(found.cell.array, 1)).max() < 1e-12
        assert found.cell.lengths().sum() <= atoms.cell.lengths().sum() + 1e-9
        scaled = found.get_scaled_positions(wrap=False)
        assert scaled.min() > -1e-6
        assert scaled.max() < 1 + 1e-6
        assert found.get_volume() == pytest.approx(atoms.get_volume())
        # the potential says of the new one what the labels say, turned
        fresh = model.predict([found])[0]
        assert turned.energy == pytest.approx(fresh.energy, rel=1e-9)
        largest = np.abs(fresh.forces).max()
        np.testing.assert_allclose(turned.forces, fresh.forces, atol=1e-9 * largest)
        np.testing.assert_allclose(turned.stress, fresh.stress, atol=1e-9 * largest)
        assert turned.energy == labels.energy
        bare, none = reduced(atoms)
        assert none is None
        assert bare == found


def test_only_a_crystal_is_reduced() -> None:
    slab = Atoms("Al2", positions=[[0, 0, 0], [0, 0, 2]], cell=[3, 3, 9], pbc=[True, True, False])
    with pytest.raises(StructureError, match="periodic in all three directions"):
        reduced(slab)


@pytest.mark.parametrize(
    ("options", "kept"),
    [("", range(9)), ("--every 4", [0, 4, 8]), ("--every 20", [0]), ("--last", [8])],
)
def test_which_structures_are_converted(options: str, kept: list[int], folder: Path) -> None:
    assert main(["convert", "nine.extxyz", "some.extxyz", *options.split()]) == 0
    every, some = read_frames("nine.extxyz"), read_frames("some.extxyz")
    assert len(some) == len(kept)
    for frame, index in zip(some, kept, strict=True):
        assert frame.labels.energy == every[index].labels.energy
        np.testing.assert_array_equal(frame.atoms.positions, every[index].atoms.positions)


def test_convert_to_the_reduced_cell(folder: Path) -> None:
    assert main(["convert", "nine.extxyz", "short.extxyz", "--reduce", "--every", "2"]) == 0
    model = potential()
    for frame in read_frames("short.extxyz"):
        fresh = model.predict([frame.atoms])[0]
        assert frame.labels.energy == pytest.approx(fresh.energy, rel=1e-9)
        largest = np.abs(fresh.forces).max()
        np.testing.assert_allclose(frame.labels.forces, fresh.forces, atol=1e-9 * largest)


def test_convert_to_one_file_each(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "nine.extxyz", "POSCAR", "--split", "--every", "3"]) == 0
    assert sorted(path.name for path in folder.glob("POSCAR*")) == ["POSCAR0", "POSCAR1", "POSCAR2"]
    for number, atoms in enumerate(read_structures("nine.extxyz")[::3]):
        read = ase.io.read(f"POSCAR{number}", format="vasp")
        assert sorted(read.symbols) == sorted(atoms.symbols)
        np.testing.assert_allclose(read.cell.array, atoms.cell.array, atol=1e-9)
    capsys.readouterr()
    # none is written unless all can be
    (folder / "one2.extxyz").write_text("")
    assert main(["convert", "nine.extxyz", "one.extxyz", "--split"]) == 1
    assert "one2.extxyz exists already" in capsys.readouterr().err
    assert not (folder / "one0.extxyz").exists()
    assert main(["convert", "nine.extxyz", "two.extxyz", "--split"]) == 0
    assert (
        read_frames("two8.extxyz")[0].labels.energy == read_frames("nine.extxyz")[8].labels.energy
    )


def test_convert_a_state(folder: Path) -> None:
    case = Case(folder)
    (folder / "state.als").write_bytes(second(case.text, case.rows, case.origins, case.texts))
    species = ["--species", "Al,Ni"]
    assert main(["convert", "state.als", "active.cfg", *species]) == 0
    named = [k for k in dict.fromkeys(case.origins) if k >= 0]
    found = read_structures("active.cfg", SPECIES)
    assert len(found) == len(named)
    for atoms, index in zip(found, named, strict=True):
        np.testing.assert_array_equal(atoms.positions, case.structures[index].positions)
    assert main(["convert", "state.als", "pot", *species]) == 0
    assert main(["convert", "state.als", "again.mtp", *species]) == 0
    expected = case.potential.predict(case.new)
    for loaded in (athanor.load("pot"), athanor.load("again.mtp", SPECIES)):
        for one, other in zip(loaded.predict(case.new), expected, strict=True):
            assert one.energy == pytest.approx(other.energy, abs=1e-12)
    # the folder is the same potential: the state goes with it
    write_structures("new.extxyz", case.new)
    assert main(["grade", "pot", "state.als", "new.extxyz", "--out", "graded.extxyz"]) == 0
    grades = [atoms.info["grade"] for atoms in ase.io.read("graded.extxyz", ":")]
    np.testing.assert_allclose(grades, case.expected("structure"), rtol=1e-6)


def test_cfg_is_written_in_the_order_of_the_potentials_species(folder: Path) -> None:
    """Whoever comes with `.cfg` goes on with `.cfg`."""
    case = Case(folder)
    write_structures("new.cfg", case.new, species=SPECIES)
    write_structures("train.cfg", case.structures, species=SPECIES)
    names = ["--species", "Al,Ni"]
    for verb in (["evaluate", "pot.mtp"], ["grade", "pot.mtp", "train.cfg"]):
        out = f"{verb[0]}.cfg"
        assert main([*verb, "new.cfg", *names, "--out", out]) == 0
        for one, other in zip(read_structures(out, SPECIES), case.new, strict=True):
            assert list(one.symbols) == list(other.symbols)
    assert main(["select", "pot.mtp", "train.cfg", "new.cfg", *names, "--out", "s.cfg"]) == 0
    assert set(read_structures("s.cfg", SPECIES)[0].symbols) <= set(SPECIES)


def test_convert_the_state_of_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = Case(folder)
    m = len(case.rows)
    (folder / "state.als").write_bytes(second(case.text, 1e-5 * np.eye(m), [-1] * m, []))
    assert main(["convert", "state.als", "active.cfg", "--species", "Al,Ni"]) == 1
    assert "its active set is empty" in capsys.readouterr().err


def test_mindist_writes_and_leaves_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mindist", "nine.extxyz", "--out", "all.extxyz"]) == 0
    assert "9 of 9 structures written to all.extxyz" in capsys.readouterr().err
    distances = [atoms.info["mindist"] for atoms in ase.io.read("all.extxyz", ":")]
    limit = float(np.median(distances))
    line = ["mindist", "nine.extxyz", "--json", "--out", "far.extxyz", "--at-least", str(limit)]
    assert main(line) == 0
    kept = [index for index, one in enumerate(distances) if one >= limit]
    assert len(kept) == 5
    every = read_frames("nine.extxyz")
    for frame, index in zip(read_frames("far.extxyz"), kept, strict=True):
        assert frame.labels.energy == every[index].labels.energy


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("convert nine.extxyz POSCAR", "--split gives each a file of its own"),
        ("calc-efs pot.mtp nine.extxyz o.cfg", "MLIP's is 'athanor evaluate' here"),
        ("select_add pot.mtp a.cfg b.cfg c.cfg", "MLIP's is 'athanor select' here"),
        ("calc-nothing pot.mtp", "No such command 'calc-nothing'; athanor --help"),
        ("fit pot.mtp nine.extxyz --out o", "found a potential, expected a recipe"),
        ("convert nine.extxyz o.cfg --last --every 2", "--last and --every exclude each other"),
        ("convert pot o --last", "pot is a potential: --every"),
        ("convert pot.mtp o --reduce --species Al,Ni", "pot.mtp is a potential: --every"),
        ("convert nine.extxyz o.cfg --every 0", "--every"),
        ("convert slab.extxyz o.extxyz --reduce", "slab.extxyz, frame 1: only a structure that is"),
        ("convert state.als o.cfg", "name them: --species Al,Ni"),
        ("convert pot.mtp o", "name the species in their order"),
        ("mindist nine.extxyz --at-least 2", "give --out as well"),
        ("mindist nine.extxyz --at-least 20 --out o.extxyz", "give --at-least less"),
        ("mindist nine.extxyz --out nine.extxyz", "nine.extxyz exists already"),
    ],
)
def test_what_is_refused(
    line: str, said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = Case(folder)
    (folder / "state.als").write_bytes(second(case.text, case.rows, case.origins, case.texts))
    potential().save(folder / "pot")
    slab = Atoms("Al2", positions=[[0, 0, 0], [0, 0, 2]], cell=[3, 3, 9], pbc=[True, True, False])
    write_structures(folder / "slab.extxyz", [skewed(1, seed=1)[0], slab])
    before = sorted(path.name for path in folder.iterdir())
    assert main(line.split()) == 1
    assert said in " ".join(capsys.readouterr().err.split())
    assert sorted(path.name for path in folder.iterdir()) == before
