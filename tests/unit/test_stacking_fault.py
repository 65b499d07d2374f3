"""Stacking faults: published values, symmetry, and what does not hold together."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.neighborlist import neighbor_list

from athanor.calculator import calculator
from athanor.errors import ConfigError, MeasurementError
from athanor.oracle.lammps import LammpsOracleConfig
from athanor.potentials.lj import LennardJones
from athanor.validate import Measured, Quantity, Value, kinds
from athanor.validate import stacking_fault as module
from athanor.validate._slip import MJ_PER_M2, Slipping, Stack
from athanor.validate.stacking_fault import StackingFault


def argon(cutoff: float = 8.5) -> Calculator:
    return calculator(LennardJones(frozenset({"Ar"}), cutoff, 0.0104, 3.4))


def measured(subject: Calculator, tmp_path: Path, **keys: object) -> Measured:
    recipe = StackingFault.parse({"element": "Ar", **keys}, where="[[property]]")
    return recipe.attempt(subject, seed=0, workdir=tmp_path / "faults")


def numbers(found: Measured) -> dict[str, float]:
    return {one.name: one.value for one in found.values}


def line(found: Measured, panel: str, name: str) -> np.ndarray:
    return np.array(found.panels[panel].lines[name].y)


class Torn(Calculator):
    """A constant tension and nothing else; or, `crooked`, forces that belong to no energy."""

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, crooked: bool) -> None:
        super().__init__()
        self._crooked = crooked

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        super().calculate(atoms, list(properties), list(system_changes))
        volume = self.atoms.get_volume()
        energy = 0.0 if self._crooked else -0.01 * volume
        stress = np.array([0, 0, -0.01, 0, 0, 0])
        self.results = {"energy": energy, "forces": np.zeros((len(self.atoms), 3))}
        self.results["stress"] = stress


# the stack


def test_the_stack_is_fcc_and_a_slip_by_one_partial_is_a_layer_of_hcp() -> None:
    stack = Stack("Ar", 5.3, 9)

    def squares(slips: np.ndarray) -> list[dict[int, int]]:
        """Of each atom, how many lie at which distance² in units of the nearest's, up to 3."""
        atoms = stack.atoms(slips, stack.spacings)
        owner, length = neighbor_list("id", atoms, 1.75 * stack.side)
        found = np.round(3 * (length / stack.side) ** 2).astype(int)
        return [
            dict(zip(*np.unique(found[owner == k], return_counts=True), strict=True))
            for k in range(9)
        ]

    fcc, near_fault = {3: 12, 6: 6, 9: 24}, {3: 12, 6: 6, 8: 1, 9: 21}
    assert squares(np.zeros((0, 2))) == [fcc] * 9
    # each of two layers on either side of the fault has an atom of hcp in its third shell
    expected = [near_fault] * 2 + [fcc] * 5 + [near_fault] * 2
    assert squares(np.array([[0.0, stack.partial]])) == expected


def test_slips_of_every_other_layer_make_hcp() -> None:
    stack = Stack("Ar", 5.3, 8)
    slips = np.zeros((8, 2))
    slips[::2, 1] = stack.partial
    atoms = stack.atoms(slips, stack.spacings)
    length = neighbor_list("d", atoms, 1.75 * stack.side)
    shells, counts = np.unique(np.round(3 * (length / stack.side) ** 2), return_counts=True)
    assert dict(zip(shells, counts / 8, strict=True)) == {3: 12, 6: 6, 8: 2, 9: 18}


def test_any_whole_slip_leads_back_to_the_crystal() -> None:
    stack = Stack("Ar", 5.3, 7)
    slipping = Slipping(stack, argon())
    zero = slipping.energy(np.zeros((0, 2)))
    rng = np.random.default_rng(5)
    for _ in range(3):
        first, second = rng.integers(-3, 4, 2)
        whole = first * np.array([stack.side, 0]) + second * np.array(
            [stack.side / 2, 1.5 * stack.partial]
        )
        assert slipping.energy(whole[None, :]) == pytest.approx(zero, abs=1e-9)


def test_slopes_are_the_derivatives_of_the_energy() -> None:
    rng = np.random.default_rng(17)
    slipping = Slipping(Stack("Ar", 5.3, 6), argon())
    slips = rng.uniform(-1, 1, (3, 2))
    spacings = slipping.stack.spacings * rng.uniform(0.95, 1.1, 6)
    _, slope = slipping._slope(slips, spacings)
    step = 1e-5
    for k in range(6):
        moved = step * np.eye(6)[k]
        ends = [slipping._slope(slips, spacings + sign * moved)[0] for sign in (1, -1)]
        assert slope[k] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5, abs=1e-7)


def test_relaxed_layers_feel_no_force_and_no_stress_along_their_normal() -> None:
    slipping = Slipping(Stack("Ar", 5.3, 8), argon())
    slips = np.array([[0.4, 0.7]])
    energy, spacings = slipping.relaxed(slips, slipping.stack.spacings)
    atoms = slipping.stack.atoms(slips, spacings)
    atoms.calc = argon()
    assert atoms.get_potential_energy() == pytest.approx(energy)
    assert np.abs(atoms.get_forces()[:, 2]).max() < 1e-3
    assert abs(atoms.get_stress()[2]) * slipping.stack.area < 1e-3
    assert energy < slipping.energy(slips)


# numbers


@pytest.fixture(scope="module")
def copper(tmp_path_factory) -> Measured:
    """Copper by the EAM of Mishin et al. 2001 (doi 10.1103/PhysRevB.63.224106)."""
    oracle = LammpsOracleConfig(
        pair_style="eam/alloy", pair_coeff=("* * Cu_mishin1.eam.alloy Cu",), species=("Cu",)
    ).build()
    folder = tmp_path_factory.mktemp("copper")
    recipe = StackingFault(element="Cu", paths=("slip", "twinning", "perfect"))
    return recipe.attempt(oracle.calculator(workdir=folder), seed=0, workdir=folder / "faults")


def test_copper_has_the_published_fault_energies(copper) -> None:
    found = numbers(copper)
    assert copper.failures == ()
    assert found["intrinsic stacking fault energy"] == pytest.approx(44.4, abs=0.3)
    assert found["twin boundary energy"] == pytest.approx(22.2, abs=0.2)
    # published 158, relaxed along all directions, ours along the normal alone
    assert found["unstable stacking fault energy"] == pytest.approx(158, abs=6)


def test_paths_have_the_symmetry_of_the_lattice(copper) -> None:
    for name, exact in (("unrelaxed", 0.01), ("relaxed", 1.0)):
        slip, twin = line(copper, "Slip path", name), line(copper, "Twinning path", name)
        perfect = line(copper, "Slip along <110>", name)
        # the one path begins as the other; once there is a fault, next layers slip alike
        assert twin[:11] == pytest.approx(slip, abs=0.05)
        assert twin[10:21] == pytest.approx(twin[20:9:-1], abs=exact)
        assert perfect == pytest.approx(perfect[::-1], abs=0.05)
        assert perfect[-1] == pytest.approx(0, abs=0.01)
        assert slip[0] == pytest.approx(0, abs=0.01)
        assert slip.max() > slip[-1] > 0


def test_relaxing_never_raises_the_energy(copper) -> None:
    for panel in copper.panels:
        assert (line(copper, panel, "relaxed") <= line(copper, panel, "unrelaxed") + 0.01).all()


def test_nearest_neighbours_alone_know_no_stacking(tmp_path) -> None:
    """fcc and hcp differ from the third neighbours on: the fault of such a crystal is free."""
    found = numbers(measured(argon(cutoff=5.0), tmp_path, layers=6))
    assert found["intrinsic stacking fault energy"] == pytest.approx(0, abs=1e-3)
    assert found["twin boundary energy"] == pytest.approx(0, abs=1e-3)
    assert found["unstable stacking fault energy"] > 1


def test_the_intrinsic_fault_is_what_a_pair_sum_says(tmp_path) -> None:
    """Unrelaxed: the difference of two lattice sums, counted pair by pair and not by a cell."""
    cutoff = 6.5  # up to the neighbours that first differ
    potential = LennardJones(frozenset({"Ar"}), cutoff, 0.0104, 3.4)
    found = measured(calculator(potential), tmp_path, paths=["slip"])
    stack = Stack("Ar", found.data["lattice constant"], 12)

    def pair(length: float) -> float:
        raw = [4 * 0.0104 * ((3.4 / r) ** 12 - (3.4 / r) ** 6) for r in (length, cutoff)]
        slope = 4 * 0.0104 * (-12 * (3.4 / cutoff) ** 12 + 6 * (3.4 / cutoff) ** 6) / cutoff
        return raw[0] - raw[1] - (length - cutoff) * slope

    near, far = (pair(np.sqrt(square) * stack.side) for square in (8 / 3, 3))
    assert np.sqrt(8 / 3) * stack.side < cutoff < 2 * stack.side
    # two layers get 2 neighbours at 8/3 for 6 at 3, which lie beyond the cutoff if so said here
    gained = 2 * (2 * near / 2) - 2 * (6 * far / 2 if np.sqrt(3) * stack.side < cutoff else 0)
    expected = MJ_PER_M2 * gained / stack.area
    name = "intrinsic stacking fault energy, unrelaxed"
    assert numbers(found)[name] == pytest.approx(expected, abs=1e-4)


def test_a_negative_fault_energy_is_remarked(tmp_path) -> None:
    found = measured(EMT(), tmp_path, element="Cu", paths=["slip"], points=5, layers=6)
    assert numbers(found)["intrinsic stacking fault energy"] < 0
    assert "negative" in " ".join(found.notes)
    assert found.failures == ()


def test_a_fault_that_is_no_minimum_is_remarked() -> None:
    values = {
        name: Value(name, value, "mJ/m²")
        for name, value in (
            ("intrinsic stacking fault energy", 90.0),
            ("unstable stacking fault energy", 90.0),
        )
    }
    (note,) = module._notes(values)
    assert "no minimum of the slip path" in note
    assert list(module._notes({})) == []


# comparison


def test_two_curves_are_compared_along_the_whole_path(copper) -> None:
    recipe = StackingFault(element="Cu", tolerance={"slip path RMSE": 3.0})
    title = "Slip path"
    lifted = replace(
        copper.panels[title],
        lines={
            name: replace(one, y=tuple(y + 4.0 for y in one.y))
            for name, one in copper.panels[title].lines.items()
        },
    )
    other = replace(copper, panels={**copper.panels, title: lifted})
    found = {one.name: one for one in recipe.compared(other, copper)}
    assert found["slip path RMSE"] == Quantity(
        "slip path RMSE", pytest.approx(4.0), "mJ/m²", passed=False, is_error=True
    )
    assert found["slip path RMSE, unrelaxed"].value == pytest.approx(4.0)
    assert found["slip path RMSE, unrelaxed"].passed is None
    assert found["twinning path RMSE"].value == 0
    assert recipe.compared(copper, Measured()) == ()


def test_the_result_is_plain_data(copper) -> None:
    assert Measured.read(json.loads(json.dumps(copper.plain()))) == copper


# what cannot be measured


def test_layers_that_come_apart_are_no_stack_any_more() -> None:
    slipping = Slipping(Stack("Ar", 5.3, 6), Torn(crooked=False))
    with pytest.raises(MeasurementError, match="come apart"):
        slipping.relaxed(np.zeros((0, 2)), slipping.stack.spacings)


def test_a_place_that_does_not_relax_is_a_failure_and_the_rest_is_measured(
    tmp_path, monkeypatch
) -> None:
    relaxed = Slipping.relaxed

    def brittle(self: Slipping, slips: np.ndarray, start: np.ndarray) -> object:
        if 0.3 < slips.sum() / self.stack.partial < 0.9:
            raise MeasurementError("the layers come apart")
        return relaxed(self, slips, start)

    monkeypatch.setattr(Slipping, "relaxed", brittle)
    found = measured(argon(), tmp_path, paths=["slip"], points=5, layers=6)
    assert found.failures == (
        "Slip path at 0.50: the layers come apart",
        "Slip path at 0.75: the layers come apart",
    )
    assert "intrinsic stacking fault energy" in numbers(found)
    assert "unstable stacking fault energy" not in numbers(found)
    assert "unstable stacking fault energy, unrelaxed" in numbers(found)
    assert found.panels["Slip path"].lines["relaxed"].x == (0.0, 0.25, 1.0)


def test_forces_that_belong_to_no_energy_do_not_pass_for_relaxed() -> None:
    slipping = Slipping(Stack("Ar", 5.3, 6), Torn(crooked=True))
    with pytest.raises(MeasurementError, match="did not relax"):
        slipping.relaxed(np.zeros((0, 2)), slipping.stack.spacings)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"element": "Al", "lattice": "bcc"}, "lattice"),
        ({"file": "x.cif"}, "no file"),
        ({"element": "Al", "paths": []}, "paths"),
        ({"element": "Al", "layers": 3}, "layers"),
    ],
)
def test_a_wrong_recipe_is_refused(keys, words) -> None:
    with pytest.raises(ConfigError, match=words):
        StackingFault.parse(keys, where="[[property]]")


def test_it_is_a_kind() -> None:
    assert kinds()["stacking_fault"] is StackingFault
