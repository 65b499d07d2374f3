"""Fits by gap_fit: what is learned, counted, kept, and said when it fails."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms

from athanor.data.dataset import Dataset
from athanor.errors import ConfigError, FitError, StructureError
from athanor.potentials._gap import fitting
from athanor.potentials._gap.command import Terms
from athanor.potentials._gap.examples import random_crystals
from athanor.potentials._gap.forecast import check_memory
from athanor.potentials._gap.program import last_words, run_gap_fit
from athanor.potentials._gap.training_set import environments, extxyz_text, offsets, pairs
from athanor.potentials._mtp.cost import environment_of_workers
from athanor.potentials.gap import GapConfig
from athanor.potentials.lj import LennardJones, LennardJonesConfig
from athanor.structure import Frame, Labels

SMALL = GapConfig(
    cutoff=4.0,
    n_max=3,
    l_max=2,
    n_sparse=6,
    pair_cutoff=4.5,
    pair_n_sparse=10,
    sigma_energy=0.01,
    sigma_force=0.05,
)


def labelled(structures: list[Atoms]) -> Dataset:
    """Labels of a Lennard-Jones potential."""
    teacher = LennardJonesConfig.example(seed=1)
    assert isinstance(teacher, LennardJones)
    teacher = replace(teacher, elements=frozenset({"Al", "Ni"}))
    return Dataset.of(
        [Frame(a, x) for a, x in zip(structures, teacher.predict(structures), strict=True)]
    )


def lines(workdir) -> list[dict]:
    return [json.loads(line) for line in (workdir / "fit.jsonl").read_text().splitlines()]


def test_learns_a_pair_potential_in_every_boundary(tmp_path) -> None:
    structures = random_crystals(1, count=10).structures
    structures[0].pbc = False
    structures[1].pbc = [True, True, False]
    structures.append(Atoms("Ni"))
    data = labelled(structures)
    held = labelled(random_crystals(2, count=3).structures)
    recipe = SMALL.model_copy(update={"n_sparse": 20, "pair_theta": 0.4, "pair_n_sparse": 30})
    potential = recipe.fit(data, Dataset(), seed=0, workdir=tmp_path)
    predicted = potential.predict(held.structures)
    scale = np.concatenate([x.forces for x in held.labels]).std()
    force = np.concatenate(
        [p.forces - x.forces for p, x in zip(predicted, held.labels, strict=True)]
    )
    assert np.sqrt(np.mean(force**2)) < 0.2 * scale
    for found, expected in zip(predicted, held.labels, strict=True):
        assert found.energy == pytest.approx(expected.energy, abs=8 * 0.05)


def test_equal_arguments_give_equal_bits_and_a_finished_fit_is_not_repeated(
    tmp_path, monkeypatch
) -> None:
    data = random_crystals(1)
    first = SMALL.fit(data, Dataset(), seed=4, workdir=tmp_path / "a")
    again = SMALL.fit(data, Dataset(), seed=4, workdir=tmp_path / "b")
    assert first.model == again.model

    def never(*_args, **_kwargs) -> None:
        raise AssertionError("fitted again")

    monkeypatch.setattr(fitting, "run_gap_fit", never)
    kept = SMALL.model_copy(update={"time_limit": 99.0}).fit(
        data, Dataset(), seed=4, workdir=tmp_path / "a"
    )
    assert kept.model == first.model
    for recipe, seed, train in (
        (SMALL, 5, data),
        (SMALL.model_copy(update={"zeta": 3.0}), 4, data),
        (SMALL.model_copy(update={"e0": {"Al": 0.0, "Ni": 0.0}}), 4, data),
        (SMALL, 4, data.subset([0, 1])),
    ):
        with pytest.raises(AssertionError, match="fitted again"):
            recipe.fit(train, Dataset(), seed=seed, workdir=tmp_path / "a")


def test_energies_alone_are_enough(tmp_path) -> None:
    assert not SMALL.needs_forces
    frames = [
        replace(f, labels=Labels(f.labels.energy, np.full((8, 3), np.nan), None))
        for f in random_crystals(1)
    ]
    data = Dataset.of(frames, forces_optional=True)
    potential = SMALL.fit(data, Dataset(), seed=0, workdir=tmp_path)
    for labels, frame in zip(potential.predict(data.structures), data, strict=True):
        assert labels.energy == pytest.approx(frame.labels.energy, abs=0.5)
    assert "force" not in (tmp_path / "gap_fit" / "training.xyz").read_text()


def test_sparse_points_are_no_more_than_the_data_allow(tmp_path) -> None:
    data = random_crystals(1)
    recipe = SMALL.model_copy(update={"n_sparse": 50})
    recipe.fit(data, Dataset(), seed=0, workdir=tmp_path)
    forecast = lines(tmp_path)[0]["forecast"]
    assert "Al has 12 environments, so as many sparse points instead of 50" in forecast
    steps = [line for line in lines(tmp_path) if "step" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4, 5]
    assert all(line["steps"] == 5 for line in steps)
    counted = {("Al", "Al"): 0, ("Al", "Ni"): 3, ("Ni", "Ni"): 30}
    terms = Terms.of(recipe.settings(), environments(data), counted)
    assert terms.pair == {("Al", "Ni"): 3, ("Ni", "Ni"): 10}
    assert terms.size == 24 + 13


def test_pairs_are_counted_by_elements() -> None:
    atoms = Atoms("AlNiNi", positions=[[0, 0, 0], [0, 0, 2], [0, 0, 4]])
    data = Dataset.of([Frame(atoms, Labels(0.0, np.zeros((3, 3)), None))])
    assert pairs(data, ("Al", "Ni"), 3.0) == {("Al", "Al"): 0, ("Al", "Ni"): 1, ("Ni", "Ni"): 1}
    assert environments(data) == {"Al": 1, "Ni": 2}


def test_offsets_are_least_squares_or_those_given() -> None:
    rng = np.random.default_rng(3)
    frames = []
    for count in (1, 2, 3):
        atoms = Atoms(["Al"] * count + ["Ni"] * 2, positions=3.0 * rng.random((count + 2, 3)))
        frames.append(Frame(atoms, Labels(-1.5 * count - 4.0 * 2, np.zeros((count + 2, 3)), None)))
    data = Dataset(tuple(frames))
    found = offsets(data, ("Al", "Ni"), None)
    assert found == pytest.approx({"Al": -1.5, "Ni": -4.0})
    assert offsets(data.subset([1]), ("Al", "Ni"), None) == pytest.approx(
        {"Al": -2.75, "Ni": -2.75}
    )
    assert offsets(data, ("Al", "Ni"), {"Al": 1, "Ni": 2}) == {"Al": 1.0, "Ni": 2.0}


def test_every_digit_reaches_gap_fit() -> None:
    (frame,) = random_crystals(1, count=1)
    text = extxyz_text(Dataset((frame,)), reach=4.0).splitlines()
    row = np.array(text[2].split()[1:], dtype=float)
    assert np.array_equal(row[:3], frame.atoms.positions[0])
    assert np.array_equal(row[3:], frame.labels.forces[0])


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"e0": {"Al": -1.0}}, ConfigError, "e0 has no energy for Ni"),
        ({"memory_GB": 1e-9}, FitError, "memory_GB = 1e-09 allows less"),
        ({"time_limit": 1e-4}, FitError, "gap_fit was ended after 0.0001 s, its time_limit"),
    ],
)
def test_fits_that_must_not_go_on(tmp_path, change, error, said) -> None:
    with pytest.raises(error, match=said):
        SMALL.model_copy(update=change).fit(random_crystals(1), Dataset(), seed=0, workdir=tmp_path)
    assert not (tmp_path / "gap_fit" / "gap.xml").exists()


def test_data_that_cannot_be_fitted_are_named(tmp_path) -> None:
    data = random_crystals(1)
    with pytest.raises(FitError, match="the training set is empty"):
        SMALL.fit(Dataset(), data, seed=0, workdir=tmp_path)
    with pytest.raises(FitError, match="the validation set holds Al, Ni, of which the training"):
        SMALL.fit(
            Dataset.of([Frame(Atoms("Cu"), Labels(0.0, np.zeros((1, 3)), None))]),
            data,
            seed=0,
            workdir=tmp_path,
        )
    twice = Atoms("Al2", positions=[[0, 0, 0], [0, 0, 1e-4]])
    bad = Dataset.of([Frame(twice, Labels(0.0, np.zeros((2, 3)), None))])
    with pytest.raises(StructureError, match="training frame 3: two atoms"):
        SMALL.fit(data.joined(bad), Dataset(), seed=0, workdir=tmp_path)


def test_the_last_words_of_gap_fit_are_ours(tmp_path) -> None:
    with pytest.raises(
        FitError, match=r"gap_fit failed \(exit status 1\): main program failed to parse"
    ):
        run_gap_fit(
            ["at_file=missing.xyz", "gap={soap cutoff=3 n_max=2 l_max=2 atom_sigma=0.5}",
             "default_sigma={1 1 1 0}"],
            folder=tmp_path,
            time_limit=None,
            on_peak=lambda _: None,
            on_covariance=lambda _: None,
        )  # fmt: skip
    assert "SYSTEM ABORT" in (tmp_path / "gap_fit.log").read_text()
    assert last_words([]) == "it said nothing"
    assert last_words(["well", "SYSTEM ABORT: no luck", "STOP 1"]) == "no luck"
    broken = [
        "SYSTEM ABORT: Traceback (most recent call last)",
        'File "x", line 3',
        "it bro-",
        "ke",
    ]
    assert last_words(broken) == "it broke"


def test_memory_that_is_not_there_is_refused(monkeypatch) -> None:
    monkeypatch.setattr("athanor.potentials._mtp.cost.free_memory", lambda: 10**9)
    check_memory(10**9, memory_GB=None)
    with pytest.raises(FitError, match=r"needs 2\.0 GB of memory and 1\.0 GB are free"):
        check_memory(2 * 10**9, memory_GB=None)
    for name, value in environment_of_workers(2).items():
        monkeypatch.setenv(name, value)
    check_memory(10**9 // 2, memory_GB=None)
    said = r"1\.0 GB of memory and 500 MB are free for each of 2 workers: .*fewer \[campaign\] wor"
    with pytest.raises(FitError, match=said):
        check_memory(10**9, memory_GB=None)
    monkeypatch.setattr("athanor.potentials._mtp.cost.free_memory", lambda: None)
    check_memory(10**15, memory_GB=None)


def test_a_fit_without_a_pair_term_or_without_compression(tmp_path) -> None:
    data = random_crystals(1)
    for number, change in enumerate(({"pair": False}, {"compression": "radial_species"})):
        recipe = SMALL.model_copy(update=change)
        potential = recipe.fit(data, Dataset(), seed=0, workdir=tmp_path / str(number))
        assert potential.cutoff == (4.0 if number == 0 else 4.5)
        assert np.isfinite(potential.predict(data.structures)[0].energy)


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (None, "ended without a potential: .*cannot be read"),
        ("<GAP_1><e0", "left half a potential"),
    ],
)
def test_a_fit_that_leaves_no_whole_potential_fails(tmp_path, monkeypatch, left, said) -> None:
    def pretend(_arguments, *, folder, **_kwargs) -> None:
        if left is not None:
            (folder / "gap.xml").write_text(left)

    monkeypatch.setattr(fitting, "run_gap_fit", pretend)
    with pytest.raises(FitError, match=said):
        SMALL.fit(random_crystals(1), Dataset(), seed=0, workdir=tmp_path)
