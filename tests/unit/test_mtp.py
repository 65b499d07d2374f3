"""The moment tensor potential as users meet it: recipe, fit, files."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

import athanor
from athanor.data.dataset import Dataset
from athanor.errors import ConfigError, FitError, FormatError, StructureError
from athanor.potentials import load_folder
from athanor.potentials._mtp.mlip_file import write_mtp
from athanor.potentials._mtp.program import program_of
from athanor.potentials._mtp.projection import project
from athanor.potentials._mtp.radials import normalised
from athanor.potentials.mtp import MomentTensorPotential, MtpConfig
from athanor.structure import Frame, Labels


def emt_frame(rng: np.random.Generator, symbols: tuple[str, ...] = ("Al",)) -> Frame:
    atoms = bulk("Al", a=rng.uniform(3.8, 4.3), cubic=True).repeat((2, 1, 1))
    atoms.symbols = rng.choice(symbols, len(atoms))
    atoms.rattle(0.15, rng=rng)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.uniform(-0.04, 0.04, (3, 3))), True)
    copy = atoms.copy()
    copy.calc = EMT()
    labels = Labels(
        float(copy.get_potential_energy()), copy.get_forces(), copy.get_stress(voigt=False)
    )
    return Frame(atoms, labels)


def emt_set(count: int, *, seed: int, symbols: tuple[str, ...] = ("Al",)) -> Dataset:
    rng = np.random.default_rng(seed)
    return Dataset.of(emt_frame(rng, symbols) for _ in range(count))


def fit(
    config: MtpConfig, data: Dataset, folder: Path, *, seed: int = 1, valid: Dataset | None = None
) -> MomentTensorPotential:
    potential = config.fit(data, valid or Dataset(), seed=seed, workdir=folder)
    assert isinstance(potential, MomentTensorPotential)
    return potential


def force_rmse(potential: MomentTensorPotential, data: Dataset) -> float:
    errors = [
        got.forces - frame.labels.forces
        for got, frame in zip(potential.predict(data.structures), data, strict=True)
    ]
    return float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))


def history(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "fit.jsonl").read_text().splitlines()]
    return [line for line in lines if "stage" in line]


SMALL = MtpConfig(level=8, radial_basis_size=6, max_dist=5.0, steps=8, starts=1)


def test_fit_learns_forces_it_never_saw(tmp_path: Path) -> None:
    train, test = emt_set(24, seed=1), emt_set(8, seed=2)
    potential = fit(SMALL, train, tmp_path / "fit")
    spread = float(np.sqrt(np.mean(np.concatenate([f.labels.forces for f in test]) ** 2)))
    assert force_rmse(potential, test) < 0.1 * spread


def test_every_step_lowers_the_loss(tmp_path: Path) -> None:
    fit(SMALL, emt_set(12, seed=3), tmp_path)
    stages: dict[str, list[float]] = {}
    for line in history(tmp_path):
        stages.setdefault(line["stage"], []).append(line["loss"])
    assert max(len(losses) for losses in stages.values()) > 2
    for losses in stages.values():
        assert all(after < before for before, after in pairwise(losses))


def test_fit_recovers_a_potential_of_its_own_kind(tmp_path: Path) -> None:
    """Labels from a potential in the model's span are met: the linear solve is exact."""
    config = SMALL.model_copy(update={"ridge": 1e-15})
    teacher = fit(config, emt_set(12, seed=4), tmp_path / "teacher")
    structures = emt_set(30, seed=5).structures
    taught = Dataset.of(
        Frame(atoms, labels)
        for atoms, labels in zip(structures, teacher.predict(structures), strict=True)
    )
    pupil = config.fit(taught, Dataset(), seed=1, workdir=tmp_path / "pupil", start=teacher)
    assert isinstance(pupil, MomentTensorPotential)
    assert force_rmse(pupil, taught) < 1e-5


def test_same_seed_same_bits_and_other_seed_other(tmp_path: Path) -> None:
    data = emt_set(8, seed=6)
    first = fit(SMALL, data, tmp_path / "a")
    again = fit(SMALL, data, tmp_path / "b")
    other = fit(SMALL, data, tmp_path / "c", seed=2)
    assert first.model.moment_coeffs.tobytes() == again.model.moment_coeffs.tobytes()
    assert first.model.radial.tobytes() == again.model.radial.tobytes()
    assert first.model.radial.tobytes() != other.model.radial.tobytes()


def test_warm_start_skips_the_search(tmp_path: Path) -> None:
    data = emt_set(10, seed=7)
    config = SMALL.model_copy(update={"level": 12, "min_dist": 2.0})
    start = fit(config, data, tmp_path / "cold")
    config.fit(
        data.joined(emt_set(2, seed=8)), Dataset(), seed=1, workdir=tmp_path / "warm", start=start
    )
    stages = {
        name: {line["stage"] for line in history(tmp_path / name)} for name in ("cold", "warm")
    }
    assert stages == {"cold": {"start 0", "start 0, further", "full"}, "warm": {"full"}}


def test_validation_stops_the_fit(tmp_path: Path) -> None:
    """With noise for labels a better training loss is no better validation loss."""
    rng = np.random.default_rng(9)
    noisy = [
        Frame(f.atoms, Labels(f.labels.energy, rng.normal(size=f.labels.forces.shape), None))
        for f in emt_set(8, seed=9)
    ]
    config = SMALL.model_copy(update={"patience": 2, "steps": 30, "tolerance": 1e-9})
    fit(config, Dataset.of(noisy[:4]), tmp_path, valid=Dataset.of(noisy[4:]))
    full = [line for line in history(tmp_path) if line["stage"] == "full"]
    assert len(full) < 31
    assert full[-1]["valid_loss"] > min(line["valid_loss"] for line in full)


def test_two_species_and_weightings(tmp_path: Path) -> None:
    data = emt_set(16, seed=10, symbols=("Al", "Ni"))
    for weighting in ("molecules", "structures", "vibrations"):
        config = SMALL.model_copy(update={"weighting": weighting})
        potential = fit(config, data, tmp_path / weighting)
        assert potential.model.species == ("Al", "Ni")
        assert force_rmse(potential, data) < 0.5


def test_frames_without_stress_and_isolated_atoms_train(tmp_path: Path) -> None:
    lone = Frame(Atoms("Al", positions=[[1, 2, 3]]), Labels(1.5, np.zeros((1, 3)), None))
    potential = fit(SMALL, emt_set(6, seed=11).joined(Dataset.of([lone])), tmp_path)
    assert np.isfinite(potential.predict([lone.atoms])[0].energy)


@pytest.mark.parametrize("seed", range(3))
def test_normalising_radial_functions_changes_no_value(seed: int) -> None:
    example = MtpConfig.example(seed=seed)
    assert isinstance(example, MomentTensorPotential)
    rng = np.random.default_rng(seed)
    atoms = emt_frame(rng, ("Al", "Ni")).atoms
    normal = MomentTensorPotential(normalised(example.model), core=True)
    before, after = example.predict([atoms])[0], normal.predict([atoms])[0]
    assert after.energy == pytest.approx(before.energy, rel=1e-10)
    np.testing.assert_allclose(np.mean(normal.model.radial**2, axis=(0, 1, 3)), 1.0, rtol=1e-12)


def test_empty_training_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FitError, match="empty"):
        SMALL.fit(Dataset(), Dataset(), seed=1, workdir=tmp_path)


def test_infinite_rows_are_refused() -> None:
    with pytest.raises(FitError, match="not finite"):
        project(np.full((3, 3), np.inf), n_linear=1, ridge=1e-9)


def test_species_must_hold_what_the_data_hold(tmp_path: Path) -> None:
    config = SMALL.model_copy(update={"species": ("Ni",)})
    with pytest.raises(ConfigError, match="Al"):
        config.fit(emt_set(2, seed=1), Dataset(), seed=1, workdir=tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("level", 7, "level"),
        ("level", 30, "level"),
        ("min_dist", 9.0, "below max_dist"),
        ("weighting", "molecule", "molecules"),
        ("radial_basis_sise", 8, "did you mean 'radial_basis_size'"),
        ("ridge", 0.0, "ridge"),
        ("species", ["Al", "Qq"], "species 'Qq' is not a chemical symbol"),
        ("species", ["Al", "Al"], "names an element twice"),
    ],
)
def test_bad_recipes_say_why(key: str, value: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        MtpConfig.parse({"kind": "mtp", key: value}, where="[potential]")


def test_saved_folder_holds_a_file_for_the_published_code(tmp_path: Path) -> None:
    potential = MtpConfig.example(seed=1)
    potential.save(tmp_path / "p")
    again = athanor.load(tmp_path / "p" / "potential.mtp", species=["Al", "Ni"])
    assert isinstance(again, MomentTensorPotential)
    assert not again.core
    atoms = bulk("Al", cubic=True)
    assert again.predict([atoms])[0].energy == pytest.approx(
        potential.predict([atoms])[0].energy, rel=1e-13
    )


@pytest.mark.parametrize(
    "header",
    [
        "{}",
        "not json",
        '{"kind": "mtp", "version": 99, "species": ["Al"], "core": true}',
        '{"kind": "mtp", "version": 1, "species": "Al", "core": true}',
        '{"kind": "mtp", "version": 1, "species": ["Al"], "core": 1}',
        '{"kind": "mtp", "version": 1, "species": ["Al"], "core": true}',
    ],
)
def test_damaged_folder_is_named(header: str, tmp_path: Path) -> None:
    MtpConfig.example(seed=1).save(tmp_path / "p")
    broken = tmp_path / "q"
    broken.mkdir()
    (broken / "potential.json").write_text(header)
    (broken / "potential.mtp").write_text("MTP\n")
    with pytest.raises(FormatError, match=r"potential\.(json|mtp)"):
        load_folder(broken)


def test_what_the_kernel_cannot_evaluate_is_named(tmp_path: Path) -> None:
    """The format allows any number of radial functions, the kernel 64."""
    example = MtpConfig.example(seed=1)
    assert isinstance(example, MomentTensorPotential)
    model = example.model
    basic = model.tables.basic.copy()
    basic[0, 0] = 64
    many = replace(
        model,
        tables=replace(model.tables, basic=basic),
        radial=np.random.default_rng(0).normal(size=(2, 2, 65, 6)),
    )
    example.save(tmp_path / "p")
    path = tmp_path / "p" / "potential.mtp"
    path.unlink()
    write_mtp(path, many)
    for where, species in ((path, ["Al", "Ni"]), (path.parent, None)):
        with pytest.raises(FormatError, match=r"cannot evaluate it: at most 64 radial") as caught:
            athanor.load(where, species=species)
        assert caught.value.path == path


def test_core_is_the_repulsion_it_says(tmp_path: Path) -> None:
    """A dimer below min_dist with zero coefficients is the faded screened Coulomb repulsion."""
    example = MtpConfig.example(seed=1)
    assert isinstance(example, MomentTensorPotential)
    model = example.model
    silent = type(model)(
        **{
            **{name: getattr(model, name) for name in model.__slots__},
            "species_coeffs": np.zeros(2),
            "moment_coeffs": np.zeros(len(model.moment_coeffs)),
        }
    )
    r, reach = 1.1, model.min_dist
    energy = program_of(silent, core=True).evaluate(
        np.array([[0, 0, 0], [r, 0, 0.0]]), np.array([0, 1], np.int32), np.eye(3), np.zeros(3, bool)
    )[0]
    a = 0.46850 / (13**0.23 + 28**0.23)
    screen = sum(
        w * np.exp(-d * r / a)
        for w, d in [(0.18175, 3.1998), (0.50986, 0.94229), (0.28022, 0.4029), (0.02817, 0.20162)]
    )
    t = r / reach
    wanted = 14.399645 * 13 * 28 / r * screen * (1 - t) ** 2 * (1 + 2 * t)
    assert energy == pytest.approx(wanted, rel=1e-12)


def test_a_cutoff_that_fills_memory_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"max_dist = .* less than or equal to 20"):
        MtpConfig.parse({"max_dist": 1e308}, where="[potential]")
    with pytest.raises(ConfigError, match=r"min_dist = 6.0 must be below max_dist = 5.0"):
        MtpConfig.parse({"min_dist": 6.0}, where="[potential]")


@pytest.mark.parametrize("min_dist", [None, 1.9])
def test_coincident_atoms_in_a_training_set_are_named(
    min_dist: float | None, tmp_path: Path
) -> None:
    rng = np.random.default_rng(31)
    frames = [emt_frame(rng) for _ in range(3)]
    atoms = frames[1].atoms.copy()
    one, other = rng.choice(len(atoms), 2, replace=False)
    atoms.positions[one] = atoms.positions[other] + rng.integers(-1, 2, 3) @ atoms.cell.array
    frames[1] = Frame(atoms, frames[1].labels, origin="train.extxyz#1")
    data = Dataset.of(frames)
    with pytest.raises(StructureError, match=r"train\.extxyz#1: atoms .* coincide .* leave it out"):
        fit(MtpConfig(level=4, min_dist=min_dist, steps=1), data, tmp_path)


def test_a_high_level_is_searched_for_at_a_lower_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its extra radial functions are random at first; the whole fit is better than the search."""
    monkeypatch.setattr("athanor.potentials.mtp._LOW_LEVEL", 6)
    config = SMALL.model_copy(update={"level": 12, "starts": 2})
    data = emt_set(24, seed=12)
    potential = fit(config, data, tmp_path)
    tables = potential.model.tables
    assert potential.model.radial.shape == (1, 1, tables.n_radial, 6)
    assert len(potential.model.moment_coeffs) == len(tables.mapping)
    stages = {line["stage"]: line["loss"] for line in history(tmp_path)}
    assert set(stages) == {"start 0", "start 1", *(s for s in stages if "further" in s), "full"}
    assert stages["full"] < min(loss for name, loss in stages.items() if "start" in name)
