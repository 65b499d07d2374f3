"""A pool read from files, and what makes frames a pool."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from athanor.data.cfg import CfgRecord, write_cfg
from athanor.data.formats import write_structures
from athanor.errors import AthanorError, ConfigError, FormatError, LabelError, StructureError
from athanor.pool import Pool, kinds
from athanor.pool._groups import groups_of
from athanor.pool.file import FilePool
from athanor.structure import Labels
from athanor.testing.fakes import FakeOracle, FakePotentialConfig

ORACLE = FakeOracle(FakePotentialConfig.example(seed=0))
Info = list[dict[str, Any]]


def frames(count: int, seed: int = 0) -> tuple[list[Atoms], list[Labels]]:
    """SiO2 of a few atoms that moves, with labels."""
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, 6, (6, 3))
    structures, labels = [], []
    for _ in range(count):
        positions = start + 0.3 * rng.standard_normal((6, 3))
        structures.append(Atoms("Si2O4", positions=positions, cell=[6, 6.5, 7], pbc=True))
        forces, stress = rng.standard_normal((6, 3)), rng.standard_normal((3, 3))
        labels.append(Labels(-120.0 + float(rng.standard_normal()), forces, stress + stress.T))
    return structures, labels


def read(path: object, oracle: FakeOracle | None = None, **keys: Any) -> Pool:
    config = FilePool.parse({"path": path, **keys}, where="[pool]")
    config.check()
    return config.frames(oracle=oracle, seed=0, workdir=Path("nowhere"))


def refused(kind: type[AthanorError], path: object, oracle: Any = None, **keys: Any) -> str:
    with pytest.raises(kind) as error:
        read(path, oracle, **keys)
    assert type(error.value) is kind
    assert "\n" not in str(error.value)
    return str(error.value)


def written(path: Path, count: int, *, info: Info | None = None, seed: int = 0) -> Path:
    structures, labels = frames(count, seed)
    write_structures(path, structures, labels=labels, info=info)
    return path


def joined(path: Path, *parts: Path) -> Path:
    path.write_text("".join(part.read_text() for part in parts))
    return path


def bare_file(path: Path, count: int, seed: int = 0) -> Path:
    write_structures(path, frames(count, seed)[0])
    return path


def test_kind_is_found() -> None:
    assert kinds()["file"] is FilePool
    assert not FilePool(path=("x",)).needs_oracle


def test_structures_labels_and_origins_come_whole(tmp_path: Path) -> None:
    structures, labels = frames(7)
    pool = read(written(tmp_path / "a.extxyz", 7))
    assert len(pool) == pool.labelled == 7
    assert pool.groups is None
    assert pool.notes == ()
    assert pool.level == "file:a.extxyz"
    assert pool.origins[3] == "frame 3 of a.extxyz"
    for atoms, expected in zip(pool.structures, structures, strict=True):
        assert atoms.positions.tobytes() == expected.positions.tobytes()
        assert not atoms.info
        assert atoms.calc is None
    for found, given in zip(pool.labels, labels, strict=True):
        assert found is not None
        assert found.energy == given.energy
        assert found.forces.tobytes() == given.forces.tobytes()
        np.testing.assert_array_equal(found.stress, given.stress)


def test_lists_globs_and_strides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seed in (("b_1600K", 1), ("a_300K", 2), ("c [x]", 3)):
        written(tmp_path / f"{name}.extxyz", 5, seed=seed)
    monkeypatch.chdir(tmp_path)
    pool = read("?_*.extxyz", stride=2)
    assert pool.origins[0] == "frame 0 of a_300K.extxyz"
    assert pool.origins[-1] == "frame 4 of b_1600K.extxyz"
    assert pool.groups == ("a_300K",) * 3 + ("b_1600K",) * 3
    again = read(["c [x].extxyz", "b_1600K.extxyz", "*_*.extxyz"])
    assert len(again) == 15
    assert again.groups == ("c [x]",) * 5 + ("b_1600K",) * 5 + ("a_300K",) * 5


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for seed, folder in enumerate(("hot", "cold")):
        (tmp_path / folder).mkdir()
        written(tmp_path / folder / "frames.extxyz", 4, seed=seed)
    pool = read(str(tmp_path / "*" / "frames.extxyz"))
    assert pool.groups == ("cold/frames",) * 4 + ("hot/frames",) * 4
    assert pool.origins[0] == "frame 0 of cold/frames.extxyz"


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (lambda k: {"temperature": [300, 1600.0, "3000"][k % 3]}, ("300", "1600", "3000")),
        (lambda k: {"T": 300 + 700 * (k % 2), "config_type": "glass"}, ("300", "1000", "300")),
        (lambda k: {"config_type": "melt quench"[4 * (k % 2) :]}, ("melt quench", "quench")),
        # what differs in every frame is a reading, not a plateau
        (lambda k: {"temperature": 300.1 + k, "group": "ab"[k % 2]}, ("a", "b", "a")),
        (lambda k: {"config_type": "ab"[k // 15], "group": "abcd"[k % 4]}, ("a", "b", "c", "d")),
    ],
)
def test_groups_are_found(
    info: Callable[[int], dict[str, Any]], expected: Sequence[str], tmp_path: Path
) -> None:
    path = written(tmp_path / "a.extxyz", 30, info=[info(k) for k in range(30)])
    groups = read(path).groups
    assert groups is not None
    assert groups[: len(expected)] == tuple(expected)


def test_no_groups_where_none_tell_frames_apart() -> None:
    infos = [{"temperature": 300.0 + k, "T": 5} for k in range(30)]
    assert groups_of(infos, ["one"] * 30, key=None) is None
    assert groups_of([{}] * 30, [f"file{k}" for k in range(30)], key=None) is None


def test_a_group_by_name(tmp_path: Path) -> None:
    info: Info = [{"plateau_K": 300 * (k % 3), "config_type": "ab"[k % 2]} for k in range(9)]
    path = written(tmp_path / "a.extxyz", 9, info=info)
    assert read(path, group="plateau_K").groups == ("0", "300", "600") * 3
    said = refused(ConfigError, path, group="plateau")
    assert "9 of 9 frames have nothing under this name" in said
    assert "config_type, plateau_K" in said


def test_duplicates_count_once_and_groups_stay_with_their_frames(tmp_path: Path) -> None:
    info: Info = [{"T": 300 * (k % 2)} for k in range(6)]
    first = written(tmp_path / "a.extxyz", 6, info=info)
    path = joined(tmp_path / "b.extxyz", first, written(tmp_path / "c.extxyz", 4, info=info[:4]))
    pool = read(path)
    assert len(pool) == 6
    assert pool.groups == ("0", "300") * 3
    assert pool.notes == ("4 of 10 structures are duplicates and count once",)


def test_other_names_for_labels(tmp_path: Path) -> None:
    structures, labels = frames(3)
    for atoms, given in zip(structures, labels, strict=True):
        atoms.info.update(E_pbe=given.energy, energy=1e5, W=-given.stress * atoms.get_volume())
        atoms.arrays["grad"] = given.forces
    ase.io.write(tmp_path / "a.extxyz", structures)
    pool = read(tmp_path / "a.extxyz", energy="E_pbe", forces="grad", virial="W")
    for found, given in zip(pool.labels, labels, strict=True):
        assert found is not None
        assert found.energy == pytest.approx(given.energy, rel=1e-12)
        np.testing.assert_allclose(found.forces, given.forces, atol=1e-7)
        np.testing.assert_allclose(found.stress, given.stress, atol=1e-7)
    said = refused(ConfigError, tmp_path / "a.extxyz", energy="E_scan")
    assert "none of 3 structures has an energy" in said


def test_a_cfg_file_with_its_features(tmp_path: Path) -> None:
    structures, labels = frames(4)
    records = [
        CfgRecord(atoms, given, {"EFS_by": "VASP", "T": str(300 * (k % 2))})
        for k, (atoms, given) in enumerate(zip(structures, labels, strict=True))
    ]
    write_cfg(tmp_path / "a.cfg", records, species=("Si", "O"))
    pool = read(tmp_path / "a.cfg", species=["Si", "O"])
    assert pool.level == "VASP"
    assert pool.groups == ("0", "300") * 2


def test_results_of_a_calculator_with_their_level(tmp_path: Path) -> None:
    structures, labels = frames(3)
    for atoms, given in zip(structures, labels, strict=True):
        atoms.calc = SinglePointCalculator(atoms, energy=given.energy, forces=given.forces)
    ase.io.write(tmp_path / "a.traj", structures)
    pool = read(tmp_path / "a.traj")
    assert pool.labelled == 3
    assert all(one is not None and one.stress is None for one in pool.labels)


def test_energies_alone(tmp_path: Path) -> None:
    structures, labels = frames(3)
    for atoms, given in zip(structures, labels, strict=True):
        atoms.info["energy"] = given.energy
    ase.io.write(tmp_path / "e.extxyz", structures)
    pool = read(tmp_path / "e.extxyz")
    assert all(one is not None and not one.has_forces for one in pool.labels)
    mixed = joined(
        tmp_path / "m.extxyz", tmp_path / "e.extxyz", written(tmp_path / "f.extxyz", 5, seed=1)
    )
    assert "3 of 8 labelled structures have no forces" in refused(LabelError, mixed)


def test_labels_that_the_oracle_is_to_give(tmp_path: Path) -> None:
    none = bare_file(tmp_path / "none.extxyz", 4)
    pool = read(none, ORACLE)
    assert (pool.labelled, pool.level) == (0, ORACLE.level)
    said = refused(ConfigError, none)
    assert "none of 4 structures has an energy" in said
    assert "[oracle]" in said
    some = joined(tmp_path / "some.extxyz", none, written(tmp_path / "x.extxyz", 3, seed=1))
    said = refused(ConfigError, some)
    assert "4 of 7 structures have no energy (frame 0 of some.extxyz is the first)" in said
    pool = read(some, ORACLE)
    assert (pool.labelled, pool.level) == (3, ORACLE.level)
    assert "4 of 7 structures have no labels: the oracle gives them" in pool.notes[0]


def test_labels_of_another_level_than_the_oracles(tmp_path: Path) -> None:
    none = bare_file(tmp_path / "none.extxyz", 4)
    foreign = written(tmp_path / "x.extxyz", 3, seed=1, info=[{"level": "PBE"}] * 3)
    said = refused(LabelError, joined(tmp_path / "a.extxyz", none, foreign), ORACLE)
    assert "'PBE'" in said
    assert ORACLE.level in said
    own = written(tmp_path / "y.extxyz", 3, seed=1, info=[{"level": ORACLE.level}] * 3)
    pool = read(joined(tmp_path / "b.extxyz", none, own), ORACLE)
    assert pool.notes == ("4 of 7 structures have no labels: the oracle gives them",)
    assert read(foreign, ORACLE).level == "PBE"


def test_a_duplicate_with_labels_stands_for_one_without(tmp_path: Path) -> None:
    parts = bare_file(tmp_path / "n.extxyz", 4), written(tmp_path / "l.extxyz", 3)
    pool = read(joined(tmp_path / "a.extxyz", *parts), ORACLE)
    assert (len(pool), pool.labelled) == (4, 3)


def test_mixed_levels_of_theory(tmp_path: Path) -> None:
    pbe = written(tmp_path / "pbe.extxyz", 3, info=[{"level": "PBE"}] * 3)
    scan = written(tmp_path / "scan.extxyz", 3, seed=1, info=[{"level": "SCAN"}] * 3)
    said = refused(LabelError, joined(tmp_path / "a.extxyz", pbe, scan))
    assert re.search("frame 0 of a.extxyz has 'PBE', frame 3 of a.extxyz has 'SCAN'", said)
    plain = written(tmp_path / "plain.extxyz", 3, seed=2)
    text = plain.read_text().replace("energy=", "REF_energy=").replace(":forces:", ":REF_forces:")
    (tmp_path / "ref.extxyz").write_text(text)
    other = written(tmp_path / "other.extxyz", 3, seed=3)
    said = refused(LabelError, [str(tmp_path / "ref.extxyz"), str(other)])
    assert "different levels of theory" in said
    assert "'REF'" in said


def test_energies_that_fall_apart(tmp_path: Path) -> None:
    structures, labels = frames(6)
    shifted = [
        Labels(one.energy - (9000.0 if k == 4 else 0.0), one.forces, one.stress)
        for k, one in enumerate(labels)
    ]
    write_structures(tmp_path / "a.extxyz", structures, labels=shifted)
    said = refused(LabelError, tmp_path / "a.extxyz")
    assert "energies of O2Si are of different levels of theory or units" in said
    assert "frame 4 of a.extxyz has -15" in said


def test_one_structure_with_two_energies(tmp_path: Path) -> None:
    structures, labels = frames(3)
    other = [Labels(one.energy + 0.1, one.forces, one.stress) for one in labels]
    write_structures(tmp_path / "a.extxyz", structures, labels=labels)
    write_structures(tmp_path / "b.extxyz", structures, labels=other)
    said = refused(LabelError, joined(tmp_path / "c.extxyz", *map(tmp_path.joinpath, ABC)))
    assert "frame 0 of c.extxyz and frame 3 of c.extxyz are the same structure" in said


ABC = ("a.extxyz", "b.extxyz")


def test_too_few(tmp_path: Path) -> None:
    one = written(tmp_path / "one.extxyz", 1)
    assert "only one structure" in refused(ConfigError, one)
    assert "only one structure" in refused(ConfigError, written(tmp_path / "x.extxyz", 4), stride=9)
    same = joined(tmp_path / "same.extxyz", one, one, one)
    assert "all 3 structures are the same" in refused(ConfigError, same)
    (tmp_path / "empty.extxyz").write_text("")
    assert "empty" in refused(FormatError, tmp_path / "empty.extxyz")


@pytest.mark.parametrize("word", ["nan", "inf"])
def test_what_is_not_finite_is_named(word: str, tmp_path: Path) -> None:
    path = written(tmp_path / "a.extxyz", 5)
    lines = path.read_text().split("\n")
    place = 3 * 8 + 2 + 4  # frame 3, atom 4
    for column, kind in ((1, StructureError), (5, LabelError)):
        words = lines[place].split()
        words[column] = word
        changed = [*lines[:place], " ".join(words), *lines[place + 1 :]]
        path.write_text("\n".join(changed))
        assert "frame 3" in refused(kind, path)
    path.write_text(re.sub(r"energy=\S+", f"energy={word}", "\n".join(lines), count=1))
    assert "frame 0" in refused(LabelError, path)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    for path in (str(tmp_path / "none.extxyz"), str(tmp_path / "*.extxyz"), str(tmp_path)):
        config = FilePool.parse({"path": path}, where="[pool]")
        with pytest.raises(ConfigError, match="there is no file"):
            config.check()
    with pytest.raises(ConfigError, match="path"):
        FilePool.parse({"path": []}, where="[pool]")


def test_the_reference_set_is_read(reference: Path) -> None:
    folder = reference / "data" / "mlearn_si"
    pool = read([str(folder / "training.extxyz")])
    assert len(pool) == pool.labelled == 214
    assert pool.groups is not None
    assert set(pool.groups) == {"AIMD-NVT", "Elastic", "Surface", "Vacancy"}
