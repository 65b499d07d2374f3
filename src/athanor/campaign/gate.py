"""The regression gate: a potential is promoted unless chosen values got worse beyond noise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from athanor.campaign.events import TaskFinished
from athanor.campaign.state import State
from athanor.campaign.tasks import Task
from athanor.validate import PropertyConfig, PropertyResult, regressions
from athanor.validate._contract import FAILED
from athanor.validate._regression import unmatched


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the gate said of one potential.

    Attributes
    ----------
    cycle, potential : when it was judged, and its fit's id.
    against : cycle of the promoted potential it was compared with, None for the first one.
    reasons : what got worse, a sentence each; it is promoted when there are none.
    notes : what could not be judged.
    """

    cycle: int
    potential: str
    against: int | None
    reasons: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def promoted(self) -> bool:
        return not self.reasons

    @property
    def sentence(self) -> str:
        """What became of it, for people."""
        if not self.promoted:
            return (
                f"the potential of cycle {self.cycle} is refused and that of cycle {self.against} "
                f"is kept: {'; '.join(self.reasons)}"
            )
        why = "the first that was judged" if self.against is None else "nothing got worse"
        return f"the potential of cycle {self.cycle} is promoted: {why}"

    @classmethod
    def of(cls, record: TaskFinished) -> Self:
        """Of a finished task of the kind "gate"."""
        told = record.summary
        return cls(
            record.cycle,
            told["potential"],
            told["against"],
            tuple(told["reasons"]),
            tuple(told["notes"]),
        )


@dataclass(frozen=True, slots=True)
class Gated:
    """One gated property of two potentials; a result is None where it could not be measured."""

    kind: str
    patterns: tuple[str, ...]
    margin: Mapping[str, float]
    old: PropertyResult | None
    new: PropertyResult | None
    why: str = ""
    """Why there is no new result."""


def gate_task(
    gates: Sequence[tuple[PropertyConfig, Task, Task | None]],
    state: State,
    *,
    cycle: int,
    fit: str,
    against: int | None,
) -> Task:
    """Compare two potentials: (property, its task, the promoted potential's task if any) each."""
    payload = {
        "potential": fit,
        "properties": [
            {
                **gate_of(item),
                "new": new.id if new.id in state.finished_tasks else None,
                "old": old.id if old is not None and old.id in state.finished_tasks else None,
                "why": state.failed_tasks[new.id].reason if new.id in state.failed_tasks else "",
            }
            for item, new, old in gates
        ],
    }
    return Task("gate", payload, cycle=cycle, title="the gate", hints={"against": against})


def gated(task: Task, read: Callable[[str], PropertyResult]) -> list[Gated]:
    """What a task compares; `read` gives what a task of the kind "validate" measured."""
    return [
        Gated(
            one["property"]["kind"],
            tuple(one["gate"]),
            one["margin"],
            read(one["old"]) if one["old"] else None,
            read(one["new"]) if one["new"] else None,
            one["why"],
        )
        for one in task.payload["properties"]
    ]


def judged(task: Task, compared: Iterable[Gated]) -> dict[str, Any]:
    """The summary of a task of the kind "gate"; `Judgement.of` reads it."""
    some = list(compared)
    return {
        "potential": task.payload["potential"],
        "against": task.hints["against"],
        "reasons": [sentence for one in some for sentence in reasons_of(one)],
        "notes": [sentence for one in some for sentence in notes_of(one)],
    }


def reasons_of(one: Gated) -> list[str]:
    """What got worse; nothing where there is no older potential that it was measured with."""
    if one.old is None:
        return []
    if one.new is None:
        return [f"{one.old.title} could not be measured any more ({one.why})"]
    found = regressions(one.old.quantities, one.new.quantities, one.patterns, margin=one.margin)
    return [f"{one.new.title}: {sentence}" for sentence in found]


def notes_of(one: Gated) -> list[str]:
    """What the gate could not judge, so that a misspelt name does not pass for a success; why a
    property failed."""
    if one.new is None:
        return [] if one.old is not None else [f"{one.kind} could not be measured ({one.why})"]
    both = (*one.new.quantities, *(one.old.quantities if one.old is not None else ()))
    failed = any(quantity.name == FAILED for quantity in one.new.quantities)
    said = list(one.new.notes) if failed else []
    said += [
        f"{pattern!r} names nothing that was measured and has a reference"
        for pattern in unmatched(both, one.patterns)
    ]
    return [f"{one.new.title}: {sentence}" for sentence in said]


def judgements_of(
    records: Iterable[TaskFinished],
    payload: Callable[[str], Mapping[str, Any]],
    properties: Iterable[PropertyConfig],
) -> tuple[Judgement, ...]:
    """What the gate of these properties said of each potential, in order of cycles.

    `payload` gives that of a finished task: another gate, of an earlier run, says nothing here.
    """
    gates = [gate_of(item) for item in properties if item.gate]
    found = [
        Judgement.of(record)
        for record in records
        if record.kind == "gate" and _gates(payload(record.task)) == gates
    ]
    return tuple(sorted(found, key=lambda one: one.cycle))


def gate_of(item: PropertyConfig) -> dict[str, Any]:
    """What a property is judged by, as plain JSON data."""
    return {"property": item.identity, "gate": list(item.gate), "margin": dict(item.gate_margin)}


def _gates(payload: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {key: one[key] for key in ("property", "gate", "margin")} for one in payload["properties"]
    ]
