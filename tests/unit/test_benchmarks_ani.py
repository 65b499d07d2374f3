"""The parts of the ANI benchmarks that decide about a result."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from ase.build import bulk

from athanor.data.dataset import Dataset
from athanor.potentials.ani import AniConfig
from athanor.potentials.lj import LennardJones
from athanor.structure import Frame, Labels

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def module(monkeypatch):
    """Imports a module of the benchmarks, which are scripts and not on the path."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    return load


def numbered(count: int) -> Dataset:
    atoms = bulk("Al", cubic=True)
    return Dataset.of(Frame(atoms, Labels(float(k), np.zeros((4, 3)), None)) for k in range(count))


def test_random_networks_have_the_published_sizes_and_vector(module, reference) -> None:
    systems = module("ani_systems")
    ours, published = (systems.model_of(path) for path in (None, reference / "ani" / "potential"))
    for name in ("radial_cutoff", "angular_cutoff", "eta_r", "shf_r", "eta_a", "zeta", "shf_a"):
        assert getattr(ours.aev, name) == pytest.approx(getattr(published.aev, name))
    assert ours.aev.shf_z == pytest.approx(published.aev.shf_z, abs=1e-7)
    shapes = [[w.shape for w in model.networks[0].weights] for model in (ours, published)]
    assert shapes[0] == shapes[1]


def test_the_first_round_does_not_count_and_ratios_are_by_round(module) -> None:
    systems = module("ani_systems")
    ours, theirs = iter([99.0, 1.0, 2.0, 1.0]), iter([99.0, 20.0, 60.0, 40.0])
    calls = {
        "ours": lambda: (next(ours), 0.5),
        "theirs": lambda: (next(theirs), 0.5),
    }
    found = systems.in_turn(calls, 3)
    assert found["theirs"]["rounds_cpu_s"] == [20.0, 60.0, 40.0]
    faster = systems.ratio(found["theirs"], found["ours"])
    assert faster == {"median": 30.0, "least": 20.0, "most": 40.0}


def test_memory_of_a_call_is_measured(module) -> None:
    systems = module("ani_systems")
    held = []
    small = systems.peak(lambda: held.append(0))
    large = systems.peak(lambda: float(np.ones(4_000_000).sum()))
    assert large > 30e6 > small


def test_a_record_keeps_what_it_has(module, tmp_path) -> None:
    systems = module("ani_systems")
    path = tmp_path / "r.json"
    systems.Record(path, rounds=3).add("a", lambda: 1)
    again = systems.Record(path, rounds=3)
    again.add("a", lambda: 2)
    again.add("b", lambda: 3)
    assert (again.parts["a"], again.parts["b"]) == (1, 3)
    assert systems.Record(path).parts == again.parts


@pytest.mark.parametrize("seed", range(3))
def test_the_campaign_stays_within_its_labels(module, tmp_path, seed) -> None:
    settings, campaign = module("teacher.settings"), module("teacher.campaign")
    rng = np.random.default_rng(seed)
    AniConfig.example(seed=0).save(tmp_path / "teacher")
    own = settings.Settings(labels=int(rng.integers(30, 2000)), length_ps=5.0)
    config = campaign.config_of(own, tmp_path / "teacher", workers=1, hours=1.0)
    assert config.stop.max_labels == own.labels
    assert own.initial + settings.CYCLES * config.cycle.labels >= own.labels
    assert config.sample.schedule.period_ps == pytest.approx((0.2, 1.0))
    assert config.potential.size == 8
    assert all(hours > 0 for hours in own.forecast().values())


@pytest.mark.parametrize("seed", range(5))
def test_the_learning_curve_ends_with_everything(module, seed) -> None:
    settings = module("teacher.settings")
    labels = int(np.random.default_rng(seed).integers(20, 3000))
    sizes = settings.curve_sizes(labels)
    assert sizes[-1] == labels
    assert sizes == tuple(sorted(set(sizes)))
    assert labels < 40 or 20 <= sizes[0] < 40


def test_a_smaller_set_is_drawn_from_all_of_it(module) -> None:
    settings, table = module("teacher.settings"), module("teacher.table")
    data, own = numbered(200), settings.Settings(held_out=0.25)
    parts = table.Parts.of(data, own)
    assert (len(parts.train), len(parts.test)) == (150, 50)
    some = [frame.labels.energy for frame in table.sized(data, 20, own)]
    assert some == sorted(set(some))
    assert min(some) < 60 < 140 < max(some)
    assert len(table.sized(data, 500, own)) == 200


def test_the_contrast_is_of_the_models(module) -> None:
    table = module("teacher.table")
    good, bad = ({"force_mae": value} for value in (0.04, 0.48))
    rows = {
        "AL trained": {"AL test": good, "FCC/melt test": good},
        "FCC/melt trained": {"AL test": bad, "FCC/melt test": good},
    }
    assert table.contrast(rows) == {
        "AL test": {"force_mae": pytest.approx(12.0)},
        "FCC/melt test": {"force_mae": 1.0},
    }


@pytest.mark.parametrize(("factor", "met"), [(0.99, True), (1.01, False)])
def test_a_goal_is_met_or_not(module, factor, met) -> None:
    table = module("teacher.table")
    active = {name: factor * goal for name, goal in table.GOAL.items()}
    melt = {name: 10 / factor * value for name, value in active.items()}
    rows = {"AL trained": {"AL test": active}, "FCC/melt trained": {"AL test": melt}}
    found = table.reached(rows)
    assert len(found) == 8
    assert set(found.values()) == {met}


def test_averaging_lowers_the_errors_of_a_committee_without_bias(module) -> None:
    table = module("teacher.table")

    class Committee:
        """Members off by opposite amounts."""

        def predict_each(self, structures):
            return [[self._off(atoms, sign) for sign in (1, -1)] for atoms in structures]

        def predict(self, structures):
            return [self._off(atoms, 0.5) for atoms in structures]

        members = ()
        save = None

        @staticmethod
        def _off(atoms, by):
            return Labels(0.4 * by, np.full((len(atoms), 3), 0.1 * by), None)

    data = Dataset.of([Frame(bulk("Al", cubic=True), Labels(0.0, np.zeros((4, 3)), None))] * 3)
    found = table.averaging(Committee(), data)
    assert found["members"]["energy_mae_meV"] == pytest.approx(100.0)
    assert found["lower_percent"] == {name: pytest.approx(50.0) for name in found["mean"]}


def test_interrupted_heating_goes_on_to_the_same_snapshots(module, tmp_path) -> None:
    settings, equilibrium = module("teacher.settings"), module("teacher.equilibrium")
    potential = LennardJones(frozenset({"Al"}), cutoff=5.0, epsilon=0.2, sigma=2.55)
    plan = equilibrium.Heating(snapshots=40, length_ps=0.2)
    assert [plan.temperature(share) for share in (0.0, 0.25, 0.5, 1.0)] == [300, 900, 1500, 300]

    def run() -> list[np.ndarray]:
        pieces = equilibrium._heated(potential, plan, settings.Settings().seed, tmp_path)
        return [atoms.positions for _, taken in pieces for atoms in taken]

    first = run()
    assert len(first) == 40
    for path in sorted(tmp_path.glob("heated_*.npz"))[7:]:
        path.unlink()
    for one, other in zip(first, run(), strict=True):
        assert np.array_equal(one, other)
    assert 0 < equilibrium.displacement(tmp_path) < 1.4


def test_a_folder_of_other_settings_is_refused(module, tmp_path, monkeypatch) -> None:
    teacher = module("ani_teacher")

    def settled(labels: str) -> object:
        monkeypatch.setattr("sys.argv", ["x", "t", str(tmp_path / "run"), "--labels", labels])
        return teacher.settled(teacher.options())

    assert settled("300") == settled("300")
    with pytest.raises(SystemExit, match="labels = 300, not 400"):
        settled("400")
