"""Held-out dynamics."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator

from athanor.calculator import calculator
from athanor.errors import ConfigError, StructureError
from athanor.potentials.lj import LennardJones
from athanor.structure import Labels
from athanor.validate import PropertyResult, Quantity, kinds
from athanor.validate._dynamics import HeldOutRun, drive
from athanor.validate._lattice import equilibrium
from athanor.validate.heldout import HeldOut

COLD = {"structure": "fcc", "temperature_K": 30, "frames": 6, "atoms": 32, "interval": 5}
MELT = {"structure": "melt", "temperature_K": 120, "frames": 4, "atoms": 32}
VOLUME = 37.0


def argon(epsilon: float = 0.0104) -> LennardJones:
    return LennardJones(frozenset({"Ar"}), 6.5, epsilon, 3.4)


class Counting(Calculator):
    """An ASE calculator that counts what it is asked."""

    implemented_properties = ("energy", "forces")

    def __init__(self, potential: object) -> None:
        super().__init__()
        self.inner = calculator(potential)
        self.count = 0

    def calculate(self, atoms=None, properties=(), system_changes=()) -> None:
        super().calculate(atoms, properties, system_changes)
        self.count += 1
        self.inner.calculate(self.atoms, properties, system_changes)
        self.results = self.inner.results


@dataclass(frozen=True)
class Shifted:
    """Argon with energies and forces off by known amounts."""

    energy: float = 0.0
    force: float = 0.0
    elements: frozenset[str] = frozenset({"Ar"})
    cutoff: float = 6.5

    def predict(self, structures: Sequence[Atoms], *, stress: bool = True) -> list[Labels]:
        found = zip(structures, argon().predict(structures), strict=True)
        return [
            Labels(one.energy + self.energy * len(s), one.forces + self.force, one.stress)
            for s, one in found
        ]

    def save(self, folder: Path) -> None:
        raise AssertionError("not saved")


@dataclass(frozen=True)
class Refusing(Shifted):
    def predict(self, structures: Sequence[Atoms], *, stress: bool = True) -> list[Labels]:
        raise StructureError("atoms 0 and 1 coincide")


def measured(
    potential: object, folder: Path, *, reference: Calculator | None = None, seed: int = 0, **keys
) -> PropertyResult:
    table = {"element": "Ar", "runs": [COLD, MELT], "volume": VOLUME, **keys}
    recipe = HeldOut.parse(table, where="[[validate]]")
    reference = reference or calculator(argon())
    return recipe.measure(calculator(potential), reference, seed=seed, workdir=folder)


def named(result: PropertyResult) -> dict[str, Quantity]:
    return {quantity.name: quantity for quantity in result.quantities}


def test_kind_is_found_and_defaults_are_200_frames() -> None:
    assert kinds()["heldout"] is HeldOut
    recipe = HeldOut(element="Al")
    assert sum(run.frames for run in recipe.runs) == 200
    assert sum(run.planned for run in recipe.runs) == 2600
    assert [(run.structure, run.temperature_K) for run in recipe.runs] == [
        ("fcc", 600.0),
        ("melt", 1500.0),
    ]


@pytest.mark.parametrize("structure", ["fcc", "hcp", "bcc", "sc", "melt"])
def test_boxes_are_near_the_size_asked_for(structure: str) -> None:
    run = HeldOutRun(structure=structure, temperature_K=300, atoms=100)
    box = run.start("Al", 16.0)
    assert 60 <= len(box) <= 150
    lengths = box.cell.lengths()
    assert lengths.max() / lengths.min() < 1.6
    scale = 1.12 if structure == "melt" else 1.0
    assert box.get_volume() / len(box) == pytest.approx(16.0 * scale)


def test_a_perfect_potential_has_no_errors(tmp_path: Path) -> None:
    found = named(measured(argon(), tmp_path))
    assert found["frames"].value == 10
    for name in ("energy RMSE", "force RMSE"):
        assert found[name].value == pytest.approx(0.0, abs=1e-9)
        assert found[name].passed
    assert found["fcc at 30 K: frames"].value == 6
    assert found["melt at 120 K: energy RMSE"].passed is None


def test_errors_are_root_mean_squares_in_meV(tmp_path: Path) -> None:
    result = measured(
        Shifted(0.004, 0.11), tmp_path, energy_tolerance_meV=3.9, force_tolerance_meV=111
    )
    found = named(result)
    assert found["energy RMSE"].value == pytest.approx(4.0)
    assert found["energy RMSE"].passed is False
    assert found["force RMSE"].value == pytest.approx(110.0)
    assert found["force RMSE"].passed is True


def test_frames_of_the_reference_are_kept_and_do_not_depend_on_the_potential(
    tmp_path: Path,
) -> None:
    first, second = Counting(argon()), Counting(argon())
    one = measured(argon(0.012), tmp_path, reference=first)
    other = measured(argon(0.009), tmp_path, reference=second)
    assert first.count > 200
    assert second.count == 2  # the two probes that say it is the same calculator
    for name, line in one.curves.items():
        assert line["reference"] == other.curves[name]["reference"]
        assert line["potential"] != other.curves[name]["potential"]
    again = measured(argon(0.012), tmp_path / "elsewhere")
    assert again.quantities == one.quantities


def test_another_reference_seed_or_run_is_another_trajectory(tmp_path: Path) -> None:
    def energies(**keys: object) -> list[float]:
        return measured(argon(), tmp_path, runs=[COLD | keys.pop("run", {})], **keys).curves[
            "energy, fcc at 30 K"
        ]["reference"]

    first = energies()
    assert energies() == first
    assert energies(seed=1) != first
    assert energies(reference=calculator(argon(0.011))) != first
    assert energies(run={"interval": 6}) != first


def test_a_damaged_file_of_frames_is_made_again(tmp_path: Path) -> None:
    first = measured(argon(0.011), tmp_path, runs=[COLD])
    (file,) = tmp_path.glob("frames-*.npz")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert measured(argon(0.011), tmp_path, runs=[COLD]).quantities == first.quantities
    assert file.read_bytes() == whole


def test_temperatures_are_kept_and_the_melt_melts() -> None:
    run = HeldOutRun(**{**MELT, "frames": 60, "interval": 5, "atoms": 108}, timestep_fs=5.0)
    start = run.start("Ar", VOLUME)
    frames = drive(run, start, calculator(argon()), seed=[1]).frames
    wave = 2 * np.pi / (start.cell.lengths()[0] / 3) * np.array([1, 1, 1])

    def order(atoms: Atoms) -> float:
        return float(abs(np.exp(1j * atoms.positions @ wave).mean()))

    assert order(start) == pytest.approx(1.0)
    assert np.mean([order(frame.atoms) for frame in frames]) < 0.3
    cold = HeldOutRun(**{**COLD, "atoms": 108})
    frozen = drive(cold, cold.start("Ar", VOLUME), calculator(argon()), seed=[1]).frames
    assert min(order(frame.atoms) for frame in frozen) > 0.6


def test_driven_by_the_potential_survival_is_judged(tmp_path: Path) -> None:
    reference = Counting(argon())
    result = measured(Shifted(0.004), tmp_path, reference=reference, driver="potential")
    found = named(result)
    assert reference.count == 10
    assert found["fcc at 30 K: schedule survived"].value == 100
    assert found["fcc at 30 K: schedule survived"].passed
    assert found["energy RMSE"].value == pytest.approx(4.0)
    assert list(tmp_path.iterdir()) == []


def test_a_trajectory_that_is_lost_is_said_and_fails(tmp_path: Path) -> None:
    hot = COLD | {"timestep_fs": 2000.0}
    result = measured(argon(), tmp_path, driver="potential", runs=[hot])
    found = named(result)
    assert found["fcc at 30 K: schedule survived"].passed is False
    assert found["fcc at 30 K: schedule survived"].value < 100
    assert "lost at step" in result.notes[0]
    json.dumps(asdict(result), allow_nan=False)


def test_a_potential_that_labels_nothing_fails(tmp_path: Path) -> None:
    result = measured(Refusing(), tmp_path, runs=[COLD])
    assert "6 of 6 frames got no finite labels" in result.notes[0]
    assert named(result)["frames"].passed is False
    nan = measured(Shifted(float("nan")), tmp_path, runs=[COLD])
    assert named(nan)["frames"].passed is False
    json.dumps(asdict(nan), allow_nan=False)


def test_parity_points_are_thinned(tmp_path: Path) -> None:
    curves = measured(argon(), tmp_path, runs=[COLD | {"frames": 40, "interval": 1}]).curves
    assert len(curves["energy, fcc at 30 K"]["reference"]) == 40
    points = curves["force, fcc at 30 K"]
    assert 1000 < len(points["reference"]) == len(points["potential"]) <= 2000
    assert points["unit"] == "eV/Å"


def test_the_volume_is_the_references_own_where_none_is_given(tmp_path: Path) -> None:
    own = equilibrium("Ar", "fcc", calculator(argon())).volume
    by_default, by_hand = (
        measured(argon(), tmp_path, runs=[COLD], volume=volume) for volume in (None, own)
    )
    assert by_default == by_hand
    assert by_default != measured(argon(), tmp_path, runs=[COLD], volume=own * 1.02)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"element": "Q"}, "no element 'Q'"),
        ({"runs": []}, "runs"),
        ({"driver": "both"}, "driver = 'both' is not allowed"),
        ({"runs": [{"structure": "fcc"}]}, "temperature_K"),
        ({"runs": [{"structure": "gas", "temperature_K": 3}]}, "gas"),
    ],
)
def test_wrong_tables(table: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        HeldOut.parse({"element": "Al", **table}, where="[[validate]]")
