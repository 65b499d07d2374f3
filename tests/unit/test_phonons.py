"""Phonons: springs solved by hand, the acoustic sum rule, published values, instability."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import spglib
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.io import write
from ase.units import _amu, _e

from athanor.calculator import calculator
from athanor.errors import ConfigError, MeasurementError
from athanor.oracle.lammps import LammpsOracleConfig
from athanor.potentials.ensemble import Ensemble
from athanor.potentials.lj import LennardJones
from athanor.validate import Measured, _kept, kinds
from athanor.validate._alone import silent
from athanor.validate._harmonic import Harmonic, Route, standard
from athanor.validate._hops import hops
from athanor.validate._relaxing import relaxed
from athanor.validate.phonons import BANDS, DENSITY, MEV_PER_THZ, Phonons, _named

FCC = {"element": "Ar", "lattice": "fcc"}
SMALL = {"length": 7.0, "mesh": 30.0}


def argon(cutoff: float = 5.0, epsilon: float = 0.0104) -> Calculator:
    """With its nearest neighbours alone, if not said otherwise."""
    return calculator(LennardJones(frozenset({"Ar"}), cutoff, epsilon, 3.4))


def measured(subject: Calculator, tmp_path: Path, **keys: object) -> Measured:
    recipe = Phonons.parse(keys, where="[[property]]")
    return recipe.attempt(subject, seed=0, workdir=tmp_path / "phonons")


def numbers(found: Measured) -> dict[str, float]:
    return {one.name: one.value for one in found.values}


class Counting(Calculator):
    """Argon that counts the structures of more than one atom whose forces it is asked for."""

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self) -> None:
        super().__init__()
        self.count, self._inner = 0, argon()

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        super().calculate(atoms, list(properties), list(system_changes))
        self.count += len(self.atoms) > 1
        self._inner.calculate(self.atoms)
        self.results = dict(self._inner.results)


# numbers


def test_springs_between_neighbours_of_fcc_are_solved_by_hand(tmp_path) -> None:
    """m w² = 8k (L) and 4k (T) at X, 8k (L) and 2k (T) at L: Born and Huang, nearest neighbours."""
    found = measured(argon(), tmp_path, **FCC, **SMALL)
    cell = relaxed(bulk("Ar", "fcc", a=5.3), argon())
    length, step = float(cell.cell.lengths()[0]), 1e-4
    pair = []
    for moved in (-step, 0.0, step):
        two = Atoms("Ar2", [[0, 0, 0], [length + moved, 0, 0]])
        two.calc = argon()
        pair.append(two.get_potential_energy())
    spring = (pair[0] - 2 * pair[1] + pair[2]) / step**2
    mass = cell.get_masses()[0]
    unit = np.sqrt(_e * 1e20 / _amu) / (2 * np.pi) / 1e12
    for name, times in {
        "X mode 1": 4,
        "X mode 2": 4,
        "X mode 3": 8,
        "L mode 1": 2,
        "L mode 2": 2,
        "L mode 3": 8,
    }.items():
        expected = unit * np.sqrt(times * spring / mass)
        assert numbers(found)[name] == pytest.approx(expected, rel=3e-3), name
    assert found.failures == ()
    assert not any(name.startswith("G mode") for name in numbers(found))


def test_copper_has_the_published_phonons(tmp_path) -> None:
    """The EAM of Mishin et al. 2001 (doi 10.1103/PhysRevB.63.224106)."""
    oracle = LammpsOracleConfig(
        pair_style="eam/alloy", pair_coeff=("* * Cu_mishin1.eam.alloy Cu",), species=("Cu",)
    ).build()
    subject = oracle.calculator(workdir=tmp_path)
    found = numbers(measured(subject, tmp_path, element="Cu", lattice="fcc"))
    assert found["X mode 3"] == pytest.approx(7.82, abs=0.02)
    assert found["X mode 1"] == pytest.approx(5.20, abs=0.02)
    assert found["highest frequency"] == pytest.approx(7.82, abs=0.02)


def test_a_crystal_moved_as_a_whole_feels_no_force() -> None:
    """The acoustic sum rule, of force constants as they come and of frequencies at the centre."""
    recipe = Phonons.parse({"element": "Ar", "lattice": "hcp"}, where="x")
    subject = argon(6.5)
    harmonic = Harmonic(
        recipe.crystal(subject),
        subject,
        length=8.0,
        displacement=0.01,
        tell=silent,
    )
    assert harmonic.sum_rule < 1e-9
    at_centre = harmonic.frequencies(np.zeros((1, 3)))[0]
    assert at_centre[:3] == pytest.approx(np.zeros(3), abs=1e-4)
    assert at_centre[3] > 0.1
    # near the centre sound: frequencies go as the wave vector
    near, nearer = harmonic.frequencies(np.array([[0.02, 0, 0], [0.01, 0, 0]]))[:, :3]
    assert near / nearer == pytest.approx(np.full(3, 2.0), rel=5e-3)


def test_a_force_from_nowhere_breaks_the_sum_rule(tmp_path) -> None:
    class Tied(Calculator):
        """Argon whose first atom hangs on a spring."""

        implemented_properties = ("energy", "forces", "stress")

        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
            super().calculate(atoms, list(properties), list(system_changes))
            inner = argon()
            inner.calculate(self.atoms)
            self.results = dict(inner.results)
            if len(self.atoms) > 4:
                places = self.atoms.get_scaled_positions()[0]
                off = (places - np.round(places)) @ self.atoms.cell.array
                self.results["forces"][0] -= 0.5 * off

    found = measured(Tied(), tmp_path, **FCC, **SMALL)
    assert found.data["acoustic sum rule, relative"] > 0.01


def test_states_are_three_for_each_atom_and_zero_points_their_mean(tmp_path) -> None:
    found = measured(argon(), tmp_path, **FCC, **SMALL)
    line = found.panels[DENSITY].lines[""]
    x, y = np.array(line.x), np.array(line.y)
    assert np.trapezoid(y, x) == pytest.approx(3, rel=0.01)
    expected = MEV_PER_THZ / 2 * np.trapezoid(x * y, x)
    assert numbers(found)["zero-point energy"] == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("lattice", ["fcc", "hcp"])
def test_the_cell_it_is_given_in_does_not_matter(lattice, tmp_path) -> None:
    named = measured(argon(6.5), tmp_path, element="Ar", lattice=lattice, length=10.0, mesh=30.0)
    atoms = Phonons.parse({"element": "Ar", "lattice": lattice}, where="x").unrelaxed(cubic=True)
    rng = np.random.default_rng(11)
    atoms = atoms.repeat((2, 1, 1))
    atoms.rotate(float(rng.uniform(0, 180)), rng.normal(size=3), rotate_cell=True)
    path = tmp_path / "turned.xyz"
    write(path, atoms, format="extxyz")
    filed = measured(argon(6.5), tmp_path, file=path, length=10.0, mesh=30.0)
    mine, theirs = numbers(filed), numbers(named)
    assert set(mine) == set(theirs)
    for name, value in theirs.items():
        assert mine[name] == pytest.approx(value, rel=1e-3, abs=2e-3), name


def test_an_unstable_crystal_is_a_failure_with_its_mode(tmp_path) -> None:
    """bcc of nearest and next neighbours at most: it shears into close packing at N."""
    found = measured(argon(6.5), tmp_path, element="Ar", lattice="bcc", length=10.0, mesh=30.0)
    (failure,) = found.failures
    assert failure.startswith("bcc Ar is dynamically unstable: a mode of ")
    assert failure.endswith(" at N")
    assert numbers(found)["N mode 1"] < -0.1
    assert "zero-point energy" not in numbers(found)
    assert found.panels[BANDS].lines["1"].y


def test_a_trace_of_an_imaginary_mode_is_taken_for_noise(tmp_path) -> None:
    keys = {"element": "Ar", "lattice": "bcc", "length": 10.0, "mesh": 30.0}
    lowest = numbers(measured(argon(6.5), tmp_path, **keys))["N mode 1"]
    found = measured(argon(6.5), tmp_path, **keys, imaginary=1.01 * -lowest)
    assert found.failures == ()


def test_where_the_worst_mode_lies_is_said() -> None:
    recipe = Phonons.parse(FCC, where="x")
    route = Route.of(standard(recipe.unrelaxed(), primitive=True))
    _, vectors = route.places(5, route.lengths)
    bands, meshed = np.ones((len(vectors), 3)), np.ones((9, 3))
    assert list(recipe._unstable(route, vectors, bands, meshed)) == []
    bands[2, 0] = -0.5
    (between,) = recipe._unstable(route, vectors, bands, meshed)
    assert between.endswith("a mode of 0.50i THz at (0.250, 0.000, 0.250)")
    bands[4, 0] = -0.7
    (at_point,) = recipe._unstable(route, vectors, bands, meshed)
    assert at_point.endswith("a mode of 0.70i THz at X")
    meshed[3, 0] = -0.9
    (away,) = recipe._unstable(route, vectors, bands, meshed)
    assert away.endswith("a mode of 0.90i THz away from the bands")


# routes and names


@pytest.mark.parametrize("lattice", ["fcc", "bcc", "sc", "hcp"])
def test_a_route_goes_straight_from_point_to_point(lattice) -> None:
    atoms = Phonons.parse({"element": "Ar", "lattice": lattice}, where="x").unrelaxed()
    route = Route.of(standard(atoms, primitive=True))
    assert sum(route.lengths) == pytest.approx(1, abs=1e-5)
    across, vectors = route.places(7, route.lengths)
    lines = sum(len(part) - 1 for part in route.parts)
    assert len(across) == len(vectors) == 7 * lines
    assert (np.diff(across) >= 0).all()
    assert across[-1] == pytest.approx(1, abs=1e-5)
    pairs = [pair for part in route.parts for pair in itertools.pairwise(part)]
    for number, (start, end) in enumerate(pairs):
        chunk = vectors[7 * number : 7 * number + 7]
        assert chunk[0] == pytest.approx(route.points[start])
        assert chunk[-1] == pytest.approx(route.points[end])
        assert np.ptp(np.diff(chunk, axis=0), axis=0) == pytest.approx(np.zeros(3), abs=1e-12)
    ticks = route.ticks(route.lengths)
    assert ticks[0] == (0.0, "Γ")
    assert ticks[-1][0] == pytest.approx(1, abs=1e-5)
    assert {word for _, words in ticks for word in words.split("|")} >= {"Γ"}
    assert sum(words.count("|") for _, words in ticks) == len(route.parts) - 1


def test_plots_of_two_potentials_have_one_axis(tmp_path) -> None:
    keys = {"element": "Ar", "lattice": "hcp", "length": 7.0, "mesh": 30.0, "points": 5}
    one, other = (measured(argon(cutoff), tmp_path, **keys) for cutoff in (5.0, 8.0))
    assert one.panels[BANDS].ticks == other.panels[BANDS].ticks
    assert [line.x for line in one.panels[BANDS].lines.values()] == [
        line.x for line in other.panels[BANDS].lines.values()
    ]


def test_of_many_branches_the_ends_are_named() -> None:
    modes = {"G": np.arange(15.0), "X": np.arange(1.0, 16.0)}
    assert [(one.name, one.value) for one in _named(modes)] == [
        ("G highest mode", 14.0),
        ("X lowest mode", 1.0),
        ("X highest mode", 15.0),
    ]


def test_members_of_an_ensemble_give_every_band_its_spread(tmp_path) -> None:
    members = [LennardJones(frozenset({"Ar"}), 5.0, epsilon, 3.4) for epsilon in (0.0104, 0.0121)]
    each = [
        measured(calculator(one), tmp_path / str(number), **FCC, **SMALL)
        for number, one in enumerate(members)
    ]
    found = measured(calculator(Ensemble.of(members)), tmp_path, **FCC, **SMALL)
    for name in ("X mode 1", "highest frequency"):
        spread = np.std([numbers(one)[name] for one in each], ddof=1)
        value = found.value(name)
        assert value is not None
        assert value.uncertainty == pytest.approx(spread)
    line = found.panels[BANDS].lines["3"]
    others = [one.panels[BANDS].lines["3"].y for one in each]
    assert line.error == pytest.approx(np.std(others, axis=0, ddof=1))


# comparison


def test_stiffer_bonds_raise_every_band_by_the_same_factor(tmp_path) -> None:
    keys = {**FCC, **SMALL, "tolerance": {"phonon bands RMSE": 1e-6}}
    recipe = Phonons.parse(keys, where="x")
    one, other = (
        recipe.attempt(argon(epsilon=epsilon), seed=0, workdir=tmp_path / str(epsilon))
        for epsilon in (0.0104, 0.0104 * 1.21)
    )
    (found,) = recipe.compared(other, one)
    bands = np.array([line.y for line in one.panels[BANDS].lines.values()])
    expected = 0.1 * float(np.sqrt(np.mean(bands**2)))
    assert found.value == pytest.approx(expected, rel=1e-3)
    assert (found.name, found.unit) == ("phonon bands RMSE", "THz")
    assert found.passed is False
    assert found.is_error
    (same,) = recipe.compared(one, one)
    assert (same.value, same.passed) == (0.0, True)
    assert recipe.compared(one, Measured()) == ()


# a run that is killed, and what cannot be measured


def test_dear_forces_are_kept_for_a_run_that_goes_on(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(_kept, "DEAR", 0.0)
    first, second, third = Counting(), Counting(), Counting()
    found = measured(first, tmp_path, **FCC, **SMALL)
    assert first.count == 1
    assert measured(second, tmp_path, **FCC, **SMALL) == found
    assert second.count == 0
    for kept in (tmp_path / "phonons").glob("evaluation-*.json"):
        kept.write_bytes(kept.read_bytes()[:100])
    assert measured(third, tmp_path, **FCC, **SMALL) == found
    assert third.count == 1
    assert Measured.read(json.loads(json.dumps(found.plain()))) == found


def test_forces_that_are_not_finite_are_a_failure(tmp_path) -> None:
    class Broken(Counting):
        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
            super().calculate(atoms, properties, system_changes)
            if len(self.atoms) > 1:
                self.results["forces"][0] = np.nan

    found = measured(Broken(), tmp_path, **FCC, **SMALL)
    assert found.failures == ("the forces of a displaced crystal are not finite",)
    assert list((tmp_path / "phonons").iterdir()) == []


@pytest.mark.parametrize("old", [True, False])
def test_a_crystal_without_symmetry_to_be_found_is_a_failure(old, monkeypatch) -> None:
    """Whichever of its two ways spglib has of saying so."""
    monkeypatch.setattr(spglib.error, "OLD_ERROR_HANDLING", old)
    double = Atoms("Ar2", [[0, 0, 0], [0, 0, 1e-5]], cell=[4, 4, 4], pbc=True)
    with pytest.raises(MeasurementError, match="symmetry cannot be found"):
        standard(double)
    with pytest.raises(MeasurementError, match="symmetry cannot be found"):
        hops(double, 0, lattice=None)


@pytest.mark.parametrize("library", ["phonopy", "spglib"])
def test_without_its_libraries_the_extra_is_named(library, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    (failure,) = measured(argon(), tmp_path, **FCC, **SMALL).failures
    assert failure.startswith(f"{library} is not installed")
    assert "athanor[physics]" in failure


@pytest.mark.parametrize("keys", [{"length": 0}, {"displacement": 0.5}, {"points": 1}])
def test_a_wrong_recipe_is_refused(keys) -> None:
    with pytest.raises(ConfigError, match=next(iter(keys))):
        Phonons.parse({**FCC, **keys}, where="[[property]]")


def test_it_is_a_kind() -> None:
    assert kinds()["phonons"] is Phonons
