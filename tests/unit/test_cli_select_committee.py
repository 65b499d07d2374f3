"""`grade` and `select` by committee, beside D-optimality on the same pool."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

import athanor
from athanor.cli import main
from athanor.cli.files import geometry_only
from athanor.data.dataset import Dataset
from athanor.data.formats import write_structures
from athanor.potentials.ensemble import Ensemble, EnsembleConfig, Spread
from athanor.potentials.lj import LennardJones
from athanor.query.committee import CommitteeConfig
from athanor.structure import Frame, structure_id

TEACHER = LennardJones(frozenset({"Al"}), cutoff=5.5, epsilon=0.2, sigma=2.5)
RECIPE = {
    "kind": "ensemble",
    "size": 4,
    "member": {
        "kind": "mtp",
        "level": 8,
        "radial_basis_size": 4,
        "steps": 3,
        "starts": 1,
        "max_dist": 4.5,
    },
}
ALIKE, BUDGET = 24, 6


def crystals(rng: np.random.Generator, count: int, *, a: tuple[float, float], by: float) -> list:
    found = []
    for _ in range(count):
        atoms = bulk("Al", a=rng.uniform(*a)).repeat(2)
        atoms.positions += rng.normal(0, by, (len(atoms), 3))
        found.append(atoms)
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ensemble fitted to quiet crystals; a pool of more of these and a few it has not seen."""
    home = tmp_path_factory.mktemp("committee")
    rng = np.random.default_rng(41)
    train = crystals(rng, 40, a=(3.95, 4.15), by=0.06)
    labels = TEACHER.predict(train)
    data = Dataset.of(Frame(a, one) for a, one in zip(train, labels, strict=True))
    recipe = EnsembleConfig.parse(RECIPE, where="recipe")
    recipe.fit(data, Dataset(), seed=1, workdir=home / "work").save(home / "pot")
    write_structures(home / "train.extxyz", train, labels=labels)
    unlike = crystals(rng, 12, a=(3.9, 4.3), by=0.12)
    pool = [*crystals(rng, ALIKE, a=(4.0, 4.1), by=0.05), *unlike, unlike[2].copy(), train[4]]
    write_structures(home / "pool.extxyz", pool, labels=TEACHER.predict(pool))
    return home


def selected(home: Path, out: str, *options: str) -> list[Atoms]:
    path = home / f"{out}.extxyz"
    path.unlink(missing_ok=True)
    files = [str(home / name) for name in ("pot", "train.extxyz", "pool.extxyz")]
    assert main(["select", *files, "--out", str(path), *options]) == 0
    return ase.io.read(path, ":")


def errors(home: Path, chosen: list[Atoms]) -> float:
    """Mean over structures of the root mean square error of the forces, eV/Å."""
    potential = athanor.load(home / "pot")
    both = zip(potential.predict(chosen), TEACHER.predict(chosen), strict=True)
    return float(np.mean([np.sqrt(np.mean((a.forces - b.forces) ** 2)) for a, b in both]))


def test_both_strategies_find_what_is_unlike(home: Path, capsys: pytest.CaptureFixture) -> None:
    """Both are deterministic, choose no structure twice, and do better than chance."""
    pool = ase.io.read(home / "pool.extxyz", ":")
    budget = ["--budget", str(BUDGET)]
    runs = {
        "committee": ["--query", "committee", "--save", "0.001", *budget],
        "doptimality": budget,
        "random": ["--query", "random", "--seed", "3", *budget],
    }
    chosen = {}
    for name, options in runs.items():
        found = selected(home, name, *options)
        again = selected(home, name, *options)
        chosen[name] = [atoms.info["pool_index"] for atoms in found]
        assert chosen[name] == [atoms.info["pool_index"] for atoms in again]
        ids = {structure_id(pool[index]) for index in chosen[name]}
        assert len(ids) == len(chosen[name]) <= BUDGET
        for atoms, index in zip(found, chosen[name], strict=True):
            assert structure_id(atoms) == structure_id(pool[index])
    assert "6 of 38 structures selected" in capsys.readouterr().out
    both = set(chosen["committee"]) & set(chosen["doptimality"])
    assert len(both) >= 2
    assert all(index >= ALIKE for index in both)
    error = {name: errors(home, [pool[k] for k in found]) for name, found in chosen.items()}
    expected = errors(home, pool)  # of as many structures by chance
    assert error["committee"] > 2 * expected
    assert error["doptimality"] > 2 * expected
    assert selected(home, "random", *runs["random"][:3], "4", *budget) != selected(
        home, "random", *runs["random"]
    )


def test_thresholds_are_respected_and_training_is_left_out(home: Path) -> None:
    pool = ase.io.read(home / "pool.extxyz", ":")
    potential = athanor.load(home / "pot")
    assert isinstance(potential, Ensemble)
    spreads = [Spread.of(each) for each in potential.predict_each(pool)]
    values = np.array([spread.energy for spread in spreads])
    save = float(np.median(values))
    options = ["--query", "committee", "--measure", "energy", "--save", str(save), "--halt", "9"]
    found = selected(home, "thresholds", *options)
    chosen = [atoms.info["pool_index"] for atoms in found]
    last = len(pool) - 1  # a copy of a training structure; the one before is there twice
    assert set(chosen) == {k for k in np.flatnonzero(values > save) if k < last - 1}
    grades = [atoms.info["grade"] for atoms in found]
    assert grades == sorted(grades, reverse=True)
    np.testing.assert_allclose(grades, values[chosen], rtol=1e-6)


def test_grade_tells_all_spreads_and_why(home: Path, capsys: pytest.CaptureFixture) -> None:
    files = [str(home / name) for name in ("pot", "train.extxyz", "pool.extxyz")]
    out = home / "graded.extxyz"
    pool = ase.io.read(home / "pool.extxyz", ":")
    near = [float(a.get_all_distances(mic=True)[np.triu_indices(len(a), 1)].min()) for a in pool]
    floor = float(np.quantile(near, 0.1))
    options = ["--query", "committee", "--measure", "energy, force_max", "--min-distance"]
    assert main(["grade", *files, "--out", str(out), *options, str(floor)]) == 0
    query = CommitteeConfig(measure=("energy", "force_max"), min_distance=floor).fit(
        athanor.load(home / "pot"), geometry_only(home / "train.extxyz", species=None)
    )
    verdicts = []
    for atoms, grade, length in zip(ase.io.read(out, ":"), query.grade(pool), near, strict=True):
        info = atoms.info
        assert info["grade"] == pytest.approx(grade.value)
        assert info["verdict"] == grade.verdict
        assert info.get("because", "") == grade.because
        assert info["mindist"] <= length * (1 + 1e-9)
        assert {"energy_spread", "force_spread_max", "force_spread_mean"} <= info.keys()
        if length < floor:
            assert info["verdict"] == "halt"
            assert info["because"].startswith("two atoms ")
        verdicts.append(grade.verdict)
    counts = ", ".join(f"{verdicts.count(name)} {name}" for name in ("keep", "save", "halt"))
    assert f"38 structures graded ({counts})" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--query", "comittee"], "no kind 'comittee' (did you mean 'committee'?)"),
        (["--measure", "energy"], "--query doptimality: unknown key 'measure'"),
        (["--query", "committee", "--by", "atom"], "--query committee: unknown key 'by'"),
        (["--query", "committee", "--measure", "enrgy"], "no measure 'enrgy' (did you mean"),
        (
            ["--query", "committee", "--measure", "energy,force_max", "--save", "0.01"],
            "save = 0.01 is 1 and measure 2",
        ),
        (["--query", "committee", "--save", "9"], "save = 9.0 must be smaller than halt = 0.2"),
    ],
)
@pytest.mark.parametrize("verb", ["grade", "select"])
def test_wrong_options_are_one_sentence(
    home: Path, capsys: pytest.CaptureFixture, verb: str, options: list[str], words: str
) -> None:
    files = [str(home / name) for name in ("pot", "train.extxyz", "pool.extxyz")]
    out = home / "never.extxyz"
    assert main([verb, *files, "--out", str(out), *options]) == 1
    assert words in " ".join(capsys.readouterr().err.split())
    assert not out.exists()


def test_what_is_no_ensemble_has_no_committee(home: Path, capsys: pytest.CaptureFixture) -> None:
    if not (home / "single").exists():
        TEACHER.save(home / "single")
    files: list[Any] = [str(home / name) for name in ("single", "train.extxyz", "pool.extxyz")]
    line = ["select", *files, "--out", str(home / "never.extxyz"), "--query", "committee"]
    assert main(line) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "no ensemble of two or more members" in said
