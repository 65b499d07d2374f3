"""Grades by active sets that the published MLIP code chose, read as its own files hold them."""

from __future__ import annotations

import json
from pathlib import Path

import ase.io
import numpy as np
import pytest
from mlip_states import cfg_texts, second, third

from athanor.cli import main
from athanor.data.cfg import read_cfg

POTENTIALS = ("Mo_L08", "Mo_L12", "Mo_L16")
GRADED = {"Mo_test": "Mo_test", "pert": "pert_1sp"}


def state(mtp: Path, name: str, graded: str, *, suffix: str, folder: Path) -> Path:
    """The file that the published code left: its A, its inverse and its weights, as stored.

    The reference does not keep which configuration each row is of: here they are all of one.
    """
    stored = np.load(mtp / "grades" / f"{name}__train_to_{graded}_active.npz")
    rows = stored["A"]
    site, energy, force, stress = stored["weights"].tolist()
    weights = {
        "energy_weight": energy,
        "force_weight": force,
        "stress_weight": stress,
        "site_en_weight": site,
    }
    origins = np.zeros(len(rows), dtype=int)
    origins[stored["uninit_rows"]] = -1
    texts = cfg_texts(folder, [read_cfg(mtp / "cfgs" / "Mo_sub.cfg", ["Mo"])[0].atoms], ["Mo"])
    potential = (mtp / "pots" / f"{name}.mtp").read_text()
    path = folder / f"state.{suffix}"
    if suffix == "als":
        content = second(potential, rows, origins.tolist(), texts, weights, stored["invA"])
    else:
        content = third(potential, rows, origins.tolist(), texts, weights)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("suffix", ["als", "almtp"])
@pytest.mark.parametrize("graded", GRADED)
@pytest.mark.parametrize("name", POTENTIALS)
def test_grades_by_a_state(
    reference: Path, name: str, graded: str, suffix: str, tmp_path: Path
) -> None:
    mtp = reference / "mtp"
    published = json.loads((mtp / "grades" / f"{name}__train_to_{graded}.json").read_text())
    file = state(mtp, name, graded, suffix=suffix, folder=tmp_path)
    potential = file if suffix == "almtp" else mtp / "pots" / f"{name}.mtp"
    line = ["grade", str(potential), str(file), str(mtp / "cfgs" / f"{GRADED[graded]}.cfg")]
    assert main([*line, "--species", "Mo", "--out", str(tmp_path / "graded.extxyz")]) == 0
    found = [atoms.info["grade"] for atoms in ase.io.read(tmp_path / "graded.extxyz", ":")]
    # the published grades are written with six digits
    np.testing.assert_allclose(found, published["grades"], rtol=1e-6, atol=1e-6)
