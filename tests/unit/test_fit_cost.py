"""What a fit says it will take, and that it does not begin what cannot fit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from athanor.data.dataset import Dataset
from athanor.errors import FitError
from athanor.potentials._mtp import cost
from athanor.potentials._mtp.basis import basis
from athanor.potentials._mtp.model import MtpModel
from athanor.potentials._mtp.problem import Data, FitSettings, thinned
from athanor.potentials._mtp.rows import LossWeights
from athanor.potentials.mtp import MtpConfig
from athanor.structure import Frame, Labels

SETTINGS = FitSettings(
    LossWeights(1.0, 0.01, 0.001, "vibrations"),
    ridge=1e-9,
    steps=1,
    tolerance=1e-3,
    patience=2,
    core=True,
)


def frames(seed: int, count: int, *, repeat: int = 2) -> Dataset:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        atoms = bulk("Al", a=rng.uniform(3.9, 4.2), cubic=True).repeat(repeat)
        atoms.rattle(0.1, rng=rng)
        labels = Labels(rng.normal(), rng.normal(size=(len(atoms), 3)), np.eye(3) * rng.normal())
        found.append(Frame(atoms, labels))
    return Dataset.of(found)


def blank(level: int) -> MtpModel:
    tables = basis(level)
    return MtpModel(
        species=("Al",),
        tables=tables,
        min_dist=1.9,
        max_dist=4.5,
        scaling=0.1,
        radial=np.random.default_rng(1).normal(size=(1, 1, tables.n_radial, 8)),
        species_coeffs=np.zeros(1),
        moment_coeffs=np.zeros(len(tables.mapping)),
    )


def blocks_of(data: Dataset, level: int) -> Data:
    return Data.of(data, Dataset(), model=blank(level), settings=SETTINGS)


MEASURE = """
import resource, sys
import numpy as np
sys.path.insert(0, {here!r})
from test_fit_cost import blank, blocks_of, frames
from athanor.potentials._mtp import cost
from athanor.potentials._mtp.program import program_of
from athanor.potentials._mtp.rows import triangle
model, small, large = blank(18), blocks_of(frames(1, 2), 18), blocks_of(frames(2, 70), 18)
def peak():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
def now():
    return resource.getpagesize() * int(open("/proc/self/statm").read().split()[1])
program = program_of(model, core=True)
triangle(small.train, program, n_radial=model.radial.size, threads=1)  # libraries are in now
# fill up to the highest the imports have been, so that the peak is what comes on top
ballast = np.ones((peak() - now()) // 8 + 1)
before = peak()
triangle(large.train, program, n_radial=model.radial.size, threads=1)
print(peak() - before, cost.largest_block(large.train, cost.width(model)))
"""


def test_memory_is_what_was_said() -> None:
    """Peak of a process that folds two full blocks, beside the prediction."""
    code = MEASURE.format(here=str(Path(__file__).parent))
    # every array is given back when it is freed
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    out = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    ).stdout
    taken, said = map(int, out.split())
    assert 0.5 * said < taken < 1.3 * said


def test_blocks_do_not_grow_with_the_training_set() -> None:
    sizes = [
        cost.largest_block(blocks_of(frames(3, count), 6).train, cost.width(blank(6)))
        for count in (70, 140, 280)
    ]
    assert sizes[0] == sizes[1] == sizes[2]


def test_what_cannot_fit_is_refused_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "free_memory", lambda: 10_000)
    with pytest.raises(
        FitError,
        match=r"rows of a block need .* MB of memory and 0 MB are free: lower `level`.*32\)",
    ):
        MtpConfig(level=4).fit(frames(4, 3), Dataset(), seed=0, workdir=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"meminfo": "MemTotal: 9 kB\nMemAvailable:     2000 kB\n"}, 2_048_000),
        ({"meminfo": "MemAvailable: 2000 kB\n", "memory.max": "max\n"}, 2_048_000),
        (
            {"meminfo": "MemAvailable: 2000 kB\n", "memory.max": "9000", "memory.current": "4000"},
            5000,
        ),
        ({"memory.max": "9000\n", "memory.current": "9500\n"}, 0),
        ({"meminfo": "MemAvailable:\n"}, None),
        ({"meminfo": "nothing\n"}, None),
        ({}, None),
    ],
)
def test_free_memory_is_what_the_system_says(
    files: dict[str, str], said: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(cost, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(cost, "_CGROUP", tmp_path)
    assert cost.free_memory() == said


def test_workers_share_what_was_free_when_they_began(monkeypatch: pytest.MonkeyPatch) -> None:
    free = 900

    def now() -> int | None:
        return free

    monkeypatch.setattr(cost, "free_memory", now)
    assert cost.share_of_memory() == cost.Share(900, 1)
    for name, value in cost.environment_of_workers(3).items():
        monkeypatch.setenv(name, value)
    assert cost.share_of_memory() == cost.Share(300, 3)
    free = 500  # others took theirs
    assert cost.share_of_memory() == cost.Share(300, 3)
    free = 200  # somebody else took it
    assert cost.share_of_memory() == cost.Share(200, 3)
    free = 1200
    assert cost.share_of_memory() == cost.Share(400, 3)
    monkeypatch.setattr(cost, "free_memory", lambda: None)
    assert cost.share_of_memory() is None
    for name, value in cost.environment_of_workers(2).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(cost, "free_memory", now)
    assert cost.share_of_memory() == cost.Share(600, 2), "it was not known before"
    assert cost.Share(3_000_000, 1).sentence() == "3 MB are free"
    assert cost.Share(3_000_000, 2).sentence() == "3 MB are free for each of 2 workers"


def test_where_the_system_says_nothing_the_fit_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "free_memory", lambda: None)
    MtpConfig(level=2, steps=1, starts=1).fit(frames(5, 2), Dataset(), seed=0, workdir=tmp_path)
    lines = (tmp_path / "fit.jsonl").read_text().splitlines()
    (line,) = [text for text in lines if "forecast" in text]
    assert json.loads(line)["forecast"].startswith("expected: about ")


def test_forecasts_add_up() -> None:
    both = cost.Forecast(30.0, 3_000_000) + cost.Forecast(300.0, 2_500_000_000)
    assert both.sentence() == "expected: about 6 min of computing, 2.5 GB of memory for the rows"
    few = cost.Forecast(1.23, 3_000_000)
    assert few.sentence() == "expected: about 1.2 s of computing, 3 MB of memory for the rows"


@pytest.mark.parametrize("seed", range(3))
def test_thinning_takes_one_of_every_so_many(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count, every = int(rng.integers(5, 60)), int(rng.integers(2, 9))
    data = frames(seed, count, repeat=1)
    names = [id(frame) for frame in data]
    found = [names.index(id(frame)) for frame in thinned(data, share=1 / every, seed=seed)]
    assert [index // every for index in found] == list(range((count + every - 1) // every))
    assert len(thinned(data, share=1.0, seed=seed)) == count
    again = thinned(data, share=1 / every, seed=seed)
    assert [names.index(id(frame)) for frame in again] == found
