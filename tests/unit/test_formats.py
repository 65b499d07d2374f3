"""Structures and labels in and out of files."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator

from athanor.data.formats import read_frames, read_structures, write_structures
from athanor.errors import ConfigError, FolderError, FormatError, InputError, LabelError
from athanor.structure import Labels

EXTXYZ = """2
Lattice="4.0 0.0 0.0 0.0 5.0 0.0 0.0 0.0 6.0" \
Properties=species:S:1:pos:R:3:forces:R:3 \
energy=-1.5 stress="1 2 3 2 4 5 3 5 6" pbc="T T T"
Al 0.0 0.1 0.2 1.0 2.0 3.0
Ni 2.0 2.1 2.2 -1.0 -2.0 -3.0
1
Properties=species:S:1:pos:R:3:tag:I:1:forces:R:3 energy=2.5
Cu 0.0 0.0 0.0 7 0.1 0.2 0.3
"""


def put(folder: Path, text: str, name: str = "s.extxyz") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def random_frames() -> tuple[list[Atoms], list[Labels]]:
    rng = np.random.default_rng(17)
    structures, labels = [], []
    for pbc in (True, False, (True, False, True)):
        atoms = bulk("NiAl", "cesiumchloride", a=2.9) * (2, 1, 1)
        atoms.rattle(0.1, rng=rng)
        atoms.set_cell(atoms.cell.array + rng.normal(size=(3, 3)) * 0.01)
        atoms.pbc = pbc
        stress = rng.normal(size=(3, 3)) * 1e-3
        structures.append(atoms)
        labels.append(
            Labels(
                float(rng.normal() * 100),
                rng.normal(size=(4, 3)),
                (stress + stress.T) if atoms.pbc.all() else None,
            )
        )
    structures.append(Atoms("H", positions=[[1 / 3, 0, 0]]))
    labels.append(Labels(0.1, np.zeros((1, 3)), None))
    return structures, labels


def test_meaning(tmp_path: Path) -> None:
    data = read_frames(put(tmp_path, EXTXYZ), level="dft")
    assert len(data) == 2
    first, second = data
    assert list(first.atoms.symbols) == ["Al", "Ni"]
    assert first.atoms.pbc.all()
    assert first.labels.energy == -1.5
    np.testing.assert_array_equal(first.labels.forces, [[1, 2, 3], [-1, -2, -3]])
    assert first.labels.stress is not None
    np.testing.assert_array_equal(first.labels.stress, [[1, 2, 3], [2, 4, 5], [3, 5, 6]])
    assert first.level == "dft"
    assert [frame.origin for frame in data] == [f"{tmp_path / 's.extxyz'}#{i}" for i in (0, 1)]
    np.testing.assert_array_equal(second.labels.forces, [[0.1, 0.2, 0.3]])
    assert second.labels.stress is None
    for atoms in (*data.structures, *read_structures(tmp_path / "s.extxyz")):
        assert atoms.info == {}
        assert atoms.calc is None
        assert set(atoms.arrays) == {"numbers", "positions"}


@pytest.mark.parametrize("suffix", ["extxyz", "xyz", "cfg"])
def test_round_trip(suffix: str, tmp_path: Path) -> None:
    structures, labels = random_frames()
    path = tmp_path / f"s.{suffix}"
    species = ("Ni", "Al", "H")
    write_structures(path, structures, labels=labels, species=species)
    data = read_frames(path, species)
    for atoms, ours, frame in zip(structures, labels, data, strict=True):
        np.testing.assert_array_equal(frame.atoms.positions, atoms.positions)
        np.testing.assert_array_equal(frame.atoms.numbers, atoms.numbers)
        if suffix != "cfg":  # which keeps periodic vectors only, and puts them first
            np.testing.assert_array_equal(frame.atoms.cell.array, atoms.cell.array)
            assert frame.atoms.pbc.tolist() == atoms.pbc.tolist()
        assert frame.labels.energy == ours.energy
        np.testing.assert_array_equal(frame.labels.forces, ours.forces)
        assert (frame.labels.stress is None) == (ours.stress is None)
        if ours.stress is not None and frame.labels.stress is not None:
            np.testing.assert_allclose(frame.labels.stress, ours.stress, rtol=1e-13)


def test_ase_reads_what_we_write(tmp_path: Path) -> None:
    structures, labels = random_frames()
    info = [
        {
            "grade": 0.1 + 0.2,
            "pool_index": np.int64(7),
            "converged": True,
            "reason": 'grade "12" \\ halt\n at 3',
            "per_atom": np.array([1 / 3, 2.0]),
            "counts": [1, 2],
            "word": "save",
        }
    ] * len(structures)
    write_structures(tmp_path / "s.extxyz", structures, labels=labels, info=info)
    for atoms, ours, read in zip(
        structures, labels, ase.io.read(tmp_path / "s.extxyz", ":"), strict=True
    ):
        assert read.get_potential_energy() == ours.energy
        np.testing.assert_array_equal(read.get_forces(), ours.forces)
        np.testing.assert_array_equal(read.positions, atoms.positions)
        if ours.stress is not None:
            np.testing.assert_array_equal(read.get_stress(voigt=False), ours.stress)
        assert read.info["grade"] == 0.1 + 0.2
        assert read.info["pool_index"] == 7
        assert read.info["converged"] is True
        assert read.info["reason"] == 'grade "12" \\ halt at 3'
        np.testing.assert_array_equal(read.info["per_atom"], [1 / 3, 2.0])
        np.testing.assert_array_equal(read.info["counts"], [1, 2])
        assert read.info["word"] == "save"


def test_what_ase_wrote_is_read(tmp_path: Path) -> None:
    atoms = bulk("Al", cubic=True)
    atoms.calc = SinglePointCalculator(
        atoms, energy=-3.0, forces=np.ones((4, 3)), stress=np.arange(6.0)
    )
    for name in ("s.extxyz", "s.traj"):
        ase.io.write(tmp_path / name, [atoms, atoms])
        data = read_frames(tmp_path / name)
        assert len(data) == 2
        assert data[1].labels.energy == -3.0
        assert data[1].labels.stress is not None
        np.testing.assert_array_equal(data[1].labels.stress, [[0, 5, 4], [5, 1, 3], [4, 3, 2]])


@pytest.mark.parametrize(
    ("old", "new", "stress"),
    [
        ("energy", "REF_energy", 1.0),
        ("forces", "dft_forces", 1.0),
        ("forces", "force", 1.0),
        ("stress", "REF_stress", 1.0),
        ("stress", "virial", -1.0 / 120),
        ('stress="1 2 3 2 4 5 3 5 6"', 'REF_stress="1 4 6 5 3 2"', 1.0),
        ('stress="1 2 3 2 4 5 3 5 6"', "", None),
    ],
)
def test_names_of_labels(old: str, new: str, stress: float | None, tmp_path: Path) -> None:
    data = read_frames(put(tmp_path, EXTXYZ.replace(old, new)))
    assert [frame.labels.energy for frame in data] == [-1.5, 2.5]
    np.testing.assert_array_equal(data[0].labels.forces[0], [1, 2, 3])
    if stress is None:
        assert data[0].labels.stress is None
    else:
        assert data[0].labels.stress is not None
        expected = np.array([[1, 2, 3], [2, 4, 5], [3, 5, 6]]) * stress
        np.testing.assert_allclose(data[0].labels.stress, expected, rtol=1e-14)


@pytest.mark.parametrize("prefix", ["REF_", "dft_"])
def test_two_levels_of_theory_are_not_mixed(prefix: str, tmp_path: Path) -> None:
    """A plain energy of another origin stands beside labels that are whole under a prefix."""
    text = EXTXYZ.replace("forces:R", f"{prefix}forces:R").replace(
        "energy=", f"energy=99 {prefix}energy="
    )
    data = read_frames(put(tmp_path, text))
    assert [frame.labels.energy for frame in data] == [-1.5, 2.5]


WRONG = [
    (r"^2\n", "two\n", 1, "found 'two', expected the number of atoms"),
    (r"^2\n", "0\n", 1, "found '0', expected the number of atoms"),
    (r"^2\n", "1000000000000\n", 7, "after 5 of 1000000000000 atoms"),
    (r"^2\n", "1\n", 4, "found 'Ni 2.0"),
    (r"^2\n", "3\n", 5, "found 1 columns, expected 7"),
    (r"^Ni.*\n", "", 4, "found 1 columns, expected 7"),
    (r"^Cu.*\n", "", 6, "after 0 of 1 atoms: the frame that begins in line 5 is half-written"),
    (r"^Cu.*\n", "\n", 6, "half-written"),
    (r"^1\n", "\n1\n", 5, "found '', expected the number of atoms"),
    (r" 2\.0 3\.0$", " 2.0", 3, "found 6 columns, expected 7"),
    (r" 2\.0 3\.0$", " 2.0 3.0 4.0", 3, "found 8 columns, expected 7"),
    (r" -3\.0\n(?s:.*)", " -3", 4, "found '-3' without an end of line"),
    (r"pos:R:3:forces", "pos:R:3000000000:forces", 2, "expected different name:type:count"),
    (r"pos:R:3:forces", "pos:R:3:pos", 2, "expected different name:type:count"),
    (r"pos:R:3:forces", "place:R:3:forces", 2, "expected species (or Z) and pos"),
    (r"species:S", "kind:S", 2, "expected species (or Z) and pos"),
    (r"Al 0\.0", "Al x", 1, "the frame that begins here cannot be read"),
    (r"Al 0\.0", "Qq 0.0", 1, "the frame that begins here cannot be read"),
    (r'Lattice="4\.0', 'Lattice="', 2, "the comment line cannot be read"),
    (r"energy=2\.5", 'energy="_JSON ["', 6, "the comment line cannot be read"),
    (r"\A(?s:.*)\Z", "\n", None, "found no structure"),
]


@pytest.mark.parametrize(("pattern", "by", "line", "message"), WRONG)
def test_wrong_extxyz(
    pattern: str, by: str, line: int | None, message: str, tmp_path: Path
) -> None:
    wrong, count = re.subn(pattern, lambda _: by, EXTXYZ, count=1, flags=re.MULTILINE)
    assert count == 1
    with pytest.raises(FormatError, match=re.escape(message)) as caught:
        read_structures(put(tmp_path, wrong))
    assert caught.value.line == line


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("energy=2.5", "", "frame 1: energy or forces are missing"),
        ("energy=2.5", "energy=nan", "frame 1: the energy is nan"),
        ("energy=2.5", "energy=low", "frame 1: the energy is 'low', expected numbers"),
        ("energy=2.5", "energy=T", "frame 1: the energy is 'True', expected numbers"),
        ("energy=2.5", 'energy="1 2"', "frame 1: the energy is 2 numbers"),
        ("energy=2.5", "energy='_JSON {\"a\": 1}'", "frame 1: the energy cannot be read"),
        ("forces:R:3 energy=2", "pull:R:3 energy=2", "frame 1: energy or forces are missing"),
        ("forces:R:3 energy=-", "forces:S:3 energy=-", None),
        ("tag:I:1:forces:R:3", "forces:R:4", "frame 1: forces have shape"),
        ("0.2 0.3", "inf 0.3", "frame 1: a force component is not finite"),
        ('stress="1 ', 'stress="nan ', "frame 0: a stress component is not finite"),
        ('stress="1 2 3 2', 'REF_stress="1 2', "frame 0: the stress has 7 numbers"),
    ],
)
def test_wrong_labels(old: str, new: str, message: str | None, tmp_path: Path) -> None:
    path = put(tmp_path, EXTXYZ.replace(old, new))
    assert len(read_structures(path)) == 2
    if message is None:  # numbers that the file calls text
        assert read_frames(path)[0].labels.forces.dtype == np.float64
        return
    with pytest.raises(LabelError, match=re.escape(message)) as caught:
        read_frames(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("wrong", ["nan", "inf"])
def test_structures_are_checked(wrong: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="frame 0: the position of atom 1 is not finite"):
        read_structures(put(tmp_path, EXTXYZ.replace("Ni 2.0", f"Ni {wrong}")))
    with pytest.raises(InputError, match="frame 0: "):
        read_structures(put(tmp_path, EXTXYZ.replace("4.0 0.0", f"{wrong} 0.0"), "t.extxyz"))
    with pytest.raises(InputError, match="frame 1: atom 0 is no chemical element"):
        read_structures(put(tmp_path, EXTXYZ.replace("Cu", "X"), "u.extxyz"))


def test_plain_xyz_and_its_cell_vectors(tmp_path: Path) -> None:
    plain = "1\nProperties of water\nO 0.0 0.0 0.1 17\nVEC1 4.0 0.0 0.0\n"
    (atoms,) = read_structures(put(tmp_path, plain, "s.xyz"))
    assert atoms.pbc.tolist() == [True, False, False]
    assert atoms.cell.array[0, 0] == 4.0
    with pytest.raises(FormatError, match="cannot be read"):
        read_structures(put(tmp_path, plain.replace("VEC1", "VEC2"), "t.xyz"))


def test_a_file_without_an_end_of_line_may_be_whole(tmp_path: Path) -> None:
    assert len(read_structures(put(tmp_path, EXTXYZ.rstrip()))) == 2
    assert len(read_structures(put(tmp_path, EXTXYZ + "\n \n", "blank.extxyz"))) == 2


def test_compressed(tmp_path: Path) -> None:
    whole = gzip.compress(EXTXYZ.encode())
    (tmp_path / "s.xyz.gz").write_bytes(whole)
    assert len(read_frames(tmp_path / "s.xyz.gz")) == 2
    (tmp_path / "t.xyz.gz").write_bytes(whole[:-20])
    with pytest.raises(FormatError, match="cannot be read"):
        read_frames(tmp_path / "t.xyz.gz")


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="found a folder"):
        read_structures(tmp_path)
    with pytest.raises(FormatError, match="cannot be read"):
        read_structures(tmp_path / "absent.xyz")
    with pytest.raises(FormatError, match="the file is empty"):
        read_structures(put(tmp_path, ""))
    (tmp_path / "b.xyz").write_bytes(b"1\n\xff\xfe\nAl 0 0 0\n")
    with pytest.raises(FormatError, match="found bytes that are not text"):
        read_structures(tmp_path / "b.xyz")
    with pytest.raises(FormatError, match="which is not read"):
        read_structures(put(tmp_path, "hello\n", "notes.txt"))


@pytest.mark.parametrize("name", ["s.py", "s.pckl", "s.bundle", "s.db", "s.json"])
def test_formats_that_could_run_code_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="which is not read; convert it to extended XYZ"):
        read_structures(put(tmp_path, "cos\nsystem\n(S'echo'\ntR.", name))


def test_cfg_goes_to_its_reader(tmp_path: Path) -> None:
    write_structures(tmp_path / "s.cfg", [molecule("H2")])
    assert len(read_structures(tmp_path / "s.cfg", ["H"])) == 1
    with pytest.raises(ConfigError, match="only species indices"):
        read_structures(tmp_path / "s.cfg")
    with pytest.raises(LabelError, match="frame 0: energy or forces are missing"):
        read_frames(tmp_path / "s.cfg", ["H"])


def test_writing_refuses(tmp_path: Path) -> None:
    structures, labels = random_frames()
    path = tmp_path / "s.extxyz"
    with pytest.raises(InputError, match="no structures to write"):
        write_structures(path, [])
    with pytest.raises(ConfigError, match="4 structures, but 1 labels"):
        write_structures(path, structures, labels=labels[:1])
    with pytest.raises(ConfigError, match="4 structures, but 1 info"):
        write_structures(path, structures, info=[{}])
    for key in ("energy", "two words", "a=b", ""):
        with pytest.raises(ConfigError, match="cannot be written"):
            write_structures(path, structures[:1], info=[{key: 1}])
    with pytest.raises(ConfigError, match="name the order of Al, H, Ni"):
        write_structures(tmp_path / "s.cfg", structures)
    with pytest.raises(ConfigError, match=r"only to \.extxyz, \.xyz or \.cfg"):
        write_structures(tmp_path / "POSCAR", structures[:1], labels=labels[:1])
    for name in ("s.json", "s.unheard", "s"):
        with pytest.raises(ConfigError, match=r"cannot be written in this format"):
            write_structures(tmp_path / name, structures)
    with pytest.raises(FolderError, match="cannot be written"):
        write_structures(tmp_path / "absent" / "s.extxyz", structures)
    with pytest.raises(FolderError, match="cannot be written"):
        write_structures(tmp_path / "absent" / "POSCAR", structures[:1])
    assert list(tmp_path.iterdir()) == []
    path.write_text("mine")
    with pytest.raises(FolderError, match="exists already; remove it or give another name"):
        write_structures(path, structures)
    assert path.read_text() == "mine"


def test_the_energy_whose_derivatives_are_the_forces_is_taken(tmp_path: Path) -> None:
    """A smeared calculation has two: forces belong to the free energy."""
    atoms = bulk("Al", cubic=True)
    forces = np.zeros((4, 3))
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, free_energy=-1.5, forces=forces)
    ase.io.write(tmp_path / "t.extxyz", atoms)
    assert read_frames(tmp_path / "t.extxyz")[0].labels.energy == -1.5
