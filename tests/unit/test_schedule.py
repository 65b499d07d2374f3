"""Schedules of temperature and density."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from athanor.errors import ConfigError
from athanor.sample._schedule import Course, DensityRanges, ScheduleRanges

temperature = st.floats(0, 3000)


@settings(max_examples=50, deadline=None)
@given(
    start=temperature,
    end=temperature,
    swing=temperature,
    period=st.floats(10, 1e5),
    length=st.floats(10, 1e6),
    part=st.floats(0, 1),
)
def test_formula(
    start: float, end: float, swing: float, period: float, length: float, part: float
) -> None:
    schedule = Course(start, end, swing, period, length)
    t = part * length
    # sin² x = (1 - cos 2x) / 2: eq. 2 written another way
    expected = (
        start * (1 - part) + end * part + swing * (1 - math.cos(2 * math.pi * t / period)) / 2
    )
    assert schedule(t) == pytest.approx(expected, abs=1e-6 * (1 + swing))
    assert schedule(0.0) == start


def test_drawn_numbers_lie_in_their_ranges_and_fill_them() -> None:
    rng = np.random.default_rng(11)
    drawn = [ScheduleRanges().draw(rng, length_fs=1000.0) for _ in range(400)]
    for name, low, high in (
        ("start", 10, 1000),
        ("end", 10, 600),
        ("modulation", 0, 2000),
        ("period_fs", 10_000, 50_000),
    ):
        values = np.array([getattr(one, name) for one in drawn])
        assert values.min() >= low
        assert values.max() <= high
        error = (high - low) / math.sqrt(12 * len(values))
        assert values.mean() == pytest.approx((low + high) / 2, abs=5 * error)


def test_equal_ends_fix_a_number() -> None:
    ranges = ScheduleRanges.parse(
        {"start_K": [300, 300], "end_K": [300, 300], "modulation_K": [0, 0]}, where="s"
    )
    schedule = ranges.draw(np.random.default_rng(0), length_fs=50.0)
    assert {schedule(t) for t in (0.0, 20.0, 50.0)} == {300.0}


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"start_K": [300, 200]}, "upside down"),
        ({"end_K": [-1, 200]}, "below zero"),
        ({"period_ps": [0, 1]}, "above zero"),
        ({"start": [1, 2]}, "unknown key 'start' .did you mean 'start_K'"),
    ],
)
def test_wrong_ranges(table: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ScheduleRanges.parse(table, where="[sample.schedule]")


def test_the_density_starts_where_the_structure_is_unless_told() -> None:
    rng = np.random.default_rng(12)
    table = {"end": [2.0, 4.0], "modulation": [0.0, 0.5], "period_ps": [1.0, 2.0]}
    free = [
        DensityRanges.parse(table, where="d").draw(rng, density=d, length_fs=900.0)
        for d in np.linspace(1.5, 3.5, 200)
    ]
    assert [one(0.0) for one in free] == np.linspace(1.5, 3.5, 200).tolist()
    ends = np.array([one.end for one in free])
    assert 2.0 <= ends.min() < 2.1
    assert 3.9 < ends.max() <= 4.0
    assert ends.mean() == pytest.approx(3.0, abs=5 * 2.0 / math.sqrt(12 * 200))
    bounds = [one(t) for one in free for t in np.linspace(0, 900, 7)]
    assert 1.5 <= min(bounds) <= max(bounds) <= 4.5
    told = DensityRanges.parse({**table, "start": [1.8, 1.9]}, where="d")
    starts = [told.draw(rng, density=9.0, length_fs=900.0)(0.0) for _ in range(20)]
    assert 1.8 <= min(starts) < max(starts) <= 1.9


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({}, "the key 'end' is missing"),
        ({"end": [0.0, 2.0]}, "above zero"),
        ({"end": [3.0, 2.0]}, "upside down"),
        ({"end": [2.0, 3.0], "modulation": [-0.1, 0.1]}, "below zero"),
        ({"end": [2.0, 3.0], "begin": [2.0, 3.0]}, "unknown key 'begin'"),
        ({"end": [2.0, 3.0], "start": [0, 1]}, "above zero"),
    ],
)
def test_wrong_densities(table: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        DensityRanges.parse(table, where="[sample.density]")
