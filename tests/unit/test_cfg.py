"""MLIP's .cfg files: what they mean, bit-equal round trips, one sentence for every wrong file."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from athanor.data.cfg import CfgRecord, read_cfg, write_cfg
from athanor.errors import ConfigError, FolderError, FormatError, LabelError, StructureError
from athanor.structure import Labels

SPECIES = ("Al", "Ni")

TEXT = """BEGIN_CFG
 Size
    2
 Supercell
    4.0 0.0 0.0
    0.0 5.0 0.0
    0.0 1.0 6.0
 AtomData:  id type cartes_x cartes_y cartes_z fx fy fz
    1 0 0.0 0.1 0.2 1.0 2.0 3.0
    2 1 2.0 2.1 2.2 -1.0 -2.0 -3.0
 Energy
    -7.5
 PlusStress:  xx yy zz yz xz xy
    120.0 240.0 360.0 480.0 600.0 720.0
 Feature   EFS_by   VASP 5
 Feature   empty
END_CFG
"""


def read_text(text: str, folder: Path) -> list[CfgRecord]:
    path = folder / "s.cfg"
    path.write_text(text)
    return read_cfg(path, SPECIES)


def test_meaning(tmp_path: Path) -> None:
    (record,) = read_text(TEXT, tmp_path)
    assert record.labels is not None
    assert record.labels.stress is not None
    assert list(record.atoms.symbols) == ["Al", "Ni"]
    assert record.atoms.pbc.all()
    np.testing.assert_array_equal(record.atoms.cell.array[2], [0, 1, 6])
    np.testing.assert_array_equal(record.atoms.positions[1], [2, 2.1, 2.2])
    assert record.labels.energy == -7.5
    np.testing.assert_array_equal(record.labels.forces, [[1, 2, 3], [-1, -2, -3]])
    # V = 120 Å³ and PlusStress = -V sigma, in the order xx yy zz yz xz xy
    np.testing.assert_allclose(
        record.labels.stress, [[-1, -6, -5], [-6, -2, -4], [-5, -4, -3]], rtol=1e-14
    )
    assert record.features == {"EFS_by": "VASP 5", "empty": ""}
    assert record.atoms.info == {}
    assert record.atoms.calc is None


def test_columns_and_components_go_by_name(tmp_path: Path) -> None:
    text = TEXT.replace(
        "type cartes_x cartes_y cartes_z fx fy fz", "fz cartes_x type nbh cartes_z fx fy cartes_y"
    )
    text = text.replace("1 0 0.0 0.1 0.2 1.0 2.0 3.0", "1 3.0 0.0 0 x 0.2 1.0 2.0 0.1")
    text = text.replace("2 1 2.0 2.1 2.2 -1.0 -2.0 -3.0", "2 -3.0 2.0 1 y 2.2 -1.0 -2.0 2.1")
    text = text.replace("xx yy zz yz xz xy", "xx yy zz xy xz yz").replace(
        "480.0 600.0 720.0", "720.0 600.0 480.0"
    )
    (one,), (other,) = read_text(text, tmp_path), read_text(TEXT, tmp_path)
    assert one.atoms == other.atoms
    assert one.labels is not None
    assert other.labels is not None
    np.testing.assert_array_equal(one.labels.forces, other.labels.forces)
    assert one.labels.stress is not None
    np.testing.assert_array_equal(one.labels.stress, other.labels.stress)


def test_direct_coordinates(tmp_path: Path) -> None:
    text = TEXT.replace("cartes", "direct").replace("2.0 2.1 2.2", "0.5 0.5 0.5")
    (record,) = read_text(text, tmp_path)
    np.testing.assert_allclose(record.atoms.positions[1], [2, 3, 3], rtol=1e-15)


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_fewer_cell_vectors_are_fewer_periodic_directions(rows: int, tmp_path: Path) -> None:
    lines = TEXT.splitlines()
    del lines[4 + rows : 7]
    if rows == 0:
        del lines[3]
    (record,) = read_text("\n".join(lines), tmp_path)
    assert record.atoms.pbc.tolist() == [axis < rows for axis in range(3)]
    assert record.labels is not None
    assert record.labels.stress is None


@pytest.mark.parametrize("missing", [r" Energy\n.*\n", r" fx fy fz"])
def test_no_labels_without_energy_and_forces(missing: str, tmp_path: Path) -> None:
    text = re.sub(missing, "", TEXT)
    if "fx" not in text:
        text = text.replace(" 1.0 2.0 3.0\n", "\n").replace(" -1.0 -2.0 -3.0\n", "\n")
    (record,) = read_text(text, tmp_path)
    assert record.labels is None


def test_values_may_stand_on_the_line_of_their_key(tmp_path: Path) -> None:
    text = TEXT.replace("Size\n", "Size").replace("Energy\n", "Energy:").replace("\n", "\r\n\n", 1)
    (record,) = read_text(text, tmp_path)
    assert record.labels is not None
    assert record.labels.energy == -7.5


WRONG = [
    (r"BEGIN_CFG", "BEGIN", 1, "found 'BEGIN', expected BEGIN_CFG"),
    (r"    2\n Super", "    two\n Super", 3, "expected the number of atoms, a whole number"),
    (r"    2\n Super", "    2 3\n Super", 3, "found 2 words, expected one"),
    (r"    2\n Super", "    0\n Super", 3, "expected at least one atom"),
    (r"    2\n Super", "    1000000000000\n Super", 11, "found 1 numbers, expected 8"),
    (r"    2\n Super", "    3\n Super", 11, "found 1 numbers, expected 8"),
    (r"    2\n Super", "    1\n Super", 10, "found '2', expected Size"),
    (r"4\.0 0\.0 0\.0", "4.0 0.0", 5, "found 2 numbers, expected the 3 components"),
    (r"4\.0 0\.0 0\.0", "4.0 nan 0.0", 5, "found nan, expected a finite number"),
    (r"4\.0 0\.0 0\.0", "nan 0.0 0.0", 5, "found nan, expected a finite number"),
    (r" Size\n.*\n", "", 6, "expected Size before it"),
    (r" AtomData.*\n.*\n.*\n", "", 14, "expected Size and AtomData before it"),
    (r"id type", "id id", 8, "a column name twice"),
    (r"id type", "id kind", 8, "expected type among them"),
    (r"fx fy fz", "fx fy gz", 8, "no column fz, expected all of fx fy fz"),
    (r"cartes_x cartes_y", "cartes_x direct_y", 8, "no column cartes_y"),
    (r"cartes_x cartes_y cartes_z", "a b c", 8, "either the columns"),
    (r"1 0 0\.0", "1 0 nan", 9, "found nan, expected a finite number as the column cartes_x"),
    (r"1 0 0\.0", "1 0 x", 9, "found 'x', expected a number as the column cartes_x"),
    (r"1 0 0\.0", "1 -1 0.0", 9, "found '-1', expected the column type"),
    (r"2 1 2\.0", "2 1 1e999", 10, "found 1e999, expected a finite number"),
    (r"2 1 2\.0", "2 2 2.0", 17, "found species index 2 (atom 2"),
    (r"2 1 2\.0", "2 1", 10, "found 7 numbers, expected 8"),
    (r"-7\.5", "nan", 12, "found nan, expected a finite number as the energy"),
    (r"-7\.5", "low", 12, "found 'low', expected a number as the energy"),
    (r"zz yz", "zz zy", 13, "expected PlusStress: xx yy zz yz xz xy"),
    (r"120\.0", "", 14, "found 5 numbers, expected the six components"),
    (r"120\.0", "inf", 14, "found inf, expected a finite number as PlusStress xx"),
    (r" Energy", " Energies", 11, "found 'Energies', expected Size, Supercell"),
    (r" PlusStress.*\n.*\n", " Energy\n 1\n", 13, "found Energy again"),
    (r"END_CFG\n", "", 17, "the file is half-written"),
    (r"END_CFG\n", "BEGIN_CFG\n", 17, "configuration of line 1 is half-written"),
    (r"    2 1 2(?s:.*)", "", 10, "found 0 numbers, expected 8"),
    (r"\n    2 1 2(?s:.*)", "", 9, "after 1 atoms, expected 2: the file is half-written"),
    (r"\A(?s:.*)\Z", "\n\n", None, "found no configuration"),
]


@pytest.mark.parametrize(("pattern", "by", "line", "message"), WRONG)
def test_wrong_files(pattern: str, by: str, line: int | None, message: str, tmp_path: Path) -> None:
    wrong, count = re.subn(pattern, lambda _: by, TEXT, count=1)
    assert count == 1
    with pytest.raises(FormatError, match=re.escape(message)) as caught:
        read_text(wrong, tmp_path)
    assert caught.value.line == line


def test_direct_coordinates_need_a_cell(tmp_path: Path) -> None:
    text = TEXT.replace("cartes", "direct").replace("    0.0 1.0 6.0\n", "")
    with pytest.raises(FormatError, match="direct coordinates with 2 cell vectors"):
        read_text(text, tmp_path)


def test_structures_and_labels_are_checked(tmp_path: Path) -> None:
    with pytest.raises(StructureError, match=r"s\.cfg, frame 1: the periodic cell vectors"):
        read_text(TEXT + TEXT.replace("0.0 1.0 6.0", "0.0 5.0 0.0"), tmp_path)
    tiny = TEXT.replace("4.0 0", "0.4 0").replace("5.0 0", "0.5 0").replace("1.0 6.0", "0.0 0.6")
    tiny = tiny.replace("120.0", "1e308")  # over a volume of 0.12 Å³
    with pytest.raises(LabelError, match="stress component is not finite"):
        read_text(tiny, tmp_path)


@pytest.mark.parametrize(
    ("species", "message"),
    [
        (None, "only species indices; name them"),
        ((), "no species are named"),
        (("Al", "Al"), "names an element twice"),
        (("Al", "Qq"), "'Qq' is not a chemical symbol"),
    ],
)
def test_species(species: tuple[str, ...] | None, message: str, tmp_path: Path) -> None:
    (tmp_path / "s.cfg").write_text(TEXT)
    with pytest.raises(ConfigError, match=message):
        read_cfg(tmp_path / "s.cfg", species)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.cfg"):
        with pytest.raises(FormatError, match="cannot be read"):
            read_cfg(path, SPECIES)
    (tmp_path / "b.cfg").write_bytes(b"\xff\xfe")
    with pytest.raises(FormatError, match="not text"):
        read_cfg(tmp_path / "b.cfg", SPECIES)


def random_records() -> list[CfgRecord]:
    rng = np.random.default_rng(3)
    records = []
    for pbc in ((True, True, True), (False, True, True), (False, False, False)):
        atoms = Atoms(
            "AlNiAl", positions=rng.normal(size=(3, 3)), cell=rng.normal(size=(3, 3)) * 5, pbc=pbc
        )
        stress = rng.normal(size=(3, 3))
        labels = Labels(
            float(rng.normal()), rng.normal(size=(3, 3)), stress + stress.T if all(pbc) else None
        )
        records.append(CfgRecord(atoms, labels, {"grade": "1.5"}))
    return [*records, CfgRecord(records[0].atoms)]


def test_round_trip(tmp_path: Path) -> None:
    records = random_records()
    write_cfg(tmp_path / "s.cfg", records, species=SPECIES)
    for ours, read in zip(records, read_cfg(tmp_path / "s.cfg", SPECIES), strict=True):
        np.testing.assert_array_equal(read.atoms.positions, ours.atoms.positions)
        np.testing.assert_array_equal(read.atoms.numbers, ours.atoms.numbers)
        n_rows = ours.atoms.pbc.sum()
        np.testing.assert_array_equal(
            read.atoms.cell.array[:n_rows], ours.atoms.cell.array[ours.atoms.pbc]
        )
        assert read.features == ours.features
        if ours.labels is None:
            assert read.labels is None
            continue
        assert read.labels is not None
        assert read.labels.energy == ours.labels.energy
        np.testing.assert_array_equal(read.labels.forces, ours.labels.forces)
        if ours.labels.stress is None:
            assert read.labels.stress is None
        else:
            assert read.labels.stress is not None
            np.testing.assert_allclose(read.labels.stress, ours.labels.stress, rtol=1e-14)


def test_writing_refuses(tmp_path: Path) -> None:
    path = tmp_path / "s.cfg"
    with pytest.raises(ConfigError, match="the structures hold Al, but the species named are Ni"):
        write_cfg(path, random_records(), species=("Ni",))
    with pytest.raises(ConfigError, match="only species indices"):
        write_cfg(path, random_records(), species=None)
    assert not path.exists()
    path.write_text("mine")
    with pytest.raises(FolderError, match="exists already"):
        write_cfg(path, random_records(), species=SPECIES)
    assert path.read_text() == "mine"
