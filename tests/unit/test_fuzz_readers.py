"""Whatever a file holds, a reader gives finite numbers or one of our errors, and soon."""

from __future__ import annotations

import string
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from athanor.data.cfg import CfgRecord, read_cfg, write_cfg
from athanor.data.formats import read_frames, read_structures, write_structures
from athanor.errors import AthanorError
from athanor.potentials._mtp.mlip_file import read_mtp, write_mtp
from athanor.potentials._mtp.model import IndexTables, MtpModel
from athanor.structure import Labels

FUZZ = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
NASTY = [
    *("nan", "inf", "-inf", "1e999", "-1", "0", "1000000000000", "99999999999999999999", "1e300"),
    *("-1e300", "x", "", "{", "}", "=", "'", '"', "\x00", "Xx", "_JSON [", "1_0", "+100000000000"),
    *("1e-320", "T", "٣", "pos:R:1000000000", "2 ! y", "\\", "\u2028"),
]


def small_potential() -> MtpModel:
    rng = np.random.default_rng(7)
    tables = IndexTables(
        basic=np.array(
            [[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0]], dtype=np.int32
        ),
        times=np.array(
            [[0, 0, 1, 5], [1, 1, 1, 6], [2, 2, 1, 6], [3, 3, 1, 6], [0, 5, 1, 7]], dtype=np.int32
        ),
        mapping=np.array([0, 4, 5, 6, 7], dtype=np.int32),
        n_moments=8,
    )
    return MtpModel(
        species=("Al", "Ni"),
        tables=tables,
        min_dist=1.8,
        max_dist=5.0,
        scaling=0.25,
        radial=rng.normal(size=(2, 2, 2, 3)),
        species_coeffs=rng.normal(size=2),
        moment_coeffs=rng.normal(size=5),
        name="small",
    )


def small_structures() -> list[Atoms]:
    rng = np.random.default_rng(11)
    cell = bulk("Al", cubic=True)
    cell.symbols[1] = "Ni"
    cell.rattle(0.1, rng=rng)
    molecule = Atoms("AlNi", positions=rng.normal(size=(2, 3)) * 3)
    return [cell, molecule]


def small_labels(structures: list[Atoms]) -> list[Labels]:
    rng = np.random.default_rng(13)
    stress = rng.normal(size=(3, 3))
    return [
        Labels(
            energy=float(rng.normal()),
            forces=rng.normal(size=(len(atoms), 3)),
            stress=stress + stress.T if atoms.pbc.all() else None,
        )
        for atoms in structures
    ]


def valid(name: str) -> str:
    structures = small_structures()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        if name.endswith(".mtp"):
            write_mtp(path, small_potential())
        elif name.endswith(".cfg"):
            records = [
                CfgRecord(atoms, one, {"by": "test"})
                for atoms, one in zip(structures, small_labels(structures), strict=True)
            ]
            write_cfg(path, records, species=("Al", "Ni"))
        elif name.endswith(".extxyz"):
            write_structures(path, structures, labels=small_labels(structures))
        else:
            write_structures(path, structures[:1])
        return path.read_text()


def finite_atoms(structures: list[Atoms]) -> bool:
    return all(
        np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()
        for atoms in structures
    )


def finite_labels(labels: list[Labels]) -> bool:
    return all(
        np.isfinite(one.energy)
        and np.isfinite(one.forces).all()
        and (one.stress is None or np.isfinite(one.stress).all())
        for one in labels
    )


def mtp(path: Path) -> bool:
    model = read_mtp(path, ("Al", "Ni"))
    numbers = (model.radial, model.species_coeffs, model.moment_coeffs)
    scalars = (model.min_dist, model.max_dist, model.scaling)
    return all(np.isfinite(one).all() for one in (*numbers, np.array(scalars)))


def cfg(path: Path) -> bool:
    records = read_cfg(path, ("Al", "Ni"))
    labels = [one.labels for one in records if one.labels is not None]
    return finite_atoms([one.atoms for one in records]) and finite_labels(labels)


def geometry(path: Path) -> bool:
    return finite_atoms(read_structures(path, ("Al", "Ni")))


def frames(path: Path) -> bool:
    data = read_frames(path, ("Al", "Ni"))
    return finite_atoms(data.structures) and finite_labels(data.labels)


READERS: dict[str, tuple[Callable[[Path], bool], ...]] = {
    "p.mtp": (mtp,),
    "s.cfg": (cfg, frames),
    "s.extxyz": (geometry, frames),
    "POSCAR": (geometry,),
    "s.cif": (geometry,),
    "s.xsf": (geometry,),
}


def check(name: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        for read in READERS[name]:
            said = answer(read, path)
            assert said.strip()
            assert "\n" not in said


def answer(read: Callable[[Path], bool], path: Path) -> str:
    """The sentence of the error, or that the numbers are finite; nothing else is allowed."""
    try:
        return "finite" if read(path) else ""
    except AthanorError as error:
        return str(error)


@st.composite
def mutations(draw: st.DrawFn, text: str) -> bytes:
    """One to three wounds of the kinds that files suffer."""
    for _ in range(draw(st.integers(1, 3))):
        lines = text.split("\n")
        row = draw(st.integers(0, len(lines) - 1))
        words = lines[row].split(" ")
        word = draw(st.integers(0, len(words) - 1))
        kind = draw(st.sampled_from(["cut", "delete", "double", "swap", "word", "insert", "char"]))
        if kind == "cut":
            text = text[: draw(st.integers(0, len(text)))]
            continue
        if kind == "delete":
            del lines[row]
        elif kind == "double":
            lines.insert(row, lines[row])
        elif kind == "swap":
            other = draw(st.integers(0, len(words) - 1))
            words[word], words[other] = words[other], words[word]
        elif kind == "word":
            words[word] = draw(st.sampled_from(NASTY))
        elif kind == "insert":
            words.insert(word, draw(st.sampled_from(NASTY)))
        elif words[word]:
            place = draw(st.integers(0, len(words[word]) - 1))
            letter = draw(st.sampled_from(string.printable))
            words[word] = words[word][:place] + letter + words[word][place + 1 :]
        if kind not in ("delete", "double"):
            lines[row] = " ".join(words)
        text = "\n".join(lines)
    return text.encode("utf-8", errors="replace")


@pytest.mark.parametrize("name", sorted(READERS))
def test_valid_files_are_read(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(valid(name))
    for read in READERS[name]:
        assert read(tmp_path / name)


@pytest.mark.parametrize("name", sorted(READERS))
def test_mutated_files(name: str) -> None:
    text = valid(name)

    @FUZZ
    @given(content=mutations(text))
    def run(content: bytes) -> None:
        check(name, content)

    run()


@pytest.mark.parametrize("name", sorted(READERS))
def test_random_bytes(name: str) -> None:
    text = valid(name).encode()

    @settings(FUZZ, max_examples=60)
    @given(noise=st.binary(max_size=300), keep=st.integers(0, len(text)))
    def run(noise: bytes, keep: int) -> None:
        check(name, noise)
        check(name, text[:keep] + noise)

    run()


@pytest.mark.parametrize("name", ["p.mtp", "s.cfg", "s.extxyz", "POSCAR"])
def test_every_cut_is_an_error(name: str, tmp_path: Path) -> None:
    """A file that lost its end anywhere but at a frame's end is refused, never read as less."""
    text = valid(name)
    path = tmp_path / name
    whole = {len(text.rstrip())}
    if name == "s.cfg":
        end = text.index("END_CFG") + len("END_CFG")
        whole |= {end, end + 1, end + 2}
    elif name == "s.extxyz":
        end = text.index("\n2\n")
        whole |= {end, end + 1}
    read = READERS[name][-1]
    for keep in range(len(text)):
        path.write_text(text[:keep])
        if keep in whole:
            assert read(path)
        else:
            with pytest.raises(AthanorError):
                read(path)
