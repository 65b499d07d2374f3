"""The error of the mean of a correlated series."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from athanor.dynamics import mean_of
from athanor.errors import MeasurementError


@pytest.mark.parametrize("memory", [0.0, 0.8, 0.95])
def test_the_error_is_that_of_many_runs(memory: float) -> None:
    """An autoregressive series: its mean has the variance s² (1 + a) / (1 - a) / n."""
    rng = np.random.default_rng(int(100 * memory))
    count, repeats = 4096, 200
    series = lfilter([1.0], [1.0, -memory], rng.normal(size=(repeats, count)), axis=1)
    found = [mean_of(one) for one in series]
    true = 1 / (1 - memory) / np.sqrt(count)
    # blocking finds the variance from a few dozen blocks, and takes the largest of some estimates
    assert np.mean([one.error for one in found]) == pytest.approx(1.1 * true, rel=0.15)
    pulls = [one.value / one.error for one in found]
    assert 0.7 < np.std(pulls) < 1.1
    inefficiency = (1 + memory) / (1 - memory)
    assert np.median([one.correlation for one in found]) == pytest.approx(inefficiency, rel=0.35)


def test_a_constant_has_no_error() -> None:
    found = mean_of(np.full(50, 2.5))
    assert (found.value, found.error, found.correlation) == (2.5, 0.0, 1.0)


def test_the_mean_moves_with_the_series() -> None:
    series = np.random.default_rng(1).normal(size=333)
    found, moved = mean_of(series), mean_of(3 * series + 7)
    assert moved.value == pytest.approx(3 * found.value + 7)
    assert moved.error == pytest.approx(3 * found.error)


@pytest.mark.parametrize("series", [[], [1.0, 2.0, 3.0], [[1.0, 2.0], [3.0, 4.0]]])
def test_what_is_too_short_has_no_error(series: list[float]) -> None:
    with pytest.raises(MeasurementError, match="give at least 4 values"):
        mean_of(series)


def test_what_is_not_finite_has_no_mean() -> None:
    with pytest.raises(MeasurementError, match="not finite"):
        mean_of([1.0, 2.0, np.nan, 3.0, 4.0])
