"""The Bain path: its ends are crystals with their own symmetry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT

from athanor.calculator import calculator
from athanor.errors import ConfigError, MeasurementError
from athanor.potentials.ensemble import Ensemble
from athanor.potentials.lj import LennardJones
from athanor.validate import Measured, kinds
from athanor.validate._lattice import crystal
from athanor.validate._symmetry import symmetry_of
from athanor.validate.bain import BCC, PANEL, BainPath, tetragonal


def pair(sigma: float = 3.4, epsilon: float = 0.0104) -> LennardJones:
    return LennardJones(frozenset({"Ar"}), 12.0, epsilon, sigma)


def measured(subject: Calculator, tmp_path: Path, **keys: object) -> Measured:
    recipe = BainPath.parse({"element": "Ar", **keys}, where="[[property]]")
    return recipe.attempt(subject, seed=0, workdir=tmp_path / "bain")


class Shaped(Calculator):
    """An energy that is a function of c/a alone, beside a well in the volume."""

    implemented_properties = ("energy",)

    def __init__(self, energy) -> None:
        super().__init__()
        self._energy = energy

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        super().calculate(atoms, list(properties), list(system_changes))
        cell = np.abs(self.atoms.cell.array)
        well = (self.atoms.get_volume() / 38.0 - 1) ** 2
        self.results = {"energy": well + self._energy(cell[0, 2] / cell[0, 1])}


def test_kind_is_found() -> None:
    assert kinds()["bain"] is BainPath


def test_the_cell_is_fcc_and_bcc_where_it_should_be_and_keeps_its_volume() -> None:
    rng = np.random.default_rng(2)
    volume = rng.uniform(10, 40)
    for ratio, group in ((1.0, "Fm-3m (225)"), (BCC, "Im-3m (229)"), (0.85, "I4/mmm (139)")):
        atoms = tetragonal("Ar", volume, ratio)
        assert atoms.get_volume() == pytest.approx(volume)
        assert symmetry_of(atoms).group == group
    for ratio, lattice in ((1.0, "fcc"), (BCC, "bcc")):
        found = tetragonal("Ar", volume, ratio), crystal("Ar", lattice, volume)
        energies = [calculator(pair()).get_potential_energy(atoms) for atoms in found]
        assert energies[0] == pytest.approx(energies[1], abs=1e-9)


def test_bcc_is_an_extremum_of_any_potential(tmp_path: Path) -> None:
    # by symmetry; for these it is the maximum, as bcc is unstable
    for subject, element in ((calculator(pair()), "Ar"), (EMT(), "Cu")):
        found = measured(subject, tmp_path, element=element)
        assert found.failures == ()
        assert found.value("c/a of the maximum").value == pytest.approx(BCC, abs=1e-3)
        top, bcc = found.value("energy of the maximum"), found.value("energy of bcc")
        assert top.value == pytest.approx(bcc.value, abs=1e-3)
        assert top.value > 0


def test_the_highest_local_maximum_is_found_between_the_points(tmp_path: Path) -> None:
    place = float(np.random.default_rng(5).uniform(0.7, 0.9))

    def energy(ratio: float) -> float:
        low, high = (
            np.exp(-(((ratio - 0.66) / 0.02) ** 2)),
            np.exp(-(((ratio - place) / 0.05) ** 2)),
        )
        # higher than any maximum towards the end
        return 0.05 * low + 0.1 * high + 40 * max(ratio - 1.05, 0) ** 2

    found = measured(Shaped(energy), tmp_path, volume=38.0)
    assert found.value("c/a of the maximum").value == pytest.approx(place, abs=2e-3)
    assert found.value("energy of the maximum").value == pytest.approx(100, rel=1e-3)
    assert found.panels[PANEL].lines[""].y[-1] > 90


def test_the_volume_is_the_subjects_own_or_the_given_one(tmp_path: Path) -> None:
    free = measured(calculator(pair()), tmp_path)
    wide = measured(calculator(pair()), tmp_path, volume=1.1 * free.data["volume"])
    assert wide.data["volume"] == pytest.approx(1.1 * free.data["volume"])
    length = (4 * free.data["volume"]) ** (1 / 3)
    assert length / np.sqrt(2) == pytest.approx(1.0902 * 3.4, rel=0.01)
    assert wide.value("energy of bcc").value < free.value("energy of bcc").value


def test_a_path_that_only_rises_has_no_maximum(tmp_path: Path) -> None:
    found = measured(Shaped(lambda ratio: ratio), tmp_path)
    assert found.failures == ("Ar: the energy has no maximum within the Bain path",)
    assert found.value("energy of bcc").value == pytest.approx(1000 * (BCC - 1))


def test_what_has_no_energy_is_said(tmp_path: Path) -> None:
    found = measured(Shaped(lambda ratio: np.nan if ratio < 0.7 else 0.0), tmp_path)
    assert found.failures == ("Ar has no finite energy at c/a = 0.600",)


def test_a_path_needs_a_beginning(tmp_path: Path) -> None:
    far = calculator(LennardJones(frozenset({"Ar"}), 20.0, 0.01, 6.5))
    with pytest.raises(MeasurementError, match=r"no energy minimum .* the path would begin; give"):
        BainPath(element="Ar").alone(far, seed=0, workdir=tmp_path)


def test_two_paths_are_compared_by_their_distance(tmp_path: Path) -> None:
    recipe = BainPath(element="Ar", tolerance={"path RMSE": 1.0, "energy of bcc": 0.1})
    mine, theirs = calculator(pair(epsilon=0.0208)), calculator(pair())
    result = recipe.measure(mine, theirs, seed=0, workdir=tmp_path)
    found = {quantity.name: quantity for quantity in result.quantities}
    # twice the energies: as far as the reference's own path is from zero
    path = np.array(result.curves[PANEL]["lines"]["reference"][""]["y"])
    rmse = found["path RMSE"]
    assert rmse.value == pytest.approx(np.sqrt((path**2).mean()), rel=1e-3)
    assert rmse.passed is (rmse.value <= 1.0)
    assert rmse.is_error
    assert found["energy of bcc"].value == pytest.approx(2 * found["energy of bcc"].reference)
    assert found["energy of bcc"].passed is False


def test_members_give_bars(tmp_path: Path) -> None:
    members = [pair(epsilon=e) for e in 0.0104 * np.random.default_rng(1).uniform(0.9, 1.1, 3)]
    found = measured(calculator(Ensemble.of(members)), tmp_path)
    line = found.panels[PANEL].lines[""]
    assert line.error is not None
    fcc = line.x.index(1.0)
    assert line.error[fcc] == pytest.approx(0, abs=1e-9)
    assert min(line.error[:fcc]) > 0
    assert found.value("energy of bcc").uncertainty > 0


@pytest.mark.parametrize(
    ("ratios", "words"),
    [
        ([0.7, 0.8, 0.75, 0.9, 1.0], "give each c/a once, in ascending order"),
        ([0.7, 0.7, 0.8, 0.9, 1.0], "give each c/a once, in ascending order"),
        ([0.7, 1.0], "ratios"),
        ([0.1, 0.7, 0.8, 0.9, 1.0], "ratios"),
    ],
)
def test_wrong_ratios(ratios: list[float], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        BainPath.parse({"element": "Al", "ratios": ratios}, where="[[property]]")
