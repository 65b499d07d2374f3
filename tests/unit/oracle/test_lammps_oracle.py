"""Classical potentials of LAMMPS as an oracle."""

from __future__ import annotations

import importlib
import pickle
import re
import shutil
import sys
import types
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.md.verlet import VelocityVerlet

from athanor.errors import ConfigError, MissingExtraError, OracleError
from athanor.oracle import _lammps, kinds
from athanor.oracle.lammps import LammpsOracle, LammpsOracleConfig
from athanor.oracle.selfcheck import selfcheck
from athanor.sample._velocities import thermalise
from athanor.sample.disorder import placed
from athanor.testing.structures import rotation

SILICA = {
    "pair_style": "vashishta",
    "pair_coeff": ["* * SiO.1990.vashishta Si O"],
    "species": ["Si", "O"],
}
ARGON = {"pair_style": "lj/cut 8.0", "pair_coeff": ["* * 0.0104 3.4"], "species": ["Ar"]}


@cache
def silica() -> LammpsOracle:
    return LammpsOracleConfig.parse(SILICA, where="[oracle]").build()


def glass(seed: int, units_: int = 6) -> Atoms:
    """A random triclinic cell of SiO2 of about 2.2 g/cm³, atoms outside of it too."""
    rng = np.random.default_rng(seed)
    edge = (45.35 * units_) ** (1 / 3)
    atoms = Atoms(
        rng.permutation(["Si", "O", "O"] * units_),
        positions=placed(3 * units_, np.full(3, edge), min_distance=1.6, rng=rng),
        cell=[edge] * 3,
        pbc=True,
    )
    strain = np.eye(3) + 0.1 * rng.standard_normal((3, 3))
    atoms.set_cell(atoms.cell.array @ strain @ rotation(rng), scale_atoms=True)
    atoms.positions += rng.integers(-2, 3, (len(atoms), 3)) @ atoms.cell.array
    return atoms


def refused(**changes: Any) -> str:
    with pytest.raises(ConfigError) as error:
        LammpsOracleConfig.parse({**SILICA, **changes}, where="[oracle]").build()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_kind_is_found() -> None:
    assert kinds()["lammps"] is LammpsOracleConfig


@pytest.mark.parametrize("seed", [0, 1])
def test_forces_and_stress_are_the_derivatives_of_the_energy(seed: int, tmp_path: Path) -> None:
    atoms, rng = glass(seed), np.random.default_rng(seed)
    labels = silica().label(atoms, workdir=tmp_path)
    assert labels.stress is not None

    def energy(displacement: Any = 0.0, strain: Any = 0.0) -> float:
        moved = atoms.copy()
        moved.positions += displacement
        moved.set_cell(moved.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        return silica().label(moved, workdir=tmp_path).energy

    step = 1e-4
    for _ in range(3):
        way = rng.standard_normal((len(atoms), 3))
        slope = (energy(step * way) - energy(-step * way)) / (2 * step)
        assert slope == pytest.approx(-(labels.forces * way).sum(), rel=1e-5, abs=1e-5)
        noise = rng.standard_normal((3, 3))
        strain = noise + noise.T
        slope = (energy(0, 1e-5 * strain) - energy(0, -1e-5 * strain)) / 2e-5
        expected = atoms.get_volume() * (labels.stress * strain).sum()
        assert slope == pytest.approx(expected, rel=1e-4, abs=1e-3)
    selfcheck(silica(), atoms, workdir=tmp_path)


@pytest.mark.parametrize("seed", [2, 3])
def test_rotated_mirrored_permuted_and_wrapped_structures(seed: int, tmp_path: Path) -> None:
    atoms, rng = glass(seed), np.random.default_rng(seed)
    labels = silica().label(atoms, workdir=tmp_path)
    turn = rotation(rng) @ np.diag([1.0, 1.0, rng.choice([-1.0, 1.0])])
    order = rng.permutation(len(atoms))
    other = atoms[order]
    other.set_cell(atoms.cell.array @ turn)
    other.set_positions(other.positions @ turn + rng.standard_normal(3))
    other.wrap()
    found = silica().label(other, workdir=tmp_path)
    assert found.energy == pytest.approx(labels.energy, rel=1e-11)
    np.testing.assert_allclose(found.forces, labels.forces[order] @ turn, atol=1e-9)
    assert found.stress is not None
    np.testing.assert_allclose(found.stress, turn.T @ labels.stress @ turn, atol=1e-11)


def test_a_small_skewed_cell_is_its_supercell(tmp_path: Path) -> None:
    atoms = glass(4, units_=1)
    labels = silica().label(atoms, workdir=tmp_path)
    skewed = atoms.copy()
    skewed.set_cell(np.array([[1, 0, 0], [7, 1, 0], [-4, 9, 1]]) @ atoms.cell.array)
    other = silica().label(skewed, workdir=tmp_path)
    assert other.energy == pytest.approx(labels.energy, rel=1e-11)
    np.testing.assert_allclose(other.forces, labels.forces, atol=1e-8)
    np.testing.assert_allclose(other.stress, labels.stress, atol=1e-10)
    large = silica().label(atoms.repeat((2, 3, 1)), workdir=tmp_path)
    assert large.energy == pytest.approx(6 * labels.energy, rel=1e-11)
    np.testing.assert_allclose(large.stress, labels.stress, atol=1e-10)


@pytest.mark.parametrize("pbc", [(False, False, False), (True, False, True), (False, True, False)])
def test_open_directions_are_wide_periodic_ones(pbc: tuple[bool, ...], tmp_path: Path) -> None:
    atoms = glass(5, units_=2)
    wide = atoms.copy()
    wide.set_cell(np.diag(np.where(pbc, 6.0, 80.0)))
    atoms.set_cell(np.diag(np.where(pbc, 6.0, 0.0)))
    wide.positions[:, np.array(pbc)] %= 6.0
    atoms.pbc = pbc
    labels = silica().label(atoms, workdir=tmp_path)
    expected = silica().label(wide, workdir=tmp_path)
    assert labels.stress is None
    assert labels.energy == pytest.approx(expected.energy, rel=1e-10)
    np.testing.assert_allclose(labels.forces, expected.forces, rtol=1e-8, atol=1e-8)


def test_nothing_carries_over_from_one_structure_to_the_next(tmp_path: Path) -> None:
    fresh = LammpsOracle(silica().settings, silica().level)
    first, second = glass(6), glass(7)
    second.numbers = first.numbers
    before = fresh.label(first, workdir=tmp_path)
    fresh.label(second, workdir=tmp_path)
    fresh.label(first[1:], workdir=tmp_path)
    after = fresh.label(first, workdir=tmp_path)
    alone = pickle.loads(pickle.dumps(fresh)).label(first, workdir=tmp_path)
    for other in (after, alone):
        assert other.energy == before.energy
        assert other.forces.tobytes() == before.forces.tobytes()
        assert other.stress.tobytes() == before.stress.tobytes()


def test_calculator_conserves_energy_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    oracle = LammpsOracleConfig.parse(ARGON, where="[oracle]").build()
    rng = np.random.default_rng(8)
    positions = placed(20, np.full(3, 10.0), min_distance=3.2, rng=rng)
    atoms = Atoms("Ar20", positions=positions, cell=[10.0] * 3, pbc=True)
    labels = oracle.label(atoms, workdir=tmp_path)
    atoms.calc = oracle.calculator(workdir=tmp_path)
    assert atoms.get_potential_energy() == labels.energy
    assert atoms.get_potential_energy(force_consistent=True) == labels.energy
    np.testing.assert_array_equal(atoms.get_stress(voigt=False), labels.stress)
    thermalise(atoms, 80.0, rng)
    before = atoms.get_total_energy()
    VelocityVerlet(atoms, 2 * units.fs).run(50)
    assert abs(atoms.get_positions() - positions).max() > 0.05
    assert atoms.get_total_energy() == pytest.approx(before, abs=2e-3)
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")


def test_charges_and_a_long_range_solver(tmp_path: Path) -> None:
    """Rock salt of charges alone: the Madelung constant."""
    oracle = LammpsOracleConfig.parse(
        {
            "pair_style": "coul/long 8.0",
            "pair_coeff": ["* *"],
            "species": ["Cl", "Na"],
            "charges": {"Na": 1.0, "Cl": -1.0},
            "kspace_style": "ewald 1e-7",
        },
        where="[oracle]",
    ).build()
    edge = 5.64
    rows = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) * edge / 2
    atoms = Atoms("NaCl", positions=[[0, 0, 0], [edge / 2, 0, 0]], cell=rows, pbc=True)
    energy = oracle.label(atoms, workdir=tmp_path).energy
    coulomb = 14.399645  # e²/(4 pi eps0), eV Å
    assert energy == pytest.approx(-1.7475646 * coulomb / (edge / 2), rel=1e-5)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Atoms("SiO", np.zeros((2, 3)), cell=[8] * 3, pbc=True), "too near each other"),
        (lambda: Atoms("SiO", [[0, 0, 0], [np.nan, 0, 0]]), "not finite"),
        (lambda: Atoms("SiAl", np.eye(3)[:2] * 2), "holds Al, the potential knows only Si, O"),
        (lambda: Atoms("Si", np.zeros((1, 3)), cell=[0.12] * 3, pbc=True), "images are in reach"),
        (lambda: Atoms("Si", np.zeros((1, 3)), cell=[0.3] * 3, pbc=True), "Neighbor list overflow"),
        (lambda: Atoms("Si2", np.eye(3)[:2], cell=[9e5] * 3, pbc=True), "neighbor bins"),
    ],
)
def test_what_lammps_cannot_label(make: Callable[[], Atoms], said: str, tmp_path: Path) -> None:
    oracle, good = LammpsOracle(silica().settings, silica().level), glass(9, units_=1)
    before = oracle.label(good, workdir=tmp_path)
    with pytest.raises(OracleError, match=said) as error:
        oracle.label(make(), workdir=tmp_path)
    assert not error.value.retry
    assert "\n" not in str(error.value)
    assert oracle.label(good, workdir=tmp_path).energy == before.energy
    atoms = make()
    atoms.calc = oracle.calculator(workdir=tmp_path)
    with pytest.raises(OracleError, match=said):
        atoms.get_forces()


def test_level_is_settings_and_contents_not_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file,) = [Path(path) for _, path in silica().settings.files]
    assert file.name == "SiO.1990.vashishta"
    monkeypatch.chdir(tmp_path)
    shutil.copy(file, tmp_path / "mine.pot")
    own = {**SILICA, "pair_coeff": ["* * mine.pot Si O"]}
    oracle = LammpsOracleConfig.parse(own, where="[oracle]").build()
    assert oracle.level == silica().level
    assert oracle.level.startswith("lammps:vashishta:")
    assert LammpsOracleConfig.parse(ARGON, where="[oracle]").build().level != oracle.level
    file = tmp_path / "mine.pot"
    file.write_text(file.read_text().replace("20.146", "20.147"))
    with pytest.raises(OracleError, match="no longer what it was"):
        oracle.label(glass(10, units_=1), workdir=tmp_path)
    assert LammpsOracleConfig.parse(own, where="[oracle]").build().level != silica().level
    file.unlink()
    with pytest.raises(OracleError, match="cannot be read"):
        oracle.label(glass(10, units_=1), workdir=tmp_path)


def test_a_folder_of_potentials_that_the_variable_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(silica().settings.files[0][1], tmp_path / "other name.pot")
    shutil.move(tmp_path / "other name.pot", tmp_path / "silica.pot")
    monkeypatch.setenv("LAMMPS_POTENTIALS", str(tmp_path))
    own = {**SILICA, "pair_coeff": ["* * silica.pot Si O"]}
    assert LammpsOracleConfig.parse(own, where="[oracle]").build().level == silica().level


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pair_style": "vashista"}, "Unrecognized pair style 'vashista'"),
        ({"pair_coeff": ["* * SiO.1990.vashista Si O"]}, "did you mean 'SiO.1990.vashishta'"),
        ({"pair_coeff": ["* * SiO.1990.vashishta Si"]}, "Number of element to type mappings"),
        ({"species": ["O", "Si"]}, "pair_coeff names Si, O where species are O, Si"),
        (
            {"species": ["Si", "Al"], "pair_coeff": ["* * SiO.1990.vashishta Si Al"]},
            "missing an entry",
        ),
        ({"pair_coeff": ["* * nowhere Si O"]}, "nowhere"),
        (
            {"pair_style": "eam", "pair_coeff": ["* * SiO.1990.vashishta"]},
            "SIGSEGV.*is SiO.1990.vashishta a file for this style",
        ),
        ({"pair_coeff": ["* * a Si O\nshell rm"]}, r"holds '\\n'|holds"),
        ({"pair_style": "lj/cut ${x}"}, "holds"),
        ({"pair_coeff": []}, "pair_coeff"),
        ({"species": ["Si", "Oo"]}, "no element 'Oo'"),
        ({"species": ["Si", "Si"]}, "twice"),
        ({"charges": {"Si": 2.4}}, "one for each of Si, O"),
    ],
)
def test_what_cannot_be_an_oracle(changes: dict[str, Any], said: str) -> None:
    assert re.search(said, refused(**changes))


def test_one_build_per_recipe() -> None:
    config = LammpsOracleConfig.parse(SILICA, where="[oracle]")
    assert config.build() is config.build()
    assert pickle.loads(pickle.dumps(config)) == config
    assert config.build().level == silica().level


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lammps", None)
    with pytest.raises(MissingExtraError, match=r"lammps is not installed.*athanor\[lammps\]"):
        LammpsOracleConfig.parse(SILICA, where="[oracle]").build()

    def broken(cmdargs: list[str]) -> None:
        raise OSError("libmpi.so.12: cannot open shared object file")

    fake = types.ModuleType("lammps")
    fake.__spec__ = importlib.machinery.ModuleSpec("lammps", None)
    fake.lammps = broken  # type: ignore[attr-defined]  # a module made here
    monkeypatch.setitem(sys.modules, "lammps", fake)
    with pytest.raises(MissingExtraError, match="mpich is not installed"):
        _lammps.instance()
