"""Pathways between structures: their ends, their way back, elastic bands and grades."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.io import write
from ase.neighborlist import neighbor_list

from athanor.calculator import calculator
from athanor.errors import ConfigError
from athanor.potentials.lj import LennardJones
from athanor.potentials.mtp import MtpConfig
from athanor.validate import Measured, kinds
from athanor.validate._lattice import crystal
from athanor.validate._missing import Missing
from athanor.validate._transition import WAYS, matched
from athanor.validate.pathway import ENERGY, GRADE, Pathway
from athanor.validate.vacancy import Vacancy


def argon(cutoff: float = 8.5) -> Calculator:
    return calculator(LennardJones(frozenset({"Ar"}), cutoff, 0.0104, 3.4))


def recipe_of(**keys: object) -> Pathway:
    return Pathway.parse(keys, where="[[property]]")


def measured(subject: Calculator, tmp_path: Path, **keys: object) -> Measured:
    return recipe_of(**keys).attempt(subject, seed=0, workdir=tmp_path / "pathway")


def numbers(found: Measured) -> dict[str, float]:
    return {one.name: one.value for one in found.values}


def along(found: Measured) -> np.ndarray:
    return np.array(found.panels[ENERGY].lines[""].y)


def per_atom(atoms: Atoms, subject: Calculator) -> float:
    probe = atoms.copy()
    probe.calc = subject
    return float(probe.get_potential_energy() / len(probe))


def shells(atoms: Atoms) -> dict[float, float]:
    """Distances over that of touching spheres in fcc of that volume, and atoms there."""
    unit = (np.sqrt(2) * atoms.get_volume() / len(atoms)) ** (1 / 3)
    length = neighbor_list("d", atoms, 1.9 * unit)
    places, counts = np.unique(np.round(length / unit, 4), return_counts=True)
    return dict(zip(places.tolist(), (counts / len(atoms)).tolist(), strict=True))


WAY_NAMES = sorted(tuple(sorted(ends)) for ends in WAYS)


# lattices by name


@pytest.mark.parametrize(("start", "end"), WAY_NAMES)
def test_a_way_begins_and_ends_in_its_lattices(start, end) -> None:
    way, places = WAYS[frozenset({start, end})]
    for lattice in (start, end):
        cell, fractional = way(places[lattice])
        atoms = Atoms(["Ar"] * len(fractional), cell=cell, scaled_positions=fractional, pbc=True)
        assert shells(atoms) == shells(crystal("Ar", lattice, 30.0))


@pytest.mark.parametrize(("start", "end"), WAY_NAMES)
def test_the_way_back_is_the_same_way(start, end, tmp_path) -> None:
    there = measured(argon(6.5), tmp_path, element="Ar", start=start, end=end)
    back = measured(argon(6.5), tmp_path, element="Ar", start=end, end=start)
    assert there.failures == back.failures == ()
    assert along(there) == pytest.approx(along(back)[::-1] - along(back)[-1], abs=1e-6)
    found = numbers(there)
    assert found["energy of the end"] == pytest.approx(-numbers(back)["energy of the end"])
    assert found["barrier"] == along(there).max()
    images = there.panels[ENERGY].lines[""].x
    assert images == pytest.approx(np.linspace(0, 1, 11))


def test_ends_are_the_relaxed_lattices() -> None:
    for first, last in (("fcc", "hcp"), ("bcc", "hcp")):
        for lattice, atoms in zip((first, last), matched("Ar", first, last, argon()), strict=True):
            alone = Vacancy.parse({"element": "Ar", "lattice": lattice}, where="x").crystal(argon())
            assert per_atom(atoms, argon()) == pytest.approx(per_atom(alone, argon()), abs=1e-7)


def test_fcc_to_hcp_slips_over_the_bridge(tmp_path) -> None:
    """At the end fcc and hcp differ by little of what it costs in between."""
    found = measured(argon(), tmp_path, element="Ar", start="fcc", end="hcp")
    energies = along(found)
    assert int(np.argmax(energies)) in (4, 5, 6)
    assert abs(energies[-1]) < 0.05 * energies.max()
    assert found.notes == ()


def test_a_way_downhill_is_remarked(tmp_path) -> None:
    found = measured(argon(), tmp_path, element="Ar", start="bcc", end="fcc")
    assert numbers(found)["barrier"] == pytest.approx(0, abs=1e-3)
    assert numbers(found)["energy of the end"] < 0
    assert found.notes == ("No image lies higher than both ends.",)


# files


def write_xyz(path: Path, atoms: Atoms | list[Atoms]) -> Path:
    write(path, atoms, format="extxyz")
    return path


@pytest.fixture
def hop(tmp_path) -> tuple[Path, Path, float]:
    """Files of a vacancy before and after a hop, and the barrier the vacancy's own kind finds."""
    recipe = Vacancy.parse(
        {"element": "Ar", "lattice": "fcc", "width": 7.0, "fmax": 1e-3}, where="x"
    )
    missing = Missing.of(recipe.crystal(argon(6.5), cubic=True), 0, 7.0, argon(6.5))
    nearest = missing.vacant.positions - missing.whole.positions[0]
    vector = nearest[int(np.argmin(np.linalg.norm(nearest, axis=1)))]
    files = [
        write_xyz(tmp_path / f"{name}.xyz", atoms)
        for name, atoms in (("before", missing.vacant), ("after", missing.hopped(vector)))
    ]
    whole = numbers(recipe.attempt(argon(6.5), seed=0, workdir=tmp_path / "vacancy"))
    return files[0], files[1], whole["vacancy migration energy"]


def test_an_elastic_band_between_files_finds_the_barrier(hop, tmp_path) -> None:
    start, end, barrier = hop
    keys = {"start": start, "end": end, "images": 5}
    found = numbers(measured(argon(6.5), tmp_path, **keys, method="neb", fmax=1e-3))
    assert found["barrier of the cell"] == pytest.approx(barrier, abs=2e-4)
    assert found["energy of the end"] == pytest.approx(0, abs=0.01)
    straight = numbers(measured(argon(6.5), tmp_path, **keys, relax="atoms"))
    assert straight["barrier of the cell"] > found["barrier of the cell"]


def test_a_band_that_does_not_converge_is_a_failure(hop, tmp_path) -> None:
    keys = {"start": hop[0], "end": hop[1], "method": "neb", "steps": 1, "fmax": 1e-6}
    (failure,) = measured(argon(6.5), tmp_path, **keys).failures
    assert "did not converge" in failure


def test_ends_in_files_are_relaxed_as_asked_for(tmp_path) -> None:
    wide, close = (bulk("Ar", "fcc", a=a, cubic=True) for a in (5.6, 5.5))
    for atoms, amount in ((wide, 0.1), (close, 0.05)):
        atoms.rattle(amount, rng=np.random.default_rng(7))
    files = {
        "start": write_xyz(tmp_path / "wide.xyz", wide),
        "end": write_xyz(tmp_path / "close.xyz", close),
        "images": 3,
    }
    asis, held, free = (
        measured(argon(), tmp_path, **files, relax=relax) for relax in ("none", "atoms", "all")
    )
    perfect = [per_atom(bulk("Ar", "fcc", a=a), argon()) for a in (5.6, 5.5)]
    raw = [per_atom(atoms, argon()) for atoms in (wide, close)]
    assert numbers(asis)["energy of the end"] == pytest.approx(1000 * (raw[1] - raw[0]))
    expected = 1000 * (perfect[1] - perfect[0])
    assert numbers(held)["energy of the end"] == pytest.approx(expected, abs=1e-3)
    assert numbers(free)["energy of the end"] == pytest.approx(0, abs=1e-3)
    assert recipe_of(**files).title == "Pathway from wide to close"


def test_images_of_one_file_are_taken_as_they_are(tmp_path) -> None:
    rng = np.random.default_rng(31)
    base = bulk("Ar", "fcc", a=5.4, cubic=True)
    images = []
    for _ in range(4):
        image = base.copy()
        image.positions += rng.normal(0, 0.1, (4, 3))
        images.append(image)
    path = write_xyz(tmp_path / "path.xyz", images)
    found = measured(argon(), tmp_path, along=path)
    energies = 1000 * np.array([per_atom(image, argon()) for image in images])
    assert along(found) == pytest.approx(energies - energies[0], abs=1e-5)
    assert recipe_of(along=path).title == "Pathway path"


# comparison


def test_two_ways_are_compared_from_their_starts(tmp_path) -> None:
    rng = np.random.default_rng(13)
    images = [bulk("Ar", "fcc", a=a) for a in rng.uniform(5.2, 5.6, 5)]
    path = write_xyz(tmp_path / "path.xyz", images)
    recipe = recipe_of(along=path, tolerance={"pathway RMSE": 1e3})
    one, other = (
        recipe.attempt(argon(cutoff), seed=0, workdir=tmp_path / str(cutoff))
        for cutoff in (6.5, 8.5)
    )
    (found,) = recipe.compared(one, other)
    assert found.value == pytest.approx(np.sqrt(np.mean((along(one) - along(other)) ** 2)))
    assert (found.name, found.unit, found.passed) == ("pathway RMSE", "meV/atom", True)
    assert recipe.compared(one, Measured()) == ()


# grades


@pytest.fixture
def alloy(tmp_path) -> tuple[Calculator, list[Atoms]]:
    """A moment tensor potential, and images of a sheared crystal of its elements."""
    subject = calculator(MtpConfig.example(seed=3))
    rng = np.random.default_rng(2)
    base = bulk("Al", "fcc", a=4.0, cubic=True)
    base.symbols[:2] = "Ni"
    base.positions += rng.normal(0, 0.05, (4, 3))
    images = []
    for share in np.linspace(0, 1, 5):
        image = base.copy()
        shear = np.eye(3) + share * np.array([[0, 0.3, 0], [0, 0.1, 0], [0, 0, -0.1]])
        image.set_cell(base.cell.array @ shear, scale_atoms=True)
        images.append(image)
    return subject, images


@pytest.mark.parametrize("by", ["structure", "atom"])
def test_what_was_learnt_has_grade_one_and_the_middle_is_new(alloy, by, tmp_path) -> None:
    """Novikov et al. 2021, section 6.1: trained on its ends alone, then on every image."""
    subject, images = alloy
    path = write_xyz(tmp_path / "path.xyz", images)
    ends = write_xyz(tmp_path / "ends.xyz", [images[0], images[-1]])
    keys = {"along": path, "graded_by": by}
    far = measured(subject, tmp_path, **keys, training=ends)
    known = measured(subject, tmp_path, **keys, training=path)
    grades = np.array(far.panels[GRADE].lines[""].y)
    assert grades[[0, -1]] == pytest.approx([1, 1], abs=1e-6)
    assert int(np.argmax(grades)) in (1, 2, 3)
    assert numbers(far)["highest grade"] == grades.max() > 1.5
    assert max(known.panels[GRADE].lines[""].y) <= 1 + 1e-6
    assert along(far) == pytest.approx(along(known))


def test_a_calculator_of_others_has_no_grade_and_a_potential_without_says_so(tmp_path) -> None:
    path = write_xyz(tmp_path / "path.xyz", [bulk("Ar", "fcc", a=a) for a in (5.2, 5.3, 5.4)])

    class Foreign(Calculator):
        implemented_properties = ("energy",)

        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
            super().calculate(atoms, list(properties), list(system_changes))
            self.results = {"energy": -1.0}

    class Plain:
        """Argon, and nothing of its parameters."""

        def __init__(self) -> None:
            inner = LennardJones(frozenset({"Ar"}), 8.5, 0.0104, 3.4)
            self.elements, self.cutoff, self.predict = inner.elements, inner.cutoff, inner.predict

    keys = {"along": path, "training": path}
    subjects = (Foreign(), calculator(Plain()))
    foreign, simple = (measured(one, tmp_path, **keys) for one in subjects)
    assert GRADE not in foreign.panels
    assert not any("grades" in note for note in foreign.notes)
    assert "No grades: this potential has no derivatives by its parameters." in simple.notes
    assert GRADE not in simple.panels


def test_a_training_set_that_cannot_be_read_costs_the_grades_alone(alloy, tmp_path) -> None:
    subject, images = alloy
    path = write_xyz(tmp_path / "path.xyz", images)
    found = measured(subject, tmp_path, along=path, training=tmp_path / "none.xyz")
    (failure,) = found.failures
    assert failure.startswith("no grades: ")
    assert "none.xyz" in failure
    assert len(along(found)) == len(images)


# what cannot be measured


def test_an_image_without_energy_is_a_failure_and_the_others_are_shown(tmp_path) -> None:
    images = [bulk("Ar", "fcc", a=a, cubic=True) for a in (5.2, 5.3, 5.4, 5.5)]
    images[2].positions[1] = images[2].positions[0] + 1e-4
    path = write_xyz(tmp_path / "path.xyz", images)
    found = measured(argon(), tmp_path, along=path)
    (failure,) = found.failures
    assert failure.startswith("image 2 has no")
    assert found.panels[ENERGY].lines[""].x == pytest.approx((0, 1 / 3, 1))
    assert set(numbers(found)) == {"energy of the end"}


def test_energies_that_are_not_finite_are_a_failure(tmp_path) -> None:
    class Endless(Calculator):
        implemented_properties = ("energy",)

        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
            super().calculate(atoms, list(properties), list(system_changes))
            self.results = {"energy": np.inf}

    path = write_xyz(tmp_path / "path.xyz", [bulk("Ar", "fcc", a=a) for a in (5.2, 5.3, 5.4)])
    found = measured(Endless(), tmp_path, along=path)
    assert found.failures == tuple(f"image {k} has no finite energy" for k in range(3))
    assert found.values == ()


def test_files_that_do_not_fit_are_failures(tmp_path) -> None:
    salt = bulk("NaCl", "rocksalt", a=5.6)
    salt.numbers[:] = [18, 36]
    first = write_xyz(tmp_path / "first.xyz", salt)
    turned = write_xyz(tmp_path / "turned.xyz", salt[[1, 0]])
    wider = salt.copy()
    wider.set_cell(1.05 * salt.cell.array, scale_atoms=True)
    wide = write_xyz(tmp_path / "wide.xyz", wider)
    both = calculator(LennardJones(frozenset({"Ar", "Kr"}), 6.5, 0.0104, 3.4))
    for keys, words in (
        ({"start": first, "end": turned}, "do not hold the same atoms in the same order"),
        ({"start": first, "end": wide, "method": "neb"}, "the cells of start and end differ"),
        ({"along": first}, "holds 1 structures; a pathway is three at least"),
        ({"along": tmp_path / "none.xyz"}, "none.xyz"),
    ):
        (failure,) = measured(both, tmp_path, **keys, relax="none").failures
        assert words in failure


def test_a_lattice_without_a_minimum_is_a_failure(tmp_path) -> None:
    class Flat(Calculator):
        implemented_properties = ("energy", "forces", "stress")

        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
            super().calculate(atoms, list(properties), list(system_changes))
            volume = self.atoms.get_volume()
            self.results = {"energy": -volume, "forces": np.zeros((len(self.atoms), 3))}
            self.results["stress"] = -np.array([1.0, 1, 1, 0, 0, 0])

    (failure,) = measured(Flat(), tmp_path, element="Ar", start="fcc", end="bcc").failures
    assert "fcc Ar has no energy minimum" in failure


LATTICES = ("fcc", "hcp", "bcc", "sc", "diamond")


@pytest.mark.parametrize(("start", "end"), [*itertools.product(LATTICES, LATTICES)])
def test_ways_that_are_not_known_are_refused_with_those_that_are(start, end) -> None:
    keys = {"element": "Ar", "start": start, "end": end}
    if frozenset({start, end}) in WAYS:
        assert recipe_of(**keys).title == f"Pathway of Ar from {start} to {end}"
    else:
        with pytest.raises(ConfigError, match=f"no way is known from {start} to {end}; known are"):
            recipe_of(**keys)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({}, "give start and end, or along"),
        ({"start": "a.xyz"}, "give start and end, or along"),
        ({"start": "a.xyz", "end": "b.xyz", "along": "c.xyz"}, "and not both"),
        ({"start": "fcc", "end": "b.xyz", "element": "Al"}, "two lattices or two files"),
        ({"start": "fcc", "end": "bcc"}, "need an element"),
        ({"start": "a.xyz", "end": "b.xyz", "element": "Al"}, "files have their own"),
        ({"start": "fcc", "end": "bcc", "element": "Al", "method": "neb"}, "neb needs start"),
        ({"along": "a.xyz", "method": "neb"}, "neb needs start"),
        ({"start": "a", "end": "b", "method": "neb", "relax": "all"}, "neb needs start"),
    ],
)
def test_a_wrong_recipe_is_refused(keys, words) -> None:
    with pytest.raises(ConfigError, match=words):
        recipe_of(**keys)


def test_it_is_a_kind() -> None:
    assert kinds()["pathway"] is Pathway
