"""Identity of a structure, and the checks structures and labels pass before they are used."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from athanor.errors import LabelError, StructureError
from athanor.structure import (
    Labels,
    bare,
    check_labels,
    check_structure,
    check_trainable,
    structure_id,
)
from athanor.testing import structures


@pytest.fixture(params=range(3))
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    return np.random.default_rng(request.param)


def test_bare_keeps_the_geometry_alone(rng: np.random.Generator) -> None:
    atoms = structures.dense(["Al", "Ni"], rng)
    atoms.info["note"] = "here"
    atoms.arrays["weight"] = np.ones(len(atoms))
    atoms.calc = SinglePointCalculator(atoms, energy=1.0)
    copy = bare(atoms)
    assert copy == atoms
    assert copy.info == {}
    assert copy.calc is None
    assert set(copy.arrays) == {"numbers", "positions"}
    copy.positions += 1
    copy.cell[0] *= 2
    assert not np.allclose(copy.positions, atoms.positions), "the copy owns its arrays"
    assert not np.allclose(copy.cell.array, atoms.cell.array)


def test_equal_geometries_have_equal_ids_whatever_they_carry(rng: np.random.Generator) -> None:
    atoms = structures.dense(["Al", "Ni"], rng)
    decorated = atoms.copy()
    decorated.info["note"] = "here"
    assert structure_id(decorated) == structure_id(atoms) == structure_id(bare(atoms))
    assert len(structure_id(atoms)) == 32
    assert int(structure_id(atoms), 16) >= 0


def test_any_changed_bit_changes_the_id(rng: np.random.Generator) -> None:
    atoms = structures.dense(["Al"], rng)
    seen = {structure_id(atoms)}

    def changed(**parts: object) -> Atoms:
        fields = {"numbers": atoms.numbers, "positions": atoms.positions, "cell": atoms.cell.array}
        return Atoms(**{"pbc": atoms.pbc, **fields, **parts})

    nudged = atoms.positions.copy()
    nudged[1, 2] = np.nextafter(nudged[1, 2], np.inf)
    grown = atoms.cell.array.copy()
    grown[0, 0] = np.nextafter(grown[0, 0], np.inf)
    other = atoms.numbers.copy()
    other[0] += 1
    variants = [
        changed(positions=nudged),
        changed(cell=grown),
        changed(numbers=other),
        changed(pbc=[True, True, False]),
        atoms[::-1],
        atoms[:-1],
    ]
    for variant in variants:
        seen.add(structure_id(variant))
    assert len(seen) == 1 + len(variants)


def test_negative_zero_is_zero() -> None:
    one = Atoms("Al", positions=[[0.0, 0.0, 0.0]])
    two = Atoms("Al", positions=[[-0.0, 0.0, -0.0]])
    assert structure_id(one) == structure_id(two)


def test_good_structures_pass(rng: np.random.Generator) -> None:
    for atoms in structures.zoo(["Al", "Ni"], rng):
        check_structure(atoms)
    check_structure(Atoms("Al", positions=[[0, 0, 0]]))
    check_structure(Atoms("Al", cell=[3.0, 0, 0], pbc=[True, False, False]))


def nan_position(atoms: Atoms) -> None:
    atoms.positions[2, 1] = np.nan


def infinite_cell(atoms: Atoms) -> None:
    atoms.cell[1, 2] = np.inf


def flat_cell(atoms: Atoms) -> None:
    atoms.cell[2] = 2 * atoms.cell[0] - atoms.cell[1]


def no_vector(atoms: Atoms) -> None:
    atoms.cell[0] = 0


def remote_atom(atoms: Atoms) -> None:
    atoms.positions[0, 0] = 3e7


def huge_cell(atoms: Atoms) -> None:
    atoms.cell[0] *= 1e9


def crushed_cell(atoms: Atoms) -> None:
    atoms.set_cell(atoms.cell.array * 1e-3, scale_atoms=True)


def crushed_wire(atoms: Atoms) -> None:
    atoms.cell[0] *= 1e-3
    atoms.pbc = [True, False, False]


def flown_away(atoms: Atoms) -> None:
    atoms.pbc[2] = False
    atoms.positions[0, 2] += 5000.0


def no_atoms(atoms: Atoms) -> None:
    del atoms[:]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (nan_position, "the position of atom 2 is not finite"),
        (infinite_cell, "the cell has a component that is not finite"),
        (flat_cell, "linearly dependent"),
        (no_vector, "linearly dependent"),
        (remote_atom, r"is 3\.0e\+07 Å"),
        (huge_cell, "at most 1e\\+06 Å"),
        (crushed_cell, "Å of room per atom"),
        (crushed_wire, "Å of room per atom"),
        (flown_away, "at most 2000 Å are allowed"),
        (no_atoms, "it has no atoms"),
    ],
)
def test_bad_structures_are_refused_with_their_place(spoil, words, rng) -> None:
    atoms = structures.dense(["Al"], rng)
    spoil(atoms)
    with pytest.raises(StructureError, match=words) as caught:
        check_structure(atoms, where="pool.xyz, frame 3")
    assert str(caught.value).startswith("pool.xyz, frame 3: ")


def test_open_directions_may_have_any_vector() -> None:
    atoms = Atoms("Al2", positions=[[0, 0, 0], [0, 0, 3]], cell=[4, 4, 0], pbc=[True, True, False])
    check_structure(atoms)


def right(n_atoms: int) -> dict[str, object]:
    return {"energy": -1.0, "forces": np.zeros((n_atoms, 3)), "stress": np.zeros((3, 3))}


def test_good_labels_pass() -> None:
    check_labels(Labels(**right(4)), 4)
    check_labels(Labels(**{**right(4), "stress": None}), 4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"energy": float("nan")}, "the energy is nan"),
        ({"energy": float("-inf")}, "the energy is -inf"),
        ({"forces": np.zeros((3, 3))}, r"forces have shape \(3, 3\), expected \(4, 3\)"),
        ({"forces": np.full((4, 3), np.nan)}, "a force component is not finite"),
        ({"stress": np.zeros(6)}, r"stress has shape \(6,\), expected \(3, 3\)"),
        ({"stress": np.full((3, 3), np.inf)}, "a stress component is not finite"),
    ],
)
def test_bad_labels_are_refused_with_their_place(change: dict[str, object], words: str) -> None:
    with pytest.raises(LabelError, match=words) as caught:
        check_labels(Labels(**{**right(4), **change}), 4, where="train, frame 0")
    assert str(caught.value).startswith("train, frame 0: ")


def test_no_label_is_too_large_to_be_squared(rng: np.random.Generator) -> None:
    for key, good in right(4).items():
        for factor in (1.0, -1.0):
            wrong = {**right(4), key: good + factor * 10 ** rng.uniform(12.1, 300)}
            with pytest.raises(LabelError, match=r"train: .* in size, at most 1e\+12"):
                check_trainable(Labels(**wrong), 4, where="train")
    check_trainable(Labels(**{**right(4), "stress": None, "energy": -9e11}), 4)
