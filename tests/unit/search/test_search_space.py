"""Marks in a recipe: what is one, what it may be, and which points it makes."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import numpy as np
import pytest

from athanor.errors import ConfigError
from athanor.potentials.ensemble import EnsembleConfig
from athanor.potentials.mtp import MtpConfig
from athanor.search.space import SearchSpace, key, marked


def mtp(**fields: Any) -> dict[str, Any]:
    return {"kind": "mtp", **fields}


def space_of(**fields: Any) -> SearchSpace:
    space, _ = marked(mtp(**fields))
    assert space is not None
    return space


def test_a_recipe_without_marks_is_left_alone() -> None:
    table = mtp(level=12, species=["Si"])
    space, plain = marked(table)
    assert space is None
    assert plain == table
    plain["species"].append("O")
    assert table["species"] == ["Si"]


def test_the_example_holds_the_middles() -> None:
    space, plain = marked(
        mtp(
            level={"low": 8, "high": 16, "step": 4},
            max_dist={"low": 4.0, "high": 6.5},
            force_weight={"low": 1e-4, "high": 1.0, "log": True},
            weighting={"choices": ["molecules", "vibrations"]},
            starts=2,
        )
    )
    assert plain == mtp(level=12, max_dist=5.25, force_weight=0.01, weighting="molecules", starts=2)
    assert space is not None
    assert [one.name for one in space.dimensions] == [
        "level",
        "max_dist",
        "force_weight",
        "weighting",
    ]
    assert space.size is None


def test_the_recipe_at_a_point() -> None:
    space = space_of(max_dist={"low": 4.0, "high": 6.5}, radial_basis_size={"low": 4, "high": 12})
    point = {"max_dist": 5.1234567, "radial_basis_size": 7.0}
    assert space.table(point) == mtp(max_dist=5.12346, radial_basis_size=7)
    recipe = space.recipe(point)
    assert isinstance(recipe, MtpConfig)
    assert (recipe.max_dist, recipe.radial_basis_size) == (5.12346, 7)


def test_integers_between_are_searched_only_where_the_field_is_one() -> None:
    space = space_of(max_dist={"low": 4, "high": 7}, radial_basis_size={"low": 4, "high": 12})
    distance, size = space.dimensions
    assert not distance.integer
    assert size.integer
    assert isinstance(distance.at(0.0), float)
    assert {size.at(share) for share in np.linspace(0, 1, 200, endpoint=False)} == set(range(4, 13))


def test_marks_inside_tables_and_lists() -> None:
    member = mtp(max_dist={"low": 4.0, "high": 6.0})
    space, plain = marked({"kind": "ensemble", "size": {"low": 2, "high": 6}, "member": member})
    assert plain == {"kind": "ensemble", "size": 4, "member": mtp(max_dist=5.0)}
    assert space is not None
    recipe = space.recipe({"size": 3, "member.max_dist": 4.5})
    assert isinstance(recipe, EnsembleConfig)
    assert recipe.size == 3
    assert isinstance(recipe.member, MtpConfig)
    assert recipe.member.max_dist == 4.5


def test_a_mark_at_an_index_of_a_list() -> None:
    lists = {"layers": {"choices": [[8, 8], [16]]}, "widths": [{"low": 1, "high": 5}, 7]}
    space = SearchSpace.of(layers=lists["layers"], width=lists["widths"][0])
    assert space.table({"layers": [16], "width": 2}) == {"layers": [16], "width": 2}
    with pytest.raises(ConfigError, match=r"species\.1: choices = \['O'\] is no list of two"):
        marked(mtp(species=["Si", {"choices": ["O"]}]))
    space, plain = marked(mtp(species=["Si", {"choices": ["O", "Ge"]}]))
    assert plain == mtp(species=["Si", "O"])
    assert space is not None
    assert space.table({"species.1": "Ge"}) == mtp(species=["Si", "Ge"])


@pytest.mark.parametrize(
    ("mark", "words"),
    [
        ({"low": 4.0, "hi": 6.0}, "unknown key 'hi' (did you mean 'high'?) in a range; write"),
        ({"lo": 4.0, "hi": 6.0}, "unknown key 'lo' (did you mean 'low'?)"),
        ({"choice": [4.0, 5.0]}, "unknown key 'choice' (did you mean 'choices'?)"),
        ({"low": 4.0}, "a range needs low and high, and high is missing"),
        ({"high": 4.0}, "a range needs low and high, and low is missing"),
        ({"low": 6.0, "high": 4.0}, "low = 6.0 must be below high = 4.0"),
        ({"low": 5.0, "high": 5.0}, "low = 5.0 must be below high = 5.0"),
        ({"low": "4", "high": 6.0}, "low = '4' is not a finite number"),
        ({"low": 4.0, "high": math.inf}, "high = inf is not a finite number"),
        ({"low": False, "high": 6.0}, "low = False is not a finite number"),
        ({"low": 0.0, "high": 6.0, "log": True}, "log = true needs low above 0, and it is 0.0"),
        ({"low": 4.0, "high": 6.0, "log": 1}, "log = 1 is neither true nor false"),
        ({"low": 4, "high": 6, "step": 0}, "step = 0 is not an integer of 1 or more"),
        ({"low": 4, "high": 6, "step": True}, "step = True is not an integer of 1 or more"),
        ({"low": 4, "high": 6, "step": 2, "log": True}, "step and log = true do not go together"),
        ({"low": 4.0, "high": 6.0, "step": 1}, "a step needs integers as bounds, not 4.0 and 6.0"),
        ({"low": 4, "high": 7, "step": 2}, "one does not come to high = 7; give high = 6"),
        ({"choices": [5.0]}, "choices = [5.0] is no list of two or more values"),
        ({"choices": "ab"}, "choices = 'ab' is no list of two or more values"),
        ({"choices": [5.0, 5.5, 5.0]}, "names a value twice"),
        ({"choices": [5.0, 5.5], "log": True}, "choices go without log"),
    ],
)
def test_a_mark_that_cannot_be(mark: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        marked(mtp(max_dist=mark))
    assert str(caught.value).startswith("[potential]: max_dist: ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        # ends and middles that the recipe refuses
        (
            {"max_dist": {"low": 4.0, "high": 30.0}},
            ["max_dist = 30.0 is not allowed", "the range of max_dist", "move that end"],
        ),
        (
            {"ridge": {"low": 0.0, "high": 1e-3}},
            ["ridge = 0.0 is not allowed", "the range of ridge", "move that end"],
        ),
        ({"level": {"low": 8, "high": 14}}, ["level = 11 is not allowed", "multiple of 2"]),
        (
            {"level": {"low": 8, "high": 16}},
            ["level = 9 is not allowed", "9 was tried", "the range of level", "give a step"],
        ),
        (
            {"level": {"low": 8.0, "high": 16.0}},
            ["the range of level", "write low and high as integers"],
        ),
        (
            {"weighting": {"choices": ["vibrations", "molecule"]}},
            ["weighting = 'molecule' is not allowed", "leave that choice out"],
        ),
        # what was wrong with the recipe without any range
        ({"max_dist": {"low": 4.0, "high": 5.0}, "levl": 12}, ["unknown key 'levl'", "'level'"]),
    ],
)
def test_a_range_that_the_recipe_refuses(fields: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        marked(mtp(**fields), where="pool.toml: [potential]")
    assert str(caught.value).startswith("pool.toml: [potential]: ")
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_dot_in_a_key_is_refused_where_it_misleads() -> None:
    mark = {"low": 1.0, "high": 2.0}
    with pytest.raises(ConfigError, match=r"a dot in a key makes a\.b, a\.b ambiguous"):
        marked({"kind": "mtp", "a.b": mark, "a": {"b": mark}})


def test_a_kind_makes_an_ordinary_table() -> None:
    """A recipe of a third party may call its own keys low and high."""
    for window in ({"kind": "window", "low": 1, "high": 2}, {"flow": 3}, {}):
        table = mtp(max_dist=window)
        assert marked(table) == (None, table)


def test_values_that_do_not_go_together_are_not_allowed() -> None:
    space = space_of(min_dist={"low": 1.0, "high": 4.0}, max_dist={"low": 3.0, "high": 6.0})
    assert space.allows({"min_dist": 2.0, "max_dist": 5.0})
    assert not space.allows({"min_dist": 3.9, "max_dist": 3.1})
    with pytest.raises(ConfigError, match="must be below max_dist"):
        space.recipe({"min_dist": 3.9, "max_dist": 3.1})


@pytest.mark.parametrize(
    "point",
    [
        {},
        {"size": 5},
        {"size": 5, "cutoff": 5.0, "more": 1},
        {"size": 5, "cutoff": 6.1},
        {"size": 5, "cutoff": "5"},
        {"size": True, "cutoff": 5.0},
        {"size": 5.5, "cutoff": 5.0},
        {"size": 3, "cutoff": math.nan},
    ],
)
def test_a_point_of_another_space(point: dict[str, Any]) -> None:
    space = SearchSpace.of(size={"low": 1, "high": 9, "step": 2}, cutoff={"low": 4.0, "high": 6.0})
    assert space.holds({"size": 5, "cutoff": 5.0})
    assert not space.holds(point)
    with pytest.raises(ConfigError, match=r"no point of this search over size, cutoff"):
        space.table(point)


def test_a_space_of_a_function() -> None:
    space = SearchSpace.of(x={"low": 0.0, "high": 1.0}, n={"low": 1, "high": 3})
    assert space.example == {"x": 0.5, "n": 2}
    assert space.allows({"x": 0.1, "n": 1})
    with pytest.raises(ConfigError, match="not over a recipe"):
        space.recipe({"x": 0.1, "n": 1})
    with pytest.raises(ConfigError, match="give every argument a range"):
        SearchSpace.of(x={"low": 0.0, "high": 1.0}, y={"value": 3})
    with pytest.raises(ConfigError, match="give every argument a range"):
        SearchSpace.of()


def test_points_are_canonical_and_survive_json() -> None:
    rng = np.random.default_rng(3)
    space = SearchSpace.of(
        a={"low": 0.0123456789, "high": 7.7654321},
        b={"low": 1e-6, "high": 2e3, "log": True},
        c={"low": 1, "high": 1000, "log": True},
        d={"choices": [[1, 2], {"x": 1}, "word", 1, 1.0, True]},
    )
    for shares in rng.random((200, 4)):
        point = space.at(shares.tolist())
        assert space.holds(point)
        assert space.canonical(point) == point
        again = space.canonical(json.loads(json.dumps(point)))
        assert key(again) == key(point)
    edges = [space.at([share] * 4) for share in (0.0, 1 - 1e-16)]
    assert edges[0] == {"a": 0.0123457, "b": 1e-6, "c": 1, "d": [1, 2]}
    assert edges[1]["c"] == 1000
    assert edges[1]["d"] is True
    assert edges[1]["a"] <= 7.7654321


def test_logarithms_give_equal_shares_to_equal_factors() -> None:
    space = SearchSpace.of(
        w={"low": 1e-4, "high": 1.0, "log": True}, n={"low": 1, "high": 1000, "log": True}
    )
    shares = (np.arange(4000) + 0.5) / 4000
    weights, numbers = np.array([list(space.at([s, s]).values()) for s in shares]).T
    for decade in range(-4, 0):
        inside = (weights >= 10.0**decade) & (weights < 10.0 ** (decade + 1))
        assert inside.mean() == pytest.approx(0.25, abs=0.002)
    assert {1, 2, 3, 4, 5, 6, 7, 8, 9, 1000} <= set(numbers)
    assert (numbers < 32).mean() == pytest.approx(0.5, abs=0.06)


def test_every_point_of_a_finite_space() -> None:
    space = SearchSpace.of(
        a={"low": 2, "high": 8, "step": 3}, b={"choices": ["x", "y"]}, c={"low": -1, "high": 0}
    )
    points = list(space.points())
    expected = itertools.product([2, 5, 8], ["x", "y"], [-1, 0])
    assert [tuple(point.values()) for point in points] == list(expected)
    assert space.size == len(points) == 12
    assert all(space.holds(point) for point in points)


def test_distances_are_shares_of_ranges() -> None:
    space = SearchSpace.of(
        a={"low": 0.0, "high": 10.0},
        b={"low": 1.0, "high": 100.0, "log": True},
        c={"choices": ["x", "y", "z"]},
    )
    one = {"a": 1.0, "b": 1.0, "c": "x"}
    assert space.distance(one, one) == 0
    assert space.distance(one, {"a": 3.0, "b": 10.0, "c": "z"}) == pytest.approx(0.2 + 0.5 + 1)
