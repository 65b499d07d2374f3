"""Fits of ANI ensembles to labels that are wrong by far: refused, and named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_ani_fit import TRAIN, VALID, data, fitted, lines

from athanor.data.dataset import Dataset
from athanor.errors import FitError
from athanor.potentials._ani import trainer
from athanor.potentials._ani.state import State


def spoilt(train: Dataset, **wrong: dict[int, float]) -> Dataset:
    """`energy` gives frames another energy, `forces` multiplies theirs."""
    frames = list(train)
    for number, energy in wrong.get("energy", {}).items():
        labels = replace(frames[number].labels, energy=energy)
        frames[number] = replace(frames[number], labels=labels)
    for number, factor in wrong.get("forces", {}).items():
        labels = frames[number].labels
        labels = replace(labels, forces=factor * labels.forces)
        frames[number] = replace(frames[number], labels=labels)
    return Dataset(tuple(frames))


@pytest.mark.parametrize("energy", [1e5, -1e7, 1e11, 1e200, 1e307])
@pytest.mark.parametrize("mixed", [False, True])
def test_an_energy_beyond_reason_is_named_at_once(
    energy: float, mixed: bool, tmp_path: Path
) -> None:
    train = spoilt(data(11, 13, mixed=mixed), energy={12: energy})
    words = r"energy of frame 12 \(file.xyz frame 12\) is .* eV/atom away.*who are off by 0\..*"
    with pytest.raises(FitError, match=words + "leave the frame out"):
        fitted(tmp_path, train=train)
    # nor may it be one to validate by
    with pytest.raises(FitError, match=r"energy of frame 25 .*"):
        fitted(tmp_path, valid=spoilt(VALID, energy={1: energy}))
    assert not list(tmp_path.glob("fit*"))


@pytest.mark.parametrize("energy", [1e5, 1e7, 1e11, 1e200])
@pytest.mark.parametrize("valid", [Dataset(), VALID])
def test_of_several_wrong_energies_the_worst_is_named(
    energy: float, valid: Dataset, tmp_path: Path
) -> None:
    """Two of them hide each other from the comparison that is made first."""
    train = spoilt(data(11, 13, mixed=False), energy={4: -energy / 2, 12: energy})
    with pytest.raises(FitError, match=r"loss is not finite .*; frame 12 .* had the largest"):
        fitted(tmp_path, train=train, valid=valid, resample="none", layers=(6,), l0=0.01)
    (path,) = tmp_path.glob("fit-*.npz")
    with np.load(path) as kept:
        found = {name: kept[name] for name in kept.files if name != "header"}
        # best losses of whom nothing validates are infinite
        assert all(np.isfinite(part).all() for name, part in found.items() if name != "best")


@pytest.mark.parametrize("route", ["exact", "displaced"])
@pytest.mark.parametrize("factor", [1e22, 1e30, 1e200, 1e300])
def test_forces_beyond_reason_fail_rather_than_stop_learning(
    factor: float, route: str, tmp_path: Path
) -> None:
    words = r"epoch \d+; frame 5 .* largest residual \(\d.* eV/atom, \d.*e\+\d+ eV/Å\)"
    with pytest.raises(FitError, match=words):
        fitted(tmp_path, train=spoilt(TRAIN, forces={5: factor}), resample="none", route=route)


def test_a_validation_set_that_nothing_can_be_judged_by(tmp_path: Path) -> None:
    words = r"validation loss is not finite before the first step; frame 26 .* check its labels"
    with pytest.raises(FitError, match=words):
        fitted(tmp_path, valid=spoilt(VALID, forces={2: 1e200}))
    (path,) = tmp_path.glob("fit-*.npz")
    with np.load(path) as kept:
        assert json.loads(str(kept["header"]))["numbers"]["epoch"] == 0


def test_a_stress_that_is_wrong_is_named(tmp_path: Path) -> None:
    labels = TRAIN[6].labels
    assert labels.stress is not None
    wrong = replace(TRAIN[6], labels=replace(labels, stress=1e200 * labels.stress))
    train = Dataset((*TRAIN.frames[:6], wrong, *TRAIN.frames[7:]))
    with pytest.raises(FitError, match=r"frame 6 .* eV/Å, .*e\+\d+ eV/atom of virial\)"):
        fitted(tmp_path, train=train, stress_weight=0.1, resample="none")


def test_weights_that_exploded_in_the_first_epoch_are_not_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a rate that is far too high, what was there in the beginning is better."""
    began = []
    real = trainer.Trainer._judged

    def judged(self: trainer.Trainer, state: State) -> Any:
        began.append((real(self, state), state.best.clone()))
        return began[0][0]

    monkeypatch.setattr(trainer.Trainer, "_judged", judged)
    fitted(tmp_path, learning_rate=1.0, max_epochs=1, average=0.0, cooldown=0.0)
    ((losses, first),) = began
    assert lines(tmp_path)[-1]["valid_loss"] > losses.max()
    (path,) = tmp_path.glob("fit-*.npz")
    with np.load(path) as kept:
        assert np.array_equal(kept["kept"], first)
        assert np.array_equal(kept["best"], losses)


def test_stress_is_to_be_learned_and_there_is_none(tmp_path: Path) -> None:
    bare = Dataset.of(replace(f, labels=replace(f.labels, stress=None)) for f in TRAIN)
    with pytest.raises(FitError, match=r"stress_weight = 0.5, but no frame of the training set"):
        fitted(tmp_path, train=bare, stress_weight=0.5)
    some = Dataset((*bare.frames[:-1], TRAIN[23]))
    fitted(tmp_path, train=some, stress_weight=0.5, max_epochs=1, resample="none")


@pytest.mark.parametrize("rank", [0, 2])
def test_a_stress_of_a_cell_without_volume(rank: int, tmp_path: Path) -> None:
    atoms = TRAIN[4].atoms.copy()
    atoms.set_cell(np.diag([1.0] * rank + [0.0] * (3 - rank)) * 9)
    atoms.pbc = False
    train = Dataset((*TRAIN.frames[:4], replace(TRAIN[4], atoms=atoms), *TRAIN.frames[5:]))
    with pytest.raises(FitError, match=rf"frame 4 .* spans only {rank} dimensions.*no volume"):
        fitted(tmp_path, train=train)
