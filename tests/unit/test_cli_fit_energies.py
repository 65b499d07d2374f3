"""`athanor fit` with frames that have energies and no forces: where the recipe says so, only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from athanor.cli import main
from athanor.data.formats import read_frames, write_structures
from athanor.errors import LabelError
from athanor.loading import load
from athanor.potentials import kinds
from athanor.potentials.ani import AniConfig
from athanor.potentials.ensemble import EnsembleConfig
from athanor.potentials.mtp import MtpConfig
from athanor.structure import Labels, check_labels
from athanor.testing.structures import dense

ANI = """kind = "ani"
size = 2
layers = [6]
radial_cutoff = 4.0
angular_cutoff = 3.0
n_radial = 4
n_shells = 2
n_angles = 2
max_epochs = 2
"""
ENERGY = ANI + 'without_forces = "energy"\n'
MTP = 'kind = "mtp"\nlevel = 2\nmin_dist = 1.5\nmax_dist = 4.0\nsteps = 1\nstarts = 1\n'
REFUSED = "energy or forces are missing; label it or leave it out"


def structures(n: int = 6) -> tuple[list[Atoms], list[Labels]]:
    rng = np.random.default_rng(4)
    atoms = [dense(["Al", "Ni"], rng) for _ in range(n)]
    return atoms, AniConfig.example(seed=1).predict(atoms)


def written(path: Path, *, without: Sequence[int], n: int = 6) -> Path:
    """An extended XYZ file in which these frames have no forces."""
    atoms, labels = structures(n)
    part = path.with_name("part.extxyz")
    text = ""
    for number in range(n):
        write_structures(part, [atoms[number]], labels=[labels[number]])
        head, comment, *rows = part.read_text().splitlines()
        part.unlink()
        if number in without:
            assert ":forces:R:3" in comment
            comment = comment.replace(":forces:R:3", "")
            rows = [" ".join(row.split()[:4]) for row in rows]
        text += "\n".join([head, comment, *rows]) + "\n"
    path.write_text(text)
    return path


def fitted(tmp_path: Path, recipe: str, training: Path, *options: str) -> int:
    (tmp_path / "r.toml").write_text(recipe)
    line = ["fit", str(tmp_path / "r.toml"), str(training), "--out", str(tmp_path / "p")]
    return main([*line, *options])


def test_a_recipe_that_says_so_is_fitted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = written(tmp_path / "t.extxyz", without=[1, 4])
    assert fitted(tmp_path, ENERGY, training, "--valid", str(training)) == 0
    said = capsys.readouterr().out
    assert "6 structures" in said
    assert "2 of them without forces" in said
    rows = [text.split() for text in said.splitlines() if text.strip().startswith("forces,")]
    assert len(rows) == 2
    # the errors that it says: energies of all, forces of those that have them
    atoms, labels = structures()
    found = load(tmp_path / "p").predict(atoms)
    known = [0, 2, 3, 5]
    wrong = [np.abs(found[k].forces - labels[k].forces).mean() for k in known]
    assert float(rows[0][2]) == pytest.approx(1000 * np.mean(wrong), rel=1e-3)
    (energy, _) = [text.split() for text in said.splitlines() if text.strip().startswith("energy,")]
    wrong = [abs(a.energy - b.energy) / len(a.forces) for a, b in zip(found, labels, strict=True)]
    assert float(energy[2]) == pytest.approx(1000 * np.mean(wrong), rel=1e-3)


def test_energies_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    training = written(tmp_path / "t.extxyz", without=range(6))
    assert fitted(tmp_path, ENERGY, training) == 0
    said = capsys.readouterr().out
    assert "6 of them without forces" in said
    assert "energy, meV/atom" in said
    assert "forces, meV" not in said


@pytest.mark.parametrize(
    "recipe", [ANI, ANI + 'without_forces = "refuse"\n', MTP], ids=["default", "refuse", "mtp"]
)
def test_every_other_recipe_is_refused(
    recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = written(tmp_path / "t.extxyz", without=[3])
    whole = written(tmp_path / "whole.extxyz", without=[])
    assert fitted(tmp_path, recipe, training) == 1
    assert f"t.extxyz, frame 3: {REFUSED}" in capsys.readouterr().err
    assert fitted(tmp_path, recipe, whole, "--valid", str(training)) == 1
    assert f"t.extxyz, frame 3: {REFUSED}" in capsys.readouterr().err
    assert not list(tmp_path.glob("p*"))


def test_other_verbs_refuse_always(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    AniConfig.example(seed=1).save(tmp_path / "p")
    training = written(tmp_path / "t.extxyz", without=[3])
    assert main(["errors", str(tmp_path / "p"), str(training)]) == 1
    assert REFUSED in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace(" energy=", " mine="), "frame 0: the energy is missing"),
        (lambda text: text.replace(" energy=", " energy=nan old="), "the energy is nan"),
    ],
)
def test_an_energy_is_needed_always(
    change: object, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = written(tmp_path / "t.extxyz", without=range(6))
    assert callable(change)
    training.write_text(change(training.read_text()))
    assert fitted(tmp_path, ENERGY, training) == 1
    assert words in capsys.readouterr().err
    assert not list(tmp_path.glob("p*"))


def test_forces_that_are_there_are_finite(tmp_path: Path) -> None:
    """Absent is not the same as wrong: nobody meant to leave these out."""
    for rows in (1, None):
        training = written(tmp_path / "t.extxyz", without=[])
        lines = training.read_text().splitlines()
        size = int(lines[0])
        for at in range(2, 2 + (rows or size)):
            lines[at] = " ".join([*lines[at].split()[:4], "nan", "nan", "nan"])
        training.write_text("\n".join(lines) + "\n")
        with pytest.raises(LabelError, match="frame 0: a force component is not finite"):
            read_frames(training, forces_optional=True)


def test_energies_of_two_levels_are_told_apart_by_nothing(tmp_path: Path) -> None:
    training = written(tmp_path / "t.extxyz", without=range(6))
    text = training.read_text().replace(" energy=", " REF_energy=-1.5 energy=")
    training.write_text(text)
    with pytest.raises(LabelError, match=r"frame 0: .*several energies, .*'', 'REF_'"):
        read_frames(training, forces_optional=True)


def test_cfg_files_too(tmp_path: Path) -> None:
    atoms, labels = structures(2)
    path = tmp_path / "t.cfg"
    write_structures(path, atoms, labels=labels, species=["Al", "Ni"])
    begin, second = path.read_text().split("END_CFG", 1)
    lines = begin.splitlines()
    (head,) = [at for at, line in enumerate(lines) if "AtomData" in line]
    size = len(atoms[0])
    lines[head] = lines[head].replace("fx", "").replace("fy", "").replace("fz", "")
    for at in range(head + 1, head + 1 + size):
        lines[at] = " ".join(lines[at].split()[:5])
    path.write_text("\n".join(lines) + "\nEND_CFG" + second)
    with pytest.raises(LabelError, match=f"frame 0: {REFUSED}"):
        read_frames(path, ["Al", "Ni"])
    first, other = read_frames(path, ["Al", "Ni"], forces_optional=True)
    assert not first.labels.has_forces
    assert first.labels.forces.shape == (size, 3)
    assert first.labels.energy == labels[0].energy
    assert first.labels.stress is not None
    assert other.labels.has_forces
    head, _, rest = path.read_text().partition(" Energy\n")
    path.write_text(head + rest.partition("\n")[2])
    with pytest.raises(LabelError, match="frame 0: the energy is missing"):
        read_frames(path, ["Al", "Ni"], forces_optional=True)


def test_who_needs_forces() -> None:
    asks = AniConfig.parse({"without_forces": "energy", "size": 1}, where="r")
    assert not asks.needs_forces
    assert not EnsembleConfig(member=asks).needs_forces
    assert EnsembleConfig(member=MtpConfig(level=2)).needs_forces
    for kind, recipe in kinds().items():
        if not any(field.is_required() for field in recipe.model_fields.values()):
            assert recipe().needs_forces == (kind not in {"gap"}), kind


def test_labels_without_forces_pass_only_where_said() -> None:
    _, (one,) = structures(1)
    bare = replace(one, forces=np.full_like(one.forces, np.nan))
    assert one.has_forces
    assert not bare.has_forces
    check_labels(bare, len(one.forces), forces_optional=True)
    with pytest.raises(LabelError, match="force component is not finite"):
        check_labels(bare, len(one.forces))
    with pytest.raises(LabelError, match="shape"):
        check_labels(bare, len(one.forces) + 1, forces_optional=True)
    with pytest.raises(LabelError, match="energy is nan"):
        check_labels(replace(bare, energy=np.nan), len(one.forces), forces_optional=True)
