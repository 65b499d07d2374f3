"""A saved potential as the teacher."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from athanor.errors import ConfigError, FormatError, OracleError
from athanor.oracle import kinds
from athanor.oracle.potential import PotentialOracleConfig
from athanor.potentials.lj import LennardJones

ARGON = LennardJones(frozenset({"Ar"}), cutoff=6.5, epsilon=0.0104, sigma=3.4)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    ARGON.save(tmp_path / "argon")
    return tmp_path / "argon"


def test_kind_is_found() -> None:
    assert kinds()["potential"] is PotentialOracleConfig


def test_labels_are_the_potentials(saved: Path) -> None:
    oracle = PotentialOracleConfig(path=saved).build()
    atoms = bulk("Ar", cubic=True, a=5.3)
    atoms.rattle(0.2, seed=3)
    labels = oracle.label(atoms, workdir=saved)
    expected = ARGON.predict([atoms])[0]
    assert labels.energy == expected.energy
    assert labels.forces.tobytes() == expected.forces.tobytes()
    atoms.calc = oracle.calculator(workdir=saved)
    assert atoms.get_potential_energy() == expected.energy
    copy = pickle.loads(pickle.dumps(oracle))
    assert copy.level == oracle.level


def test_level_is_the_content_not_the_place(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path / "moved")
    other = LennardJones(frozenset({"Ar"}), cutoff=6.5, epsilon=0.0105, sigma=3.4)
    other.save(tmp_path / "other")
    levels = [
        PotentialOracleConfig(path=path).build().level
        for path in (saved, tmp_path / "moved", tmp_path / "other")
    ]
    assert levels[0] == levels[1]
    assert levels[0] != levels[2]
    assert levels[0].startswith("potential:")


def test_what_the_teacher_cannot_label(saved: Path) -> None:
    oracle = PotentialOracleConfig(path=saved).build()
    for atoms in (bulk("Al"), Atoms("Ar2", positions=np.zeros((2, 3))), Atoms()):
        with pytest.raises(OracleError, match="the teacher cannot label this structure") as caught:
            oracle.label(atoms, workdir=saved)
        assert not caught.value.retry


def test_a_path_that_is_no_potential(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FormatError, match=str(tmp_path / "nothing")):
        PotentialOracleConfig(path="nothing").build()
    with pytest.raises(ConfigError, match="leave species out"):
        PotentialOracleConfig(path=saved, species=("Ar",)).build()
    with pytest.raises(ConfigError, match="the key 'path' is missing"):
        PotentialOracleConfig.parse({}, where="[oracle]")
