"""Energy-volume curves."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.io import write
from ase.units import GPa

from athanor.calculator import calculator
from athanor.errors import ConfigError, MeasurementError, OracleError
from athanor.potentials.ensemble import Ensemble
from athanor.potentials.lj import LennardJones
from athanor.validate import Measured, PropertyResult, Quantity, kinds
from athanor.validate._family import fitted, scanned
from athanor.validate._lattice import (
    crystal,
    equilibrium,
    family,
)
from athanor.validate.eos import PANEL, EquationOfState


def pair(sigma: float = 3.4, epsilon: float = 0.0104, cutoff: float = 8.5) -> LennardJones:
    return LennardJones(frozenset({"Ar"}), cutoff, epsilon, sigma)


def argon(sigma: float = 3.4, epsilon: float = 0.0104) -> Calculator:
    return calculator(pair(sigma, epsilon))


class Analytic(Calculator):
    """Energy of one atom a known function of the volume, whatever the structure."""

    implemented_properties = ("energy",)

    def __init__(self, energy) -> None:
        super().__init__()
        self._energy = energy

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        super().calculate(atoms, list(properties), list(system_changes))
        n = len(self.atoms)
        self.results = {"energy": n * self._energy(float(self.atoms.get_volume()) / n)}


def recipe(**keys: object) -> EquationOfState:
    table = {"element": "Ar", "lattices": ["fcc", "bcc"], **keys}
    return EquationOfState.parse(table, where="[[validate]]")


def alone(subject: Calculator, tmp_path: Path, **keys: object) -> Measured:
    return recipe(**keys).attempt(subject, seed=0, workdir=tmp_path / "alone")


@pytest.fixture
def measured(tmp_path: Path):
    def measure(potential: Calculator, reference: Calculator, **keys: object) -> PropertyResult:
        return recipe(**keys).measure(potential, reference, seed=0, workdir=tmp_path / "both")

    return measure


def named(result: PropertyResult) -> dict[str, Quantity]:
    return {quantity.name: quantity for quantity in result.quantities}


def birch_murnaghan(rng: np.random.Generator):
    """A curve with its own volume, bulk modulus and derivative, and the function."""
    v0, b0, slope = rng.uniform(12, 30), rng.uniform(0.2, 2.0), rng.uniform(3, 6)

    def energy(volume):
        y = (v0 / volume) ** (2 / 3)
        return 9 * v0 * b0 / 16 * ((y - 1) ** 3 * slope + (y - 1) ** 2 * (6 - 4 * y)) - 3.0

    return v0, b0, slope, energy


def vinet(rng: np.random.Generator):
    v0, b0, slope = rng.uniform(12, 30), rng.uniform(0.2, 2.0), rng.uniform(3, 6)

    def energy(volume):
        x = (volume / v0) ** (1 / 3)
        eta = 1.5 * (slope - 1)
        return -9 * b0 * v0 / eta**2 * (1 - eta * (1 - x)) * np.exp(eta * (1 - x))

    return v0, b0, slope, energy


def test_kind_is_found() -> None:
    assert kinds()["eos"] is EquationOfState


@pytest.mark.parametrize(
    ("equation", "curve"), [("birch-murnaghan", birch_murnaghan), ("vinet", vinet)]
)
def test_a_known_curve_gives_its_own_numbers(equation: str, curve, tmp_path: Path) -> None:
    v0, b0, slope, energy = curve(np.random.default_rng(6))
    found = alone(
        Analytic(energy), tmp_path, lattices=["fcc", "sc"], equation=equation, volume_guess=20.0
    )
    assert found.failures == found.notes == ()
    for lattice, per_cube in (("fcc", 4), ("sc", 1)):
        length = found.value(f"{lattice} lattice constant").value
        assert length == pytest.approx((per_cube * v0) ** (1 / 3), rel=1e-4)
        assert found.value(f"{lattice} bulk modulus").value == pytest.approx(b0 / GPa, rel=1e-4)
        derivative = found.value(f"{lattice} pressure derivative")
        assert derivative.value == pytest.approx(slope, rel=1e-3)
    assert found.value("sc energy above fcc").value == pytest.approx(0, abs=1e-6)


def test_lennard_jones_crystal_has_its_textbook_numbers(tmp_path: Path) -> None:
    # lattice sums of the 12-6 potential: r0 = 1.0902 sigma, E = -8.610 eps, B = 75.2 eps/sigma³,
    # and dB/dP = 8 as of any sum of r^-12 and r^-6; the shift that smooths the cutoff at 7 sigma
    # lifts the energy by one percent
    long_range = calculator(pair(cutoff=24.0))
    found = alone(long_range, tmp_path, lattices=["fcc"], volume_guess=38.0)
    length = found.value("fcc lattice constant").value
    assert length / np.sqrt(2) == pytest.approx(1.0902 * 3.4, rel=2e-3)
    assert found.data["fcc"]["energy"] == pytest.approx(-8.610 * 0.0104, rel=0.015)
    modulus = found.value("fcc bulk modulus").value * GPa
    assert modulus == pytest.approx(75.2 * 0.0104 / 3.4**3, rel=0.02)
    assert found.value("fcc pressure derivative").value == pytest.approx(8, rel=5e-3)


def test_equal_potentials_agree_and_pass(measured) -> None:
    result = measured(argon(), argon())
    for quantity in result.quantities:
        assert quantity.value == pytest.approx(quantity.reference, rel=1e-9, abs=1e-9)
    assert {q.passed for q in result.quantities} == {True, None}
    assert named(result)["fcc lattice constant"].passed
    assert named(result)["bcc lattice constant"].passed is None
    assert result.notes == ()
    assert result.kind == "eos"


def test_a_longer_bond_is_a_longer_lattice_constant_and_fails(measured) -> None:
    found = named(measured(argon(3.4 * 1.01), argon()))
    constant = found["fcc lattice constant"]
    # of equal cutoffs, which shift the minimum a little
    assert constant.value / constant.reference == pytest.approx(1.01, abs=1.5e-3)
    assert constant.passed is False
    assert named(measured(argon(3.4 * 1.003), argon()))["fcc lattice constant"].passed
    wide = measured(argon(3.4 * 1.01), argon(), lattice_constant_tolerance=0.02)
    assert named(wide)["fcc lattice constant"].passed


def test_the_tolerance_of_a_name_goes_before_the_general_one(measured) -> None:
    own = measured(argon(3.4 * 1.01), argon(), tolerance={"fcc lattice*": 0.2})
    assert named(own)["fcc lattice constant"].passed


def test_a_deeper_well_is_a_stiffer_crystal(measured) -> None:
    modulus = named(measured(argon(epsilon=0.0208), argon()))["fcc bulk modulus"]
    assert modulus.value / modulus.reference == pytest.approx(2.0, rel=1e-3)
    assert 1.0 < modulus.reference < 5.0
    assert modulus.unit == "GPa"


def test_another_order_of_lattices_fails(measured) -> None:
    # EMT puts ideal hcp below fcc with its own cutoff and above it with the one of Asap
    result = measured(EMT(), EMT(asap_cutoff=True), element="Al", lattices=["fcc", "hcp"])
    margin = named(result)["fcc below every other lattice by"]
    assert margin.reference > 0 > margin.value
    assert margin.passed is False


def test_a_kinked_energy_is_said(tmp_path: Path) -> None:
    kinked = Analytic(lambda volume: 0.01 * abs(volume - 20))
    found = alone(kinked, tmp_path, lattices=["fcc"], volume_guess=20.0)
    assert "fcc: no smooth curve within 4 % of the minimum" in found.notes[0]


def test_what_falls_for_ever_fails_and_the_rest_goes_on(measured) -> None:
    def sinking(volume: float) -> float:
        return -volume

    result = measured(Analytic(sinking), argon())
    assert result.notes[0].startswith("fcc has no energy minimum between")
    assert "give another volume_guess" in result.notes[0]
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


def test_a_lattice_that_sinks_below_without_a_minimum_fails(measured) -> None:
    result = measured(Sinking(), argon())
    found = named(result)
    assert found["measured without failure"].passed is False
    assert found["fcc lattice constant"].passed
    assert "bcc has no energy minimum" in result.notes[0]


def test_a_reference_without_a_minimum_judges_nothing(measured) -> None:
    result = measured(argon(), Analytic(lambda volume: -volume))
    assert all(q.reference is None and q.passed is None for q in result.quantities)
    assert result.notes[0].startswith("Reference: fcc has no energy minimum")


def test_curves_are_of_the_subject_alone_and_from_its_own_lowest(measured) -> None:
    result = measured(argon(), argon(epsilon=0.0208), points=7, volume_range=0.1)
    json.dumps(result.curves, allow_nan=False)
    panel = result.curves[PANEL]
    assert panel["xlabel"] == "volume, Å³ per atom"
    mine, theirs = (panel["lines"][who] for who in ("potential", "reference"))
    assert set(mine) == {"fcc", "bcc"}
    assert len(mine["fcc"]["x"]) == 7
    assert mine["fcc"]["x"][-1] / mine["fcc"]["x"][0] == pytest.approx(1.1 / 0.9)
    np.testing.assert_allclose(2 * np.array(mine["fcc"]["y"]), theirs["fcc"]["y"], rtol=1e-5)
    assert min(mine["fcc"]["y"]) == pytest.approx(0, abs=1e-4)
    assert min(mine["bcc"]["y"]) > 1


def test_members_are_measured_on_the_volumes_of_the_ensemble(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    sigmas = 3.4 * rng.uniform(0.99, 1.01, 3)
    members = [pair(sigma) for sigma in sigmas]
    found = alone(calculator(Ensemble.of(members)), tmp_path)
    assert found.failures == ()
    length = found.value("fcc lattice constant")
    each = [
        alone(calculator(one), tmp_path / str(number)).value("fcc lattice constant").value
        for number, one in enumerate(members)
    ]
    assert length.uncertainty == pytest.approx(np.std(each, ddof=1), rel=1e-6)
    for line in found.panels[PANEL].lines.values():
        assert line.error is not None
        assert len(line.error) == len(line.x) == 13
        # curves of different lengths meet at no volume but about the minimum
        assert line.error[0] > line.error[6] > 0


def test_one_lattice_has_no_order(measured) -> None:
    assert set(named(measured(argon(), argon(), lattices=["fcc"]))) == {
        "fcc lattice constant",
        "fcc bulk modulus",
        "fcc pressure derivative",
    }


def test_files_are_measured_beside_lattices(tmp_path: Path) -> None:
    volume = float(np.random.default_rng(1).uniform(30, 45))
    write(tmp_path / "cube.extxyz", crystal("Ar", "bcc", volume, cubic=True))
    found = alone(argon(), tmp_path, files=[str(tmp_path / "cube.extxyz")])
    cube = 2 * found.value("cube volume").value
    assert cube == pytest.approx(found.value("bcc lattice constant").value ** 3, rel=1e-4)
    above = found.value("cube energy above fcc").value
    assert above == pytest.approx(found.value("bcc energy above fcc").value, abs=1e-4)
    only = EquationOfState(files=(tmp_path / "cube.extxyz",))
    assert only.title == "Energy and volume of cube"
    values = only.attempt(argon(), seed=0, workdir=tmp_path / "w").values
    assert {one.name for one in values} == {
        "cube volume",
        "cube bulk modulus",
        "cube pressure derivative",
    }


def test_files_are_judged_by_their_volume(tmp_path: Path) -> None:
    file = tmp_path / "cube.extxyz"
    write(file, crystal("Ar", "fcc", 38.0, cubic=True))
    only = EquationOfState(files=(file,))
    result = only.measure(argon(3.4 * 1.01), argon(), seed=0, workdir=tmp_path / "w")
    assert named(result)["cube volume"].passed is False


def test_a_file_is_no_lattice_whatever_its_name(tmp_path: Path) -> None:
    file = tmp_path / "diamond.extxyz"
    write(file, crystal("Ar", "fcc", 38.0))
    found = alone(argon(), tmp_path, files=[str(file)], lattices=["bcc"], volume_guess=40.0)
    assert found.failures == ()
    assert found.value("diamond volume").value == pytest.approx(38, rel=0.05)
    assert found.value("diamond lattice constant") is None
    write(file, crystal("Ar", "fcc", 4.0))
    assert "scale it or leave it out" in alone(argon(), tmp_path, files=[str(file)]).failures[0]


def test_relaxing_lets_atoms_go_where_they_are_lowest(tmp_path: Path) -> None:
    atoms = crystal("Ar", "fcc", 36.0, cubic=True)
    atoms.positions[0] += np.random.default_rng(3).normal(0, 0.1, 3)
    write(tmp_path / "shaken.extxyz", atoms)
    table = {"lattices": ["fcc"], "files": [str(tmp_path / "shaken.extxyz")]}
    shaken = alone(argon(), tmp_path, **table)
    settled = alone(argon(), tmp_path, **table, relax=True, points=5)
    assert settled.failures == ()
    assert shaken.value("shaken energy above fcc").value > 0.1
    assert settled.value("shaken energy above fcc").value == pytest.approx(0, abs=0.01)


def test_a_file_that_is_no_crystal_fails_alone(tmp_path: Path) -> None:
    (tmp_path / "text.extxyz").write_text("no structure\n")
    write(tmp_path / "open.extxyz", bulk("Ar", "fcc", a=5.3).repeat(2))
    cluster = bulk("Ar", "fcc", a=5.3)
    cluster.pbc = False
    write(tmp_path / "open.extxyz", cluster)
    files = [str(tmp_path / name) for name in ("text.extxyz", "open.extxyz", "absent.extxyz")]
    found = alone(argon(), tmp_path, files=files)
    assert found.value("fcc lattice constant") is not None
    assert "text.extxyz holds no structure that ASE reads" in found.failures[0]
    assert "open.extxyz is no crystal: give one periodic" in found.failures[1]
    assert "absent.extxyz holds no structure" in found.failures[2]


def test_a_potential_without_the_element_says_so(tmp_path: Path) -> None:
    found = alone(argon(), tmp_path, element="Ne")
    assert len(found.failures) == 2
    assert "Ne" in found.failures[0]
    assert found.values == ()


def test_the_nearest_minimum_is_taken_and_no_hole_of_crushed_crystals() -> None:
    # a hole a hundred times deeper where nothing ever gets to
    def energy(volume: float) -> float:
        return 0.01 * (volume - 20) ** 2 - 30 * np.exp(-((volume - 12) ** 2))

    scan = scanned(family("Al", "fcc"), Analytic(energy), guess=19.0)
    assert scan.minimum.volume == pytest.approx(20, abs=0.05)


def test_volumes_that_cannot_be_evaluated_are_passed_over() -> None:
    def energy(volume: float) -> float:
        if volume < 14:
            raise OracleError("atoms too near", retry=False)
        return (volume - 20) ** 2

    scan = scanned(family("Al", "fcc"), Analytic(energy), guess=20.0)
    assert scan.minimum.volume == pytest.approx(20, abs=1e-3)
    with pytest.raises(MeasurementError, match="no energy at every volume"):
        fitted(np.arange(5.0), np.full(5, np.nan), equation="vinet", name="fcc")


def test_no_curve_is_a_failure_with_the_reason() -> None:
    volumes = np.linspace(18, 22, 9)
    with pytest.raises(MeasurementError, match="fcc has no positive bulk modulus"):
        fitted(volumes, -((volumes - 20) ** 2), equation="birch-murnaghan", name="fcc")


def test_a_reference_of_dynamics_without_a_minimum_is_an_error() -> None:
    with pytest.raises(ConfigError, match="fcc Ar has no energy minimum between"):
        equilibrium("Ar", "fcc", Analytic(lambda volume: -volume))


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"element": "Aluminium"}, "no element 'Aluminium'"),
        ({"lattices": ["fccc"]}, "fccc"),
        ({"lattices": []}, r"lattices = \[\] leaves nothing"),
        ({"points": 3}, "points = 3 is not allowed"),
        ({"volume_range": 0.7}, "volume_range = 0.7 is not allowed"),
        ({"element": None}, "give an element, or files"),
        ({"files": ["a/x.cif", "b/x.cif"]}, "file name 'x' is there twice"),
        ({"files": ["a/fcc.cif"]}, "file name 'fcc' is there twice"),
    ],
)
def test_wrong_tables(table: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        EquationOfState.parse({"element": "Al", **table}, where="[[validate]]")


def test_pressure_and_curve_agree() -> None:
    # the slope of the curve is minus the pressure the potential's stress gives
    volumes = np.array([34.0, 34.001])
    first, second = family("Ar", "fcc").energies(volumes, argon())
    atoms = crystal("Ar", "fcc", 34.0005)
    atoms.calc = argon()
    pressure = -np.trace(atoms.get_stress(voigt=False)) / 3
    assert -(second - first) / 0.001 / GPa == pytest.approx(pressure / GPa, rel=1e-3)
