"""Errors on held-out structures by group, and what is said of them."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from distilled_cases import GROUPS, campaign_text, write_pool

from athanor.campaign.parity import Parity, errors_of
from athanor.data.dataset import Dataset
from athanor.distil import DistilConfig, Distillation, run
from athanor.distil.held_out import about, by_group, errors_by_group, judge_of
from athanor.report import report_of
from athanor.report.page import milli
from athanor.structure import Frame, Labels


def drawn_frames(seed: int) -> tuple[list[Frame], list[Labels], list[str]]:
    """Frames of different sizes, predictions for them, and groups of different sizes."""
    rng = np.random.default_rng(seed)
    frames, predicted = [], []
    for _ in range(23):
        n = int(rng.integers(1, 9))
        atoms = Atoms(f"Al{n}", positions=5.0 * np.arange(3 * n).reshape(n, 3))
        energy, forces = rng.normal(), rng.normal(size=(n, 3))
        frames.append(Frame(atoms, Labels(energy, forces, None)))
        wrong = rng.normal(scale=0.1, size=(n, 3))
        predicted.append(Labels(energy + rng.normal(scale=0.1), forces + wrong, None))
    names = [("300 K", "900 K", "ramp")[k] for k in rng.integers(0, 3, len(frames))]
    return frames, predicted, names


def squared(errors: dict[str, float | None], key: str) -> float:
    """A mean square that must be there."""
    value = errors[key]
    assert value is not None
    return value**2


@pytest.mark.parametrize("seed", range(4))
def test_weighted_mean_squares_of_groups_give_the_whole(seed: int) -> None:
    frames, predicted, names = drawn_frames(seed)
    found = by_group(frames, names, Parity.of(predicted, Dataset.of(frames)))
    assert list(found) == list(dict.fromkeys(names))
    whole = errors_of(predicted, Dataset.of(frames))
    for key in ("energy_rmse", "forces_rmse"):
        squares = [squared(one, key) * (one["frames"] or 0) for one in found.values()]
        assert sum(squares) / len(frames) == pytest.approx(squared(whole, key), rel=1e-12)
    for name, one in found.items():
        mine = [k for k, group in enumerate(names) if group == name]
        part = errors_of([predicted[k] for k in mine], Dataset.of([frames[k] for k in mine]))
        for key in ("frames", "energy_rmse", "forces_rmse"):
            assert one[key] == pytest.approx(part[key], rel=1e-12)


def test_frames_without_forces_count_for_energies_alone() -> None:
    frames, predicted, names = drawn_frames(7)
    bare = [k for k, name in enumerate(names) if name == "ramp" or k % 5 == 0]
    for k in bare:
        nothing = np.full_like(frames[k].labels.forces, np.nan)
        frames[k] = dataclasses.replace(
            frames[k], labels=dataclasses.replace(frames[k].labels, forces=nothing)
        )
    found = by_group(frames, names, Parity.of(predicted, Dataset.of(frames, forces_optional=True)))
    assert found["ramp"]["forces_rmse"] is None
    assert found["ramp"]["energy_rmse"] is not None
    mine = [k for k, name in enumerate(names) if name == "900 K" and k not in bare]
    part = errors_of([predicted[k] for k in mine], Dataset.of([frames[k] for k in mine]))
    assert found["900 K"]["forces_rmse"] == pytest.approx(part["forces_rmse"], rel=1e-12)
    assert found["900 K"]["frames"] == names.count("900 K")


def test_what_is_not_finite_is_told_of_its_group_alone() -> None:
    frames, predicted, names = drawn_frames(8)
    k = names.index("ramp")
    predicted[k] = Labels(np.inf, np.full_like(predicted[k].forces, np.nan), None)
    found = by_group(frames, names, Parity.of(predicted, Dataset.of(frames)))
    assert found["ramp"]["energy_rmse"] is None
    assert found["ramp"]["forces_rmse"] is None
    assert found["300 K"]["energy_rmse"] is not None
    assert found["300 K"]["forces_rmse"] is not None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A distillation of one cycle."""
    home = tmp_path_factory.mktemp("held-out")
    text = campaign_text(write_pool(home / "pool.extxyz"), stop="max_cycles = 1", compare=False)
    run(DistilConfig.of(tomllib.loads(text), source=text), home / "small")
    return home / "small"


def test_the_certificate_has_them_and_the_page_shows_them(folder: Path) -> None:
    told, found = json.loads((folder / "certificate.json").read_text()), Distillation(folder)
    groups, whole = told["errors"]["held_out_by_group"], told["errors"]["held_out"]
    assert groups == errors_by_group(found)
    held_out = [int(i) for i in found.pool.held_out]
    assert found.pool.groups is not None
    assert set(groups) == {found.pool.groups[i] for i in held_out} <= set(GROUPS)
    potential = found.load_potential()
    for name, one in groups.items():
        mine = Dataset.of(found.pool.frames[i] for i in held_out if found.pool.groups[i] == name)
        errors = errors_of(potential.predict(mine.structures), mine)
        for key in ("frames", "energy_rmse", "forces_rmse"):
            assert one[key] == pytest.approx(errors[key], rel=1e-9)
    assert sum(one["frames"] for one in groups.values()) == whole["frames"]
    page = report_of(folder)
    section = page.split("Held-out structures by group")[1].split("</table>")[0]
    shown = re.findall(r'<tr><td>.*?</td><td class="n">(\d+)</td><td class="n">(.*?)</td>', section)
    assert shown == [(str(one["frames"]), milli(one["energy_rmse"])) for one in groups.values()]
    assert told["judged_on"] == "both"
    assert told["about"] == about(found)
    assert "measure interpolation within it" in page


def judged(folder: Path, judge: str) -> Distillation:
    """The same, had another set of structures been the judge."""
    found = Distillation(folder)
    stop = found.config.stop.model_copy(update={"judged_on": judge})
    config = dataclasses.replace(found.config, stop=stop)
    return Distillation(folder, config=config, state=found.state)


def test_who_decides_when_to_stop_is_said(folder: Path) -> None:
    for judge in ("both", "held_out"):
        said = about(judged(folder, judge))
        assert f'they also decide when to stop (judged_on = "{judge}")' in said
    assert "they do not decide when to stop." in about(judged(folder, "test"))


def test_without_held_out_structures_or_groups(folder: Path) -> None:
    found = Distillation(folder)
    assert found.ground is not None
    found.pool = dataclasses.replace(found.pool, groups=None)
    assert errors_by_group(found) is None
    found.passed.ground = dataclasses.replace(
        found.ground, found={**found.ground.found, "held_out": []}
    )
    assert judge_of(found) == "test"
    assert about(found).startswith("Nothing was held out: ")
