"""Perfect lattices, structure files, their relaxation and their symmetry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.io import write

from athanor.calculator import calculator
from athanor.errors import ConfigError, MeasurementError
from athanor.potentials.lj import LennardJones
from athanor.validate._crystal import OfCrystal, read_crystal
from athanor.validate._lattice import crystal, lattice_constant, usual_volume
from athanor.validate._relaxing import relaxed
from athanor.validate._symmetry import symmetry_of

LATTICES = ("fcc", "hcp", "bcc", "sc", "diamond")


def argon(cutoff: float = 8.5) -> Calculator:
    return calculator(LennardJones(frozenset({"Ar"}), cutoff, 0.0104, 3.4))


def of(**keys: object) -> OfCrystal:
    return OfCrystal.parse(keys, where="[[property]]")


@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("cubic", [False, True])
def test_crystals_have_the_volume_and_the_neighbours(lattice: str, cubic: bool) -> None:
    volume = float(np.random.default_rng(2).uniform(10, 30))
    atoms = crystal("Al", lattice, volume, cubic=cubic).repeat(3 if cubic else 5)
    assert atoms.get_volume() / len(atoms) == pytest.approx(volume)
    apart = atoms.get_distances(0, range(1, len(atoms)), mic=True)
    number = {"fcc": 12, "hcp": 12, "bcc": 8, "sc": 6, "diamond": 4}[lattice]
    assert np.count_nonzero(apart < 1.001 * apart.min()) == number
    length = lattice_constant(lattice, volume)
    share = {"fcc": 0.5, "hcp": 1.0, "bcc": 0.75, "sc": 1.0, "diamond": 3 / 16}[lattice]
    assert apart.min() == pytest.approx(np.sqrt(share) * length)


@pytest.mark.parametrize(
    ("symbol", "volume"),
    [("Al", 16.6), ("Fe", 11.8), ("Mg", 23.2), ("Cu", 11.8), ("W", 15.8), ("Si", 20.0)],
)
def test_usual_volumes(symbol: str, volume: float) -> None:
    assert usual_volume(symbol) == pytest.approx(volume, rel=0.02)
    assert 1 < usual_volume("O") < 30
    assert usual_volume(symbol, "sc") < usual_volume(symbol, "diamond")


@pytest.mark.parametrize("cubic", [False, True])
def test_a_named_crystal_relaxes_from_its_own_minimum(cubic: bool) -> None:
    # fcc beside the minimum of hcp: the same potential, whatever cell describes it
    found = of(element="Ar", lattice="fcc").crystal(argon(), cubic=cubic)
    assert len(found) == (4 if cubic else 1)
    assert found.calc is None
    other = found.copy()
    other.calc = argon()
    assert np.abs(other.get_stress()).max() < 1e-5
    volume = found.get_volume() / len(found)
    assert (4 * volume) ** (1 / 3) / np.sqrt(2) == pytest.approx(1.0902 * 3.4, rel=0.02)


def test_a_file_relaxes_from_where_it_is(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    start = crystal("Ar", "hcp", rng.uniform(35, 40), cubic=True)
    start.positions += rng.normal(0, 0.05, start.positions.shape)
    write(tmp_path / "shaken.extxyz", start)
    recipe = of(file=str(tmp_path / "shaken.extxyz"))
    assert recipe.crystal_name == "shaken"
    found = recipe.crystal(argon())
    assert symmetry_of(found).group == "P6_3/mmc (194)"
    assert symmetry_of(recipe.unrelaxed()).group == "P1 (1)"


def test_the_last_structure_of_a_file_is_taken(tmp_path: Path) -> None:
    two = [bulk("Ar", "fcc", a=5.3), bulk("Ar", "bcc", a=4.3)]
    write(tmp_path / "two.extxyz", two)
    assert symmetry_of(read_crystal(tmp_path / "two.extxyz")).group == "Im-3m (229)"


def test_what_becomes_another_crystal_is_refused() -> None:
    # sc stretched along one axis by half is nowhere near a minimum
    start = Atoms("Ar", cell=[3.6, 3.6, 5.8], pbc=True)
    with pytest.raises(MeasurementError, match="sc Ar became another structure while relaxing"):
        relaxed(start, argon(), name="sc Ar")


def test_what_does_not_converge_is_refused() -> None:
    rng = np.random.default_rng(0)
    start = bulk("Ar", "fcc", a=5.3, cubic=True)
    start.positions += rng.normal(0, 0.05, start.positions.shape)
    with pytest.raises(MeasurementError, match="the structure did not relax within 500 steps"):
        relaxed(start, argon(), cell=False, fmax=1e-30)


@pytest.mark.parametrize("same_volume", [False, True])
def test_a_cell_relaxes_in_shape_or_in_volume_too(same_volume: bool) -> None:
    start = bulk("Ar", "fcc", a=5.5, cubic=True)
    stretch = np.diag([1.02, 1.0, 1.0])
    start.set_cell(start.cell.array @ stretch, scale_atoms=True)
    found = relaxed(start, argon(), same_volume=same_volume)
    lengths = found.cell.lengths()
    assert lengths == pytest.approx([lengths.mean()] * 3, rel=1e-3)
    change = abs(found.get_volume() / start.get_volume() - 1)
    assert change < 1e-9 if same_volume else change > 0.01
    assert start.cell.lengths()[0] == pytest.approx(1.02 * 5.5)


def test_a_crystal_without_a_minimum_is_refused() -> None:
    # a minimum beyond twice the usual volume
    far = calculator(LennardJones(frozenset({"Ar"}), 20.0, 0.01, 6.5))
    with pytest.raises(MeasurementError, match="sc Ar has no energy minimum between"):
        of(element="Ar", lattice="sc").crystal(far)


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"element": "Al"},
        {"lattice": "fcc"},
        {"element": "Al", "lattice": "fcc", "file": "x.cif"},
        {"element": "Al", "file": "x.cif"},
    ],
)
def test_a_crystal_is_named_or_a_file(table: dict) -> None:
    with pytest.raises(ConfigError, match="give element and lattice, or a file, and not both"):
        of(**table)


@pytest.mark.parametrize(
    ("lattice", "group", "order"),
    [
        ("fcc", "Fm-3m (225)", 48),
        ("bcc", "Im-3m (229)", 48),
        ("sc", "Pm-3m (221)", 48),
        ("hcp", "P6_3/mmc (194)", 24),
        ("diamond", "Fd-3m (227)", 48),
    ],
)
def test_symmetry_in_any_frame(lattice: str, group: str, order: int) -> None:
    rng = np.random.default_rng(8)
    atoms = crystal("Ar", lattice, rng.uniform(20, 40))
    atoms.rotate(rng.uniform(0, 360), rng.normal(size=3), rotate_cell=True)
    found = symmetry_of(atoms)
    assert found.group == group
    assert found.rotations.shape == (order, 3, 3)
    whole = found.rotations @ found.rotations.transpose(0, 2, 1)
    np.testing.assert_allclose(whole, np.broadcast_to(np.eye(3), whole.shape), atol=1e-12)
    # an operation maps the lattice onto itself
    fractions = np.linalg.solve(atoms.cell.array.T, found.rotations @ atoms.cell.array.T)
    np.testing.assert_allclose(fractions, fractions.round(), atol=1e-6)
    # in the standard frame the operations of a cube are permutations of the axes
    turned = found.frame @ found.rotations @ found.frame.T
    if lattice != "hcp":
        np.testing.assert_allclose(np.abs(turned).max(axis=2), 1.0, atol=1e-6)


def test_no_symmetry_can_be_had_of_atoms_on_each_other() -> None:
    atoms = Atoms("Ar2", positions=[[0, 0, 0], [0, 0, 1e-4]], cell=[4, 4, 4], pbc=True)
    with pytest.raises(MeasurementError, match="spglib finds no symmetry"):
        symmetry_of(atoms)
