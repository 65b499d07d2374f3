"""The NumPy twin against what the published code computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from athanor.potentials._mtp.mlip_file import read_mtp
from athanor.potentials._mtp.model import MtpModel
from athanor.potentials._mtp.twin import features, predict
from athanor.structure import FloatArray, Labels

SPECIES = ("Mo", "Ta")
VOIGT = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])


def read_cfg(path: Path) -> list[tuple[Atoms, float, FloatArray, FloatArray]]:
    """Structure, energy, forces and PlusStress (zeros where absent) of a well-formed file."""
    found = []
    for block in path.read_text().split("BEGIN_CFG")[1:]:
        lines = [line.split() for line in block.split("END_CFG")[0].splitlines() if line.strip()]
        starts = {words[0]: number for number, words in enumerate(lines)}
        size = int(lines[starts["Size"] + 1][0])
        first = starts["AtomData:"]
        columns = lines[first][1:]
        data = np.array(lines[first + 1 : first + 1 + size], dtype=float)
        cell = np.zeros((3, 3))
        vectors = np.array(lines[starts["Supercell"] + 1 : first], dtype=float)
        cell[: len(vectors)] = vectors
        atoms = Atoms(
            [SPECIES[int(t)] for t in data[:, columns.index("type")]],
            positions=data[:, columns.index("cartes_x") :][:, :3],
            cell=cell,
            pbc=[n < len(vectors) for n in range(3)],
        )
        energy, forces, stress = 0.0, np.zeros((size, 3)), np.zeros(6)
        if "Energy" in starts:
            energy = float(lines[starts["Energy"] + 1][0])
            forces = data[:, columns.index("fx") :][:, :3]
        if "PlusStress:" in starts:
            stress = np.array(lines[starts["PlusStress:"] + 1], dtype=float)
        found.append((atoms, energy, forces, stress))
    return found


def assert_published(
    labels: Labels, atoms: Atoms, energy: float, forces: FloatArray, plus_stress: FloatArray
) -> None:
    """Energy to 1e-10 eV/atom; forces and virial to 1e-9 of the largest."""
    assert abs(labels.energy - energy) < 1e-10 * len(atoms)
    largest = max(np.abs(forces).max(), 1e-3)
    assert np.abs(labels.forces - forces).max() < 1e-9 * largest
    assert labels.stress is not None
    virial = -labels.stress[VOIGT] * atoms.get_volume()
    assert np.abs(virial - plus_stress).max() < 1e-9 * max(np.abs(plus_stress).max(), 1e-3)


@pytest.mark.parametrize("cells", ["pert", "edge"])
@pytest.mark.parametrize(
    "name",
    ["rand_L02_1sp", "rand_L06_1sp", "rand_L06_2sp", "rand_L10_2sp", "rand_L12_1sp", "Mo_L08"],
)
def test_energies_forces_and_stresses_are_the_published_ones(
    reference: Path, name: str, cells: str
) -> None:
    n_species = 2 if name.endswith("2sp") else 1
    model = read_mtp(reference / "mtp" / "pots" / f"{name}.mtp", SPECIES[:n_species])
    published = read_cfg(reference / "mtp" / "efs" / f"{name}__{cells}_{n_species}sp.cfg")
    assert len(published) >= 7
    for atoms, *expected in published:
        assert_published(predict(model, atoms), atoms, *expected)


@pytest.mark.parametrize("name", ["rand_L14_2sp", "rand_L16_1sp"])
def test_higher_levels_in_the_edge_cases(reference: Path, name: str) -> None:
    n_species = 2 if name.endswith("2sp") else 1
    model = read_mtp(reference / "mtp" / "pots" / f"{name}.mtp", SPECIES[:n_species])
    for atoms, *expected in read_cfg(reference / "mtp" / "efs" / f"{name}__edge_{n_species}sp.cfg"):
        assert_published(predict(model, atoms), atoms, *expected)


def fitted(reference: Path, name: str) -> tuple[MtpModel, FloatArray]:
    """A fitted potential and its published active rows."""
    model = read_mtp(reference / "mtp" / "pots" / f"{name}.mtp", SPECIES[:1])
    with np.load(reference / "mtp" / "grades" / f"{name}__train_to_Mo_test_active.npz") as arrays:
        return model, np.delete(arrays["A"], arrays["uninit_rows"], axis=0)


@pytest.mark.parametrize("name", ["Mo_L08", "Mo_L12"])
def test_features_are_the_published_active_rows(reference: Path, name: str) -> None:
    model, active = fitted(reference, name)
    n_parameters = model.radial.size + len(model.species_coeffs) + len(model.moment_coeffs)
    assert active.shape[1] == n_parameters
    rows = np.array(
        [
            features(model, atoms).mean(axis=0)
            for atoms, *_ in read_cfg(reference / "mtp" / "cfgs" / "Mo_train.cfg")
        ]
    )
    scale = np.abs(rows).max(axis=0)
    for row in active:
        assert (np.abs(rows - row) / scale).max(axis=1).min() < 1e-8
