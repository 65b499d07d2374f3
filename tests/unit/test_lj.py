"""Lennard-Jones: closed form, fit, files and refusals (the contract is in test_conformance)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from athanor.data.dataset import Dataset
from athanor.errors import ConfigError, FitError, FolderError, FormatError, StructureError
from athanor.potentials import HEADER, load_folder
from athanor.potentials.lj import LennardJones, LennardJonesConfig, find_pairs
from athanor.structure import Frame, Labels
from athanor.testing import structures

SEEDS = range(3)


@pytest.fixture(params=SEEDS)
def potential(request: pytest.FixtureRequest) -> LennardJones:
    return LennardJonesConfig.example(seed=request.param)


def labelled(potential: LennardJones, count: int, *, seed: int = 0) -> Dataset:
    rng = np.random.default_rng(seed)
    cells = [
        structures.dense(["Al"], rng, spacing=float(rng.uniform(2.3, 3.2))) for _ in range(count)
    ]
    return Dataset.of(
        Frame(a, labels) for a, labels in zip(cells, potential.predict(cells), strict=True)
    )


def test_a_dimer_has_the_closed_form(potential: LennardJones) -> None:
    rng = np.random.default_rng(1)
    e, s, rc = potential.epsilon, potential.sigma, potential.cutoff
    for r in rng.uniform(0.8 * s, rc, 20):
        atoms = structures.dimer("Al", "Ni", float(r), structures.unit_vector(rng))
        energy = 4 * e * ((s / r) ** 12 - (s / r) ** 6 - (s / rc) ** 12 + (s / rc) ** 6)
        end_slope = 4 * e * (-12 * s**12 / rc**13 + 6 * s**6 / rc**7)
        slope = 4 * e * (-12 * s**12 / r**13 + 6 * s**6 / r**7) - end_slope
        found = potential.predict([atoms])[0]
        assert found.energy == pytest.approx(energy - (r - rc) * end_slope, rel=1e-12, abs=1e-14)
        pull = np.linalg.norm(found.forces, axis=1)
        np.testing.assert_allclose(pull, abs(slope), rtol=1e-10, atol=1e-14)
        outward = found.forces[1] @ (atoms.positions[1] - atoms.positions[0])
        assert np.sign(outward) == np.sign(-slope)


def test_an_isolated_atom_has_no_energy(potential: LennardJones) -> None:
    assert potential.predict([structures.isolated("Ni")])[0].energy == 0.0


def test_features_are_the_derivatives_by_the_parameters(potential: LennardJones) -> None:
    batch = structures.zoo(["Al", "Ni"], np.random.default_rng(2))
    tables = potential.features(batch)
    for column, name in enumerate(("epsilon", "sigma")):
        step = 1e-5

        def energies(shift: float, field: str = name) -> np.ndarray:
            moved = replace(potential, **{field: getattr(potential, field) + shift})
            return np.array([labels.energy for labels in moved.predict(batch)])

        slope = (energies(step) - energies(-step)) / (2 * step)
        total = [table[:, column].sum() for table in tables]
        np.testing.assert_allclose(total, slope, rtol=1e-6, atol=1e-7)


def test_site_energies_are_epsilon_times_their_feature(potential: LennardJones) -> None:
    atoms = structures.dense(["Al"], np.random.default_rng(3))
    features = potential.features([atoms])[0]
    energy = potential.predict([atoms])[0].energy
    assert potential.epsilon * features[:, 0].sum() == pytest.approx(energy, rel=1e-12)


def test_a_fit_finds_the_parameters_that_made_the_labels(
    potential: LennardJones, tmp_path: Path
) -> None:
    recipe = LennardJonesConfig(cutoff=potential.cutoff, elements=("Ni",))
    train = labelled(potential, 12)
    fitted = recipe.fit(train, Dataset(), seed=0, workdir=tmp_path)
    assert fitted.epsilon == pytest.approx(potential.epsilon, rel=1e-5)
    assert fitted.sigma == pytest.approx(potential.sigma, rel=1e-6)
    assert fitted.elements == {"Al", "Ni"}
    assert recipe.fit(train, Dataset(), seed=1, workdir=tmp_path, start=potential) == fitted


def test_a_fit_to_other_labels_is_the_best_of_its_neighbourhood(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    right = LennardJonesConfig.example(seed=4)
    frames = [
        replace(
            frame,
            labels=replace(
                frame.labels,
                energy=frame.labels.energy + rng.normal(),
                forces=frame.labels.forces + 0.1 * rng.normal(size=frame.labels.forces.shape),
            ),
        )
        for frame in labelled(right, 10)
    ]
    train = Dataset.of(frames)
    recipe = LennardJonesConfig(cutoff=right.cutoff, energy_weight=0.7, force_weight=0.3)
    fitted = recipe.fit(train, Dataset(), seed=0, workdir=tmp_path)

    def loss(potential: LennardJones) -> float:
        total = 0.0
        for frame, found in zip(train, potential.predict(train.structures), strict=True):
            total += 0.7 * ((found.energy - frame.labels.energy) / len(frame.atoms)) ** 2
            total += 0.3 * float(np.mean((found.forces - frame.labels.forces) ** 2))
        return total

    best = loss(fitted)
    for name in ("epsilon", "sigma"):
        for factor in (0.999, 1.001):
            assert loss(replace(fitted, **{name: factor * getattr(fitted, name)})) > best


def test_a_fit_without_pairs_is_refused(tmp_path: Path) -> None:
    lone = Frame(structures.isolated("Al"), Labels(0.0, np.zeros((1, 3)), None))
    for train, count in ((Dataset(), 0), (Dataset.of([lone]), 1)):
        with pytest.raises(FitError, match=f"none of the {count} training structures"):
            LennardJonesConfig().fit(train, Dataset(), seed=0, workdir=tmp_path)


def test_labels_that_only_repel_from_everywhere_are_refused(tmp_path: Path) -> None:
    right = LennardJonesConfig.example(seed=5)
    frames = [
        replace(f, labels=Labels(0.0, np.zeros_like(f.labels.forces), None))
        for f in labelled(right, 3)
    ]
    with pytest.raises(FitError, match="no positive epsilon"):
        LennardJonesConfig(cutoff=right.cutoff).fit(
            Dataset.of(frames), Dataset(), seed=0, workdir=tmp_path
        )


def test_a_saved_potential_is_found_by_its_header(potential: LennardJones, tmp_path: Path) -> None:
    potential.save(tmp_path / "deep" / "saved")
    assert load_folder(tmp_path / "deep" / "saved") == potential


def test_saving_leaves_nothing_behind_where_it_fails(
    potential: LennardJones, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(FolderError, match="cannot be written"):
        potential.save(tmp_path / "file" / "saved")

    def full(self: Path, *args: object, **kwargs: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(FolderError, match="no space left"):
        potential.save(tmp_path / "saved")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_existing_folder_is_not_touched(potential: LennardJones, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(FolderError, match="exists already"):
        potential.save(tmp_path / "mine")
    assert list((tmp_path / "mine").iterdir()) == []


RIGHT = {
    "kind": "lj",
    "version": 1,
    "elements": ["Al"],
    "cutoff": 5.0,
    "epsilon": 0.1,
    "sigma": 2.4,
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sigma": -1.0}, "sigma = -1.0"),
        ({"cutoff": 0}, "cutoff = 0"),
        ({"epsilon": float("nan")}, "epsilon"),
        ({"epsilon": "much"}, "epsilon = 'much'"),
        ({"elements": []}, "elements"),
        ({"elements": ["Zz"]}, "Zz"),
        ({"version": 2}, "version = 2"),
        ({"kind": "mtp"}, "kind = 'mtp'"),
        ({"charge": 1.0}, "unknown key 'charge'"),
        ({"sigma": None}, "sigma = None"),
    ],
)
def test_a_damaged_header_is_refused(change: dict[str, object], words: str, tmp_path: Path) -> None:
    (tmp_path / HEADER).write_text(json.dumps({**RIGHT, **change}))
    with pytest.raises(FormatError, match=words) as caught:
        LennardJonesConfig.load(tmp_path)
    assert caught.value.path == tmp_path / HEADER


@pytest.mark.parametrize("text", ["", "{", '{\n "kind": "lj",\n', "[1, 2]", "null", "3"])
def test_a_header_that_is_not_a_table_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / HEADER).write_text(text)
    with pytest.raises(FormatError):
        LennardJonesConfig.load(tmp_path)


def test_a_truncated_header_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / HEADER).write_text('{\n "kind": "lj",\n "version"')
    with pytest.raises(FormatError, match="not JSON") as caught:
        LennardJonesConfig.load(tmp_path)
    assert caught.value.line == 3


def test_a_missing_header_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="not a saved Lennard-Jones"):
        LennardJonesConfig.load(tmp_path)


def test_coincident_atoms_are_named(potential: LennardJones) -> None:
    atoms = structures.dense(["Al"], np.random.default_rng(6), repeats=(3, 3, 3))
    atoms.positions[20] = atoms.positions[7] + [0, 0, 5e-4]
    with pytest.raises(StructureError, match=r"atoms 7 and 20 are 5\.0e-04 Å apart"):
        potential.predict([atoms])


def test_pairs_are_those_of_the_brute_force_sum() -> None:
    rng = np.random.default_rng(7)
    for atoms in structures.zoo(["Al"], rng):
        cutoff = 4.7
        ranges = [range(-4, 5) if flag else range(1) for flag in atoms.pbc]
        shifts = np.array(np.meshgrid(*ranges)).reshape(3, -1).T @ atoms.cell.array
        vectors = atoms.positions[None, :, None] - atoms.positions[:, None, None] + shifts
        lengths = np.linalg.norm(vectors, axis=-1).ravel()
        expected = np.sort(lengths[(lengths > 0) & (lengths < cutoff)])
        found = np.sort(np.repeat(find_pairs(atoms, cutoff).length, 2))
        np.testing.assert_allclose(found, expected, atol=1e-10)


@pytest.mark.parametrize(
    "table",
    [
        {"cutoff": -1.0},
        {"cutof": 5.0},
        {"energy_weight": -1},
        {"kind": "mtp"},
        {"elements": ["Zz"]},
    ],
)
def test_impossible_settings_are_refused(table: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        LennardJonesConfig.parse(table, where="potential")


def test_structures_without_pairs_have_zero_labels(potential: LennardJones) -> None:
    far = Atoms("Al2", positions=[[0, 0, 0], [0, 0, potential.cutoff + 1]])
    labels = potential.predict([far])[0]
    assert labels.energy == 0.0
    np.testing.assert_array_equal(labels.forces, np.zeros((2, 3)))
    np.testing.assert_array_equal(potential.features([far])[0], np.zeros((2, 2)))
