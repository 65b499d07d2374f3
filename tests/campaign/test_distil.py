"""A small pool is distilled: what comes out, what may change, what is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.io import read
from small_pool import AMPLITUDES, EACH, frames, tables, write_pool

from athanor.campaign.parity import errors_of
from athanor.campaign.steps import Done
from athanor.data.dataset import Dataset
from athanor.data.formats import read_frames, write_structures
from athanor.distil import DistilConfig, Distillation, run
from athanor.distil.bench import DistilBench, agreement
from athanor.distil.plan import chosen_delta, plan
from athanor.distil.pooled import Pooled
from athanor.distil.tasks import pool_task
from athanor.distil.verdict import verdicts
from athanor.errors import AthanorError, ConfigError, FormatError, MissingExtraError
from athanor.loading import load
from athanor.structure import structure_id
from athanor.testing.fakes import calls

Make = Callable[..., DistilConfig]


@pytest.fixture
def make(plugin: Path, tmp_path: Path) -> Make:
    """Make a small distillation; keywords are sections whose keys replace the usual ones."""

    def made(*, labelled: bool = True, **sections: Any) -> DistilConfig:
        path = tmp_path / f"pool-{labelled}.extxyz"
        if not path.exists():
            write_pool(path, labelled=labelled)
        found = tables(path)
        for name, keys in sections.items():
            before = found.get(name, {})
            new = keys.get("kind") not in (None, before.get("kind"))
            found[name] = keys if new else {**before, **keys}
        return DistilConfig.of(found)

    return made


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A distillation that has ended, and its pool beside it."""
    folder = tmp_path_factory.mktemp("distilled")
    path = write_pool(folder / "pool.extxyz")
    table = tables(path)
    table["potential"] = {"kind": "lj", "cutoff": {"low": 3.5, "high": 4.5}}
    run(DistilConfig.of(table), folder / "campaign")
    return folder


def test_what_comes_out(done: Path) -> None:
    found = Distillation(done / "campaign")
    folder = done / "campaign"
    told = json.loads((folder / "certificate.json").read_text())
    assert found.state.stopped_by == told["stopped_by"] == "max_cycles"
    selected = read(folder / "selected.extxyz", ":")
    names = {structure_id(atoms) for atoms in selected}
    assert len(selected) == len(names) == told["chosen"]["train"] + told["chosen"]["test"]
    assert {one["structure"] for one in told["structures"]} == names
    held_out = [found.pool.structures[int(i)] for i in found.pool.held_out]
    assert len(held_out) == told["pool"]["held_out"] == round(0.2 * len(AMPLITUDES) * EACH)
    assert names.isdisjoint(structure_id(atoms) for atoms in held_out)
    frames = Dataset.of(found.pool.frames[int(i)] for i in found.pool.held_out)
    potential = load(folder / "potential")
    errors = errors_of(potential.predict(frames.structures), frames)
    for key, value in told["errors"]["held_out"].items():
        assert value == pytest.approx(errors[key], rel=1e-12)


def test_every_cluster_is_drawn_from_and_divided(done: Path) -> None:
    found = Distillation(done / "campaign")
    clusters = found.clusters()
    assert set(np.unique(clusters) + 1) == {one.cluster for one in found.selected().choices}
    first, second = found.cycles
    assert first.n_train + first.n_test < second.n_train + second.n_test
    assert first.n_train > first.n_test > 0
    for choice in found.selected().choices:
        assert choice.reason.startswith(f"cluster {choice.cluster} of ")
        assert choice.group in {f"shaken by {one}" for one in AMPLITUDES}
    assert sum(found.best["sizes"]) == len(clusters) == len(found.points())


def test_the_best_delta_has_the_least_spread_of_energy(done: Path) -> None:
    found = Distillation(done / "campaign")
    assert [part["delta"] for part in found.partitions] == [round(0.1 * k, 1) for k in range(11)]
    name = "energy_spread_by_structure"
    settled = [one for one in found.partitions if one["converged"] and one[name] is not None]
    assert found.best[name] == min(one[name] for one in settled or found.partitions)
    energies = found.pool.energies
    assert energies is not None
    inside = [energies[found.clusters() == k] for k in range(found.best["n_clusters"])]
    several = [np.std(one) for one in inside if len(one) > 1]
    assert found.best["energy_spread"] == pytest.approx(np.mean(several), rel=1e-9)


@pytest.mark.parametrize(
    ("parts", "best"),
    [
        ([(True, 0.3), (True, 0.2), (True, 0.2)], 1),
        ([(True, 0.3), (False, 0.2)], 0),
        ([(False, 0.3), (False, 0.2)], 1),
        ([(False, None), (True, 0.2)], 1),
        ([(True, None), (True, None)], 0),
    ],
)
def test_the_chosen_delta(parts: list[tuple[bool, float | None]], best: int) -> None:
    told = [{"converged": a, "energy_spread_by_structure": b} for a, b in parts]
    assert chosen_delta(told) == best


def test_no_point_of_a_cycle_is_tried_twice(done: Path) -> None:
    found = Distillation(done / "campaign")
    for cycle in found.cycles:
        points = [json.dumps(trial.point, sort_keys=True) for trial in cycle.trials]
        assert len(points) == len(set(points)) >= 2
        scores = [trial.score for trial in cycle.trials if trial.score is not None]
        assert cycle.trials[cycle.best].score == min(scores)
    first, second = found.cycles
    assert second.trials[0].point == first.trials[first.best].point


def test_the_comparison(done: Path) -> None:
    found = Distillation(done / "campaign")
    arms = [(one.arm, one.seed) for one in found.comparison]
    assert arms[:2] == [("clusters", 5), ("clusters", 6)]
    assert [arm for arm, _ in arms].count("everything") == 1
    last = found.cycles[-1]
    for one in found.comparison:
        assert one.errors is not None
        if one.arm == "everything":
            assert one.n_train == len(found.pool.eligible)
        else:
            assert one.n_train == last.n_train
    by_arm = {(one.arm, one.measure): one for one in verdicts(found.comparison)}
    chance = by_arm["random", "energy_rmse"]
    assert chance.p is None
    assert chance.mean == pytest.approx(np.mean(chance.values))
    assert chance.low is not None
    assert chance.low < chance.mean < (chance.high or 0)


def test_a_finished_one_has_nothing_left_to_do(done: Path) -> None:
    found = Distillation(done / "campaign")
    assert isinstance(plan(found.config, found.state), Done)
    before = (done / "campaign" / "journal.jsonl").read_bytes()
    (done / "campaign" / "certificate.json").unlink()
    run(found.config, done / "campaign")
    assert (done / "campaign" / "journal.jsonl").read_bytes() == before
    assert (done / "campaign" / "certificate.json").exists()


def test_results_do_not_depend_on_workers(make: Make, tmp_path: Path) -> None:
    texts = []
    for workers in (1, 3):
        folder = tmp_path / f"{workers}"
        run(make(campaign={"workers": workers}), folder)
        names = ("certificate.json", "selected.extxyz", "potential/potential.json")
        texts.append([(folder / name).read_bytes() for name in names])
    assert texts[0] == texts[1]


def test_labels_are_bought_only_for_what_is_chosen(make: Make, tmp_path: Path) -> None:
    log = tmp_path / "log"
    oracle = {"kind": "tricky", "log": str(log)}
    short = make(labelled=False, oracle=oracle, stop={"max_cycles": 1})
    run(short, tmp_path / "folder")
    one = calls(log)
    state = run(make(labelled=False, oracle=oracle), tmp_path / "folder")
    two = calls(log)
    chosen = list(read_frames(tmp_path / "folder" / "selected.extxyz"))
    assert 0 < len(one) < len(two) == len(set(two)) == len(chosen) == state.labels_bought
    assert len(two) < len(frames()[0])
    labels = dict(zip(map(structure_id, frames()[0]), frames()[1], strict=True))
    for frame in chosen:
        assert frame.labels.energy == pytest.approx(
            labels[structure_id(frame.atoms)].energy, rel=1e-9
        )
    told = json.loads((tmp_path / "folder" / "certificate.json").read_text())
    assert told["errors"]["held_out"] is None
    assert told["comparison"] == []


def test_every_label_fails(make: Make, tmp_path: Path) -> None:
    oracle = {"kind": "tricky", "trick": "nan"}
    with pytest.raises(AthanorError, match=r"every label failed; the first said: .*nan"):
        run(make(labelled=False, oracle=oracle), tmp_path / "folder")


def test_one_label_fails(make: Make, tmp_path: Path) -> None:
    """What cannot be labelled is gone on without, and does not keep the campaign from ending."""
    oracle = {"kind": "tricky", "refuse": 0.3}
    config = make(
        labelled=False,
        oracle=oracle,
        cycle={"fraction": 0.9},
        stop={"max_cycles": 30},
        search={"trials": 1, "later_trials": 1},
    )
    state = run(config, tmp_path / "folder")
    assert state.stopped_by == "whole_pool"
    assert len(state.failed_tasks) > 0
    found = Distillation(tmp_path / "folder")
    assert len(found.selected().choices) == state.labels_bought < len(found.pool.eligible)


def test_no_more_of_the_pool_than_allowed(make: Make, tmp_path: Path) -> None:
    state = run(make(stop={"max_fraction": 0.3, "max_cycles": 9}), tmp_path / "folder")
    assert state.stopped_by == "max_fraction"
    found = Distillation(tmp_path / "folder")
    assert 0 < len(found.selected().choices) <= 0.3 * len(frames()[0])
    with pytest.raises(AthanorError, match=r"the first cycle alone takes more than .* = 0.01"):
        run(make(stop={"max_fraction": 0.01}), tmp_path / "other")


def test_going_on_after_a_comparison(make: Make, tmp_path: Path) -> None:
    """What was compared with is not taken for the next cycle, nor the other way round."""
    folder = tmp_path / "folder"
    ends = {cycles: make(stop={"max_cycles": cycles}) for cycles in (1, 2)}
    chosen = []
    for cycles in (1, 2, 1):
        run(ends[cycles], folder)
        found = Distillation(folder, config=ends[cycles])
        chosen.append({one.index for one in found.selected().choices})
        sizes = {one.n_train for one in found.comparison if one.arm != "everything"}
        assert sizes == {found.cycles[-1].n_train}
        told = json.loads((folder / "certificate.json").read_text())
        assert {told["chosen"]["train"]} == sizes
        assert len(read(folder / "selected.extxyz", ":")) == len(chosen[-1])
    assert chosen[0] < chosen[1]
    assert chosen[2] == chosen[0]


def test_a_tighter_tolerance_is_certified(make: Make, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    run(make(stop={"max_cycles": 1}), folder)
    run(make(stop={"max_cycles": 1, "energy_rmse_meV": 1e-7}), folder)
    told = json.loads((folder / "certificate.json").read_text())
    assert told["tolerance_meV_per_atom"] == 1e-7


def test_an_oracle_that_fails_in_the_pool(make: Make, tmp_path: Path) -> None:
    pool = {"kind": "quench", "formula": "Al", "atoms": 4, "density": 2.7, "plateau_ps": 0.2}
    pool |= {"equilibration_ps": 0, "ramp_ps": 0, "melt_ps": 0, "temperatures_K": [300.0]}
    config = make(pool=pool, oracle={"kind": "tricky", "trick": "offline"})
    for _ in range(2):  # and it is tried again
        with pytest.raises(AthanorError, match="the licence server sleeps"):
            run(config, tmp_path / "folder")
    with pytest.raises(FormatError, match="not clustered yet"):
        Distillation(tmp_path / "folder").clusters()


def test_tolerance_ends_it(make: Make, tmp_path: Path) -> None:
    state = run(make(stop={"energy_rmse_meV": 1e6}), tmp_path / "folder")
    assert (state.stopped_by, state.cycle) == ("tolerance", 1)


def test_the_whole_pool_ends_it(make: Make, tmp_path: Path) -> None:
    stop = {"max_cycles": 9}
    config = make(stop=stop, cycle={"fraction": 0.9}, search={"trials": 1, "later_trials": 1})
    state = run(config, tmp_path / "folder")
    assert state.stopped_by == "whole_pool"
    found = Distillation(tmp_path / "folder")
    assert len(found.selected().choices) == len(found.pool.eligible)


def test_one_recipe_without_a_search(make: Make, tmp_path: Path) -> None:
    run(make(potential={"size": 3}, stop={"max_cycles": 1}), tmp_path / "folder")
    (cycle,) = Distillation(tmp_path / "folder").cycles
    assert [trial.point for trial in cycle.trials] == [{}]


def test_pairs_of_atoms(make: Make, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    run(make(query={"average": "pairs"}, stop={"max_cycles": 1}), folder)
    found = Distillation(folder)
    assert 0 < found.similarity["soap"]["least"] < found.similarity["soap"]["median"] <= 1


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"cycel": {}}, r"unknown section \[cycel\] \(did you mean 'cycle'\?\)"),
        ({"query": {"kind": "random"}}, r"chooses by clusters; write kind = \"clustering\""),
        ({"pool": {"kind": "quench"}}, r"made by an oracle; add a section \[oracle\]"),
        ({"compare": {"arms": ["clusters"]}}, r"clusters and random belong to every comparison"),
        ({"compare": {"arms": ["random", "random", "clusters"]}}, r"names an arm twice"),
        ({"potential": {"kind": "fake", "size": {"low": 4, "high": 2}}}, r"size"),
        ({"stop": {"energy_rmse": 2}}, r"did you mean 'energy_rmse_meV'"),
        ({"search": {"trails": 2}}, r"did you mean 'trials'"),
        (
            {"stop": {"judged_on": "held_out"}, "cycle": {"held_out": 0}},
            r"held_out = 0 keeps nothing apart",
        ),
    ],
)
def test_refused(plugin: Path, tmp_path: Path, sections: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        DistilConfig.of({**tables(tmp_path / "pool.extxyz"), **sections})
    assert "\n" not in str(caught.value)


def test_no_file(make: Make, tmp_path: Path) -> None:
    config = make(pool={"path": str(tmp_path / "nowhere.extxyz")})
    with pytest.raises(ConfigError, match=r"\[pool\] .*nowhere"):
        run(config, tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_another_campaign_is_refused(make: Make, tmp_path: Path) -> None:
    run(make(stop={"max_cycles": 1}), tmp_path / "folder")
    with pytest.raises(ConfigError, match=r"cycle.fraction was 0.2 and is now 0.3"):
        run(make(cycle={"fraction": 0.3}), tmp_path / "folder")


def stubborn(most: int) -> dict[str, Any]:
    return {"kind": "stubborn", "most": most, "size": {"low": 1, "high": 4}}


def test_a_file_mended_before_anything_was_done(make: Make, tmp_path: Path) -> None:
    alone = tmp_path / "alone.extxyz"
    write_structures(alone, frames()[0][:1], labels=frames()[1][:1])
    with pytest.raises(ConfigError, match="two or more"):
        run(make(pool={"path": str(alone)}), tmp_path / "folder")
    state = run(make(stop={"max_cycles": 1}), tmp_path / "folder")
    assert state.stopped_by == "max_cycles"
    assert state.config["pool"]["path"] != str(alone)


def test_every_trial_fails(make: Make, tmp_path: Path) -> None:
    words = r"every trial of the search failed; the first said: \d coefficients are too many for me"
    for _ in range(2):  # and they are tried again
        with pytest.raises(AthanorError, match=words):
            run(make(potential=stubborn(0)), tmp_path / "folder")


def test_some_trials_fail(make: Make, tmp_path: Path) -> None:
    search = {"trials": 4, "initial": 4}
    run(make(potential=stubborn(2), search=search, stop={"max_cycles": 1}), tmp_path / "folder")
    (cycle,) = Distillation(tmp_path / "folder").cycles
    assert sorted(trial.point["size"] for trial in cycle.trials) == [1, 2, 3, 4]
    for trial in cycle.trials:
        assert (trial.score is None) == (trial.point["size"] > 2) == bool(trial.reason)
    assert cycle.trials[cycle.best].point["size"] <= 2


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="there is no campaign here"):
        Distillation(tmp_path)


def test_agreement_with_groups_leaves_ramps_out() -> None:
    def pool(groups: list[str] | None) -> Pooled:
        numbers = np.arange(6)
        return Pooled([], {}, numbers, numbers[:0], groups, [])

    clusters = np.array([0, 0, 1, 1, 0, 1])
    plateaus = ["300 K", "300 K", "900 K", "900 K"]
    assert agreement(pool([*plateaus, "ramp 900-300 K", "Ramp down"]), clusters) == 1.0
    assert agreement(pool([*plateaus, "900 K", "300 K"]), clusters) < 0.5
    assert agreement(pool(["300 K"] * 4 + ["ramp"] * 2), clusters) is None
    assert agreement(pool(None), clusters) is None


def test_too_large_for_the_memory(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = DistilBench(make(), tmp_path)
    task = pool_task(bench.config, "")
    part, work = tmp_path / "part", tmp_path / "work"
    for folder in (part, work):
        folder.mkdir()
    assert bench.makers()["pool"](task, part, work)["forecast"].startswith("expected: ")
    monkeypatch.setattr("athanor.query._similarity.memory.free_memory", lambda: 1000)
    with pytest.raises(ConfigError, match=r"the similarities of 29 structures need .* are free"):
        bench.makers()["pool"](task, part, work)


@pytest.mark.parametrize(("library", "extra"), [("dscribe", "clustering"), ("optuna", "search")])
def test_a_missing_extra_is_said_before_anything_is_done(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, extra: str
) -> None:
    config = make(search={"method": "tpe"})
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=rf"athanor\[{extra}\]"):
        run(config, tmp_path / "folder")
    assert not (tmp_path / "folder").exists()
