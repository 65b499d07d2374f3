"""Coordination numbers, l-fold fractions and bond angles, of lattices where they are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.io import write

from athanor.errors import InputError, MeasurementError
from athanor.validate import Measured
from athanor.validate._structure.angles import DEGREES, bond_angles
from athanor.validate._structure.bonds import bond_cutoffs, coordination
from athanor.validate._structure.distribution import distribution
from athanor.validate._structure.elements import elements_of
from athanor.validate.rdf import RadialDistribution

TETRAHEDRAL = np.degrees(np.arccos(-1 / 3))


def cristobalite() -> Atoms:
    """Ideal beta-cristobalite: silicon as diamond, oxygen in the middle of each bond."""
    silicon = bulk("Si", "diamond", a=7.16, cubic=True)
    bond = 7.16 * np.sqrt(3) / 4
    i = silicon.get_all_distances(mic=True)
    vectors = silicon.get_all_distances(mic=True, vector=True)
    pairs = [(a, b) for a in range(8) for b in range(a + 1, 8) if abs(i[a, b] - bond) < 0.01]
    middles = [silicon.positions[a] + vectors[a, b] / 2 for a, b in pairs]
    assert len(middles) == 16
    return silicon + Atoms(f"O{len(middles)}", middles)


def measured(frames: list[Atoms], tmp_path: Path, **fields: object) -> Measured:
    path = tmp_path / "run.extxyz"
    write(path, frames)
    config = RadialDistribution(trajectory=path, **fields)
    return config.attempt(Calculator(), seed=0, workdir=tmp_path)


@pytest.mark.parametrize("cubic", [False, True])
@pytest.mark.parametrize(
    ("name", "lattice", "expected"),
    [("Al", "fcc", 12), ("Fe", "bcc", 8), ("Mg", "hcp", 12), ("Si", "diamond", 4), ("Po", "sc", 6)],
)
def test_perfect_lattices_have_their_coordination(name, lattice, expected, cubic) -> None:
    length = np.random.default_rng(expected).uniform(2.5, 5.0)
    shape = {"cubic": cubic}
    if lattice == "hcp":
        shape = {"orthorhombic": cubic, "c": 1.62 * length}
    atoms = bulk(name, lattice, a=length, **shape)
    found = distribution([atoms], r_max=2.2 * length, width=0.02)
    cutoffs = bond_cutoffs(found, {})
    counted = coordination([atoms], found.elements, cutoffs)
    assert counted.numbers.mean == pytest.approx([expected])
    assert counted.shares.mean[0, expected] == 1
    np.testing.assert_allclose(counted.shares.mean.sum(axis=1), 1)


def test_hot_fcc_still_has_twelve(tmp_path: Path) -> None:
    frames = []
    for seed in range(10):
        atoms = bulk("Al", "fcc", a=4.1, cubic=True).repeat(3)
        atoms.rattle(0.12, seed=seed)
        frames.append(atoms)
    found = measured(frames, tmp_path, r_max=7.5)
    assert found.failures == ()
    assert found.value("Al coordination").value == pytest.approx(12, abs=0.05)
    assert found.value("Al 12-fold").value > 95
    assert found.value("Al-Al first peak").value == pytest.approx(4.1 / np.sqrt(2), abs=0.02)


def test_silica_is_a_network_of_tetrahedra(tmp_path: Path) -> None:
    found = measured([cristobalite()], tmp_path, angles=True)
    assert found.failures == ()
    values = {one.name: one.value for one in found.values}
    assert values["Si 4-fold"] == pytest.approx(100)
    assert values["O 2-fold"] == pytest.approx(100)
    assert values["Si coordination"] == pytest.approx(4)
    assert values["mean angle at Si"] == pytest.approx(TETRAHEDRAL, abs=1)
    assert values["mean angle at O"] == pytest.approx(179, abs=1)
    assert values["Si-O first peak"] == pytest.approx(7.16 * np.sqrt(3) / 8, abs=0.05)
    # neither oxygens nor silicons are bonded to each other
    assert [name for name in values if name.endswith("coordination")] == [
        "Si coordination",
        "O coordination",
    ]
    assert "Si-O" in found.notes[1]
    assert "O-O" not in found.notes[1]


@pytest.mark.parametrize("missing", [1, 3])
def test_missing_oxygens_leave_silicons_with_fewer(missing: int, tmp_path: Path) -> None:
    whole = cristobalite().repeat(2)
    generator = np.random.default_rng(missing)
    del whole[generator.choice(np.flatnonzero(whole.numbers == 8), missing, replace=False)]
    found = measured(
        [whole], tmp_path, bonds={"O-Si": 2.0}, folds={"Si": (3, 5), "O": (1,)}, r_max=5
    )
    assert found.value("Si coordination").value == pytest.approx(4 - 2 * missing / 64)
    assert found.value("O coordination").value == pytest.approx(2)
    shares = [found.value(f"Si {fold}-fold") for fold in range(5)]
    lost = sum((4 - fold) * one.value for fold, one in enumerate(shares) if one is not None)
    assert lost == pytest.approx(100 * 2 * missing / 64)
    # always given where asked for
    assert found.value("Si 5-fold").value == 0
    assert found.value("O 1-fold").value == 0
    assert found.value("Si 4-fold").uncertainty is None


def test_the_mean_is_over_the_frames_and_the_error_from_its_blocks(tmp_path: Path) -> None:
    near = cristobalite()
    far = near.copy()
    far.positions[8] += (0.0, 0.0, 3.0)  # an oxygen that left both its silicons
    found = measured([near, near, far, near], tmp_path, bonds={"Si-O": 1.9}, blocks=4)
    bonds = coordination([far], elements_of([far]), {("Si", "O"): 1.9}).numbers.mean[0]
    assert bonds < 4
    value = found.value("Si coordination")
    assert value.value == pytest.approx((12 + bonds) / 4)
    # of four values of which one is off by d: d / sqrt(4) / sqrt(4)
    assert value.uncertainty == pytest.approx((4 - bonds) / 4)


def test_several_kinds_of_bonds_are_told_apart(tmp_path: Path) -> None:
    copper_gold = bulk("Au", "fcc", a=4.0, cubic=True)
    copper_gold.numbers[1:] = 29  # L1_2
    found = measured([copper_gold], tmp_path)
    values = {one.name: one.value for one in found.values}
    assert values["Cu coordination"] == pytest.approx(12)
    assert values["Au around Cu"] == pytest.approx(4)
    assert values["Cu around Cu"] == pytest.approx(8)
    # gold has no gold beside it: their first peak is the second shell's
    assert values["Au coordination"] == pytest.approx(12)
    assert "Au around Au" not in values


def test_wanted_pairs_take_their_first_minimum() -> None:
    salt = bulk("NaCl", "rocksalt", a=5.64)
    found = distribution([salt], r_max=8, width=0.02)
    automatic = bond_cutoffs(found, {})
    assert list(automatic) == [("Na", "Cl")]
    assert bond_cutoffs(found, {"Cl-Na": None}) == automatic
    both = bond_cutoffs(found, {"Na-Na": None, "Na-Cl": 3.0})
    assert both[("Na", "Cl")] == 3.0
    assert 5.64 / np.sqrt(2) < both[("Na", "Na")] < 5.64
    with pytest.raises(InputError, match="no pair 'Na-K'; the pairs of these frames are Na-Na"):
        bond_cutoffs(found, {"Na-K": 3.0})


def test_no_minimum_is_said() -> None:
    short = distribution([bulk("Al", "fcc", a=4.05)], r_max=2.0, width=0.02)
    with pytest.raises(MeasurementError, match="no g\\(r\\) has a peak"):
        bond_cutoffs(short, {})
    with pytest.raises(MeasurementError, match="no minimum behind a first peak"):
        bond_cutoffs(short, {"Al-Al": None})


def test_fold_of_an_element_that_is_not_there(tmp_path: Path) -> None:
    found = measured([bulk("Al", "fcc", a=4.05)], tmp_path, folds={"O": (2,)})
    assert found.failures == ("folds names O; the elements are Al",)
    assert found.value("Al-Al first peak") is not None


def test_no_bond_at_all_is_zero_fold(tmp_path: Path) -> None:
    found = measured([bulk("Al", "fcc", a=4.05)], tmp_path, bonds={"Al-Al": 1.0}, angles=True)
    assert found.failures == ()
    assert found.value("Al coordination").value == 0
    assert found.value("Al 0-fold").value == 100
    assert found.value("mean angle at Al") is None


@pytest.mark.parametrize("seed", range(3))
def test_angles_are_those_of_every_two_bonds(seed: int) -> None:
    generator = np.random.default_rng(seed)
    atoms = Atoms("Si6O6", cell=[[7, 0, 0], [1, 6, 0], [0, 2, 8]], pbc=True)
    atoms.set_scaled_positions(generator.random((12, 3)))
    elements = elements_of([atoms])
    cutoffs = {("Si", "O"): 3.1, ("O", "O"): 2.2}
    found = bond_angles([atoms], elements, cutoffs).mean
    reach = range(-1, 2)
    shifts = np.array([(i, j, k) for i in reach for j in reach for k in reach]) @ atoms.cell.array
    for row, name in enumerate(elements.names):
        angles = []
        for corner in np.flatnonzero(atoms.symbols == name):
            vectors = []
            for other in range(12):
                pair = {name, str(atoms.symbols[other])}
                limit = {"SiO": 3.1, "O": 2.2}.get("".join(sorted(pair, reverse=True)), 0)
                apart = atoms.positions[other] + shifts - atoms.positions[corner]
                length = np.linalg.norm(apart, axis=1)
                vectors += list(apart[(length > 1e-9) & (length < limit)])
            for one in range(len(vectors)):
                for two in range(one):
                    a, b = vectors[one], vectors[two]
                    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
                    angles.append(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
        expected, _ = np.histogram(angles, bins=90, range=(0, 180), density=True)
        np.testing.assert_allclose(found[row], expected, atol=1e-12)


def test_fcc_angles() -> None:
    """Of its 66 angles 24 are 60, 12 are 90, 24 are 120 and 6 are 180 degrees."""
    atoms = bulk("Al", "fcc", a=4.05)
    found = bond_angles([atoms], elements_of([atoms]), {("Al", "Al"): 3.4}).mean[0]
    for angle, count in ((60, 24), (90, 12), (120, 24), (180, 6)):
        near = np.abs(DEGREES - angle) < 2.5
        assert 2 * found[near].sum() == pytest.approx(count / 66)
