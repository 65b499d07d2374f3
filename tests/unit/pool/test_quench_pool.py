"""A pool made by molecular dynamics."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.geometry import get_distances

from athanor.calculator import PotentialCalculator
from athanor.data.formats import read_frames
from athanor.errors import ConfigError, OracleError
from athanor.pool import Pool, kinds
from athanor.pool.quench import TRAJECTORY, QuenchPool
from athanor.potentials import FIT_LOG
from athanor.potentials.lj import LennardJones
from athanor.structure import Labels

ARGON = LennardJones(frozenset({"Ar"}), cutoff=6.0, epsilon=0.0104, sigma=3.4)
SMALL: dict[str, Any] = {
    "formula": "Ar",
    "atoms": 12,
    "density": 1.4,
    "temperatures_K": [150.0, 80.0],
    "plateau_ps": 0.2,
    "equilibration_ps": 0.05,
    "ramp_ps": 0.1,
    "melt_ps": 0.05,
    "melt_temperature_K": 300.0,
    "timestep_fs": 2.0,
    "interval": 5,
    "min_distance": 2.8,
    "segment": 20,
}


class Forgetful(PotentialCalculator):
    """Its forces drift with the number of its calls, and it may die at one of them."""

    def __init__(self, owner: Teacher) -> None:
        super().__init__(ARGON)
        self._owner, self._calls = owner, 0

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        self._calls += 1
        self._owner.calls += 1
        self.results["forces"] = self.results["forces"] * (1 + 1e-3 * self._calls)
        self._owner.struck(self.results)


class Teacher:
    """An oracle of which everything is known; `ends` is raised at the call of the number `dies`."""

    def __init__(
        self, dies: int = 0, ends: BaseException | None = None, wrong: float | None = None
    ) -> None:
        self.calls, self._dies, self._ends, self._wrong = 0, dies, ends, wrong

    @property
    def level(self) -> str:
        return "teacher:1"

    def label(self, atoms: Atoms, *, workdir: Path) -> Labels:
        return ARGON.predict([atoms])[0]

    def calculator(self, *, workdir: Path) -> Calculator:
        return Forgetful(self)

    def struck(self, results: dict[str, Any]) -> None:
        if self.calls == self._dies:
            if self._ends is not None:
                raise self._ends
            results["forces"] = np.full_like(results["forces"], self._wrong)


def small(**changes: Any) -> QuenchPool:
    return QuenchPool.parse({**SMALL, **changes}, where="[pool]")


def bits(pool: Pool) -> list[tuple[bytes, ...]]:
    return [
        (atoms.positions.tobytes(), labels.forces.tobytes(), np.array(labels.energy).tobytes())
        for atoms, labels in zip(pool.structures, pool.labels, strict=True)
        if labels is not None
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pool, int, Path]:
    folder, teacher = tmp_path_factory.mktemp("whole"), Teacher()
    return small().frames(oracle=teacher, seed=1, workdir=folder), teacher.calls, folder


def test_kind_is_found() -> None:
    assert kinds()["quench"] is QuenchPool
    assert QuenchPool().needs_oracle


def test_the_default_course_is_the_silica_reference() -> None:
    course = QuenchPool().course
    names = [stage.name for stage in course.stages]
    assert names[:3] == ["melt 6000 K", "plateau 4000 K", "ramp 4000-3000 K"]
    assert names[-1] == "plateau 300 K"
    assert len(names) == 1 + 5 + 4
    assert 950 <= course.frames <= 1050


def test_frames_groups_and_labels(whole: tuple[Pool, int, Path]) -> None:
    pool, _, folder = whole
    assert Counter(pool.groups) == {"plateau 150 K": 15, "ramp 150-80 K": 10, "plateau 80 K": 15}
    assert pool.level == "teacher:1"
    assert pool.labelled == len(pool) == small().course.frames
    assert len(set(pool.origins)) == len(pool)
    assert pool.origins[0] == "plateau 150 K, step 55"
    for atoms, labels in zip(pool.structures, pool.labels, strict=True):
        expected = ARGON.predict([atoms])[0]
        assert labels is not None
        assert labels.energy == pytest.approx(expected.energy, rel=1e-9)
        np.testing.assert_allclose(labels.stress, expected.stress, rtol=1e-6, atol=1e-12)
        assert atoms.get_masses().sum() / atoms.get_volume() == pytest.approx(1.4 * 0.602214, 1e-4)
    kept = read_frames(folder / TRAJECTORY)
    assert [frame.labels.energy for frame in kept] == [
        labels.energy for labels in pool.labels if labels
    ]


def test_the_thermostat_is_followed(tmp_path: Path) -> None:
    """Kinetic energies are not in the pool; how far atoms go in a step is."""
    pool = small(
        temperatures_K=[400.0, 20.0],
        plateau_ps=1.0,
        equilibration_ps=0.4,
        friction_per_ps=20.0,
        interval=1,
        segment=400,
    ).frames(oracle=Teacher(), seed=3, workdir=tmp_path)
    assert pool.groups is not None
    speeds: dict[str, list[float]] = {}
    for k, group in enumerate(pool.groups[:-1]):
        if pool.groups[k + 1] == group:
            first, second = pool.structures[k], pool.structures[k + 1]
            moved = get_distances(first.positions, second.positions, cell=first.cell, pbc=True)[
                1
            ].diagonal()
            speeds.setdefault(group, []).append(float((moved**2).mean()) / 2.0**2)
    mass, boltzmann = 39.948, 8.617333e-5
    for group, target in (("plateau 400 K", 400.0), ("plateau 20 K", 20.0)):
        # (Å/fs)² amu in eV: 103.6427
        temperature = np.mean(speeds[group]) * mass * 103.6427 / (3 * boltzmann)
        assert temperature == pytest.approx(target, rel=0.25)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_trajectory_that_was_interrupted_is_the_same(
    seed: int, whole: tuple[Pool, int, Path], tmp_path: Path
) -> None:
    pool, calls, _ = whole
    rng = np.random.default_rng(seed)
    for dies in sorted(rng.integers(2, calls // 2, 2)):
        with pytest.raises(KeyboardInterrupt):
            small().frames(oracle=Teacher(dies, KeyboardInterrupt()), seed=1, workdir=tmp_path)
    segments = sorted(tmp_path.glob("quench-*/segment-*.npz"))
    assert segments
    if seed == 2:
        segments[-1].write_bytes(segments[-1].read_bytes()[:-40])
    last = Teacher()
    again = small().frames(oracle=last, seed=1, workdir=tmp_path)
    assert bits(again) == bits(pool)
    assert again.origins == pool.origins
    assert last.calls < calls
    none = Teacher()
    assert bits(small().frames(oracle=none, seed=1, workdir=tmp_path)) == bits(pool)
    assert none.calls == 0


def test_another_seed_or_recipe_is_another_trajectory(
    whole: tuple[Pool, int, Path], tmp_path: Path
) -> None:
    pool, _, _ = whole
    other = small().frames(oracle=Teacher(), seed=2, workdir=tmp_path)
    assert not set(bits(other)) & set(bits(pool))
    warm = small(melt_temperature_K=310.0).frames(oracle=Teacher(), seed=2, workdir=tmp_path)
    assert not set(bits(other)) & set(bits(warm))


def test_progress_is_told(whole: tuple[Pool, int, Path]) -> None:
    lines = [json.loads(line) for line in (whole[2] / FIT_LOG).read_text().splitlines()]
    steps = small().course.steps
    assert [line["step"] for line in lines] == [*range(20, steps, 20), steps]
    assert lines[-1]["steps"] == steps
    assert lines[-1]["stage"] == "plateau 80 K of the melt-quench"
    assert all(a["seconds"] <= b["seconds"] for a, b in pairwise(lines))


def test_without_an_oracle(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"add \[oracle\]"):
        small().frames(oracle=None, seed=0, workdir=tmp_path)


@pytest.mark.parametrize(
    ("teacher", "said"),
    [
        (Teacher(200, OracleError("out of range")), r"lost at step \d+ of 275 \(out of range\)"),
        (Teacher(200, wrong=np.nan), "not finite"),
        (Teacher(200, wrong=1e4), "temperature reached|came within|kinetic"),
    ],
)
def test_a_lost_trajectory(teacher: Teacher, said: str, tmp_path: Path) -> None:
    with pytest.raises(OracleError, match=said) as error:
        small().frames(oracle=teacher, seed=1, workdir=tmp_path)
    assert "shorten timestep_fs" in str(error.value)


def test_a_start_that_cannot_be_relaxed(tmp_path: Path) -> None:
    with pytest.raises(OracleError, match=r"random start of .* raise min_distance"):
        small().frames(oracle=Teacher(1, OracleError("too near")), seed=1, workdir=tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"formula": "SiO2", "atoms": 73}, "give a multiple of 3, e.g. 72"),
        ({"formula": "Sj2"}, "is not a formula"),
        ({"formula": ""}, "is not a formula"),
        ({"temperatures_K": []}, "temperatures_K"),
        ({"temperatures_K": [300.0, -1.0]}, "no temperature"),
        ({"temperatures_K": [300.0], "equilibration_ps": 0.2}, "the course gives 0 frames"),
        ({"density": 0.0}, "density"),
        ({"atom": 3}, "did you mean 'atoms'"),
    ],
)
def test_what_cannot_be_a_quench(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        small(**changes)
