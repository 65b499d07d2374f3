"""Ensembles on the command line: fitted from a recipe, evaluated, graded, listed."""

from __future__ import annotations

import json
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import bulk

import athanor
from athanor.cli import main
from athanor.cli.files import geometry_only, open_potential
from athanor.cli.watch import sentence
from athanor.data.formats import write_structures
from athanor.data.steps_log import last_record
from athanor.potentials import FIT_LOG
from athanor.potentials.ensemble import Ensemble, Spread
from athanor.potentials.lj import LennardJones
from athanor.potentials.mtp import MtpConfig
from athanor.query.doptimality import DOptimalityConfig

RECIPE = """
kind = "ensemble"
size = 3
member = { kind = "mtp", level = 4, radial_basis_size = 4, steps = 2, starts = 1, max_dist = 4.5 }
"""
KEYS = ("energy_spread", "force_spread_max", "force_spread_mean")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with labelled structures, a pool and a recipe of an ensemble."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    teacher = LennardJones(frozenset({"Al"}), cutoff=5.5, epsilon=0.2, sigma=2.5)
    for name, count, amount in (("train", 8, 0.1), ("pool", 5, 0.3)):
        found = []
        for _ in range(count):
            atoms = bulk("Al", a=rng.uniform(3.9, 4.2)).repeat(2)
            atoms.positions += rng.normal(0, amount, (len(atoms), 3))
            found.append(atoms)
        write_structures(tmp_path / f"{name}.extxyz", found, labels=teacher.predict(found))
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return tmp_path


def test_fit_evaluate_and_grade(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "recipe.toml", "train.extxyz", "--out", "pot"]) == 0
    assert main(["evaluate", "pot", "pool.extxyz", "--out", "out.extxyz"]) == 0
    line = ["grade", "pot", "train.extxyz", "pool.extxyz", "--out", "graded.extxyz"]
    assert main(line) == 0, capsys.readouterr().err
    potential = athanor.load("pot")
    assert isinstance(potential, Ensemble)
    pool = ase.io.read("pool.extxyz", ":")
    query = DOptimalityConfig().fit(potential, geometry_only(Path("train.extxyz"), species=None))
    evaluated, graded = (ase.io.read(f"{name}.extxyz", ":") for name in ("out", "graded"))
    assert len(evaluated) == len(graded) == 5
    for atoms, one, other in zip(pool, evaluated, graded, strict=True):
        spread = Spread.of(potential.predict_each([atoms])[0])
        for found in (one, other):
            assert found.info["energy_spread"] == pytest.approx(spread.energy)
            assert found.info["force_spread_max"] == pytest.approx(spread.force_max)
            assert found.info["force_spread_mean"] == pytest.approx(spread.force_mean)
        (labels,) = potential.predict([atoms])
        assert one.get_potential_energy() == labels.energy
        assert np.array_equal(one.get_forces(), labels.forces)
        assert other.info["grade"] == pytest.approx(query.grade([atoms])[0].value)
        assert other.info["verdict"] in ("keep", "save", "halt")


def test_without_an_ensemble_no_spread_is_written(folder: Path) -> None:
    LennardJones(frozenset({"Al"}), cutoff=5.5, epsilon=0.2, sigma=2.5).save(folder / "single")
    assert main(["evaluate", "single", "pool.extxyz", "--out", "out.extxyz"]) == 0
    assert main(["grade", "single", "train.extxyz", "pool.extxyz", "--out", "g.extxyz"]) == 0
    for name in ("out", "g"):
        for atoms in ase.io.read(f"{name}.extxyz", ":"):
            assert not set(KEYS) & set(atoms.info)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("size = 3", "siez = 3", "unknown key 'siez' (did you mean 'size'?)"),
        ("level = 4", "levle = 4", "unknown key 'levle' (did you mean 'level'?)"),
        ('"mtp"', '"mpt"', "there is no kind 'mpt' (did you mean 'mtp'?)"),
    ],
)
def test_a_misspelt_recipe_is_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, words: str
) -> None:
    (folder / "wrong.toml").write_text(RECIPE.replace(old, new))
    assert main(["fit", "wrong.toml", "train.extxyz", "--out", "pot"]) == 1
    said = capsys.readouterr().err
    assert words in " ".join(said.split())
    assert not (folder / "pot").exists()


def test_kinds_lists_ensemble_and_committee(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kinds", "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert {"size", "member", "resample", "refit"} == set(table["potential"]["ensemble"]["keys"])
    assert table["potential"]["ensemble"]["keys"]["member"]["required"]
    expected = {"measure", "save", "halt", "min_distance"}
    assert expected == set(table["query"]["committee"]["keys"])
    assert all(key["description"] for key in table["query"]["committee"]["keys"].values())


def test_a_member_that_is_being_fitted_says_how_far_it_is(tmp_path: Path) -> None:
    log = tmp_path / FIT_LOG
    outer = {"stage": "member 2 of 5", "step": 1, "steps": 5, "inside": "member_001"}
    log.write_text(json.dumps(outer) + "\n")
    assert last_record(log) == outer  # its own log is not there yet
    (tmp_path / "member_001").mkdir()
    inner = {"stage": "full", "step": 3, "steps": 20, "loss": 0.5}
    (tmp_path / "member_001" / FIT_LOG).write_text(json.dumps(inner) + "\n")
    record = last_record(log)
    assert record is not None
    said = sentence(record, elapsed=4.0)
    assert said.startswith("fitting, member 2 of 5, full: step 3 of at most 20, loss 0.5; 4 s")


def test_members_of_the_recipe_are_those_of_the_kind(folder: Path) -> None:
    assert main(["fit", "recipe.toml", "train.extxyz", "--out", "pot"]) == 0
    potential = athanor.load("pot")
    assert isinstance(potential, Ensemble)
    kinds = {type(member).__name__ for member in potential.members}
    assert kinds == {type(MtpConfig.example(seed=0)).__name__}
    assert len(potential.members) == 3


def test_an_ensemble_knows_the_order_of_its_species(folder: Path) -> None:
    """As its members do: a .cfg file has only indices."""
    Ensemble.of([MtpConfig.example(seed=k) for k in range(2)]).save(folder / "two")
    opened = open_potential(folder / "two", species=None)
    assert opened.species == ("Al", "Ni")
