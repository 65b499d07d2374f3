"""The property `hull`: relaxing a pool, kept parts, comparison, and what goes wrong."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.io import write
from scipy.optimize import minimize_scalar

from athanor.calculator import calculator
from athanor.errors import ConfigError, UnknownElementError
from athanor.potentials.lj import LennardJones
from athanor.sample._parents import parent
from athanor.validate import Measured, kinds
from athanor.validate._pool import transformed
from athanor.validate.hull import ConvexHull

ORDERED = {"enumeration": {"species": ["Cu", "Au"], "lattices": ["fcc"], "max_atoms": 4}}


def recipe(**table: Any) -> ConvexHull:
    return ConvexHull.parse(table, where="[[validate]]")


class Shifted(EMT):
    """EMT with other zeros of the elements' energies; refuses or spoils some compositions."""

    def __init__(self, *, shift: float = 0.0, refused: str = "", most: int | None = None) -> None:
        super().__init__()
        self.shift, self.refused, self.left = shift, refused, most

    def calculate(self, atoms: Any = None, *rest: Any) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
        if self.refused and atoms.get_chemical_formula(empirical=True) == self.refused:
            raise ValueError("this composition is\nbeyond me")
        super().calculate(atoms, *rest)
        self.results["energy"] += self.shift * int((atoms.numbers == 29).sum())


@cache
def copper_gold() -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        return recipe(**ORDERED).alone(EMT(), seed=0, workdir=Path(folder))


def quantities(one: ConvexHull, mine: Measured, theirs: Measured) -> dict[str, Any]:
    return {q.name: q for q in one.joined(mine, theirs).quantities}


def test_ordered_copper_gold() -> None:
    found = copper_gold()
    assert not found.failures
    named = {value.name: value.value for value in found.values}
    assert named["candidates"] == 29
    assert named["candidates left out"] == 0
    assert named["lowest formation energy"] < 0
    states = [name for name in named if name.startswith("formation energy of ")]
    assert len(states) == named["ground states"] > 0
    # Cu3Au's own crystal, L1_2: four atoms in a cube
    corners = [(0, 0, 0), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)]
    cube = Atoms("AuCu3", scaled_positions=corners, cell=np.eye(3), pbc=True)
    energy = {"AuCu3": _lowest_cubic(cube)}
    for symbol in ("Cu", "Au"):
        energy[symbol] = _lowest_cubic(parent("fcc", symbol, 14.0))
    expected = energy["AuCu3"] - 0.75 * energy["Cu"] - 0.25 * energy["Au"]
    formation = np.array(found.data["formation"])
    alike = [i for i, (au, cu) in enumerate(found.data["counts"]) if cu == 3 * au]
    assert np.abs(formation[alike] - expected).min() < 5e-5, "it is one of the candidates"
    lowest = 1000 * formation[alike].min()
    assert named["formation energy of AuCu3"] == pytest.approx(lowest)
    assert any("Ground states:" in note and "AuCu3 (fcc AuCu3" in note for note in found.notes)
    line = found.panels["Convex hull"].lines["hull"]
    assert (line.x[0], line.y[0], line.x[-1], line.y[-1]) == (0, 0, 1, 0)
    assert min(line.y) == pytest.approx(named["lowest formation energy"])
    assert len(found.panels["Lowest candidates"].lines["candidates"].x) <= 5 * 5
    assert Measured.read(found.plain()).plain() == found.plain()


def _lowest_cubic(atoms: Atoms) -> float:
    """Energy per atom at the best volume."""

    def energy(volume: float) -> float:
        moving = atoms.copy()
        stretch = np.cbrt(volume * len(moving) / moving.get_volume())
        moving.set_cell(moving.cell * stretch, scale_atoms=True)
        moving.calc = EMT()
        return float(moving.get_potential_energy() / len(moving))

    return float(minimize_scalar(energy, bounds=(10.5, 18.5), method="bounded").fun)


def test_another_zero_of_the_energies_changes_nothing(tmp_path: Path) -> None:
    one = recipe(**ORDERED, tolerance={"RMSE of formation energies": 0.01, "formation*": 0.01})
    mine = one.attempt(Shifted(shift=2.5), seed=0, workdir=tmp_path)
    found = quantities(one, mine, copper_gold())
    shared = found["ground states shared with the reference"]
    assert (shared.value, shared.passed) == (shared.reference, True)
    assert found["ground states the reference has not"].value == 0
    assert found["largest difference of the hulls"].value < 0.01
    assert found["RMSE of formation energies"].passed
    assert found["reference's ground states above the hull by"].value < 0.01
    assert found["formation energy of AuCu3"].passed


def test_other_ground_states(tmp_path: Path) -> None:
    one = recipe(**ORDERED)
    mine = one.attempt(Shifted(refused="AuCu3"), seed=0, workdir=tmp_path)
    assert not mine.failures
    named = {value.name: value.value for value in mine.values}
    assert named["candidates left out"] == 7
    assert "formation energy of AuCu3" not in named
    assert any("7 of 29" in note and "this composition is beyond me" in note for note in mine.notes)
    found = quantities(one, mine, copper_gold())
    shared = found["ground states shared with the reference"]
    assert shared.value == shared.reference - 1
    assert shared.passed is False
    assert found["largest difference of the hulls"].value > 1
    turned = quantities(one, copper_gold(), mine)
    assert turned["ground states the reference has not"].value >= 1


def test_a_pure_element_that_comes_to_no_rest(tmp_path: Path) -> None:
    found = recipe(**ORDERED).attempt(Shifted(refused="Au"), seed=0, workdir=tmp_path)
    assert found.values == ()
    (said,) = found.failures
    assert "no candidate of pure Au" in said
    assert "fcc Au 2 x1: this composition is beyond me" in said
    result = recipe(**ORDERED).joined(found, copper_gold())
    assert [q.passed for q in result.quantities] == [False]


def test_too_few_steps(tmp_path: Path) -> None:
    one = recipe(**ORDERED, steps=1, fmax=1e-6, smax_GPa=1e-6)
    found = one.attempt(EMT(), seed=0, workdir=tmp_path)
    assert "did not come to rest within the steps" in found.failures[0]


def test_a_killed_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("athanor.validate._pool.BATCH", 10)
    one = recipe(**ORDERED)
    told: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        one.alone(Shifted(most=150), seed=0, workdir=tmp_path)
    done = sorted(tmp_path.glob("relaxed-*.npz"))
    assert 0 < len(done) < 3
    again = one.alone(EMT(), seed=0, workdir=tmp_path, tell=lambda share, words: told.append(words))
    assert len(told) == 3 - len(done)
    assert again.plain() == copper_gold().plain()
    nothing = one.alone(Shifted(most=0), seed=0, workdir=tmp_path)
    assert nothing.plain() == again.plain(), "all is there, the calculator is not asked"
    done[0].write_bytes(done[0].read_bytes()[:200])
    with pytest.raises(KeyboardInterrupt):
        one.alone(Shifted(most=0), seed=0, workdir=tmp_path)
    assert one.alone(EMT(), seed=0, workdir=tmp_path).plain() == again.plain()


def argon() -> Calculator:
    return calculator(LennardJones(frozenset({"Ar"}), cutoff=8.0, epsilon=0.0104, sigma=3.4))


def test_a_candidate_that_transforms(tmp_path: Path) -> None:
    """The body-centred crystal of such atoms is unstable against Bain's strain: it becomes fcc."""
    pool = [parent(lattice, "Ar", 37.0) for lattice in ("fcc", "bcc", "hcp")]
    pool[1].set_cell(pool[1].cell @ np.diag([0.98, 0.98, 1.02]), scale_atoms=True)
    write(tmp_path / "pool.extxyz", pool)
    # argon is soft
    one = recipe(file=tmp_path / "pool.extxyz", smax_GPa=1e-3)
    found = one.attempt(argon(), seed=0, workdir=tmp_path / "w")
    assert not found.failures
    named = {value.name: value.value for value in found.values}
    assert named["candidates that left their lattice"] == 1
    assert "1 of 3 candidates left their lattice while relaxing" in found.notes
    fcc, bcc, _hcp = found.data["formation"]
    assert bcc == pytest.approx(fcc, abs=1e-4)
    assert named["ground states"] == 0
    assert found.panels == {}
    assert any("There is only Ar" in note for note in found.notes)


@pytest.mark.parametrize("seed", range(4))
def test_what_counts_as_another_lattice(seed: int) -> None:
    rng = np.random.default_rng(seed)
    before = parent("bcc", "Fe", 11.5).repeat(2)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    after = before.copy()
    after.set_cell(after.cell @ turn * rng.uniform(0.7, 1.4), scale_atoms=True)
    after.positions += rng.normal(0, 0.02, (len(after), 3)) + rng.normal(size=3)
    assert not transformed(before, after), "turned, swollen, moved as a whole, a bit shaken"
    bain = np.diag(rng.permutation([2 ** (1 / 3), 2 ** (-1 / 6), 2 ** (-1 / 6)]))
    sheared = before.copy()
    sheared.set_cell(sheared.cell @ bain, scale_atoms=True)
    assert transformed(before, sheared)
    moved = before.copy()
    moved.positions[rng.integers(len(moved))] += 1.0
    assert transformed(before, moved)


def labelled(path: Path, energies: dict[str, float]) -> Path:
    images = []
    for formula, energy in energies.items():
        atoms = Atoms(formula, cell=[4, 4, 4], pbc=True)
        atoms.positions = np.arange(len(atoms))[:, None] * [0.9, 0.4, 0.2]
        atoms.info["energy"] = energy
        images.append(atoms)
    write(path, images, format="extxyz")
    return path


def test_labels_of_a_file(tmp_path: Path) -> None:
    energies = {"Ag2": -6.0, "Pd": -4.0, "AgPd": -7.5, "AgPd3": -15.1, "Ag3Pd": -13.1}
    path = labelled(tmp_path / "pool.extxyz", energies)
    one = recipe(file=path, energies="labels")
    found = one.attempt(EMT(), seed=0, workdir=tmp_path / "w")
    named = {value.name: value.value for value in found.values}
    assert named["formation energy of AgPd"] == pytest.approx(-250.0)
    assert named["ground states"] == 1
    assert one.title == "Convex hull of pool"
    assert any("AgPd (structure 2 (AgPd))" in note for note in found.notes)


def test_a_file_without_an_element(tmp_path: Path) -> None:
    path = labelled(tmp_path / "pool.extxyz", {"Ag2": -6.0, "AgPd": -7.5})
    found = recipe(file=path, energies="labels").attempt(EMT(), seed=0, workdir=tmp_path / "w")
    assert "no candidate of pure Pd" in found.failures[0]
    given = recipe(file=path, energies="labels", elements={"Pd": -4.0})
    found = given.attempt(EMT(), seed=0, workdir=tmp_path / "w")
    assert found.value("formation energy of AgPd").value == pytest.approx(-250.0)
    again = quantities(given, found, Measured.read(found.plain()))
    assert again["RMSE of formation energies"].value == pytest.approx(0.0, abs=1e-9)


def test_energies_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "pool.extxyz"
    kept = recipe(**ORDERED).enumeration
    assert kept is not None
    kept.write(path)
    one = recipe(file=path, energies="static")
    found = one.attempt(Shifted(refused="Au2Cu"), seed=0, workdir=tmp_path / "w")
    assert found.data["evaluations"] == 29
    left = found.value("candidates left out")
    assert left is not None
    assert left.value == 3
    assert any("3 of 29 candidates are left out" in note for note in found.notes)
    whole = recipe(file=path, energies="static").attempt(EMT(), seed=0, workdir=tmp_path / "w")
    energy = dict(zip(whole.data["names"], whole.data["formation"], strict=True))
    for index, atoms in enumerate(kept.listed()):
        moving = atoms.copy()
        moving.calc = EMT()
        formula = atoms.get_chemical_formula(empirical=True)
        by_hand = moving.get_potential_energy() / len(atoms)
        shares = [list(atoms.symbols).count(one) / len(atoms) for one in ("Au", "Cu")]
        expected = by_hand - np.dot(shares, whole.data["pure"])
        assert energy[f"structure {index} ({formula})"] == pytest.approx(expected, abs=1e-6)


def test_an_element_the_potential_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(UnknownElementError):
        recipe(**ORDERED).alone(argon(), seed=0, workdir=tmp_path)
    (said,) = recipe(**ORDERED).attempt(argon(), seed=0, workdir=tmp_path).failures
    assert "Au" in said or "Cu" in said


def test_pools_that_cannot_be_compared(tmp_path: Path) -> None:
    one = recipe(**ORDERED)
    assert one.compared(Measured(), copper_gold()) == ()
    path = labelled(tmp_path / "pool.extxyz", {"Ag2": -6.0, "Pd": -4.0, "AgPd": -7.5})
    other = recipe(file=path, energies="labels").attempt(EMT(), seed=0, workdir=tmp_path / "w")
    assert one.compared(other, copper_gold()) == (), "other elements"
    path = labelled(tmp_path / "few.extxyz", {"Cu": 0.0, "Au": 0.0, "AuCu": -1.0})
    few = recipe(file=path, energies="labels").attempt(EMT(), seed=0, workdir=tmp_path / "w")
    names = {q.name for q in one.compared(few, copper_gold())}
    assert "largest difference of the hulls" in names
    assert "RMSE of formation energies" not in names, "other candidates"


def test_equal_energies_are_one_ground_state(tmp_path: Path) -> None:
    pools = []
    for number, energies in enumerate(
        ((-7.5, -7.50001), (-7.50001, -7.5), (-7.5, -7.6), (-7.6, -7.5))
    ):
        path = tmp_path / f"{number}.extxyz"
        images = [Atoms(f, cell=[4, 4, 4], pbc=True) for f in ("Ag", "Pd", "AgPd", "AgPd")]
        for atoms, energy in zip(images, (-3.0, -4.0, *energies), strict=True):
            atoms.positions = np.arange(len(atoms))[:, None] * [0.9, 0.4, 0.2 + energy / 100]
            atoms.info["energy"] = energy
        write(path, images, format="extxyz")
        one = recipe(file=path, energies="labels")
        pools.append(one.attempt(EMT(), seed=0, workdir=tmp_path / "w"))
    first = quantities(one, pools[0], pools[1])
    assert first["ground states shared with the reference"].value == 1
    other = quantities(one, pools[2], pools[3])
    assert other["ground states shared with the reference"].value == 0
    assert other["reference's ground states above the hull by"].value == pytest.approx(50.0)


def test_molybdenum_tantalum(reference: Path, tmp_path: Path) -> None:
    """658 cells of the SNAP set (Li et al. 2020) have their lowest at -0.194 eV/atom, at half.

    The set has no pure cells: those of the same authors are unstrained bcc of two atoms, for
    molybdenum in the set of Zuo et al. (2020), -23.70588072 eV for tantalum in their repository.
    """
    from athanor.data.formats import read_frames

    cells = read_frames(reference / "data" / "mlearn_mo" / "training.extxyz")
    molybdenum = min(f.labels.energy / 2 for f in cells if len(f.atoms) == 2)
    one = recipe(
        file=reference / "data" / "binary_mota" / "dev.extxyz",
        energies="labels",
        elements={"Mo": molybdenum, "Ta": -23.70588072 / 2},
    )
    found = one.attempt(EMT(), seed=0, workdir=tmp_path)
    named = {value.name: value.value for value in found.values}
    assert named["candidates"] == 658
    assert named["lowest formation energy"] == pytest.approx(-194, abs=0.5)
    assert named["formation energy of MoTa"] == named["lowest formation energy"]
    line = found.panels["Convex hull"].lines["hull"]
    bends = np.diff(np.diff(line.y) / np.diff(line.x))
    assert (bends > 0).all(), "convex"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({}, "give a file of candidates or an enumeration"),
        ({**ORDERED, "file": "pool.extxyz"}, "and not both"),
        ({**ORDERED, "energies": "labels"}, "an enumeration has no labels"),
        ({"file": "pool.extxyz", "elements": {"Ag": 1.0}}, "go with labels"),
        ({"enumeration": {"species": ["Cuu"]}}, "no element 'Cuu'"),
        ({**ORDERED, "energies": "dynamic"}, "energies = 'dynamic' is not allowed"),
    ],
)
def test_wrong_tables(table: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        recipe(**table)


def test_it_is_a_kind() -> None:
    assert kinds()["hull"] is ConvexHull
    assert not ConvexHull.per_member
    assert recipe(**ORDERED).title == "Convex hull of Cu-Au"
