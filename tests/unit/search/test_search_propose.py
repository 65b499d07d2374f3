"""The next trials: pure, resumable, never one twice, and better than random ones."""

from __future__ import annotations

import importlib.util
import json
import logging
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from athanor.errors import ConfigError, MissingExtraError
from athanor.search.config import SearchConfig
from athanor.search.propose import Result, best, propose
from athanor.search.run import optimise
from athanor.search.space import Point, SearchSpace, key, marked

METHODS = ("gp", "tpe", "random")
MIXED = SearchSpace.of(
    x={"low": 0.0, "high": 2.0},
    w={"low": 1e-4, "high": 1.0, "log": True},
    n={"low": 2, "high": 12, "step": 2},
    m={"low": 1, "high": 300, "log": True},
    c={"choices": ["a", "b", [1, 2]]},
)


def bowl(point: Point) -> float:
    """Least, 0.01, at x = 1.3, w = 0.01, n = 8, m = 30, c = "b"."""
    return float(
        0.01
        + (point["x"] - 1.3) ** 2
        + 0.2 * math.log10(point["w"] / 0.01) ** 2
        + 0.02 * (point["n"] - 8) ** 2
        + 0.2 * math.log10(point["m"] / 30) ** 2
        + 0.3 * (point["c"] != "b")
    )


# as MIXED, without the ranges of many integers that a model is slowest with
PLAIN = SearchSpace.of(
    x={"low": 0.0, "high": 2.0},
    w={"low": 1e-4, "high": 1.0, "log": True},
    c={"choices": ["a", "b", [1, 2]]},
)


def plain_bowl(point: Point) -> float:
    return bowl({"n": 8, "m": 30} | point)


def config(**fields: Any) -> SearchConfig:
    return SearchConfig(**({"trials": 14, "initial": 5, "batch": 2} | fields))


def test_a_gaussian_process_does_not_see_the_threads_of_torch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch
    from optuna.samplers import GPSampler

    seen: list[int] = []
    real = GPSampler.sample_relative

    def watched(self: GPSampler, *arguments: Any) -> Any:
        seen.append(torch.get_num_threads())
        return real(self, *arguments)

    monkeypatch.setattr(GPSampler, "sample_relative", watched)
    plan = config(method="gp")
    known: list[Result] = [(point, plain_bowl(point)) for point in propose(PLAIN, [], plan, seed=2)]
    before, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 4):
            torch.set_num_threads(count)
            found.append(propose(PLAIN, known, plan, seed=2))
            assert torch.get_num_threads() == count, "it is put back"
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1] == found[2]
    assert set(seen) == {1}


@pytest.mark.parametrize("method", METHODS)
def test_equal_arguments_give_equal_points(method: str) -> None:
    plan = config(method=method, trials=9)
    first = optimise(MIXED, bowl, plan, seed=4)
    assert optimise(MIXED, bowl, plan, seed=4) == first
    assert propose(MIXED, [], plan, seed=5) != propose(MIXED, [], plan, seed=4)
    assert propose(MIXED, first[:7], plan, seed=5) != propose(MIXED, first[:7], plan, seed=4)
    assert len({key(point) for point, _ in first}) == len(first) == 9
    for point, score in first:
        assert MIXED.holds(point)
        assert MIXED.canonical(point) == point
        assert score == bowl(point)


def test_the_points_are_those_of_another_process() -> None:
    """Nothing hangs on the hash seed or on what was proposed before; nothing is printed."""
    seen = [(point, plain_bowl(point)) for point in propose(PLAIN, [], config(), seed=1)]
    code = (
        "import sys, json\n"
        "sys.path.insert(0, sys.argv[2])\n"
        "from test_search_propose import PLAIN, config\n"
        "from athanor.search.propose import propose\n"
        "print(json.dumps(propose(PLAIN, json.loads(sys.argv[1]), config(), seed=1)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(seen), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=True,
        timeout=500,
    )
    assert json.loads(done.stdout) == propose(PLAIN, seen, config(), seed=1)
    assert done.stderr == ""


@pytest.mark.parametrize("method", METHODS)
def test_a_search_cut_anywhere_goes_on_as_if_it_had_not_been(method: str) -> None:
    plan = config(method=method, trials=10)
    whole = optimise(PLAIN, plain_bowl, plan, seed=2)
    for cut in range(len(whole)):
        ends = 5 if cut < 5 else min(10, cut - (cut - 5) % 2 + 2)
        rest = propose(PLAIN, whole[:cut], plan, seed=2)
        assert rest == [point for point, _ in whole[cut:ends]]


def test_the_order_within_a_round_and_who_ended_first_do_not_matter() -> None:
    whole = optimise(PLAIN, plain_bowl, config(trials=9), seed=3)
    shuffled = [whole[i] for i in (3, 0, 4, 2, 1, 6, 5)]
    assert propose(PLAIN, shuffled, config(), seed=3) == [point for point, _ in whole[7:9]]
    # the second of a round ended, the first was lost
    assert propose(PLAIN, [*whole[:5], whole[6]], config(), seed=3) == [whole[5][0]]
    # keys in another order, and through JSON
    turned = [({k: p[k] for k in reversed(p)}, s) for p, s in json.loads(json.dumps(whole[:7]))]
    assert propose(PLAIN, turned, config(), seed=3) == [point for point, _ in whole[7:9]]


def test_trials_end_the_search() -> None:
    for trials in (1, 4, 5, 6):
        found = optimise(MIXED, bowl, config(trials=trials, method="random"), seed=0)
        assert len(found) == trials
    more = optimise(MIXED, bowl, config(method="tpe"), seed=0)
    fewer = optimise(MIXED, bowl, config(method="tpe", trials=8), seed=0)
    assert more[:8] == fewer
    assert optimise(MIXED, bowl, config(method="tpe"), seed=0, seen=fewer) == more


@pytest.mark.parametrize("method", METHODS)
def test_failed_trials_are_bad_and_not_repeated(method: str) -> None:
    space = SearchSpace.of(x={"low": 0.0, "high": 1.0}, y={"low": 0.0, "high": 1.0})

    def half(point: Point) -> float | None:
        if point["x"] > 0.5:
            return None if point["y"] > 0.5 else math.nan
        return 1 + point["x"] + (point["y"] - 0.4) ** 2

    found = optimise(space, half, config(trials=20, initial=8, method=method), seed=6)
    assert len({key(point) for point, _ in found}) == 20
    failed = [score is None or math.isnan(score) for _, score in found]
    assert 0 < sum(failed[:8]) < 8
    if method != "random":
        assert np.mean(failed[8:]) < np.mean(failed[:8])
    top = best(found)
    assert top is not None
    assert top[0]["x"] <= 0.5


@pytest.mark.parametrize("method", METHODS)
def test_without_a_success_the_search_goes_on_evenly(method: str) -> None:
    found = optimise(MIXED, lambda point: None, config(method=method), seed=0)
    assert len({key(point) for point, _ in found}) == 14
    assert best(found) is None
    assert best([]) is None


def test_the_best_is_the_first_of_equals() -> None:
    seen: list[Result] = [({"x": 1}, None), ({"x": 2}, 3.0), ({"x": 3}, math.nan)]
    seen += [({"x": 4}, 2.0), ({"x": 5}, 2.0), ({"x": 6}, math.inf)]
    assert best(seen) == ({"x": 4}, 2.0)


ranges = st.one_of(
    st.builds(
        lambda low, count, step: {"low": low, "high": low + count * step, "step": step},
        st.integers(-5, 5),
        st.integers(1, 4),
        st.integers(1, 3),
    ),
    st.builds(
        lambda low, count: {"low": low, "high": low + count, "log": True},
        st.integers(1, 5),
        st.integers(1, 4),
    ),
    st.lists(
        st.sampled_from(["a", "b", 1, 1.0, True, [1], "c"]), min_size=2, max_size=4, unique_by=repr
    ).map(lambda choices: {"choices": choices}),
)


@settings(max_examples=25, deadline=None)
@given(
    dimensions=st.lists(ranges, min_size=1, max_size=3),
    method=st.sampled_from(["tpe", "random"]),
    initial=st.integers(1, 6),
    batch=st.integers(1, 5),
    seed=st.integers(0, 2**63),
    data=st.data(),
)
def test_small_spaces_are_gone_through_without_repetition(
    dimensions: list[dict[str, Any]], method: str, initial: int, batch: int, seed: int, data: Any
) -> None:
    space = SearchSpace.of(**{f"d{i}": mark for i, mark in enumerate(dimensions)})
    assert space.size is not None
    trials = data.draw(st.integers(1, min(space.size + 3, 25)))
    scores = st.one_of(st.none(), st.floats(-10, 10))
    settled = SearchConfig(trials=trials, initial=initial, batch=batch, method=method)
    found = optimise(space, lambda point: data.draw(scores), settled, seed=seed)
    assert len({key(point) for point, _ in found}) == len(found) == min(trials, space.size)
    assert all(space.holds(point) for point, _ in found)


def test_the_model_of_a_small_space_comes_to_every_point_too() -> None:
    space = SearchSpace.of(a={"low": 0, "high": 3}, b={"choices": ["x", "y", "z"]})
    found = optimise(
        space, lambda p: p["a"] + (p["b"] == "y"), config(trials=30, initial=3), seed=0
    )
    assert {key(point) for point, _ in found} == {key(point) for point in space.points()}
    assert propose(space, found, config(trials=30, initial=3), seed=0) == []


@pytest.mark.parametrize("method", METHODS)
def test_what_the_recipe_refuses_is_not_proposed(method: str) -> None:
    space, _ = marked(
        {
            "kind": "mtp",
            "min_dist": {"low": 1.0, "high": 4.0},
            "max_dist": {"low": 3.0, "high": 6.0},
        }
    )
    assert space is not None
    # the nearer the two, the better: the best lies on the edge of what is refused
    found = optimise(
        space, lambda p: p["max_dist"] - p["min_dist"], config(trials=12, method=method), seed=8
    )
    assert len(found) == 12
    assert all(point["min_dist"] < point["max_dist"] for point, _ in found)


def test_results_that_were_not_proposed_are_used() -> None:
    rng = np.random.default_rng(0)
    own = [MIXED.at(rng.random(5).tolist()) for _ in range(7)]
    seen = [(point, bowl(point)) for point in own]
    rest = propose(MIXED, seen, config(), seed=0)
    assert 1 <= len(rest) <= 2
    known = {key(point) for point in own}
    assert not known & {key(point) for point in rest}
    # a whole round that is there already
    space = SearchSpace.of(n={"low": 1, "high": 4})
    plan = config(initial=1, batch=2, method="tpe")
    start = propose(space, [], plan, seed=0)
    round_two = propose(space, [(start[0], 1.0)], plan, seed=0)
    others = [p for p in space.points() if p not in [*start, *round_two]]
    known_all: list[Result] = [(p, 1.0) for p in [*start, others[0]]]
    assert propose(space, known_all, plan, seed=0)


def test_points_to_begin_with_come_first() -> None:
    start = {"x": 1.0, "w": 0.01, "n": 8, "m": 20, "c": "b"}
    points = propose(MIXED, [], config(), seed=0, first=[start])
    assert points[0] == start
    assert points[1:] == propose(MIXED, [], config(), seed=0)[:4]
    rest = propose(MIXED, [(points[1], 1.0)], config(), seed=0, first=[start])
    assert rest == [points[0], *points[2:]]
    with pytest.raises(ConfigError, match="no point of this search"):
        propose(MIXED, [], config(), seed=0, first=[{"x": 1.0}])


def test_results_of_another_search_are_refused() -> None:
    with pytest.raises(ConfigError, match=r'\{"x": 3\} is no point of this search over x, w'):
        propose(MIXED, [({"x": 3}, 1.0)], config(), seed=0)


@pytest.mark.parametrize(
    ("method", "library"), [("gp", "optuna"), ("gp", "torch"), ("tpe", "optuna")]
)
def test_a_missing_library_is_named(
    method: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.delitem(sys.modules, library, raising=False)
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == library else found(name)
    )
    with pytest.raises(MissingExtraError, match=rf"{library} is not installed.*athanor\[search\]"):
        propose(MIXED, [], config(method=method), seed=0)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match="athanor"):
        propose(MIXED, [], config(method=method), seed=0)
    assert propose(MIXED, [], config(method="random"), seed=0)


def test_optuna_says_nothing_and_keeps_its_settings(
    capfd: pytest.CaptureFixture[str],
) -> None:
    log = logging.getLogger("optuna")
    level = log.level
    optimise(MIXED, bowl, config(method="tpe", trials=7), seed=0)
    optimise(PLAIN, plain_bowl, config(method="gp", trials=7), seed=0)
    assert capfd.readouterr() == ("", "")
    assert log.level == level


def test_gaussian_processes_beat_random_search_on_a_bowl() -> None:
    """Each search does as well as random ones of fifty times as many trials, in the median."""
    plan = config(trials=16, initial=6)
    for seed in np.random.default_rng(11).integers(0, 2**31, size=2):
        rng = np.random.default_rng(seed)
        random = [plain_bowl(PLAIN.at(rng.random(3).tolist())) for _ in range(16 * 50 * 99)]
        bests = np.array(random).reshape(99, -1).min(axis=1)
        top = best(optimise(PLAIN, plain_bowl, plan, seed=int(seed)))
        assert top is not None
        assert top[1] < np.median(bests)


def test_a_factor_on_errors_changes_nothing_and_scores_below_zero_do() -> None:
    """Positive scores are modelled by their logarithms, others as they are."""
    seen = optimise(PLAIN, plain_bowl, config(trials=9), seed=7)
    scaled = [(point, 1024 * (score or 0)) for point, score in seen]
    straight = propose(PLAIN, seen, config(), seed=7)
    again = propose(PLAIN, scaled, config(), seed=7)
    for one, other in zip(straight, again, strict=True):
        assert PLAIN.distance(one, other) < 0.01
    below = [(point, (score or 0) - 50) for point, score in seen]
    assert propose(PLAIN, below, config(), seed=7) != straight
