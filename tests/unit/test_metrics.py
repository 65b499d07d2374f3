"""Errors between labels, as equations 8-10 of Novikov et al. 2021 define them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase.units import GPa

from athanor.data.metrics import errors
from athanor.errors import InputError, LabelError
from athanor.structure import Labels


def random_labels(rng: np.random.Generator, counts: tuple[int, ...]) -> list[Labels]:
    return [
        Labels(float(rng.normal()) * n, rng.normal(size=(n, 3)), rng.normal(size=(3, 3)))
        for n in counts
    ]


def test_equations() -> None:
    rng = np.random.default_rng(2)
    counts = (1, 7, 30)
    ours, theirs = random_labels(rng, counts), random_labels(rng, counts)
    table = errors(ours, theirs)
    energy, forces, stress = 0.0, 0.0, 0.0
    for one, other, n in zip(ours, theirs, counts, strict=True):
        assert one.stress is not None
        assert other.stress is not None
        energy += (one.energy / n - other.energy / n) ** 2 / 3
        forces += float(np.sum((one.forces - other.forces) ** 2)) / (3 * n) / 3
        stress += float(np.linalg.norm(one.stress - other.stress)) ** 2 / 9 / 3
    assert table.energy.rmse == pytest.approx(energy**0.5, rel=1e-13)
    assert table.forces.rmse == pytest.approx(forces**0.5, rel=1e-13)
    assert table.stress is not None
    assert table.stress.rmse == pytest.approx(stress**0.5, rel=1e-13)
    assert (table.n_frames, table.n_atoms, table.n_stress) == (3, 38, 3)


def test_by_hand() -> None:
    eye = np.eye(3)
    theirs = [
        Labels(1.0, np.array([[3.0, 0.0, 0.0]]), 2 * eye),
        Labels(6.0, np.array([[0.0, 3.0, 0.0], [0.0, 0.0, 3.0]]), None),
    ]
    ours = [
        Labels(1.5, np.array([[3.0, 0.0, -3.0]]), eye),
        Labels(6.0, np.array([[0.0, 3.0, 0.0], [0.0, 0.0, 3.0]]), eye),
    ]
    table = errors(ours, theirs)
    # energies per atom: errors 0.5 and 0, reference 1 and 3 with standard deviation 1
    assert table.energy.mae == 0.25
    assert table.energy.rmse == pytest.approx(0.125**0.5)
    assert table.energy.maximum == 0.5
    assert table.energy.rmse_percent == pytest.approx(100 * 0.125**0.5)
    # force components: mean of (3 / 3, 0) and of (9 / 3, 0); the reference has mean square 3
    assert table.forces.mae == 0.5
    assert table.forces.rmse == pytest.approx(1.5**0.5)
    assert table.forces.maximum == 3.0
    assert table.forces.rmse_percent == pytest.approx(100 * 0.5**0.5)
    assert table.forces.mae_percent == pytest.approx(100 * 0.5 / 3**0.5)
    # stress only where both have one
    assert table.n_stress == 1
    assert table.stress is not None
    assert table.stress_GPa is not None
    assert table.stress.mae == pytest.approx(1 / 3)
    assert table.stress.rmse_percent == pytest.approx(50)
    assert table.stress_GPa.maximum == pytest.approx(1 / GPa)
    assert table.stress_GPa.rmse_percent == pytest.approx(50)


def test_no_scale_no_percent() -> None:
    labels = [Labels(1.0, np.zeros((2, 3)), None)]
    table = errors(labels, labels)
    assert table.energy.scale is None
    assert table.forces.rmse_percent is None
    assert table.stress is None
    assert table.stress_GPa is None
    found = json.loads(json.dumps(table.as_dict(), allow_nan=False))
    assert found["energy_eV_per_atom"]["rmse"] == 0.0
    assert found["forces_eV_per_A"]["max_percent"] is None
    assert found["stress_GPa"] is None


def test_tiny_references_give_no_infinite_percent() -> None:
    ours = [Labels(0.0, np.full((1, 3), 1e150), None)]
    theirs = [Labels(0.0, np.full((1, 3), 1e-160), None)]
    table = errors(ours, theirs)
    assert table.forces.scale is not None
    assert table.forces.rmse_percent is None
    json.dumps(table.as_dict(), allow_nan=False)


def test_refusals(tmp_path: Path) -> None:
    one = Labels(1.0, np.zeros((2, 3)), None)
    with pytest.raises(InputError, match="0 predictions and 0 references"):
        errors([], [])
    with pytest.raises(InputError, match="2 predictions and 1 references"):
        errors([one, one], [one])
    with pytest.raises(InputError, match=r"configuration 1: predicted forces have shape \(3, 3\)"):
        errors([one, Labels(1.0, np.zeros((3, 3)), None)], [one, one])
    with pytest.raises(LabelError, match="configuration 0, predicted: the energy is nan"):
        errors([Labels(np.nan, np.zeros((2, 3)), None)], [one])
    with pytest.raises(LabelError, match="configuration 0, reference: a force component"):
        errors([one], [Labels(1.0, np.full((2, 3), np.inf), None)])
    with pytest.raises(InputError, match="too large to be compared"):
        errors([one], [Labels(1.0, np.full((2, 3), 1e300), None)])
