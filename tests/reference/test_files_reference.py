"""Every file of the reference set is read, and means what its README says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from athanor.data.cfg import read_cfg, write_cfg
from athanor.data.formats import read_frames, read_structures, write_structures
from athanor.potentials._mtp.mlip_file import read_mtp, write_mtp
from athanor.potentials._mtp.model import MtpModel

COUNTS = {
    # level: scalars, moments, basic, times, radial functions
    2: (1, 1, 1, 0, 1),
    4: (2, 2, 1, 1, 1),
    6: (5, 8, 5, 5, 2),
    8: (9, 18, 11, 14, 2),
    10: (16, 41, 25, 42, 3),
    12: (29, 84, 46, 117, 3),
    14: (52, 174, 81, 348, 4),
    16: (92, 350, 130, 969, 4),
    18: (163, 718, 201, 2634, 5),
    20: (288, 1352, 295, 6349, 5),
    22: (500, 2621, 421, 15431, 6),
}


def species_of(path: Path) -> tuple[str, ...]:
    return ("Mo", "Ta") if "2sp" in path.name else ("Mo",)


def assert_equal(one: MtpModel, other: MtpModel) -> None:
    for name in ("basic", "times", "mapping"):
        np.testing.assert_array_equal(getattr(one.tables, name), getattr(other.tables, name))
    for name in ("radial", "species_coeffs", "moment_coeffs"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes()
    for name in ("species", "min_dist", "max_dist", "scaling", "name"):
        assert getattr(one, name) == getattr(other, name)


def test_every_potential_reads_and_round_trips(reference: Path, tmp_path: Path) -> None:
    paths = sorted((reference / "mtp/pots").glob("*.mtp"))
    assert paths
    for path in paths:
        model = read_mtp(path, species_of(path))
        level = int(path.stem.split("_L")[1][:2])
        tables = model.tables
        assert COUNTS[level] == (
            *(len(tables.mapping), tables.n_moments, len(tables.basic), len(tables.times)),
            tables.n_radial,
        )
        write_mtp(tmp_path / path.name, model)
        assert_equal(read_mtp(tmp_path / path.name, species_of(path)), model)


@pytest.mark.parametrize("folder", ["cfgs", "efs"])
def test_every_configuration_reads_and_round_trips(
    folder: str, reference: Path, tmp_path: Path
) -> None:
    paths = sorted((reference / "mtp" / folder).glob("*.cfg"))
    assert paths
    for path in paths:
        species = species_of(path)
        records = read_cfg(path, species)
        if folder == "efs":
            assert all(one.labels is not None for one in records)
        write_cfg(tmp_path / path.name, records, species=species)
        for one, other in zip(records, read_cfg(tmp_path / path.name, species), strict=True):
            np.testing.assert_array_equal(one.atoms.positions, other.atoms.positions)
            np.testing.assert_array_equal(one.atoms.numbers, other.atoms.numbers)
            assert (one.labels is None) == (other.labels is None)
            if one.labels is not None and other.labels is not None:
                assert one.labels.energy == other.labels.energy
                np.testing.assert_array_equal(one.labels.forces, other.labels.forces)


def test_the_two_formats_of_molybdenum_agree(reference: Path) -> None:
    """The same labels stand in Mo_test.cfg and in mlearn's test.extxyz, stress sign included."""
    ours = read_cfg(reference / "mtp/cfgs/Mo_test.cfg", ["Mo"])
    theirs = read_frames(reference / "data/mlearn_mo/test.extxyz")
    for one, other in zip(ours, theirs, strict=True):
        assert one.labels is not None
        assert one.labels.energy == pytest.approx(other.labels.energy, abs=1e-6)
        np.testing.assert_allclose(one.labels.forces, other.labels.forces, atol=1e-6)
        np.testing.assert_allclose(one.atoms.positions, other.atoms.positions, atol=1e-5)
        assert one.labels.stress is not None
        assert other.labels.stress is not None
        np.testing.assert_allclose(one.labels.stress, other.labels.stress, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("mlearn_mo/training", 194),
        ("mlearn_mo/test", 23),
        ("mlearn_si/training", 214),
        ("mlearn_si/test", 25),
        ("binary_mota/dev", 658),
        ("al_aimd_300k/train", 1000),
    ],
)
def test_data_sets_are_frames_with_stress(name: str, count: int, reference: Path) -> None:
    path = reference / "data" / f"{name}.extxyz"
    data = read_frames(path)
    assert len(data) == len(read_structures(path)) == count
    assert all(one.stress is not None for one in data.labels)
    assert all(atoms.pbc.all() for atoms in data.structures)


def test_a_data_set_round_trips(reference: Path, tmp_path: Path) -> None:
    data = read_frames(reference / "data/mlearn_si/test.extxyz")
    write_structures(tmp_path / "s.extxyz", data.structures, labels=data.labels)
    for one, other in zip(data, read_frames(tmp_path / "s.extxyz"), strict=True):
        np.testing.assert_array_equal(one.atoms.positions, other.atoms.positions)
        np.testing.assert_array_equal(one.labels.forces, other.labels.forces)
        assert one.labels.stress is not None
        assert other.labels.stress is not None
        np.testing.assert_array_equal(one.labels.stress, other.labels.stress)
