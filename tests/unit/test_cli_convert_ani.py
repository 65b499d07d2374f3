"""Published ANI folders on the command line: converted, and opened by every verb as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from neurochem_files import write_published

import athanor
from athanor.cli import main
from athanor.data.formats import read_frames, write_structures
from athanor.testing import structures


@pytest.fixture
def info(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(4)
    cells = [structures.dense(("Al", "Ni"), rng) for _ in range(3)]
    write_structures(tmp_path / "cells.extxyz", cells)
    return write_published(tmp_path / "published").relative_to(tmp_path)


@pytest.mark.parametrize("name", ["published/model.info", "published/model", "published"])
def test_convert_to_a_folder_of_ours(name: str, info: Path, capsys) -> None:
    assert main(["convert", name, "ours"]) == 0
    assert "written to ours" in capsys.readouterr().out
    assert sorted(path.name for path in Path("ours").iterdir()) == [
        "potential.json",
        "weights.safetensors",
    ]
    cells = [frame.copy() for frame in structures.zoo(("Al", "Ni"), np.random.default_rng(1))]
    for found, expected in zip(
        athanor.load("ours").predict(cells), athanor.load(info).predict(cells), strict=True
    ):
        assert found.energy == expected.energy
        assert found.forces.tobytes() == expected.forces.tobytes()


def test_verbs_open_it_as_it_is(info: Path, capsys) -> None:
    assert main(["evaluate", str(info), "cells.extxyz", "--out", "labelled.extxyz"]) == 0
    frames = read_frames(Path("labelled.extxyz"))
    expected = athanor.load(info).predict(frames.structures)
    for frame, labels in zip(frames, expected, strict=True):
        assert frame.labels.energy == pytest.approx(labels.energy, rel=1e-6)
    assert main(["errors", "published/model", "labelled.extxyz"]) == 0
    assert (
        main(["evaluate", str(info), "cells.extxyz", "--out", "x.extxyz", "--species", "Al"]) == 1
    )
    assert "--species names Al" in capsys.readouterr().err


def test_a_teacher_by_its_info_file(info: Path) -> None:
    from athanor.oracle.potential import PotentialOracleConfig

    oracle = PotentialOracleConfig(path=info).build()
    atoms = structures.dense(("Al", "Ni"), np.random.default_rng(2))
    labels = oracle.label(atoms, workdir=Path())
    assert labels.energy == athanor.load(info).predict([atoms])[0].energy


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run what must end with exit code 1 and one sentence, and leave nothing behind."""
    before = sorted(map(str, Path().rglob("*")))
    assert main(arguments) == 1
    assert sorted(map(str, Path().rglob("*"))) == before
    message = capsys.readouterr().err.strip()
    assert len(message.splitlines()) == 1
    return message


def test_what_cannot_be_converted_leaves_nothing(info: Path, capsys) -> None:
    assert "only moment tensor" in refused(["convert", str(info), "x.mtp"], capsys)
    assert "file of structures" in refused(["convert", str(info), "x.extxyz"], capsys)
    assert "are for structures" in refused(["convert", str(info), "x", "--last"], capsys)
    assert "exists already" in refused(["convert", str(info), "published"], capsys)
    missing = refused(["convert", "absent.info", "x"], capsys)
    assert "absent.info: cannot be read" in missing
    weights = Path("published/model/train1/networks/ANN-Ni.nnf-l2.wparam")
    content = weights.read_bytes()
    weights.write_bytes(content[:-2])
    message = refused(["convert", str(info), "x"], capsys)
    assert f"{weights}: holds {len(content) - 2} bytes" in message
