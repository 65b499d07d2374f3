"""Cohesive energies and lattice constants."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.io import write

from athanor.calculator import calculator
from athanor.errors import ConfigError
from athanor.potentials.ensemble import Ensemble
from athanor.potentials.lj import LennardJones
from athanor.potentials.mtp import MtpConfig
from athanor.structure import Labels
from athanor.validate import Measured, kinds
from athanor.validate._lattice import crystal
from athanor.validate.cohesive import Cohesive


def pair(cutoff: float = 8.5, sigma: float = 3.4) -> LennardJones:
    return LennardJones(frozenset({"Ar"}), cutoff, 0.0104, sigma)


def measured(subject: Calculator, tmp_path: Path, **keys: object) -> Measured:
    recipe = Cohesive.parse(keys, where="[[property]]")
    return recipe.attempt(subject, seed=0, workdir=tmp_path / "cohesive")


def numbers(found: Measured) -> dict[str, float]:
    return {one.name: one.value for one in found.values}


class Crowded(Calculator):
    """Argon that knows no single atom: it raises `error` there, or gives `alone` in eV."""

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, *, error: Exception | None = None, alone: float = np.nan) -> None:
        super().__init__()
        self._error, self._alone, self._argon = error, alone, calculator(pair())

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        super().calculate(atoms, list(properties), list(system_changes))
        if self.atoms.pbc.any():
            self._argon.calculate(self.atoms)
            self.results = dict(self._argon.results)
        elif self._error is not None:
            raise self._error
        else:
            self.results = {"energy": self._alone}


def test_kind_is_found() -> None:
    assert kinds()["cohesive"] is Cohesive


def test_lennard_jones_has_its_textbook_numbers(tmp_path: Path) -> None:
    # lattice sums: 8.610 eps at r0 = 1.0902 sigma; the shift that smooths 7 sigma is one percent
    found = measured(calculator(pair(24.0)), tmp_path, element="Ar", lattice="fcc")
    given = numbers(found)
    assert found.failures == ()
    assert given["cohesive energy"] == pytest.approx(8.610 * 0.0104, rel=0.015)
    assert given["energy"] == pytest.approx(-given["cohesive energy"])
    assert given["a"] / np.sqrt(2) == pytest.approx(1.0902 * 3.4, rel=2e-3)
    assert given["volume"] == pytest.approx(given["a"] ** 3 / 4)
    assert set(given) == {"energy", "cohesive energy", "volume", "a"}
    # its isolated atom is exactly zero by construction: nothing to be said
    assert found.notes == ("The space group is Fm-3m (225).",)


def test_hexagonal_crystals_have_two_lengths(tmp_path: Path) -> None:
    given = numbers(measured(calculator(pair(16.0)), tmp_path, element="Ar", lattice="hcp"))
    assert given["c/a"] == pytest.approx(np.sqrt(8 / 3), rel=2e-3)
    assert given["c"] == pytest.approx(given["a"] * given["c/a"])
    assert given["volume"] == pytest.approx(np.sqrt(3) / 4 * given["a"] ** 2 * given["c"])
    assert "gamma" not in given


def test_emt_copper_is_bound_as_it_was_made_to_be(tmp_path: Path) -> None:
    # EMT counts energies from the crystal: its own isolated atom is 3.51 eV above
    given = numbers(measured(EMT(), tmp_path, element="Cu", lattice="fcc"))
    assert given["energy"] == pytest.approx(0, abs=0.02)
    assert given["cohesive energy"] == pytest.approx(3.51, abs=0.03)


def test_compounds_count_each_of_their_atoms(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    atoms = Atoms(
        "AuCu3",
        cell=[3.75] * 3,
        pbc=True,
        scaled_positions=[[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]],
    )
    atoms.rotate(rng.uniform(0, 360), rng.normal(size=3), rotate_cell=True)
    write(tmp_path / "ordered.extxyz", atoms.repeat((2, 1, 1)))
    table = {"file": str(tmp_path / "ordered.extxyz")}
    own = measured(EMT(), tmp_path, **table)
    assert own.failures == ()
    assert own.notes == ("The space group is Pm-3m (221).",)
    free = dict(zip(("Au", "Cu"), rng.uniform(1, 5, 2).tolist(), strict=True))
    given = measured(EMT(), tmp_path, **table, atom_energies=free)
    below = (free["Au"] + 3 * free["Cu"]) / 4 - numbers(given)["energy"]
    assert numbers(given)["cohesive energy"] == pytest.approx(below)
    assert numbers(given)["a"] == pytest.approx(numbers(own)["a"])
    assert 3.6 < numbers(given)["a"] < 3.9


def test_files_give_their_conventional_cell(tmp_path: Path) -> None:
    start = crystal("Ar", "hcp", 38.0)
    start = start.repeat((2, 1, 1))
    write(tmp_path / "twice.extxyz", start)
    found = numbers(measured(calculator(pair()), tmp_path, file=str(tmp_path / "twice.extxyz")))
    named = numbers(measured(calculator(pair()), tmp_path, element="Ar", lattice="hcp"))
    for name, value in named.items():
        assert found[name] == pytest.approx(value, rel=2e-4)


def test_oblique_cells_have_their_angles(tmp_path: Path) -> None:
    class Still(Calculator):
        """No forces at all: everything is at a minimum."""

        implemented_properties = ("energy", "forces", "stress")

        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
            super().calculate(atoms, list(properties), list(system_changes))
            n = len(self.atoms)
            self.results = {"energy": -n, "forces": np.zeros((n, 3)), "stress": np.zeros(6)}

    oblique = Atoms(
        "ArNe",
        cell=[4.0, 5.0, 6.0, 90, 100, 90],
        pbc=True,
        scaled_positions=[[0, 0, 0], [0.1, 0.5, 0.3]],
    )
    write(tmp_path / "oblique.extxyz", oblique)
    given = numbers(measured(Still(), tmp_path, file=str(tmp_path / "oblique.extxyz")))
    assert given["beta"] == pytest.approx(100)
    assert {"a", "b", "c", "c/a"} < set(given)
    assert "alpha" not in given
    assert given["cohesive energy"] == pytest.approx(0)


def test_what_a_fitted_potential_makes_of_an_atom_is_said(tmp_path: Path) -> None:
    fitted = calculator(MtpConfig.example(seed=1))
    recipe = Cohesive(element="Al", lattice="fcc")
    note = [*recipe._of_atoms(bulk("Al"), fitted)]
    assert "isolated Al is what this potential makes of it" in note[0]
    assert "else give atom_energies" in note[0]
    given = Cohesive(element="Al", lattice="fcc", atom_energies={"Al": -0.2})
    assert [*given._of_atoms(bulk("Al"), fitted)] == []


@pytest.mark.parametrize(
    ("subject", "words"),
    [
        (Crowded(error=ValueError("no box")), "has no energy here (no box); give atom_energies"),
        (Crowded(alone=np.nan), "has no finite energy here; give atom_energies"),
    ],
)
def test_an_atom_without_energy_is_a_failure_and_the_rest_goes_on(
    subject: Calculator, words: str, tmp_path: Path
) -> None:
    found = measured(subject, tmp_path, element="Ar", lattice="fcc")
    assert len(found.failures) == 1
    assert "the isolated Ar atom" in found.failures[0]
    assert words in found.failures[0]
    assert {"energy", "a", "volume"} == set(numbers(found))
    whole = measured(subject, tmp_path, element="Ar", lattice="fcc", atom_energies={"Ar": 0.0})
    assert whole.failures == ()
    assert whole.value("cohesive energy") is not None


def test_symmetry_lost_while_relaxing_is_a_failure(tmp_path: Path) -> None:
    class Pushed(Calculator):
        """Argon pulled along z."""

        implemented_properties = ("energy", "forces", "stress")

        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
            super().calculate(atoms, list(properties), list(system_changes))
            inner = calculator(pair())
            inner.calculate(self.atoms)
            pull = np.array([0, 0, -6e-4, 0, 0, 0])
            self.results = {**inner.results}
            if "stress" in inner.results:
                self.results["stress"] = inner.results["stress"] + pull

    found = measured(Pushed(), tmp_path, element="Ar", lattice="fcc")
    assert "fcc Ar lost symmetry while relaxing: from Fm-3m (225) to I4/mmm" in found.failures[0]
    assert numbers(found)["c/a"] > np.sqrt(2)


class Led(Ensemble):
    """An ensemble that predicts what its first member does."""

    def predict(self, structures: Sequence[Atoms], *, stress: bool = True) -> list[Labels]:
        return self.members[0].predict(structures, stress=stress)


def test_a_member_that_fails_leaves_the_ensemble_its_numbers(tmp_path: Path) -> None:
    # the third is far from any minimum near the usual volume
    whole = Led((pair(20.0), pair(20.0), pair(20.0, 6.5)))
    found = measured(calculator(whole), tmp_path, element="Ar", lattice="fcc")
    assert found.failures == ()
    assert found.value("a").uncertainty is None
    assert found.notes[-1].startswith("member 3: fcc Ar has no energy minimum")
    agreed = Led(whole.members[:2])
    found = measured(calculator(agreed), tmp_path, element="Ar", lattice="fcc")
    assert found.value("a").uncertainty == pytest.approx(0, abs=1e-9)


def test_wrong_elements() -> None:
    table = {"element": "Ar", "lattice": "fcc", "atom_energies": {"Argon": 1.0}}
    with pytest.raises(ConfigError, match="no element 'Argon'"):
        Cohesive.parse(table, where="[[property]]")
