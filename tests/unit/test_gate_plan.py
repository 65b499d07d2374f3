"""Measuring between cycles and the regression gate, as a plan: nothing is done here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from test_plan import Measure, World, config

from athanor.campaign.events import TaskFinished
from athanor.campaign.gate import Gated, Judgement, gate_of, gated, judged, judgements_of
from athanor.campaign.plan import Conclude, plan
from athanor.campaign.steps import Done
from athanor.campaign.tasks import Task
from athanor.validate import PropertyResult, Quantity
from athanor.validate._contract import FAILED

Behave = Callable[[Task], Any]


def item(what: str = "a", *, every: int | None = 1, gate: tuple[str, ...] = ()) -> Measure:
    return Measure(what=what, every=every, gate=gate)


def refusing(*cycles: int, then: Behave = lambda task: None) -> Behave:
    """A gate that refuses the potentials of these cycles."""

    def behave(task: Task) -> Any:
        if task.kind != "gate":
            return then(task)
        reasons = ["a got worse"] if task.cycle in cycles else []
        return judged(task, ()) | {"reasons": reasons}

    return behave


def fits(world: World) -> list[str]:
    return [task.id for task in world.done if task.kind == "fit"]


def gates(world: World) -> list[Task]:
    return [task for task in world.done if task.kind == "gate"]


def measured(world: World) -> list[tuple[int, str]]:
    return [(t.cycle, t.payload["property"]["what"]) for t in world.done if t.kind == "validate"]


def test_measured_after_every_nth_cycle_and_at_the_end() -> None:
    some = (item("a", every=2), item("b", every=None), item("c", every=3))
    world = World(config(max_cycles=5, validate=some))
    assert isinstance(world.play(), Done)
    assert measured(world) == [
        (2, "a"),
        (3, "c"),
        (4, "a"),
        *((5, what) for what in "abc"),
    ]
    assert gates(world) == []
    kinds = world.kinds()
    assert kinds[kinds.index("validate") - 1] == "fit"
    assert world.state.ended is not None
    assert world.state.ended.potential == fits(world)[-1]


def test_nothing_is_measured_twice_of_a_potential_that_stays() -> None:
    def barren(task: Task) -> Any:
        return {"candidates": 0} if task.kind == "sample" else None

    world = World(config(max_cycles=4, validate=(item(gate=("*",)),)), refusing(then=barren))
    world.play()
    assert measured(world) == [(1, "a")]
    assert len(gates(world)) == 1


def test_each_is_compared_with_the_last_that_was_promoted() -> None:
    world = World(config(max_cycles=5, validate=(item(gate=("*",)),)), refusing(2, 4))
    assert isinstance(world.play(), Done)
    told = [(task.cycle, task.hints["against"]) for task in gates(world)]
    assert told == [(1, None), (2, 1), (3, 1), (4, 3), (5, 3)]
    tasks = {task.cycle: task.id for task in world.done if task.kind == "validate"}
    compared = [(one["new"], one["old"]) for t in gates(world) for one in t.payload["properties"]]
    assert compared == [
        (tasks[cycle], None if against is None else tasks[against]) for cycle, against in told
    ]
    assert world.state.ended is not None
    assert world.state.ended.potential == fits(world)[5]


def test_the_refused_end_hands_over_the_promoted_potential() -> None:
    some = (item("a", gate=("*",)), item("b", every=None))
    world = World(config(max_cycles=4, validate=some), refusing(3, 4))
    world.play()
    (end,) = [step for step in world.steps if isinstance(step, Conclude)]
    assert (end.stopped_by, end.cycle) == ("max_cycles", 4)
    assert (end.potential, end.train, end.valid) == (fits(world)[2], "train2", "valid2")
    # what has no gate is measured with what is handed over, too
    assert measured(world)[-3:] == [(4, "a"), (4, "b"), (2, "b")]
    own = [task.id for task in world.done if task.kind == "validate" and task.cycle == 2]
    assert set(end.properties) == set(own)


@pytest.mark.parametrize("seed", range(4))
def test_order_of_completion_changes_nothing(seed: int) -> None:
    some = (item("a", gate=("*",)), item("b", every=2, gate=("c",)))
    straight, shuffled = (World(config(max_cycles=5, validate=some), refusing(4)) for _ in range(2))
    straight.play()
    shuffled.play(np.random.default_rng(seed))
    assert {task.id for task in straight.done} == {task.id for task in shuffled.done}
    assert straight.state.ended is not None
    assert shuffled.state.ended is not None
    assert straight.state.ended.potential == shuffled.state.ended.potential


def test_a_potential_is_judged_when_all_that_judges_it_was_measured() -> None:
    some = (item("a", gate=("*",)), item("b", every=2, gate=("*",)))
    world = World(config(max_cycles=5, validate=some), refusing())
    world.play()
    assert [task.cycle for task in gates(world)] == [2, 4, 5]


def test_what_could_not_be_measured_reaches_the_gate() -> None:
    def melts(task: Task) -> Any:
        return "it melted" if task.kind == "validate" and task.cycle == 2 else None

    world = World(config(max_cycles=3, validate=(item(gate=("*",)),)), refusing(2, then=melts))
    world.play()
    (second,) = [task for task in gates(world) if task.cycle == 2]
    (one,) = second.payload["properties"]
    assert (one["new"], one["why"]) == (None, "it melted")
    assert one["old"] is not None


def test_another_schedule_measures_only_what_is_new() -> None:
    world = World(config(max_cycles=2, validate=(item(every=None),)))
    world.play()
    before = len(world.done)
    world.config = config(max_cycles=4, validate=(item(every=1, gate=("*",)),))
    world.behave = refusing()
    world.play()
    assert measured(world) == [(2, "a"), (1, "a"), (3, "a"), (4, "a")]
    assert [task.cycle for task in gates(world)] == [1, 2, 3, 4]
    # taking the schedule away forgets nothing, and another gate judges anew
    told = len(world.done)
    world.config = config(max_cycles=4, validate=(item(every=None, gate=("*",)),))
    assert isinstance(plan(world.config, world.state), Done)
    world.config = config(max_cycles=4, validate=(item(every=None, gate=("a",)),))
    world.behave = refusing(4)
    world.play()
    assert [task.kind for task in world.done[told:]] == ["gate"] * 4
    assert world.state.ended is not None
    assert world.state.ended.potential == fits(world)[3]
    assert before < told


def test_judgements_are_those_of_the_present_gate() -> None:
    world = World(config(max_cycles=2, validate=(item(gate=("*",)),)), refusing(2))
    world.play()
    world.config = config(max_cycles=2, validate=(item(gate=("a",)),))
    world.behave = refusing()
    world.play()
    payloads = {task.id: task.payload for task in world.done}

    def said(*gate: str) -> tuple[Judgement, ...]:
        properties = (item(gate=gate),)
        return judgements_of(world.state.finished_tasks.values(), payloads.__getitem__, properties)

    assert [one.promoted for one in said("*")] == [True, False]
    assert [one.promoted for one in said("a")] == [True, True]
    assert said("b") == said() == ()
    first, refused = said("*")
    assert first.sentence == "the potential of cycle 1 is promoted: the first that was judged"
    assert refused.sentence == (
        "the potential of cycle 2 is refused and that of cycle 1 is kept: a got worse"
    )
    assert said("a")[1].sentence.endswith("promoted: nothing got worse")


def result(*quantities: Quantity) -> PropertyResult:
    return PropertyResult("x", "Crystal", quantities)


def lengths(rng: np.random.Generator) -> Iterator[Quantity]:
    while True:
        yield Quantity("a", rng.normal(4.0, 0.2), "Å", 4.0, uncertainty=0.01)


@pytest.mark.parametrize("seed", range(10))
def test_the_gate_is_a_pure_function(seed: int) -> None:
    """Of drawn values: refused if and only if the error grew beyond noise and margin."""
    draw = lengths(np.random.default_rng(seed))
    old, new = next(draw), next(draw)
    allowed = 2 * np.hypot(0.01, 0.01) + 0.05
    task = Task("gate", {"potential": "p", "properties": []}, hints={"against": 3})
    some = [Gated("x", ("a",), {"a": 0.05}, result(old), result(new))]
    told = judged(task, some)
    grown = abs(new.value - 4.0) - abs(old.value - 4.0)
    assert bool(told["reasons"]) == (grown > allowed)
    assert all(sentence.startswith("Crystal: a is off by") for sentence in told["reasons"])
    assert (told["potential"], told["against"], told["notes"]) == ("p", 3, [])


def test_what_the_gate_cannot_judge_is_told() -> None:
    a = Quantity("a", 4.0, "Å", 4.0)
    task = Task("gate", {"potential": "p", "properties": []}, hints={"against": None})

    def told(*some: Gated) -> tuple[list[str], list[str]]:
        found = judged(task, some)
        return found["reasons"], found["notes"]

    assert told(Gated("x", ("a", "b"), {}, None, result(a))) == (
        [],
        ["Crystal: 'b' names nothing that was measured and has a reference"],
    )
    assert told(Gated("x", ("a",), {}, None, None, "it melted")) == (
        [],
        ["x could not be measured (it melted)"],
    )
    assert told(Gated("x", ("a",), {}, result(a), None, "it melted")) == (
        ["Crystal could not be measured any more (it melted)"],
        [],
    )
    assert told(Gated("x", ("a",), {}, result(a), result())) == (
        ["Crystal: a could not be measured any more; it was 4 Å"],
        [],
    )


def test_why_a_property_failed_is_told_beside_what_got_lost() -> None:
    old = result(Quantity("C44", 30.0, "GPa", 30.0))
    failed = Quantity(FAILED, 0.0, "", 1.0, passed=False)
    new = PropertyResult("x", "Crystal", (failed,), {}, ("C44 is negative: it is unstable",))
    task = Task("gate", {"potential": "p", "properties": []}, hints={"against": 1})
    told = judged(task, [Gated("x", ("C*",), {}, old, new)])
    assert told["reasons"] == ["Crystal: C44 could not be measured any more; it was 30 GPa"]
    assert told["notes"] == ["Crystal: C44 is negative: it is unstable"]


def test_a_task_of_the_gate_reads_what_it_compares() -> None:
    made = item(gate=("a*",))
    kept = {"1": result(Quantity("a", 1.0, "Å", 1.0)), "2": result(Quantity("a", 2.0, "Å", 1.0))}
    payload = {
        "potential": "p",
        "properties": [
            {**gate_of(made), "new": "2", "old": "1", "why": ""},
            {**gate_of(made), "new": None, "old": None, "why": "it melted"},
        ],
    }
    task = Task("gate", payload, cycle=2, hints={"against": 1})
    first, second = gated(task, kept.__getitem__)
    assert (first.old, first.new) == (kept["1"], kept["2"])
    assert (second.kind, second.old, second.new, second.why) == ("measure", None, None, "it melted")
    record = TaskFinished(0.0, task.id, "gate", 2, 1.0, judged(task, [first, second]))
    (said,) = judgements_of([record], lambda name: payload, (made, made))
    assert (said.promoted, said.cycle, said.against) == (False, 2, 1)
    assert len(said.reasons) == len(said.notes) == 1
