"""Energies, forces and stresses of the published code, on every file it gave, by every kernel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from athanor import _core
from athanor.data.cfg import read_cfg
from athanor.potentials._mtp.mlip_file import read_mtp
from athanor.potentials._mtp.program import program_of
from athanor.potentials.mtp import MomentTensorPotential

SYMBOLS = ("Mo", "Ta")
EFS = Path(__file__).resolve().parents[3] / "shared/reference/mtp/efs"
# one name that skips, through the fixture, where the files are absent
FILES = sorted(path.name for path in EFS.glob("*.cfg")) or ["absent"]


def test_every_published_file_is_here(reference: Path) -> None:
    assert len(list((reference / "mtp/efs").glob("*.cfg"))) == 37


@pytest.mark.parametrize("isa", _core.instruction_sets())
@pytest.mark.parametrize("name", FILES)
def test_values_of_the_published_code(name: str, isa: str, reference: Path) -> None:
    """1e-10 eV/atom, 1e-9 of the largest force; stress as virial to 1e-9 of its largest."""
    pot = reference / "mtp/pots" / f"{name.split('__')[0]}.mtp"
    species = SYMBOLS[: 2 if "2sp" in name else 1]
    program = program_of(read_mtp(pot, species), core=False)
    for record in read_cfg(reference / "mtp/efs" / name, species):
        atoms, labels = record.atoms, record.labels
        assert labels is not None
        types = np.array([species.index(s) for s in atoms.symbols], dtype=np.int32)
        energy, forces, virial, volume, _, _ = program.evaluate(
            atoms.positions, types, atoms.cell.array, atoms.pbc, isa=isa
        )
        assert abs(energy - labels.energy) / len(atoms) < 1e-10
        largest = max(float(np.abs(labels.forces).max()), 1e-3)
        assert np.abs(forces - labels.forces).max() < 1e-9 * largest
        if labels.stress is not None:
            wanted = labels.stress * volume
            assert np.abs(virial - wanted).max() < 1e-9 * max(float(np.abs(wanted).max()), 1.0)


def test_potential_front_gives_the_same_numbers(reference: Path) -> None:
    potential = MomentTensorPotential.from_mlip(reference / "mtp/pots/Mo_L16.mtp", ["Mo"])
    for record in read_cfg(reference / "mtp/efs/Mo_L16__Mo_test.cfg", ["Mo"]):
        assert record.labels is not None
        got = potential.predict([record.atoms])[0]
        assert got.energy == pytest.approx(record.labels.energy, rel=1e-12)
        assert got.stress is not None
        np.testing.assert_allclose(got.stress, record.labels.stress, atol=1e-10)
