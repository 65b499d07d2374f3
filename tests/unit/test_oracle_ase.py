"""ASE calculators as oracles."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from subprocess import TimeoutExpired

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import CalculationFailed, Calculator, SCFError, all_changes
from ase.calculators.emt import EMT

from athanor.errors import ConfigError, OracleError
from athanor.oracle import ase as oracle_ase
from athanor.oracle import kinds
from athanor.oracle.ase import AseOracleConfig


def rattled(seed: int = 0) -> Atoms:
    atoms = bulk("Al", cubic=True)
    atoms.rattle(0.1, seed=seed)
    return atoms


class Raising(Calculator):
    """Does what `act` does instead of a calculation."""

    implemented_properties = ("energy", "free_energy", "forces", "stress")
    act: Callable[[], dict]

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        super().calculate(atoms, list(properties), list(system_changes))
        self.results = type(self).act()


def oracle_that(monkeypatch: pytest.MonkeyPatch, act: Callable[[], dict]):
    kind = type("Odd", (Raising,), {"act": staticmethod(act)})
    monkeypatch.setattr(oracle_ase, "calculator_class", lambda name: kind)
    return AseOracleConfig().build()


def test_kind_is_found_and_emt_is_the_default() -> None:
    assert kinds()["ase"] is AseOracleConfig
    assert AseOracleConfig().build().name == "emt"


def test_labels_are_the_calculators(tmp_path: Path) -> None:
    atoms = rattled()
    before = atoms.copy()
    labels = AseOracleConfig().build().label(atoms, workdir=tmp_path)
    assert atoms == before
    assert atoms.calc is None
    atoms.calc = EMT()
    assert labels.energy == atoms.get_potential_energy()
    np.testing.assert_array_equal(labels.forces, atoms.get_forces())
    np.testing.assert_array_equal(labels.stress, atoms.get_stress(voigt=False))


def test_stress_only_with_full_periodicity(tmp_path: Path) -> None:
    atoms = rattled()
    atoms.pbc = [True, True, False]
    assert AseOracleConfig().build().label(atoms, workdir=tmp_path).stress is None


def test_nothing_carries_over_between_labels(tmp_path: Path) -> None:
    oracle = AseOracleConfig().build()
    first = oracle.label(rattled(1), workdir=tmp_path)
    oracle.label(rattled(2).repeat((2, 1, 1)), workdir=tmp_path)
    again = oracle.label(rattled(1), workdir=tmp_path)
    assert first.energy == again.energy
    assert oracle.calculator(workdir=tmp_path) is not oracle.calculator(workdir=tmp_path)
    assert Path(oracle.calculator(workdir=tmp_path).directory) == tmp_path


def test_settings_reach_the_calculator(tmp_path: Path) -> None:
    config = AseOracleConfig.parse({"settings": {"asap_cutoff": True}}, where="[oracle]")
    atoms = rattled()
    labels = config.build().label(atoms, workdir=tmp_path)
    atoms.calc = EMT(asap_cutoff=True)
    assert labels.energy == atoms.get_potential_energy()
    assert labels.energy != AseOracleConfig().build().label(atoms, workdir=tmp_path).energy


def test_level_tells_settings_apart_and_nothing_else() -> None:
    def level(**table: object) -> str:
        return AseOracleConfig.parse(table, where="[oracle]").build().level

    lj = {"epsilon": 0.01, "sigma": 3.4}
    assert level().startswith("ase:emt:")
    assert level() == level(calculator="emt", settings={}, selfcheck=True)
    assert level() != level(settings={"asap_cutoff": True})
    assert level(calculator="lj", settings=lj) != level(calculator="lj", settings={"epsilon": 0.01})
    backwards = dict(reversed(lj.items()))
    assert level(calculator="lj", settings=lj) == level(calculator="lj", settings=backwards)


def test_pickles(tmp_path: Path) -> None:
    oracle = AseOracleConfig().build()
    copy = pickle.loads(pickle.dumps(oracle))
    assert copy.level == oracle.level
    atoms = rattled()
    one, other = (each.label(atoms, workdir=tmp_path) for each in (oracle, copy))
    assert one.energy == other.energy


def test_the_force_consistent_energy_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    results = {"energy": -1.0, "free_energy": -2.0, "forces": np.zeros((4, 3))}
    results["stress"] = np.zeros(6)
    oracle = oracle_that(monkeypatch, lambda: dict(results))
    assert oracle.label(rattled(), workdir=tmp_path).energy == -2.0
    del results["free_energy"]
    assert oracle.label(rattled(), workdir=tmp_path).energy == -1.0


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"calculator": "emd"}, "no calculator 'emd' .did you mean 'emt'"),
        ({"calculator": "os"}, "no calculator 'os'"),
        ({"calculator": "psi4"}, "'psi4' is known to ASE but cannot be loaded|cannot be set up"),
        ({"settings": {"asap_cutof": True}}, "no setting 'asap_cutof' .did you mean 'asap_cutoff'"),
        ({"settings": {"x": float("nan")}}, "numbers, text, lists and tables only"),
        ({"settings": {"x": object()}}, "numbers, text, lists and tables only"),
        ({"calculator": "tersoff"}, "tersoff cannot be set up with settings = {}"),
        ({"calcualtor": "emt"}, "did you mean 'calculator'"),
    ],
)
def test_wrong_tables(table: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        AseOracleConfig.parse(table, where="[oracle]").build()


def test_elements_the_calculator_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(OracleError, match=r"emt failed with NotImplementedError: .*Mo") as caught:
        AseOracleConfig().build().label(bulk("Mo"), workdir=tmp_path)
    assert caught.value.retry is False


def test_coincident_atoms_give_no_label_and_no_warning(tmp_path: Path) -> None:
    with pytest.raises(OracleError, match="not finite"):
        AseOracleConfig().build().label(Atoms("Al2", positions=np.zeros((2, 3))), workdir=tmp_path)


def raising(error: BaseException) -> Callable[[], dict]:
    def act() -> dict:
        raise error

    return act


@pytest.mark.parametrize(
    ("error", "retry"),
    [
        (CalculationFailed("killed by signal 9"), True),
        (OSError(5, "Input/output error"), True),
        (TimeoutExpired("vasp", 60), True),
        (FileNotFoundError(2, "No such file"), False),
        (SCFError("not converged in 60 steps"), False),
        (ValueError("bad\nk points"), False),
        (ZeroDivisionError(), False),
    ],
)
def test_whatever_it_raises_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, retry: bool
) -> None:
    with pytest.raises(OracleError) as caught:
        oracle_that(monkeypatch, raising(error)).label(rattled(), workdir=tmp_path)
    assert caught.value.retry is retry
    assert type(error).__name__ in caught.value.reason
    assert "\n" not in caught.value.reason


def test_an_interrupt_is_not_swallowed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        oracle_that(monkeypatch, raising(KeyboardInterrupt())).label(rattled(), workdir=tmp_path)


def test_labels_of_a_wrong_shape(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    results = {"energy": 0.0, "forces": np.zeros((3, 3)), "stress": np.zeros(6)}
    with pytest.raises(OracleError, match=r"shape \(3, 3\)"):
        oracle_that(monkeypatch, lambda: dict(results)).label(rattled(), workdir=tmp_path)
