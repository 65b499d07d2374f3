"""The parts of the delta scan's benchmark that decide about its result."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from athanor.query.clustering import DELTAS

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def scan(monkeypatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("delta_scan")


def test_the_normalised_cut_is_its_formula(scan) -> None:
    rng = np.random.default_rng(3)
    kernel = rng.random((15, 15))
    kernel = kernel + kernel.T
    clusters = np.concatenate([np.arange(4), rng.integers(0, 4, 11)])
    expected = 0.0
    for cluster in range(4):
        inside = sum(
            kernel[a, b]
            for a in range(15)
            for b in range(15)
            if a != b and clusters[a] == clusters[b] == cluster
        )
        leaving = sum(
            kernel[a, b]
            for a in range(15)
            for b in range(15)
            if clusters[a] == cluster != clusters[b]
        )
        expected += leaving / (inside + leaving)
    assert scan.normalised_cut(kernel, clusters) == pytest.approx(expected, rel=1e-12)


def test_the_summary_counts_all_deltas(scan) -> None:
    mine = {"seconds": 2.0, "normalised_cut": [1.0, 3.0], "mean_distance": [1.0, 0.5]}
    theirs = {"seconds": 40.0, "normalised_cut": [2.0, 2.0], "mean_distance": [0.8, 0.5]}
    parts = {f"ours {delta:g}": mine for delta in DELTAS}
    parts |= {f"refitted {delta:g}": theirs for delta in DELTAS}
    parts["ours 0.3"] = mine | {"seconds": 13.0}
    found = scan.summary(parts)
    assert found["ours_seconds"] == 33.0
    assert found["times_faster"] == pytest.approx(440 / 33, abs=0.05)
    assert found["normalised_cut"]["ours_as_good_or_better"] == 0.5
    assert found["normalised_cut"]["ratio_of_means"] == 1.0
    assert found["normalised_cut"]["worst_ratio"] == 1.5
    assert found["mean_distance"]["ours_as_good_or_better"] == 1.0
    assert found["mean_distance"]["worst_ratio"] == 1.0
