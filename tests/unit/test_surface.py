"""Surface energies: bonds counted, published values, symmetry, and cuts that do not hold."""

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
from athanor.oracle.lammps import LammpsOracleConfig
from athanor.potentials.lj import LennardJones
from athanor.validate import Measured, kinds
from athanor.validate import surface as module
from athanor.validate._relaxing import relaxed
from athanor.validate.surface import J_PER_M2, Surface


def argon(cutoff: float = 8.5) -> Calculator:
    return calculator(LennardJones(frozenset({"Ar"}), cutoff, 0.0104, 3.4))


def measured(subject: Calculator, tmp_path: Path, **keys: object) -> Measured:
    recipe = Surface.parse(keys, where="[[property]]")
    return recipe.attempt(subject, seed=0, workdir=tmp_path / "surface")


def numbers(found: Measured) -> dict[str, float]:
    return {one.name: one.value for one in found.values}


FCC = {"element": "Ar", "lattice": "fcc"}


# numbers


def test_nearest_neighbours_are_bonds_to_be_counted(tmp_path) -> None:
    """Of twelve, an fcc atom loses 3 at (111), 4 at (100) and, with the layer below, 6 at (110)."""
    subject = argon(cutoff=5.0)
    crystal = relaxed(bulk("Ar", "fcc", a=5.3), subject)
    length = float(crystal.cell.lengths()[0])
    crystal.calc = subject
    bond = -crystal.get_potential_energy() / 6
    found = numbers(measured(subject, tmp_path, **FCC, thickness=8.0))
    for plane, broken, area in (
        ("(111)", 3, np.sqrt(3) / 2),
        ("(100)", 4, 1.0),
        ("(110)", 6, np.sqrt(2)),
    ):
        expected = J_PER_M2 * broken * bond / 2 / (area * length**2)
        assert found[f"unrelaxed surface energy {plane}"] == pytest.approx(expected, rel=5e-4)
        assert found[f"surface energy {plane}"] <= found[f"unrelaxed surface energy {plane}"]


def test_copper_has_the_published_surface_energies(tmp_path) -> None:
    """The EAM of Mishin et al. 2001 (doi 10.1103/PhysRevB.63.224106)."""
    oracle = LammpsOracleConfig(
        pair_style="eam/alloy", pair_coeff=("* * Cu_mishin1.eam.alloy Cu",), species=("Cu",)
    ).build()
    subject = oracle.calculator(workdir=tmp_path)
    found = measured(subject, tmp_path, element="Cu", lattice="fcc")
    assert found.failures == ()
    published = {"(111)": 1.239, "(100)": 1.345, "(110)": 1.475}
    for plane, value in published.items():
        assert numbers(found)[f"surface energy {plane}"] == pytest.approx(value, abs=0.003)
    panel = found.panels["Surface energies"]
    assert [word for _, word in panel.ticks] == list(published)
    assert panel.lines["relaxed"].y == tuple(
        numbers(found)[f"surface energy {plane}"] for plane in published
    )


def test_the_thickness_does_not_matter_once_it_is_enough(tmp_path) -> None:
    values = [
        numbers(measured(argon(6.5), tmp_path, **FCC, planes=[[1, 0, 0]], thickness=thickness))
        for thickness in (16.0, 24.0)
    ]
    assert values[0] == pytest.approx(values[1], abs=2e-5)


def test_equal_planes_have_equal_energies_however_they_are_named(tmp_path) -> None:
    cubic = numbers(
        measured(argon(6.5), tmp_path, **FCC, planes=[[1, 1, 1], [-1, 1, 1], [1, -1, 1]])
    )
    assert cubic["surface energy (-1 1 1)"] == pytest.approx(
        cubic["surface energy (111)"], rel=1e-4
    )
    assert cubic["surface energy (1 -1 1)"] == pytest.approx(
        cubic["surface energy (111)"], rel=1e-4
    )
    planes = [[1, 0, -1, 0], [1, 0, 0], [0, 1, -1, 0]]
    hexagonal = numbers(
        measured(argon(6.5), tmp_path, element="Ar", lattice="hcp", planes=planes, thickness=10.0)
    )
    names = ("(1 0 -1 0)", "(100)", "(0 1 -1 0)")
    first, *others = (hexagonal[f"unrelaxed surface energy {name}"] for name in names)
    assert others == pytest.approx([first, first], rel=1e-4)


def test_a_crystal_from_a_file_is_cut_as_it_stands(tmp_path) -> None:
    path = tmp_path / "cube.xyz"
    turned = bulk("Ar", "fcc", a=5.3, cubic=True)
    turned.rotate(33, (1, 2, 3), rotate_cell=True)
    write(path, turned, format="extxyz")
    planes = {"planes": [[1, 1, 1]], "thickness": 10.0}
    named = numbers(measured(argon(6.5), tmp_path, **FCC, **planes))
    filed = numbers(measured(argon(6.5), tmp_path, file=path, **planes))
    assert filed == pytest.approx(named, rel=1e-4)


@pytest.mark.parametrize("lattice", ["fcc", "bcc", "sc", "diamond", "hcp"])
def test_slabs_are_whole_and_as_thick_as_asked_for(lattice) -> None:
    recipe = Surface.parse(
        {"element": "Ar", "lattice": lattice, "thickness": 11.0, "vacuum": 9.0}, where="x"
    )
    crystal = recipe.unrelaxed(cubic=lattice != "hcp")
    for plane in (*module.USUAL[lattice], (2, 1, 1)):
        for slab in recipe._slabs(crystal, plane):
            assert slab.pbc.all()
            assert len(slab) % len(crystal) == 0
            assert slab.cell[0] @ slab.cell[2] == pytest.approx(0, abs=1e-9)
            thick = np.ptp(slab.positions[:, 2])
            assert slab.cell[2, 2] == pytest.approx(thick + 9.0)
            area = np.linalg.norm(np.cross(slab.cell[0], slab.cell[1]))
            volume = len(slab) * crystal.get_volume() / len(crystal)
            assert volume / area >= 11.0 - 1e-6


def test_a_crystal_is_cut_where_it_costs_least(tmp_path) -> None:
    """Prismatic layers of hcp are a third and two thirds of their period apart."""
    recipe = Surface.parse(
        {"element": "Ar", "lattice": "hcp", "planes": [[1, 0, -1, 0]]}, where="x"
    )
    crystal = recipe.crystal(argon(6.5))
    crystal.calc = argon(6.5)
    energies = []
    for slab in recipe._slabs(crystal, (1, 0, -1, 0)):
        area = np.linalg.norm(np.cross(slab.cell[0], slab.cell[1]))
        slab.calc = argon(6.5)
        over = slab.get_potential_energy() - len(slab) * crystal.get_potential_energy() / 2
        energies.append(J_PER_M2 * over / 2 / area)
    assert len(energies) == 2
    assert max(energies) > 1.1 * min(energies)
    found = recipe.attempt(argon(6.5), seed=0, workdir=tmp_path / "surface")
    name = "unrelaxed surface energy (1 0 -1 0)"
    assert numbers(found)[name] == pytest.approx(min(energies), rel=1e-6)


# what cannot be measured


def test_a_surface_that_does_not_relax_is_a_failure_and_the_others_are_measured(
    tmp_path, monkeypatch
) -> None:
    def fails(atoms: Atoms, subject: Calculator, **keys: object) -> Atoms:
        if keys["name"] == "(100)":
            raise MeasurementError("(100) did not relax within 500 steps")
        return relaxed(atoms, subject, **keys)

    monkeypatch.setattr(module, "relaxed", fails)
    found = measured(argon(6.5), tmp_path, **FCC, thickness=6.0)
    assert found.failures == ("Surface (100) did not relax within 500 steps.",)
    assert "surface energy (100)" not in numbers(found)
    assert {"surface energy (111)", "unrelaxed surface energy (100)"} <= set(numbers(found))
    assert found.panels["Surface energies"].lines["relaxed"].x == (0.0, 2.0)


def test_a_surface_that_becomes_another_and_one_that_costs_nothing_are_remarked() -> None:
    slab = bulk("Ar", "fcc", a=5.3, cubic=True)
    moved = slab.copy()
    moved.positions += 0.3  # all together: no change
    assert list(module._notes((1, 1, 1), slab, moved, 0.5)) == []
    moved.positions[2, 0] += 2.0
    (note,) = module._notes((1, 1, 1), slab, moved, 0.5)
    assert "(111) became another one" in note
    (note,) = module._notes((1, 0, 0), slab, slab, -0.1)
    assert "gains energy where it is cut along (100)" in note


def test_without_a_crystal_there_is_no_surface(tmp_path) -> None:
    found = measured(argon(), tmp_path, element="Kr", lattice="fcc")
    assert found.values == ()
    assert "Kr" in found.failures[0]


@pytest.mark.parametrize(
    ("planes", "words"),
    [
        ([[0, 0, 0]], r"\(0 0 0\) is no plane"),
        ([[1, 1]], "three indices"),
        ([[1, 1, 1, 0]], r"-\(h \+ k\)"),
        ([[2, 2, 0]], "divide by 2"),
    ],
)
def test_what_is_no_plane_is_refused(planes, words) -> None:
    with pytest.raises(ConfigError, match=words):
        Surface.parse({**FCC, "planes": planes}, where="[[property]]")


def test_it_is_a_kind() -> None:
    assert kinds()["surface"] is Surface
