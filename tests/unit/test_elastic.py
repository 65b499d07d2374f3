"""Elastic tensors: textbook facts, symmetry, and the second derivatives of the energy."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.io import write
from ase.units import GPa

from athanor.calculator import calculator
from athanor.errors import ConfigError, MeasurementError
from athanor.oracle.lammps import LammpsOracleConfig
from athanor.potentials.ensemble import Ensemble
from athanor.potentials.lj import LennardJones
from athanor.validate import Measured, kinds
from athanor.validate._lattice import crystal
from athanor.validate._relaxing import relaxed
from athanor.validate.elastic import Elastic
from athanor.validate.eos import EquationOfState


def argon(cutoff: float = 8.5, sigma: float = 3.4) -> Calculator:
    return calculator(LennardJones(frozenset({"Ar"}), cutoff, 0.0104, sigma))


class Pushed(Calculator):
    """Argon whose stress has more to it: `push(atoms)` in eV/Å³, Voigt order."""

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, push) -> None:
        super().__init__()
        self._push, self._argon = push, argon()

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        super().calculate(atoms, list(properties), list(system_changes))
        self._argon.calculate(self.atoms)
        self.results = dict(self._argon.results)
        self.results["stress"] = self.results["stress"] + self._push(self.atoms)


def measured(subject: Calculator, tmp_path: Path, **keys: object) -> Measured:
    recipe = Elastic.parse(keys, where="[[property]]")
    return recipe.attempt(subject, seed=0, workdir=tmp_path / "elastic")


def numbers(found: Measured) -> dict[str, float]:
    return {one.name: one.value for one in found.values}


def curvature(atoms: Atoms, subject: Calculator, strain: np.ndarray, *, relax: bool) -> float:
    """GPa: d²E/dx² per volume of the crystal under the strain x times (3, 3), atoms relaxed."""
    step = 2e-3

    def energy(x: float) -> float:
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array @ (np.eye(3) + x * strain), scale_atoms=True)
        if relax:
            strained = relaxed(strained, subject, cell=False, fmax=1e-6)
        strained.calc = subject
        return float(strained.get_potential_energy())

    second = (energy(step) - 2 * energy(0.0) + energy(-step)) / step**2
    return second / atoms.get_volume() / GPa


def shear(i: int, j: int) -> np.ndarray:
    strain = np.zeros((3, 3))
    strain[i, j] += 0.5
    strain[j, i] += 0.5
    return strain


def test_kind_is_found() -> None:
    assert kinds()["elastic"] is Elastic


def test_pair_potentials_obey_cauchy_and_long_ones_the_textbook(tmp_path: Path) -> None:
    # every atom at a centre of symmetry, no pressure: C12 = C44 whatever the pair potential
    found = measured(argon(24.0), tmp_path, element="Ar", lattice="fcc")
    assert found.failures == ()
    given = numbers(found)
    assert given["C12"] == pytest.approx(given["C44"], rel=2e-3)
    # lattice sums of the 12-6 potential: B = 75.2 eps/sigma³
    assert given["bulk modulus"] == pytest.approx(75.2 * 0.0104 / 3.4**3 / GPa, rel=0.02)
    assert given["bulk modulus"] == pytest.approx((given["C11"] + 2 * given["C12"]) / 3)
    zener = 2 * given["C44"] / (given["C11"] - given["C12"])
    assert given["Zener ratio"] == pytest.approx(zener)


def test_hexagonal_constants_obey_cauchy_after_no_relaxation_only(tmp_path: Path) -> None:
    # atoms of hcp are at no centres of symmetry: for clamped ones C13 = C44 and C11 = 3 C12 hold
    table = {"element": "Ar", "lattice": "hcp"}
    clamped = numbers(measured(argon(16.0), tmp_path, **table, relax_atoms=False))
    assert clamped["C13"] == pytest.approx(clamped["C44"], rel=5e-3)
    assert clamped["C11"] == pytest.approx(3 * clamped["C12"], rel=5e-3)
    settled = numbers(measured(argon(16.0), tmp_path, **table))
    assert settled["C11"] < 0.99 * clamped["C11"]
    assert settled["C12"] > 1.01 * clamped["C12"]
    assert settled["C33"] == pytest.approx(clamped["C33"], rel=1e-4)
    assert "Zener ratio" not in settled


def emt() -> Calculator:
    return EMT()


def eam() -> Calculator:
    recipe = LammpsOracleConfig(
        pair_style="eam/fs", pair_coeff=("* * Al_mm.eam.fs Al",), species=("Al",)
    )
    return recipe.build().calculator(workdir=Path())


@pytest.mark.parametrize(("make", "element"), [(emt, "Cu"), (eam, "Al")])
def test_stress_differences_are_second_derivatives_of_the_energy(
    make, element: str, tmp_path: Path
) -> None:
    subject = make()
    recipe = Elastic(element=element, lattice="fcc")
    found = recipe.attempt(subject, seed=0, workdir=tmp_path)
    assert found.failures == ()
    given = numbers(found)
    atoms = recipe.crystal(subject)
    expected = {
        "C11": curvature(atoms, subject, np.diag([1.0, 0, 0]), relax=False),
        "C44": curvature(atoms, subject, shear(1, 2), relax=False),
        "bulk modulus": curvature(atoms, subject, np.eye(3), relax=False) / 9,
    }
    for name, value in expected.items():
        assert given[name] == pytest.approx(value, rel=1e-2)
    eos = EquationOfState(element=element, lattices=("fcc",))
    other = eos.attempt(subject, seed=0, workdir=tmp_path / "eos")
    modulus = other.value("fcc bulk modulus").value
    assert given["bulk modulus"] == pytest.approx(modulus, rel=0.02)


def test_relaxed_atoms_count_in_the_second_derivatives_too(tmp_path: Path) -> None:
    recipe = Elastic(element="Ar", lattice="hcp")
    subject = argon(12.0)
    given = numbers(recipe.attempt(subject, seed=0, workdir=tmp_path))
    atoms = recipe.crystal(subject)
    sheared = np.diag([1.0, -1.0, 0])
    for strain, expected in (
        (sheared, 2 * (given["C11"] - given["C12"])),
        (shear(0, 1), (given["C11"] - given["C12"]) / 2),
        (np.diag([0, 0, 1.0]), given["C33"]),
    ):
        assert curvature(atoms, subject, strain, relax=True) == pytest.approx(expected, rel=5e-3)


@pytest.mark.parametrize("lattice", ["fcc", "hcp"])
def test_numbers_do_not_depend_on_the_frame_nor_on_the_cell(lattice: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(12)
    whole = crystal("Ar", lattice, rng.uniform(36, 40), cubic=True)
    whole.rotate(rng.uniform(0, 360), rng.normal(size=3), rotate_cell=True)
    whole.positions += rng.normal(size=3)
    write(tmp_path / "turned.extxyz", whole)
    turned = measured(argon(), tmp_path, file=str(tmp_path / "turned.extxyz"))
    plain = measured(argon(), tmp_path, element="Ar", lattice=lattice)
    assert turned.failures == plain.failures == ()
    assert set(numbers(turned)) == set(numbers(plain))
    for name, value in numbers(plain).items():
        assert numbers(turned)[name] == pytest.approx(value, rel=1e-3, abs=1e-4)


def test_an_unstable_crystal_is_a_failure_and_the_rest_goes_on(tmp_path: Path) -> None:
    found = measured(argon(), tmp_path, element="Ar", lattice="bcc")
    assert len(found.failures) == 1
    assert "bcc Ar is unstable: its elastic tensor has the eigenvalue -" in found.failures[0]
    given = numbers(found)
    assert given["C11"] < given["C12"]
    assert given["lowest eigenvalue"] == pytest.approx(given["C11"] - given["C12"])
    assert given["bulk modulus (Voigt)"] > 0
    assert "bulk modulus" not in given
    assert "shear modulus (Reuss)" not in given
    assert found.panels == {}


def test_the_panel_is_the_modulus_along_directions(tmp_path: Path) -> None:
    found = measured(argon(), tmp_path, element="Ar", lattice="fcc")
    given = numbers(found)
    panel = found.panels["Young's modulus by direction"]
    c11, c12 = given["C11"], given["C12"]
    along = (c11 - c12) * (c11 + 2 * c12) / (c11 + c12)
    for name in ("z to x", "x to y"):
        assert panel.lines[name].y[0] == pytest.approx(along)
        assert panel.lines[name].y[-1] == pytest.approx(along)
    # <110> is at 45° of both
    assert max(panel.lines["x to y"].y) == pytest.approx(panel.lines["z to xy"].y[-1], rel=1e-3)


def test_members_give_uncertainties(tmp_path: Path) -> None:
    sigmas = 3.4 * np.random.default_rng(3).uniform(0.99, 1.01, 2)
    members = [LennardJones(frozenset({"Ar"}), 8.5, 0.0104, float(s)) for s in sigmas]
    whole = calculator(Ensemble.of(members))
    found = measured(whole, tmp_path, element="Ar", lattice="fcc")
    each = [
        numbers(measured(calculator(one), tmp_path, element="Ar", lattice="fcc"))["C11"]
        for one in members
    ]
    assert found.value("C11").uncertainty == pytest.approx(np.std(each, ddof=1), rel=1e-6)


def test_stresses_that_break_the_symmetry_are_said(tmp_path: Path) -> None:
    # a step in the stress along one axis, of 0.1 GPa over a strain of 2e-3
    middle = Elastic(element="Ar", lattice="fcc").crystal(argon(), cubic=True)
    wide = middle.cell.array[0, 0]
    write(tmp_path / "cube.extxyz", middle)

    def step(atoms: Atoms) -> np.ndarray:
        return 0.05 * GPa * np.array([np.tanh((atoms.cell[0, 0] / wide - 1) / 1e-4), *[0.0] * 5])

    found = measured(Pushed(step), tmp_path, file=str(tmp_path / "cube.extxyz"))
    assert "The differences of stress break the symmetry by up to" in found.notes[1]


def test_symmetry_lost_while_relaxing_is_a_failure(tmp_path: Path) -> None:
    push = 0.1 * GPa * np.array([0, 0, 1.0, 0, 0, 0])
    found = measured(Pushed(lambda _: push), tmp_path, element="Ar", lattice="fcc")
    assert found.failures[0] == (
        "fcc Ar lost symmetry while relaxing: from Fm-3m (225) to I4/mmm (139)"
    )
    assert "C66" in numbers(found)


def test_atoms_that_do_not_relax_under_strain_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("athanor.validate.elastic.STEPS", 1)
    found = measured(argon(), tmp_path, element="Ar", lattice="hcp")
    assert found.failures == ("hcp Ar: the atoms of a strained cell did not relax within 1 steps",)


class Valley(Pushed):
    """Argon whose first two atoms are pulled apart as soon as its cell is no cube."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        if np.abs(self.atoms.cell.array - self.atoms.cell[0, 0] * np.eye(3)).max() > 1e-4:
            forces = self.results["forces"].copy()
            forces[:2, 0] += [0.2, -0.2]
            self.results["forces"] = forces


def test_a_crystal_that_leaves_its_place_under_strain_is_unstable(tmp_path: Path) -> None:
    cube = Elastic(element="Ar", lattice="fcc").crystal(argon(), cubic=True)
    write(tmp_path / "cube.extxyz", cube)
    valley = Valley(lambda _: np.zeros(6))
    found = measured(valley, tmp_path, file=str(tmp_path / "cube.extxyz"))
    assert found.values == ()
    assert "cube is unstable: strained a little, it became another" in found.failures[0]


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[float] = []
    recipe = Elastic(element="Ar", lattice="hcp")
    recipe.alone(argon(), seed=0, workdir=tmp_path, tell=lambda share, _: told.append(share))
    assert told == sorted(told)
    assert len(told) == 20
    assert 0 <= told[0] < told[-1] <= 1


@pytest.mark.parametrize("library", ["spglib", "matscipy"])
def test_a_missing_library_is_said(
    library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] == library] + [library]:
        monkeypatch.setitem(sys.modules, name, None)
    found = measured(argon(), tmp_path, element="Ar", lattice="fcc")
    assert found.values == ()
    assert f"{library} is not installed: run  pip install 'athanor[physics]'" in found.failures[0]


def test_an_element_that_is_not_known_is_said(tmp_path: Path) -> None:
    assert "Ne" in measured(argon(), tmp_path, element="Ne", lattice="fcc").failures[0]
    assert "Mo" in measured(EMT(), tmp_path, element="Mo", lattice="bcc").failures[0]


@pytest.mark.parametrize("strain", [0.0, 0.06])
def test_wrong_strains(strain: float) -> None:
    with pytest.raises(ConfigError, match="strain ="):
        Elastic.parse({"element": "Al", "lattice": "fcc", "strain": strain}, where="[[property]]")


def test_no_measurement_without_a_minimum(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match="fcc Ar has no energy minimum"):
        Elastic(element="Ar", lattice="fcc").alone(argon(20.0, 6.5), seed=0, workdir=tmp_path)
