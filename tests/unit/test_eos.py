"""Energy-volume curves."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.units import GPa

from athanor.calculator import calculator
from athanor.errors import ConfigError
from athanor.potentials.lj import LennardJones
from athanor.validate import PropertyResult, Quantity, kinds
from athanor.validate._lattice import (
    bulk_modulus,
    crystal,
    energies,
    equilibrium,
    lattice_constant,
    usual_volume,
)
from athanor.validate.eos import EquationOfState

LATTICES = ("fcc", "hcp", "bcc", "sc")


def argon(sigma: float = 3.4, epsilon: float = 0.0104) -> Calculator:
    return calculator(LennardJones(frozenset({"Ar"}), 8.5, epsilon, sigma))


class Falling(Calculator):
    """Energy falls with volume for ever: no minimum anywhere."""

    implemented_properties = ("energy",)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        super().calculate(atoms, list(properties), list(system_changes))
        self.results = {"energy": -float(self.atoms.get_volume())}


def measured(potential: Calculator, reference: Calculator, **keys: object) -> PropertyResult:
    table = {"element": "Ar", "lattices": ["fcc", "bcc"], **keys}
    recipe = EquationOfState.parse(table, where="[[validate]]")
    return recipe.measure(potential, reference, seed=0, workdir=Path())


def named(result: PropertyResult) -> dict[str, Quantity]:
    return {quantity.name: quantity for quantity in result.quantities}


def test_kind_is_found() -> None:
    assert kinds()["eos"] is EquationOfState


@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("cubic", [False, True])
def test_crystals_have_the_volume_and_the_neighbours(lattice: str, cubic: bool) -> None:
    volume = float(np.random.default_rng(2).uniform(10, 30))
    atoms = crystal("Al", lattice, volume, cubic=cubic).repeat(3 if cubic else 5)
    assert atoms.get_volume() / len(atoms) == pytest.approx(volume)
    apart = atoms.get_distances(0, range(1, len(atoms)), mic=True)
    number = {"fcc": 12, "hcp": 12, "bcc": 8, "sc": 6}[lattice]
    assert np.count_nonzero(apart < 1.001 * apart.min()) == number
    length = lattice_constant(lattice, volume)
    share = {"fcc": np.sqrt(0.5), "hcp": 1.0, "bcc": np.sqrt(0.75), "sc": 1.0}[lattice]
    assert apart.min() == pytest.approx(share * length)


def test_bulk_modulus_of_a_birch_murnaghan_curve_is_exact() -> None:
    rng = np.random.default_rng(6)
    v0, b0, slope = rng.uniform(10, 30), rng.uniform(0.2, 2.0), rng.uniform(3, 6)
    volumes = v0 * np.linspace(0.9, 1.1, 9)
    y = (v0 / volumes) ** (2 / 3)
    found = 9 * v0 * b0 / 16 * ((y - 1) ** 3 * slope + (y - 1) ** 2 * (6 - 4 * y))
    assert bulk_modulus(volumes, found, v0) == pytest.approx(b0, rel=1e-6)


def test_lennard_jones_crystal_has_its_textbook_numbers() -> None:
    # lattice sums of the 12-6 potential: r0 = 1.0902 sigma, E = -8.610 eps, B = 75.2 eps/sigma³;
    # the shift that smooths the cutoff at 7 sigma lifts the energy by one percent
    long_range = calculator(LennardJones(frozenset({"Ar"}), 24.0, 0.0104, 3.4))
    minimum = equilibrium("Ar", "fcc", long_range, guess=38.0)
    assert lattice_constant("fcc", minimum.volume) / np.sqrt(2) == pytest.approx(
        1.0902 * 3.4, rel=2e-3
    )
    assert minimum.energy == pytest.approx(-8.610 * 0.0104, rel=0.015)
    assert minimum.bulk_modulus == pytest.approx(75.2 * 0.0104 / 3.4**3, rel=0.02)


def test_equal_potentials_agree_and_pass() -> None:
    result = measured(argon(), argon())
    for quantity in result.quantities:
        assert quantity.value == pytest.approx(quantity.reference, rel=2e-3, abs=1e-3)
    assert {q.passed for q in result.quantities} == {True, None}
    assert result.notes == ()
    assert result.kind == "eos"


def test_a_longer_bond_is_a_longer_lattice_constant_and_fails() -> None:
    found = named(measured(argon(3.4 * 1.01), argon()))
    constant = found["fcc lattice constant"]
    assert constant.value / constant.reference == pytest.approx(1.01, abs=1.5e-3)
    assert constant.passed is False
    assert named(measured(argon(3.4 * 1.003), argon()))["fcc lattice constant"].passed
    wide = measured(argon(3.4 * 1.01), argon(), lattice_constant_tolerance=0.02)
    assert named(wide)["fcc lattice constant"].passed


def test_a_deeper_well_is_a_stiffer_crystal() -> None:
    modulus = named(measured(argon(epsilon=0.0208), argon()))["fcc bulk modulus"]
    assert modulus.value / modulus.reference == pytest.approx(2.0, rel=1e-3)
    assert 1.0 < modulus.reference < 5.0
    assert modulus.unit == "GPa"


def test_another_order_of_lattices_fails() -> None:
    # EMT puts ideal hcp below fcc with its own cutoff and above it with the one of Asap
    result = measured(EMT(), EMT(asap_cutoff=True), element="Al", lattices=["fcc", "hcp"])
    margin = named(result)["fcc below every other lattice by"]
    assert margin.reference > 0 > margin.value
    assert margin.passed is False


def test_a_potential_without_a_minimum_is_said_and_fails() -> None:
    result = measured(argon(3.4 * 1.5), argon())
    assert "no energy minimum for fcc within 12 % of the reference's volume" in result.notes[0]
    assert any(quantity.passed is False for quantity in result.quantities)
    json.dumps(asdict(result), allow_nan=False)


class Sinking(Calculator):
    """Argon, but all lattices other than fcc gain energy with volume for ever."""

    implemented_properties = ("energy",)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        super().calculate(atoms, list(properties), list(system_changes))
        energy = argon().get_potential_energy(self.atoms)
        close_packed = np.allclose(self.atoms.cell.angles(), 60)
        volume = float(self.atoms.get_volume())
        self.results = {"energy": energy - (0 if close_packed else 0.01 * volume)}


def test_a_lattice_that_sinks_below_without_a_minimum_fails() -> None:
    result = measured(Sinking(), argon())
    margin = named(result)["fcc below every other lattice by"]
    assert margin.passed is False
    assert margin.value < 0 < margin.reference
    assert "no energy minimum for bcc" in result.notes[0]


def test_curves_are_plain_numbers_on_the_same_volumes() -> None:
    result = measured(argon(), argon(epsilon=0.011), points=7, volume_range=0.1)
    json.dumps(result.curves, allow_nan=False)
    assert result.curves["xlabel"] == "volume, Å³ per atom"
    fcc = result.curves["fcc"]
    volumes = np.array(fcc["x"])
    assert len(volumes) == len(fcc["potential"]) == len(fcc["reference"]) == 7
    assert volumes[-1] / volumes[0] == pytest.approx(1.1 / 0.9)
    mine = energies("Ar", "fcc", volumes, argon())
    theirs = energies("Ar", "fcc", volumes, argon(epsilon=0.011))
    np.testing.assert_allclose(
        np.array(fcc["potential"]) - fcc["reference"], 1000 * (mine - theirs), atol=1e-9
    )


def test_one_lattice_has_no_order() -> None:
    result = measured(argon(), argon(), lattices=["fcc"])
    assert set(named(result)) == {"fcc lattice constant", "fcc bulk modulus"}


def test_a_reference_without_a_minimum_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no energy minimum for fcc Ar between"):
        measured(argon(), Falling())


@pytest.mark.parametrize(
    ("symbol", "volume"), [("Al", 16.6), ("Fe", 11.8), ("Mg", 23.2), ("Cu", 11.8), ("W", 15.8)]
)
def test_usual_volumes(symbol: str, volume: float) -> None:
    assert usual_volume(symbol) == pytest.approx(volume, rel=0.02)
    assert 1 < usual_volume("O") < 30


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"element": "Aluminium"}, "no element 'Aluminium'"),
        ({"lattices": ["fccc"]}, "fccc"),
        ({"lattices": []}, "lattices"),
        ({"points": 3}, "points = 3 is not allowed"),
        ({"volume_range": 0.7}, "volume_range = 0.7 is not allowed"),
    ],
)
def test_wrong_tables(table: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        EquationOfState.parse({"element": "Al", **table}, where="[[validate]]")


def test_pressure_and_curve_agree() -> None:
    # the slope of the curve is minus the pressure the potential's stress gives
    volumes = np.array([34.0, 34.001])
    first, second = energies("Ar", "fcc", volumes, argon())
    atoms = crystal("Ar", "fcc", 34.0005)
    atoms.calc = argon()
    pressure = -np.trace(atoms.get_stress(voigt=False)) / 3
    assert -(second - first) / 0.001 / GPa == pytest.approx(pressure / GPa, rel=1e-3)
