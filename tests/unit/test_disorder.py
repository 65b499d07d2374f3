"""Random disordered starts."""

from __future__ import annotations

import numpy as np
import pytest
from ase.units import kg
from hypothesis import given, settings
from hypothesis import strategies as st

from athanor.errors import ConfigError, StructureError
from athanor.sample import start_kinds
from athanor.sample.disorder import DisorderStart, placed


def drawn(count: int = 1, seed: int = 0, **table: object) -> list:
    start = DisorderStart.parse({"composition": "Al", **table}, where="[start]")
    return start.structures(count, np.random.default_rng(seed))


def test_kind_is_found() -> None:
    assert start_kinds()["disorder"] is DisorderStart


def test_same_seed_same_cells_and_another_seed_other_cells() -> None:
    first, again, other = drawn(3, 1), drawn(3, 1), drawn(3, 2)
    assert first == again
    assert not any(a == b for a, b in zip(first, other, strict=True))


def test_edges_and_density_fill_their_ranges_uniformly() -> None:
    cells = drawn(60, 3, edges=[8, 12], density=[1.8, 3.0], min_distance=1.5)
    edges = np.array([atoms.cell.lengths() for atoms in cells]).ravel()
    density = [1e27 / kg * atoms.get_masses().sum() / atoms.get_volume() for atoms in cells]
    assert edges.min() >= 8
    assert edges.max() <= 12
    # 180 draws: the mean of a uniform number is known to 4/sqrt(12 * 180) = 0.086
    assert edges.mean() == pytest.approx(10, abs=5 * 0.086)
    assert np.mean(density) == pytest.approx(2.4, abs=5 * 1.2 / np.sqrt(12 * 60))
    assert np.ptp(density) > 0.8


@settings(max_examples=25, deadline=None)
@given(
    al=st.floats(0.05, 0.95),
    seed=st.integers(0, 2**31),
    density=st.floats(1.0, 4.0),
    distance=st.floats(0.5, 1.8),
)
def test_density_distance_and_composition_hold(
    al: float, seed: int, density: float, distance: float
) -> None:
    atoms = drawn(
        seed=seed,
        composition={"Al": al, "Ni": 1 - al},
        edges=[6, 10],
        density=[density, density],
        min_distance=distance,
    )[0]
    n_al = list(atoms.symbols).count("Al")
    assert abs(n_al - al * len(atoms)) <= 1
    mean = al * 26.9815385 + (1 - al) * 58.6934
    # a whole number of atoms: within half an atom of the density asked for
    exact = density * atoms.get_volume() * 1e-27 * kg / mean
    assert abs(len(atoms) - exact) <= 0.5 + 1e-9 or len(atoms) == 1
    gaps = atoms.get_all_distances(mic=True)[np.triu_indices(len(atoms), 1)]
    assert len(gaps) == 0 or gaps.min() >= distance
    assert atoms.pbc.all()
    assert (atoms.get_scaled_positions(wrap=False) < 1).all()


def test_formula_and_fractions_mean_the_same() -> None:
    by_formula = DisorderStart.parse({"composition": "AlNi3"}, where="s").composition
    by_parts = DisorderStart.parse({"composition": {"Al": 1, "Ni": 3}}, where="s").composition
    assert by_formula == by_parts == {"Al": 0.25, "Ni": 0.75}


def test_elements_are_not_sorted_in_space() -> None:
    atoms = drawn(seed=5, composition="AlNi")[0]
    changes = np.count_nonzero(np.diff(atoms.numbers))
    assert changes > len(atoms) / 4


def test_max_atoms_is_kept_and_only_cuts() -> None:
    cells = drawn(20, 7, edges=[8, 12], density=[2, 3], max_atoms=50)
    assert max(map(len, cells)) <= 50
    assert len({len(atoms) for atoms in cells}) > 5


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"composition": "Al3)"}, "not a formula"),
        ({"composition": {"Alu": 1.0}}, "no element 'Alu' .did you mean 'Au'"),
        ({"composition": {"X": 1.0}}, "no element 'X'"),
        ({"composition": {"Al": -1.0}}, "share of Al is -1.0"),
        ({"composition": {}}, "names no element"),
        ({"density": [4, 3]}, "upside down"),
        ({"density": [0, 3]}, "above zero"),
        ({"density": [3, 9]}, "lower density to 5.5"),
        ({"edges": [1, 9]}, "shortest edge 1.0"),
        ({"max_atoms": 3}, "smallest cell holds"),
        ({"edges": [9, 120]}, "the largest cell holds .* more than the 50000 allowed"),
        ({"edges": [9, 1e300]}, "longest edge is 1.0e.300 Å"),
        ({"min_distance": 0}, "min_distance = 0 is not allowed"),
        ({"edge": [9, 9]}, "unknown key 'edge' .did you mean 'edges'"),
    ],
)
def test_wrong_tables_are_refused_in_a_sentence(table: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        DisorderStart.parse({"composition": "Al", **table}, where="[start]")


def test_a_jammed_cell_ends_in_an_error_not_a_hang() -> None:
    with pytest.raises(StructureError, match=r"only \d+ of 40 atoms fit 3.0 Å apart"):
        placed(40, np.full(3, 8.0), min_distance=3.0, rng=np.random.default_rng(0))


def test_max_atoms_that_chance_never_meets_ends_in_an_error() -> None:
    start = DisorderStart.parse(
        {"composition": "Al", "edges": [5.0, 500.0], "max_atoms": 6, "density": [1.8, 1.8]},
        where="[start]",
    )
    with pytest.raises(StructureError, match="none of 1000 random cells had at most max_atoms"):
        start.structures(1, np.random.default_rng(0))
