"""Planning is a pure function: the campaign is played here without doing anything."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Literal

import numpy as np
import pytest

from athanor.campaign.config import CampaignConfig, CycleSection, StopSection
from athanor.campaign.events import (
    CampaignFinished,
    CampaignStarted,
    FailuresForgiven,
    SnapshotMade,
    TaskFailed,
    TaskFinished,
)
from athanor.campaign.plan import Conclude, Freeze, Step, plan
from athanor.campaign.progress import progress_of
from athanor.campaign.sections import CampaignSection
from athanor.campaign.state import State, apply
from athanor.campaign.steps import Abort, Done, Work
from athanor.campaign.tasks import Task
from athanor.errors import ConfigError
from athanor.oracle import OracleConfig
from athanor.potentials import PotentialConfig
from athanor.query import QueryConfig
from athanor.sample import SamplerConfig, StartConfig
from athanor.validate import PropertyConfig


def dormant(recipe: type) -> type:
    """Let a recipe be made that lacks what planning never calls."""
    recipe.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]  # of every ABC
    return recipe


@dormant
class Recipe(PotentialConfig):
    provides: ClassVar[frozenset[str]] = frozenset({"features"})
    kind: Literal["recipe"] = "recipe"
    size: int = 1


@dormant
class Ask(QueryConfig):
    requires: ClassVar[frozenset[str]] = frozenset({"features"})
    kind: Literal["ask"] = "ask"


@dormant
class Begin(StartConfig):
    kind: Literal["begin"] = "begin"


@dormant
class Walk(SamplerConfig):
    kind: Literal["walk"] = "walk"


@dormant
class Pay(OracleConfig):
    kind: Literal["pay"] = "pay"


@dormant
class Measure(PropertyConfig):
    kind: Literal["measure"] = "measure"
    what: str = "a"


def config(
    *, validate: tuple[PropertyConfig, ...] = (), cycle: dict[str, Any] | None = None, **stop: Any
) -> CampaignConfig:
    return CampaignConfig(
        campaign=CampaignSection(seed=5),
        potential=Recipe(size=1),
        query=Ask(),
        start=Begin(),
        sample=Walk(),
        oracle=Pay(),
        cycle=CycleSection(**{"initial": 3, "trajectories": 2, "labels": 2, **(cycle or {})}),
        stop=StopSection(**stop),
        validate=validate,
    )


class World:
    """Pretends to do what the plan says; `behave(task, cycle)` may change a task's summary."""

    def __init__(self, made: CampaignConfig, behave: Callable[[Task], Any] | None = None) -> None:
        self.config = made
        self.behave = behave or (lambda task: None)
        self.state = apply(State(), CampaignStarted(0.0, "a", 5, "pbe", {}))
        self.clock: Iterator[int] = itertools.count(1)
        self.done: list[Task] = []
        self.steps: list[Step] = []

    def play(self, rng: np.random.Generator | None = None) -> Step:
        """Go on until the plan has nothing more to do, taking tasks in random order."""
        for _ in range(300):
            step = plan(self.config, self.state)
            assert step == plan(self.config, self.state)
            self.steps.append(step)
            if isinstance(step, Done | Abort):
                return step
            self.take(step, rng)
        raise AssertionError("the plan never ends")

    def take(self, step: Step, rng: np.random.Generator | None) -> None:
        if isinstance(step, Work):
            tasks = list(step.tasks)
            if rng is not None:
                # do some of them in any order, as a run that is killed would
                tasks = [tasks[i] for i in rng.permutation(len(tasks))]
                tasks = tasks[: int(rng.integers(1, len(tasks) + 1))]
            for task in tasks:
                self.do(task)
        elif isinstance(step, Freeze):
            count = len(self.state.snapshots) + 1
            names = f"train{step.cycle}", f"valid{step.cycle}"
            added = tuple(task for task, _ in step.labels)
            self.happen(SnapshotMade(self.now(), step.cycle, *names, count, 0, added))
        elif isinstance(step, Conclude):
            self.happen(
                CampaignFinished(
                    self.now(), step.stopped_by, step.cycle, step.potential, step.properties
                )
            )

    def do(self, task: Task) -> None:
        self.done.append(task)
        summary = self.behave(task)
        if isinstance(summary, str):
            self.happen(TaskFailed(self.now(), task.id, task.kind, task.cycle, "", summary))
            return
        summary = {**self.usual(task), **(summary or {})}
        self.happen(TaskFinished(self.now(), task.id, task.kind, task.cycle, 1.0, summary))

    def usual(self, task: Task) -> dict[str, Any]:
        if task.kind == "draw":
            return {"structures": [f"s{i}" for i in range(task.payload["count"])]}
        if task.kind == "sample":
            return {"steps": 10, "planned": 10, "stopped_by": "completed", "candidates": 2}
        if task.kind == "select":
            chosen = [
                {"structure": f"{task.id}-{i}", "artefact": "x", "index": i, "reason": "r"}
                for i in range(task.payload["budget"])
            ]
            return {"chosen": chosen, "offered": len(chosen)}
        return {}

    def now(self) -> float:
        return float(next(self.clock))

    def happen(self, event: Any) -> None:
        self.state = apply(self.state, event)

    def kinds(self) -> list[str]:
        return [task.kind for task in self.done]


def test_a_campaign_from_beginning_to_end() -> None:
    world = World(config(max_cycles=2, validate=(Measure(what="a"),)))
    assert isinstance(world.play(), Done)
    turn = ["sample"] * 2 + ["select"] + ["label"] * 2 + ["test", "fit"]
    first = ["draw", *["label"] * 3, "fit"]
    assert world.kinds() == [*first, *turn, *turn, "validate"]
    assert world.state.stopped_by == "max_cycles"
    fits = [task for task in world.done if task.kind == "fit"]
    assert [fit.inputs for fit in fits] == [
        ("train0", "valid0", ""),
        ("train1", "valid1", fits[0].id),
        ("train2", "valid2", fits[1].id),
    ]
    tests = [task for task in world.done if task.kind == "test"]
    assert [test.inputs[0] for test in tests] == [fits[0].id, fits[1].id]
    assert len({task.id for task in world.done}) == len(world.done)


@pytest.mark.parametrize("seed", range(5))
def test_order_of_completion_changes_nothing(seed: int) -> None:
    straight, shuffled = World(config(max_cycles=3)), World(config(max_cycles=3))
    straight.play()
    shuffled.play(np.random.default_rng(seed))
    assert {task.id for task in straight.done} == {task.id for task in shuffled.done}
    assert len(shuffled.done) == len(straight.done)
    assert straight.state.ended is not None
    assert shuffled.state.ended is not None
    assert straight.state.ended.potential == shuffled.state.ended.potential


def test_untriggered_cycles_end_it() -> None:
    def behave(task: Task) -> Any:
        if task.kind == "sample":
            bad = task.payload["cycle"] == 1 and task.payload["trajectory"] == 2
            bad |= task.payload["cycle"] == 3
            return {"stopped_by": "grade", "steps": 4} if bad else None
        return None

    world = World(config(untriggered_cycles=2, max_cycles=20), behave)
    world.play()
    assert world.state.stopped_by == "untriggered"
    assert world.state.cycle == 5


def test_a_candidate_is_a_trigger_when_asked_for() -> None:
    def behave(task: Task) -> Any:
        return {"candidates": int(task.payload["cycle"] < 4)} if task.kind == "sample" else None

    world = World(config(untriggered_cycles=1, max_cycles=20, trigger="save"), behave)
    world.play()
    assert (world.state.stopped_by, world.state.cycle) == ("untriggered", 4)
    eager = World(config(untriggered_cycles=1, max_cycles=20), behave)
    eager.play()
    assert (eager.state.stopped_by, eager.state.cycle) == ("untriggered", 1)


def test_candidates_that_have_their_labels_are_no_trigger() -> None:
    def behave(task: Task) -> Any:
        known = {"chosen": [], "offered": 0} if task.cycle == 4 else None
        return known if task.kind == "select" else None

    world = World(config(untriggered_cycles=1, max_cycles=20, trigger="save"), behave)
    world.play()
    assert (world.state.stopped_by, world.state.cycle) == ("untriggered", 4)


def test_without_candidates_the_potential_stays() -> None:
    world = World(config(max_cycles=3), lambda t: {"candidates": 0} if t.kind == "sample" else None)
    world.play()
    assert world.kinds().count("fit") == 1
    samples = [task for task in world.done if task.kind == "sample"]
    assert len({task.stream for task in samples}) == len(samples) == 6


@pytest.mark.parametrize("budget", range(1, 10))
def test_the_label_budget_is_never_passed(budget: int) -> None:
    world = World(config(max_labels=budget))
    world.play()
    assert world.state.stopped_by == "max_labels"
    assert world.state.labels_bought == budget
    assert world.kinds()[-1] == "fit", "the last fit has everything"


def test_hours() -> None:
    world = World(config(max_hours=12 / 3600))
    world.play()
    assert world.state.stopped_by == "max_hours"
    assert world.state.cycle == 1
    assert plan(world.config, world.state) == Done()


def test_more_cycles_carry_on() -> None:
    world = World(config(max_cycles=1))
    world.play()
    before = list(world.done)
    world.config = config(max_cycles=2, validate=(Measure(what="b"),))
    world.play()
    assert world.done[: len(before)] == before
    assert world.kinds()[len(before)] == "sample"
    assert world.kinds()[-1] == "validate"
    assert world.state.cycle == 2


def test_one_structure_is_labelled_once() -> None:
    world = World(
        config(max_cycles=0),
        lambda task: {"structures": ["s", "s", "t"]} if task.kind == "draw" else None,
    )
    world.play()
    assert world.kinds().count("label") == 2


def test_failed_labels_are_left_out() -> None:
    def behave(task: Task) -> Any:
        return "no" if task.kind == "label" and task.inputs == ("s1",) else None

    world = World(config(max_cycles=1), behave)
    world.play()
    (first, _) = [step for step in world.steps if isinstance(step, Freeze)]
    assert [origin for _, origin in first.labels] == ["cycle 0: start 1", "cycle 0: start 3"]
    (select,) = [task for task in world.done if task.kind == "select"]
    assert len(select.payload["failed"]) == 1


def test_when_all_first_labels_fail() -> None:
    world = World(config(max_cycles=1), lambda task: "no licence" if task.kind == "label" else None)
    end = world.play()
    assert isinstance(end, Abort)
    assert "every label of the first structures failed; the first said: no licence" in end.reason
    world.behave = lambda task: None
    world.happen(FailuresForgiven(world.now(), end.tasks))
    assert isinstance(world.play(), Done)


def test_when_all_labels_of_cycles_fail() -> None:
    def behave(task: Task) -> Any:
        return "dead" if task.kind == "label" and task.cycle > 0 else None

    world = World(config(max_cycles=9), behave)
    end = world.play()
    assert isinstance(end, Abort)
    assert world.state.cycle == 2
    world.behave = lambda task: None
    world.happen(FailuresForgiven(world.now(), end.tasks))
    assert isinstance(world.play(), Done)


def test_failed_trajectories() -> None:
    def one(task: Task) -> Any:
        return "broke" if task.kind == "sample" and task.payload["trajectory"] == 1 else None

    world = World(config(max_cycles=3, untriggered_cycles=1), one)
    world.play()
    assert world.state.stopped_by == "max_cycles", "a failed trajectory is not untriggered"
    world = World(config(max_cycles=3), lambda task: "broke" if task.kind == "sample" else None)
    end = world.play()
    assert isinstance(end, Abort)
    assert "every trajectory of cycle 1 failed; the first said: broke" in end.reason


def test_failed_properties_do_not_matter() -> None:
    made = config(max_cycles=0, validate=(Measure(what="a"),))
    world = World(made, lambda task: "cannot" if task.kind == "validate" else None)
    assert isinstance(world.play(), Done)


def test_identity_of_tasks() -> None:
    task = Task("label", {"level": "pbe"}, ("s",), cycle=1, title="x", hints={"index": 3})
    assert task.id == Task("label", {"level": "pbe"}, ("s",), cycle=7).id
    others = [
        Task("label", {"level": "scan"}, ("s",)),
        Task("label", {"level": "pbe"}, ("t",)),
        Task("label", {"level": "pbe"}, ("s",), seed=1),
        Task("fit", {"level": "pbe"}, ("s",)),
    ]
    assert len({task.id, *(other.id for other in others)}) == 5
    assert 0 <= task.stream < 2**31
    with pytest.raises(TypeError, match="not plain data"):
        assert Task("fit", {"x": object()}).id


def test_the_query_must_fit_the_potential() -> None:
    @dormant
    class Blind(Recipe):
        provides: ClassVar[frozenset[str]] = frozenset()

    made = config(max_cycles=1)
    with pytest.raises(ConfigError, match=r"needs features, but \[potential\].*provides nothing"):
        CampaignConfig(**{**vars(made), "potential": Blind()})


def test_progress_forecasts_from_the_pace() -> None:
    world = World(config(max_cycles=4))
    told = []
    for _ in range(300):
        step = plan(world.config, world.state)
        work = step if isinstance(step, Work) else None
        told.append(progress_of(world.config, world.state, work, now=world.state.last_at or 0.0))
        if isinstance(step, Done):
            break
        world.take(step, np.random.default_rng(0))
    assert told[0].remaining_s is None
    sampling = [p for p in told if p.phase == "sample" and p.cycle == 2]
    rest = world.state.elapsed_s - sampling[-1].elapsed_s
    assert sampling[-1].remaining_s == pytest.approx(rest, rel=0.5)
    assert told[-1].phase == "done"
    assert told[-1].stopped_by == "max_cycles"
    assert told[-1].survival == (4, (1.0, 1.0))
    assert [p.labels for p in told] == sorted(p.labels for p in told)
