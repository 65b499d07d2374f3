"""What a suite measures: opened by path or name, known by what it holds."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from athanor.errors import ConfigError, FormatError
from athanor.loading import load
from athanor.potentials.lj import LennardJonesConfig
from athanor.suite.subjects import Subject
from athanor.testing import structures

EMT = '[oracle]\nkind = "ase"\ncalculator = "emt"\n'


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A potential in a campaign's folder."""
    folder = tmp_path / "argon.athanor" / "potential"
    LennardJonesConfig.example(seed=0).save(folder)
    return folder


def test_a_potential_is_known_by_its_files_and_not_by_their_place(
    saved: Path, tmp_path: Path
) -> None:
    found = Subject.open(str(saved))
    assert (found.name, found.path) == ("argon", saved)
    assert Subject.open(str(saved.parent)).name == "argon"
    copy = Path(shutil.copytree(saved, tmp_path / "elsewhere"))
    again = Subject.open(f"mine={copy}")
    assert (again.name, again.level) == ("mine", found.level)
    LennardJonesConfig.example(seed=1).save(tmp_path / "other")
    assert Subject.open(str(tmp_path / "other")).level != found.level


def test_an_oracle_is_known_by_its_settings(tmp_path: Path) -> None:
    path = tmp_path / "emt.toml"
    path.write_text(EMT)
    found = Subject.open(str(path), is_reference=True)
    assert (found.name, found.is_reference, found.path) == ("emt", True, None)
    path.write_text(EMT + "settings = { asap_cutoff = true }\n")
    assert Subject.open(str(path)).level != found.level


def test_its_calculator_gives_what_the_potential_gives(saved: Path, tmp_path: Path) -> None:
    potential = load(saved)
    atoms = structures.dense(sorted(potential.elements), np.random.default_rng(3))
    labels = potential.predict([atoms])[0]
    atoms.calc = Subject.open(str(saved)).calculator(workdir=tmp_path)
    assert atoms.get_potential_energy() == pytest.approx(labels.energy, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("gone", None, "there is no such file or folder"),
        ("gone.toml", None, "cannot be read"),
        ("empty.toml", "", r"the section \[oracle\] is missing"),
        ("wrong.toml", '[oracle]\nkind = "ase"\ncalculator = "emd"\n', "emt"),
        ("p.mtp", "MTP", "name the species"),
    ],
)
def test_what_cannot_be_opened(tmp_path: Path, name: str, text: str | None, words: str) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises((ConfigError, FormatError), match=words):
        Subject.open(str(path))
