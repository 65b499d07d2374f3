"""Grades, active sets and selections against what the published MLIP code computed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

import athanor
from athanor.data.cfg import read_cfg
from athanor.data.dataset import Dataset
from athanor.potentials import HasFeatures
from athanor.query.doptimality import DOptimalityConfig, rows_of
from athanor.structure import FloatArray, Frame, Labels

POTENTIALS = ("Mo_L08", "Mo_L12", "Mo_L16")
GRADED = {"Mo_test": "Mo_test", "pert": "pert_1sp"}
THRESHOLDS = {"": 1.1, "_thr2.1": 2.1}


@pytest.fixture(scope="module")
def mtp(reference: Path) -> Path:
    return reference / "mtp"


def potential(mtp: Path, name: str) -> HasFeatures:
    return athanor.load(mtp / "pots" / f"{name}.mtp", species=["Mo"])


def configurations(mtp: Path, name: str) -> list[Atoms]:
    return [record.atoms for record in read_cfg(mtp / "cfgs" / f"{name}.cfg", ["Mo"])]


def rows(mtp: Path, name: str, configurations_name: str) -> FloatArray:
    """Rows dE/dtheta / N, (n_structures, n_parameters)."""
    atoms = configurations(mtp, configurations_name)
    return rows_of(potential(mtp, name), atoms, "structure")[0]


def unlabelled(atoms: list[Atoms]) -> Dataset:
    """A training set for the query, which looks at geometries only."""
    return Dataset(tuple(Frame(a, Labels(0.0, np.zeros((len(a), 3)), None)) for a in atoms))


@pytest.mark.parametrize("graded", GRADED)
@pytest.mark.parametrize("name", POTENTIALS)
def test_grades_given_the_same_active_rows(mtp: Path, name: str, graded: str) -> None:
    stored = np.load(mtp / "grades" / f"{name}__train_to_{graded}_active.npz")
    fitted = DOptimalityConfig().fit(
        potential(mtp, name), unlabelled(configurations(mtp, "Mo_train"))
    )
    active = type(fitted.active).holding(stored["A"], np.full(len(stored["A"]), -1), 0)
    assert active.log_volume == pytest.approx(float(stored["logabsdetA"]), abs=1e-6)
    theirs = type(fitted)(fitted.potential, active, "structure", fitted.save, fitted.halt)
    found = [grade.value for grade in theirs.grade(configurations(mtp, GRADED[graded]))]
    # the published grades are written with six digits
    np.testing.assert_allclose(found, stored["grades"], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", POTENTIALS)
def test_our_active_set_has_at_least_their_volume(mtp: Path, name: str) -> None:
    stored = np.load(mtp / "grades" / f"{name}__train_to_Mo_test_active.npz")
    structures = configurations(mtp, "Mo_train")
    fitted = DOptimalityConfig().fit(potential(mtp, name), unlabelled(structures))
    assert fitted.active.log_volume >= float(stored["logabsdetA"]) - 1e-6
    assert max(grade.value for grade in fitted.grade(structures)) <= 1 + 1e-5


@pytest.mark.parametrize("suffix", THRESHOLDS)
@pytest.mark.parametrize("name", POTENTIALS)
def test_selection_is_worth_more_per_label_than_theirs(mtp: Path, name: str, suffix: str) -> None:
    stored = json.loads((mtp / "select" / f"{name}__sub_pool{suffix}.json").read_text())
    threshold = THRESHOLDS[suffix]
    structures, pool = configurations(mtp, "Mo_sub"), configurations(mtp, "Mo_pool")
    config = DOptimalityConfig(save=threshold)
    fitted = config.fit(potential(mtp, name), unlabelled(structures))
    chosen = fitted.select(pool, fitted.grade(pool), len(pool), np.random.default_rng(0))
    pool_rows = rows(mtp, name, "Mo_pool")
    grown = fitted.active.extended(pool_rows, threshold=threshold)
    assert len(chosen) == (grown.origins >= fitted.active.seen).sum()
    # a label is bought where it multiplies the volume by the threshold at least
    price = np.log(threshold)
    ours = grown.log_volume - len(chosen) * price
    theirs = stored["logabsdetA"] - stored["n_selected_from_pool"] * price
    assert ours >= theirs - 1e-6
    # and that is enough: with these labels nothing in the pool is worth saving any more
    assert grown.grades(pool_rows).max() <= threshold * (1 + 1e-5)


@pytest.mark.parametrize("name", POTENTIALS)
def test_training_on_our_selection_is_worth_at_least_theirs(mtp: Path, name: str) -> None:
    stored = json.loads((mtp / "select" / f"{name}__sub_pool.json").read_text())
    structures, pool = configurations(mtp, "Mo_sub"), configurations(mtp, "Mo_pool")
    config, fitting = DOptimalityConfig(save=1.1), potential(mtp, name)
    fitted = config.fit(fitting, unlabelled(structures))
    ours = fitted.select(pool, fitted.grade(pool), len(pool), np.random.default_rng(0))
    worth = []
    for chosen in (ours, stored["selected_pool_indices_0based"]):
        after = config.fit(fitting, unlabelled([*structures, *(pool[i] for i in chosen)]))
        worth.append(after.active.log_volume - len(chosen) * np.log(1.1))
    assert worth[0] >= worth[1] - 1e-6
