"""Enumerated candidates: how many there are, how large they are, and that each gets its turn."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list

from athanor.data.formats import read_structures
from athanor.errors import ConfigError, MissingExtraError
from athanor.sample import enumeration, start_kinds
from athanor.sample._parents import Parent, parent, usual_volume
from athanor.sample.enumeration import EnumerationStart
from athanor.structure import structure_id

# Hart & Forcade, Phys. Rev. B 77, 224115 (2008), table IV: structures of each size that are
# distinct when the two elements may be exchanged too
DISTINCT = {2: 2, 3: 3, 4: 12, 5: 14}
# the same for elements that are told apart, which is twice as many for odd sizes
TOLD_APART = {1: 2, 2: 2, 3: 6, 4: 19, 5: 28, 6: 80, 7: 2 * 52, 8: 390}


Rows = tuple[tuple[int, ...], ...]


def surroundings(atoms: Atoms) -> tuple[Rows, Rows]:
    """Element and numbers of like neighbours by distance, of each atom; as is, and exchanged.

    Enough to tell small crystals apart.
    """
    room = np.cbrt(atoms.get_volume() / len(atoms))
    i, j, apart = neighbor_list("ijd", atoms, 4.2 * room)
    shells, where = np.unique(np.round(apart / room, 4), return_inverse=True)
    like = np.zeros((len(atoms), len(shells)), dtype=int)
    np.add.at(like, (i, where), atoms.numbers[i] == atoms.numbers[j])
    silver = (atoms.numbers == 47).astype(int)
    rows = [np.column_stack([kind, like]).tolist() for kind in (silver, 1 - silver)]
    one, other = (tuple(sorted(map(tuple, each))) for each in rows)
    return one, other


@pytest.mark.parametrize("lattice", ["fcc", "bcc"])
def test_as_many_as_published(lattice: Parent) -> None:
    start = EnumerationStart(
        species=("Ag", "Pd"), lattices=(lattice,), volumes={"Ag": 16.0, "Pd": 16.0}
    )
    structures = start.listed()
    assert Counter(map(len, structures)) == TOLD_APART
    for size, expected in DISTINCT.items():
        mine = [surroundings(atoms) for atoms in structures if len(atoms) == size]
        assert len({one for one, _ in mine}) == len(mine)
        assert len({min(both) for both in mine}) == expected


def test_sizes_follow_the_parent() -> None:
    start = EnumerationStart(species=("Ag", "Pd"), lattices=("hcp", "9R"), max_atoms=7)
    assert {len(atoms) for atoms in start.listed()} == {2, 3, 4, 6}
    pure = [c for c in start.candidates if len(set(c.atoms.symbols)) == 1]
    assert len(pure) == 4, "each element once on each lattice, in the smallest cell"
    mixed = EnumerationStart(species=("Cu", "Ag", "Au"), max_atoms=3, lattices=("fcc",))
    assert {len(set(atoms.symbols)) for atoms in mixed.listed()} == {1, 2, 3}


@pytest.mark.parametrize(
    ("lattice", "touching", "second"),
    [("fcc", 12, 0.0), ("hcp", 12, 2.0), ("dhcp", 12, 1.0), ("9R", 12, 4 / 3), ("sc", 6, 0.0)],
)
def test_parents_are_what_they_are_called(lattice: Parent, touching: int, second: float) -> None:
    atoms = parent(lattice, "Ag", 17.0)
    assert atoms.get_volume() / len(atoms) == pytest.approx(17.0)
    near = neighbor_list("d", atoms, 2.0 * np.cbrt(17.0))
    shortest = near.min()
    assert np.sum(near < 1.01 * shortest) == touching * len(atoms)
    # two neighbours straight above each other are the mark of hexagonal layers
    above = np.abs(near / shortest - np.sqrt(8 / 3)) < 0.01
    assert above.sum() / len(atoms) == pytest.approx(second)


def test_volumes_by_vegard() -> None:
    scales = (0.9, 1.0, 1.3)
    start = EnumerationStart(
        species=("Ag", "Pd"), max_atoms=4, volumes={"Pd": 10.0}, scales=scales, rattle=0.1
    )
    room = {"Ag": usual_volume("Ag"), "Pd": 10.0}
    found = start.candidates
    assert len({c.name for c in found}) == len(found)
    for number, one in enumerate(found):
        expected = scales[number % 3] * sum(room[symbol] for symbol in one.atoms.symbols)
        assert one.atoms.get_volume() == pytest.approx(expected)
    assert usual_volume("Ag") == pytest.approx(4.09**3 / 4)
    assert usual_volume("Ti") == pytest.approx(17.6, rel=0.02)
    assert 1 < usual_volume("O") < 30


def test_the_list_is_always_the_same() -> None:
    table = {"species": ["Al", "Ni"], "max_atoms": 4, "rattle": 0.05, "scales": [1.0, 1.1]}
    lists = [
        [structure_id(a) for a in EnumerationStart.parse(table, where="[start]").listed()]
        for _ in range(2)
    ]
    assert lists[0] == lists[1]
    assert len(set(lists[0])) == len(lists[0])
    still = EnumerationStart.parse({**table, "rattle": 0.0}, where="[start]")
    moved = EnumerationStart.parse(table, where="[start]")
    steps = [a.positions - b.positions for a, b in zip(moved.listed(), still.listed(), strict=True)]
    assert np.std(np.concatenate(steps)) == pytest.approx(0.05, rel=0.1)


def test_each_gets_its_turn() -> None:
    rng = np.random.default_rng(3)
    for batch in rng.integers(1, 40, size=3).tolist():
        start = EnumerationStart(species=("Ag", "Pd"), max_atoms=4, batch=batch)
        listed = [structure_id(atoms) for atoms in start.listed()]
        parts = -(-len(listed) // batch)
        first = int(rng.integers(100))
        taken = [
            structure_id(atoms)
            for number in range(first, first + parts)
            for atoms in start.part(number, rng)
        ]
        assert sorted(taken) == sorted(listed)
        assert all(len(start.part(number, rng)) <= batch for number in range(parts))


def test_drawn_at_random() -> None:
    start = EnumerationStart(species=("Ag", "Pd"), max_atoms=3, lattices=("fcc",))
    n = len(start.listed())
    drawn = start.structures(2 * n + 1, np.random.default_rng(5))
    times = Counter(structure_id(atoms) for atoms in drawn)
    assert sorted(times.values()) == [2] * (n - 1) + [3]
    drawn[0].positions += 1.0
    again = {structure_id(atoms) for atoms in start.listed()}
    assert again == set(times), "what was drawn is a copy"


def test_written_to_a_file(tmp_path: Path) -> None:
    start = EnumerationStart(species=("Ag", "Pd"), max_atoms=3, rattle=0.02)
    start.write(tmp_path / "candidates.extxyz")
    found = read_structures(tmp_path / "candidates.extxyz")
    assert len(found) == len(start.listed())
    for one, other in zip(found, start.listed(), strict=True):
        assert (one.symbols == other.symbols).all()
        assert np.allclose(one.positions, other.positions)
        assert np.allclose(one.cell.array, other.cell.array)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"species": ["Ag", "Pdd"]}, "no element 'Pdd'.*did you mean 'Pd'"),
        ({"species": ["Ag", "Ag"]}, "names an element twice"),
        ({"species": []}, "species"),
        ({"lattices": ["fct"]}, "fct"),
        ({"volumes": {"Au": 17.0}}, "volumes are given for Au"),
        ({"volumes": {"Ag": -1.0}}, "volumes.Ag = -1.0 is not allowed"),
        ({"lattices": ["dhcp"], "max_atoms": 3}, "a cell of dhcp has 4 atoms at least"),
        ({"scales": [3.0]}, "scales.0 = 3.0 is not allowed"),
        ({"batch": 0}, "batch = 0 is not allowed"),
    ],
)
def test_wrong_tables(table: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        EnumerationStart.parse({"species": ["Ag", "Pd"], **table}, where="[start]")


def test_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enumeration, "MOST_STRUCTURES", 10)
    start = EnumerationStart(species=("Ag", "Pd"), max_atoms=4)
    with pytest.raises(ConfigError, match="more than 10 structures on fcc up to 4 atoms"):
        start.listed()


def test_without_icet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "icet", None)
    start = EnumerationStart(species=("Ag", "Pd"))
    for ask in (start.check, start.listed):
        with pytest.raises(MissingExtraError, match=r"athanor\[physics\]"):
            ask()


def test_it_is_a_kind() -> None:
    assert start_kinds()["enumeration"] is EnumerationStart
