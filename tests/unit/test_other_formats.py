"""Formats that ASE reads for us, beside extended XYZ: whole, cut and with type numbers."""

from __future__ import annotations

import re
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import bulk

from athanor.data.formats import read_frames, read_structures, write_structures
from athanor.errors import ConfigError, FormatError, LabelError


def put(folder: Path, text: str, name: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["POSCAR", "s.cif", "s.xsf", "s.traj", "s.gen", "s@1.xyz"])
def test_other_formats(name: str, tmp_path: Path) -> None:
    atoms = bulk("Al", cubic=True)
    write_structures(tmp_path / name, [atoms])
    (read,) = read_structures(tmp_path / name)
    np.testing.assert_allclose(read.positions, atoms.positions, atol=1e-6)
    assert read.pbc.all()
    with pytest.raises(LabelError, match="frame 0: energy or forces are missing"):
        read_frames(tmp_path / name)


POSCAR = """Al Ni
1.0
4.0 0.0 0.0
0.0 4.0 0.0
0.0 0.0 4.0
Al Ni
1 1
Direct
0.0 0.0 0.0
0.5 0.5 0.5
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.5 0.5 0.5\n", "", "line 10: found 0 numbers, expected 3"),
        ("\n0.5 0.5 0.5\n", "", "line 9: found 1 of 2 atoms: the file is half-written"),
        ("0.5 0.5 0.5\n", "0.5\n", "line 10: found 1 numbers, expected 3"),
        ("0.5 0.5 0.5\n", "0.5 0.5 0.", "line 10: found '0.' without an end of line"),
        ("0.5 0.5 0.5\n", "0.5 0.5 x\n", "cannot be read as structures"),
        ("1 1\n", "1 1 1\n", "line 7: found 3 numbers of atoms, expected 2: one per symbol"),
        ("1 1\n", "1 -1\n", "line 7: expected the number of atoms of each species"),
        ("1 1\n", "1 1000000000000\n", "line 7: found 1000000000001 atoms in a file of 11 lines"),
        ("4.0\nAl Ni\n(?s:.*)", "", "line 7: expected the number of atoms"),
    ],
)
def test_wrong_poscar(old: str, new: str, message: str, tmp_path: Path) -> None:
    text = re.sub(old, new, POSCAR)
    assert text != POSCAR
    with pytest.raises(FormatError, match=re.escape(message)):
        read_structures(put(tmp_path, text, "POSCAR"))


@pytest.mark.parametrize("name", ["XDATCAR", "s.xsf", "s.gen"])
def test_other_tables_cut_in_the_last_number(name: str, tmp_path: Path) -> None:
    ase.io.write(tmp_path / name, [bulk("Al", cubic=True)] * (3 if name == "XDATCAR" else 1))
    whole = (tmp_path / name).read_text().rstrip()
    assert read_structures(put(tmp_path, whole, name))
    with pytest.raises(FormatError, match="without an end of line"):
        read_structures(put(tmp_path, whole[:-1], name))


@pytest.mark.parametrize("name", ["s.pdb", "s.cif", "geometry.in", "s.pwi"])
def test_no_cut_inside_a_row_gives_another_structure(name: str, tmp_path: Path) -> None:
    atoms = bulk("Al", cubic=True)
    atoms.rattle(0.1, seed=4)
    whole, cut = tmp_path / name, tmp_path / f"cut-{name}"
    ase.io.write(whole, atoms, pseudopotentials={"Al": "a"}) if name.endswith("pwi") else None
    if not whole.exists():
        write_structures(whole, [atoms])
    text = whole.read_text()
    (expected,) = read_structures(whole)
    for end in range(len(text) // 2, len(text)):
        if text[end - 1].isspace() or text[end].isspace():
            continue
        cut.write_text(text[:end])
        try:
            found = read_structures(cut)
        except FormatError:
            continue
        np.testing.assert_array_equal(found[0].positions, expected.positions[: len(found[0])])


def test_half_written_vasprun(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"line 2: .*expected </modeling>"):
        read_structures(put(tmp_path, "<modeling>\n", "vasprun.xml"))


def test_lammps_types_need_species(tmp_path: Path) -> None:
    atoms = bulk("Al", cubic=True)
    path = tmp_path / "s.lammps-data"
    ase.io.write(path, atoms, format="lammps-data")
    with pytest.raises(ConfigError, match="only type numbers; name the species"):
        read_structures(path)
    (read,) = read_structures(path, ["Al"])
    assert set(read.symbols) == {"Al"}
    wrong = path.read_text().replace("4 atoms", "4000000000 atoms")
    with pytest.raises(FormatError, match="found 4000000000 atoms in a file"):
        read_structures(put(tmp_path, wrong, "t.lammps-data"), ["Al"])
    ase.io.write(path.with_name("m.lammps-data"), atoms, format="lammps-data", masses=True)
    (read,) = read_structures(path.with_name("m.lammps-data"))
    assert set(read.symbols) == {"Al"}


DUMP = """ITEM: TIMESTEP
0
ITEM: NUMBER OF ATOMS
1
ITEM: BOX BOUNDS pp pp pp
0 4
0 4
0 4
ITEM: ATOMS id type x y z
1 1 0.5 0.5 0.5
"""


def test_lammps_dump(tmp_path: Path) -> None:
    path = put(tmp_path, DUMP, "s.lammps-dump-text")
    with pytest.raises(ConfigError, match="only type numbers"):
        read_structures(path)
    (read,) = read_structures(path, ["Ni"])
    assert list(read.symbols) == ["Ni"]
    named = DUMP.replace("id type", "id element").replace("1 1 0.5", "1 Cu 0.5")
    (read,) = read_structures(put(tmp_path, named, "t.lammps-dump-text"))
    assert list(read.symbols) == ["Cu"]
