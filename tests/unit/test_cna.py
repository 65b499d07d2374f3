"""Which crystal each atom is in."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.cluster import Icosahedron

from athanor.testing.structures import rotation
from athanor.validate._cna import KINDS, crystal_fractions, crystal_kinds

CRYSTALS = {
    "fcc": bulk("Al", "fcc", a=4.05, cubic=True).repeat(3),
    "hcp": bulk("Mg", "hcp", a=3.2, c=3.2 * np.sqrt(8 / 3)).repeat((4, 4, 3)),
    "bcc": bulk("Mo", "bcc", a=3.15, cubic=True).repeat(4),
}
OTHERS = {
    "sc": bulk("Po", "sc", a=3.3).repeat(4),
    "diamond": bulk("Si", "diamond", a=5.43, cubic=True).repeat(2),
    "rocksalt": bulk("NaCl", "rocksalt", a=5.6, cubic=True).repeat(2),
}


def shaken(atoms: Atoms, size: float, seed: int) -> Atoms:
    """Displaced by `size` of the spacing of atoms (root mean square)."""
    rng = np.random.default_rng(seed)
    found = atoms.copy()
    spacing = (atoms.get_volume() / len(atoms)) ** (1 / 3)
    found.positions += size * spacing * rng.normal(size=(len(atoms), 3)) / np.sqrt(3)
    return found


@pytest.mark.parametrize("name", CRYSTALS)
@pytest.mark.parametrize("size", [0.0, 0.04, 0.08])
def test_crystals_are_found_also_when_warm(name: str, size: float) -> None:
    fractions = crystal_fractions(shaken(CRYSTALS[name], size, seed=1))
    assert fractions[name] > 0.97
    assert sum(fractions.values()) == pytest.approx(1.0)
    if size == 0:
        assert fractions[name] == 1.0


@pytest.mark.parametrize("name", CRYSTALS)
def test_heat_takes_the_order_away(name: str) -> None:
    found = [crystal_fractions(shaken(CRYSTALS[name], size, 2))[name] for size in (0.1, 0.2, 0.4)]
    assert found[0] > found[1] > found[2]
    assert found[2] < 0.05


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_none_of_them_is_other(name: str) -> None:
    assert crystal_fractions(OTHERS[name])["other"] == 1.0


@pytest.mark.parametrize("name", ["fcc", "hcp", "bcc"])
def test_a_primitive_cell_is_enough(name: str) -> None:
    symbol = {"fcc": "Al", "hcp": "Mg", "bcc": "Mo"}[name]
    assert crystal_fractions(bulk(symbol, name))[name] == 1.0


@pytest.mark.parametrize("seed", range(3))
def test_frame_scale_order_and_images_do_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    name = rng.choice(sorted(CRYSTALS))
    atoms = shaken(CRYSTALS[name], 0.12, seed)
    kinds = crystal_kinds(atoms)
    assert 0 < np.count_nonzero(kinds) < len(atoms)
    order = rng.permutation(len(atoms))
    other = atoms[order]
    other.positions += rng.normal(size=3)
    other.positions += rng.integers(-2, 3, (len(other), 3)) @ other.cell.array
    matrix = rng.uniform(0.5, 2.0) * rotation(rng)
    other.set_cell(other.cell.array @ matrix)
    other.positions = other.positions @ matrix
    np.testing.assert_array_equal(crystal_kinds(other), kinds[order])


def test_a_stacking_fault_is_two_layers_of_hcp() -> None:
    atoms = fcc111("Al", (4, 4, 12), a=4.05, vacuum=None, periodic=True, orthogonal=True)
    height = atoms.cell[2, 2]
    upper = atoms.positions[:, 2] > 0.49 * height
    # the upper half slips along [11-2], which the orthogonal slab has along -y
    atoms.positions[upper, 1] -= 4.05 / np.sqrt(6)
    atoms.cell[2, 1] -= 4.05 / np.sqrt(6)
    kinds = np.array(KINDS)[crystal_kinds(atoms)]
    by_layer = [
        set(kinds[np.isclose(atoms.positions[:, 2], z)])
        for z in np.unique(atoms.positions[:, 2].round(6))
    ]
    assert [one for one in by_layer if one != {"fcc"}] == [{"hcp"}, {"hcp"}]
    assert len(by_layer) == 12


def test_a_vacancy_and_its_neighbours_are_other() -> None:
    atoms = CRYSTALS["fcc"].copy()
    del atoms[0]
    assert crystal_fractions(atoms)["other"] == pytest.approx(12 / len(atoms))


def test_the_surface_of_a_cluster_is_other() -> None:
    """A Mackay icosahedron: the tetrahedra meet in twin planes, which are hcp."""
    atoms = Icosahedron("Cu", 4)
    kinds = crystal_kinds(atoms)
    assert len(atoms) == 147
    # one atom in the middle of each of the 30 planes
    assert np.count_nonzero(kinds == KINDS.index("hcp")) == 30
    assert np.count_nonzero(kinds) == 30


@pytest.mark.parametrize("count", [0, 1, 5])
def test_few_atoms_are_other(count: int) -> None:
    atoms = Atoms("Al" * count, np.random.default_rng(0).uniform(0, 6, (count, 3)))
    assert crystal_kinds(atoms).tolist() == [0] * count
