"""Vacancies: pair sums, published values, the symmetry of hops, and what does not keep."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.constraints import FixAtoms
from ase.io import write
from ase.optimize import BFGS

from athanor.calculator import calculator
from athanor.errors import MeasurementError, OracleError
from athanor.oracle.lammps import LammpsOracleConfig
from athanor.potentials.lj import LennardJones
from athanor.validate import Measured, _kept, kinds
from athanor.validate import vacancy as module
from athanor.validate._hops import hops
from athanor.validate._lattice import crystal
from athanor.validate._missing import Missing
from athanor.validate._neb import between, climbed
from athanor.validate.vacancy import Vacancy


def argon(cutoff: float = 6.5) -> Calculator:
    return calculator(LennardJones(frozenset({"Ar"}), cutoff, 0.0104, 3.4))


def measured(subject: Calculator, tmp_path: Path, **keys: object) -> Measured:
    recipe = Vacancy.parse(keys, where="[[property]]")
    return recipe.attempt(subject, seed=0, workdir=tmp_path / "vacancy")


def numbers(found: Measured) -> dict[str, float]:
    return {one.name: one.value for one in found.values}


FCC = {"element": "Ar", "lattice": "fcc"}


# numbers


@pytest.fixture(scope="module")
def copper(tmp_path_factory) -> Measured:
    """Copper by the EAM of Mishin et al. 2001 (doi 10.1103/PhysRevB.63.224106)."""
    oracle = LammpsOracleConfig(
        pair_style="eam/alloy", pair_coeff=("* * Cu_mishin1.eam.alloy Cu",), species=("Cu",)
    ).build()
    folder = tmp_path_factory.mktemp("copper")
    subject = oracle.calculator(workdir=folder)
    return measured(subject, folder, element="Cu", lattice="fcc")


def test_copper_has_the_published_vacancy(copper) -> None:
    assert copper.failures == ()
    assert numbers(copper)["vacancy formation energy"] == pytest.approx(1.272, abs=0.006)
    assert numbers(copper)["vacancy migration energy"] == pytest.approx(0.689, abs=0.003)
    assert numbers(copper)["unrelaxed vacancy formation energy"] == pytest.approx(1.309, abs=0.01)


def test_there_and_back_are_the_same_hop(copper) -> None:
    line = copper.panels["Migration of the vacancy"].lines[""]
    assert line.y == pytest.approx(line.y[::-1], abs=2e-3)
    assert max(line.y) == numbers(copper)["vacancy migration energy"] == line.y[2]


@pytest.mark.parametrize("lattice", ["fcc", "hcp"])
def test_by_pairs_an_unrelaxed_vacancy_costs_the_cohesive_energy(lattice, tmp_path) -> None:
    recipe = Vacancy.parse({"element": "Ar", "lattice": lattice, "migration": False}, where="x")
    found = numbers(recipe.attempt(argon(), seed=0, workdir=tmp_path / "vacancy"))
    atoms = recipe.crystal(argon())
    atoms.calc = argon()
    cohesive = -atoms.get_potential_energy() / len(atoms)
    assert found["unrelaxed vacancy formation energy"] == pytest.approx(cohesive, rel=1e-6)
    assert 0 < found["vacancy formation energy"] < cohesive
    assert not any("migration" in name for name in found)


def test_the_saddle_is_where_symmetry_puts_it(tmp_path) -> None:
    """In fcc half-way between two sites: held there, with all else relaxed, no path is needed."""
    found = numbers(measured(argon(), tmp_path, **FCC, width=7.0, fmax=2e-4))
    recipe = Vacancy.parse(FCC, where="x")
    missing = Missing.of(recipe.crystal(argon(), cubic=True), 0, 7.0, argon())
    start = missing.settled(missing.vacant)
    distances = np.linalg.norm(missing.vacant.positions - missing.whole.positions[0], axis=1)
    hopping = int(np.argmin(distances))
    saddle = missing.vacant
    saddle.positions[hopping] = (saddle.positions[hopping] + missing.whole.positions[0]) / 2
    saddle.set_constraint(FixAtoms([hopping]))
    saddle.calc = argon()
    with BFGS(saddle, logfile=None) as optimiser:
        assert optimiser.run(fmax=1e-4, steps=200)
    start.calc = argon()
    expected = saddle.get_potential_energy() - start.get_potential_energy()
    assert found["vacancy migration energy"] == pytest.approx(expected, abs=2e-6)


def test_of_hcp_both_hops_are_measured(tmp_path) -> None:
    found = measured(argon(), tmp_path, element="Ar", lattice="hcp", width=7.0)
    assert found.failures == ()
    lines = found.panels["Migration of the vacancy"].lines
    assert set(lines) == {"basal", "pyramidal"}
    for name in lines:
        assert numbers(found)[f"vacancy migration energy, {name}"] == max(lines[name].y) > 0


# hops


@pytest.mark.parametrize(
    ("lattice", "expected"),
    [("fcc", 1), ("bcc", 1), ("sc", 1), ("diamond", 1), ("hcp", 2)],
)
def test_symmetry_leaves_few_hops_whatever_the_cell(lattice, expected) -> None:
    rng = np.random.default_rng(23)
    for cubic in (False, True):
        atoms = crystal("Ar", lattice, 30.0, cubic=cubic)
        atoms = atoms.repeat(tuple(int(n) for n in rng.integers(1, 3, 3)))
        atoms.rotate(float(rng.uniform(0, 180)), rng.normal(size=3), rotate_cell=True)
        atoms.positions += rng.normal(size=3)
        site = int(rng.integers(len(atoms)))
        found = hops(atoms, site, lattice=None)
        assert len(found) == expected
        length = np.linalg.norm(found[0].vector)
        apart = np.delete(atoms.get_distances(site, range(len(atoms)), mic=True), site)
        if len(atoms) > 8:
            assert apart.min() == pytest.approx(length, rel=1e-6)


def test_a_longer_hop_is_none_of_the_nearest() -> None:
    drawn = bulk("Zn", "hcp", a=2.66, c=2.66 * 2.1)
    (only,) = hops(drawn, 0, lattice="hcp")
    assert np.linalg.norm(only.vector) == pytest.approx(2.66)
    assert only.name == ""


def test_several_hops_of_any_crystal_are_numbered() -> None:
    stretched = bulk("Ar", "fcc", a=5.3, cubic=True)
    stretched.set_cell(stretched.cell.array * np.array([1.0, 1.0, 1.06]), scale_atoms=True)
    found = hops(stretched, 0, lattice=None)
    assert [hop.name for hop in found] == ["hop 1", "hop 2"]
    assert np.linalg.norm(found[0].vector) < np.linalg.norm(found[1].vector)


def test_a_hop_brings_the_neighbour_into_the_vacancy() -> None:
    recipe = Vacancy.parse(FCC, where="x")
    whole = recipe.unrelaxed(cubic=True)
    missing = Missing.of(whole, 1, 7.0, argon())
    (hop,) = hops(whole, 1, lattice="fcc")
    end = missing.hopped(hop.vector)
    place = missing.whole.positions[1]
    assert np.linalg.norm(end.positions - place, axis=1).min() < 1e-6
    moved = np.flatnonzero(np.linalg.norm(end.positions - missing.vacant.positions, axis=1) > 1e-9)
    assert len(moved) == 1
    # the vacancy is now where the atom was, and the crystal but for that is the same
    assert missing.formation(end) == pytest.approx(missing.formation(missing.vacant))


# paths


def test_images_go_straight_and_the_short_way() -> None:
    rng = np.random.default_rng(3)
    start = bulk("Ar", "fcc", a=5.3, cubic=True)
    end = start.copy()
    step = rng.uniform(-0.5, 0.5, (4, 3))
    end.positions += step
    end.wrap()
    images = between(start, end, 5)
    assert len(images) == 5
    for k, image in enumerate(images):
        assert image.positions == pytest.approx(start.positions + k / 4 * step)


def test_a_path_that_does_not_converge_says_so(tmp_path) -> None:
    found = measured(argon(), tmp_path, **FCC, width=7.0, steps=1, fmax=1e-5)
    (failure,) = found.failures
    assert failure.startswith("migration: the path did not converge to 1e-05 eV/Å within 1 steps")
    assert {"vacancy formation energy", "unrelaxed vacancy formation energy"} == set(numbers(found))
    assert found.panels == {}


def test_a_band_climbs_onto_the_saddle_of_a_known_landscape() -> None:
    class DoubleWell(Calculator):
        """(x² - 1)² + 2 (y - x² / 2)² of an atom alone: wells at ±1, the saddle of 1 eV between."""

        implemented_properties = ("energy", "forces")

        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
            super().calculate(atoms, list(properties), list(system_changes))
            x, y, z = self.atoms.positions[0]
            bent = y - x**2 / 2
            energy = (x**2 - 1) ** 2 + 2 * bent**2 + z**2
            slope = [4 * x * (x**2 - 1) - 4 * bent * x, 4 * bent, 2 * z]
            self.results = {"energy": energy, "forces": -np.array([slope])}

    start, end = (Atoms("Ar", [[x, 0.5, 0]], cell=[9, 9, 9]) for x in (-1.0, 1.0))
    band = climbed(start, end, DoubleWell(), images=6, fmax=1e-4, steps=2000)
    assert band.barrier == pytest.approx(1, abs=1e-4)
    highest = band.images[int(np.argmax(band.energies))]
    assert highest.positions[0] == pytest.approx(np.zeros(3), abs=0.02)


# what cannot be measured


def test_a_crystal_that_gives_way_to_its_vacancy_says_where(tmp_path) -> None:
    """Simple cubic argon stands by its symmetry alone."""
    found = measured(argon(), tmp_path, element="Ar", lattice="sc", width=10.0)
    (failure,) = found.failures
    assert failure.startswith("the vacancy does not keep: the atom at (")
    assert "Å away from its place while relaxing" in failure
    assert set(numbers(found)) == {"unrelaxed vacancy formation energy"}


def test_an_atom_that_leaves_its_place_is_named() -> None:
    missing = Missing.of(Vacancy.parse(FCC, where="x").unrelaxed(cubic=True), 0, 7.0, argon())
    astray = missing.vacant
    distances = np.linalg.norm(astray.positions - missing.whole.positions[0], axis=1)
    hopping = int(np.argmin(distances))
    # beyond the saddle: it falls into the vacancy
    astray.positions[hopping] += 0.6 * (missing.whole.positions[0] - astray.positions[hopping])
    with pytest.raises(MeasurementError, match=r"the atom at \(.*\) Å falls 1\.\d\d Å away"):
        missing.settled(astray)


def test_without_a_saddle_there_is_no_barrier(tmp_path, monkeypatch) -> None:
    def downhill(start: Atoms, end: Atoms, subject: Calculator, **keys: object) -> object:
        band = climbed(start, end, subject, images=3, fmax=1.0, steps=50)
        return type(band)(band.images, np.array([0.0, -0.1, -0.2, -0.3, -0.4]))

    monkeypatch.setattr(module, "climbed", downhill)
    found = measured(argon(), tmp_path, **FCC, width=7.0)
    assert found.failures == (
        "migration: no image lies higher than both ends, so there is no saddle",
    )


def test_a_dip_between_the_ends_is_remarked() -> None:
    deep = np.array([0.0, 0.3, -0.05, 0.3, 0.0])
    (note,) = module._dips(deep, "migration")
    assert note.startswith("Migration: between the ends lies a structure 50 meV lower")
    assert list(module._dips(np.array([0.0, 0.3, 0.5, 0.3, 0.0]), "migration")) == []


def test_a_crystal_that_gains_by_losing_an_atom_is_remarked(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(Missing, "formation", lambda self, atoms: -0.1)
    found = measured(argon(), tmp_path, **FCC, width=7.0, migration=False)
    assert "The crystal gains energy by losing an atom." in found.notes


def test_dear_evaluations_are_kept_for_a_run_that_goes_on(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(_kept, "DEAR", 0.0)

    class Counting(Calculator):
        """Argon that is switched off after `most` evaluations, and counts them."""

        implemented_properties = ("energy", "forces", "stress")

        def __init__(self, most: float) -> None:
            super().__init__()
            self.count, self._most, self._inner = 0, most, argon()

        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
            super().calculate(atoms, list(properties), list(system_changes))
            if self.count >= self._most:
                raise OracleError("switched off")
            self.count += 1
            self._inner.calculate(self.atoms)
            self.results = dict(self._inner.results)

    whole, killed, after = Counting(np.inf), Counting(60), Counting(np.inf)
    expected = measured(whole, tmp_path / "whole", **FCC, width=7.0)
    assert measured(killed, tmp_path / "part", **FCC, width=7.0).failures == ("switched off",)
    assert measured(after, tmp_path / "part", **FCC, width=7.0) == expected
    assert killed.count == 60 < whole.count
    # one that is damaged is evaluated again
    assert after.count == whole.count - 60
    files = sorted((tmp_path / "part" / "vacancy").glob("evaluation-*.json"))
    for number, content in enumerate((b"{", b"[]", b'{"energy": [1]}', b'{"forces": [[0]]}')):
        files[number].write_bytes(content)
    again = Counting(np.inf)
    assert measured(again, tmp_path / "part", **FCC, width=7.0) == expected
    assert again.count == 4


def test_a_compound_is_refused_with_the_reason(tmp_path) -> None:
    salt = bulk("NaCl", "rocksalt", a=5.6)
    salt.numbers[:] = [18, 36]
    path = tmp_path / "mixed.xyz"
    write(path, salt, format="extxyz")
    both = calculator(LennardJones(frozenset({"Ar", "Kr"}), 6.5, 0.0104, 3.4))
    found = measured(both, tmp_path, file=path)
    assert found.values == ()
    assert "holds Ar, Kr" in found.failures[0]


def test_a_site_that_is_not_there_is_refused(tmp_path) -> None:
    found = measured(argon(), tmp_path, **FCC, site=4)
    assert found.failures == ("site = 4 is no atom of fcc Ar: give one from 0 to 3",)


def test_without_spglib_the_extra_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "spglib", None)
    found = measured(argon(), tmp_path, **FCC, width=7.0)
    assert "athanor[physics]" in found.failures[0]


def test_it_is_a_kind() -> None:
    assert kinds()["vacancy"] is Vacancy
