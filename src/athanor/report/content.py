"""What a report tells, as plain values: gathered from a campaign, shown by the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from athanor.campaign.gate import Judgement
from athanor.structure import FloatArray
from athanor.validate import PropertyResult

State = Literal["converged", "limit", "missed", "unfinished"]


@dataclass(frozen=True, slots=True)
class Run:
    """One trajectory: share of its schedule it lived, what stopped it; times in ps if known."""

    share: float
    stopped_by: str
    lived_ps: float | None = None
    planned_ps: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleStory:
    """One cycle in numbers.

    Attributes
    ----------
    number : 0 is the cycle that labelled the first structures.
    runs : its trajectories.
    candidates, bought, failed : structures offered, labels got, labels that failed.
    energy_rmse, force_rmse : on its new labels before they were trained on, meV/atom and meV/Å.
    training_size : frames trained on at its end.
    seconds : work by what it was spent on.
    """

    number: int
    runs: tuple[Run, ...] = ()
    candidates: int = 0
    bought: int = 0
    failed: int = 0
    energy_rmse: float | None = None
    force_rmse: float | None = None
    training_size: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def survived(self) -> int:
        """Trajectories that ran their full schedule."""
        return sum(run.stopped_by == "completed" for run in self.runs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One structure that was labelled and why; `seconds` is what its label took."""

    cycle: int
    formula: str
    n_atoms: int
    reason: str
    grade: float | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that did not work, in one sentence for people."""

    cycle: int
    what: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Points of one origin: what the oracle and the potential say, (n,) each."""

    name: str
    reference: FloatArray
    predicted: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Potential against oracle for one quantity; `rmse` is in its unit, of all points there are."""

    title: str
    unit: str
    series: tuple[Series, ...]
    rmse: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """Potential against oracle on structures that `of` describes."""

    of: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Everything on the page.

    Attributes
    ----------
    name, folder, potential : the campaign's name, its folder and the fitted potential's (or None).
    state, sentence : how it stands, as a word and as a sentence.
    elements : chemical symbols of the labelled structures.
    elapsed : seconds of wall clock, when known.
    grades : (n,) of every structure that was graded; `save` and `halt` are its thresholds.
    parities : the most telling one first.
    gate : what the regression gate said, in order; `courses` are panels of values by cycle, by the
        title of their property.
    config : the campaign file's text.
    """

    name: str
    folder: str
    state: State
    sentence: str
    potential: str | None = None
    elements: tuple[str, ...] = ()
    elapsed: float | None = None
    cycles: tuple[CycleStory, ...] = ()
    choices: tuple[Choice, ...] = ()
    failures: tuple[Failure, ...] = ()
    properties: tuple[PropertyResult, ...] = ()
    grades: FloatArray = field(default_factory=lambda: np.zeros(0))
    save: float | None = None
    halt: float | None = None
    parities: tuple[Parity, ...] = ()
    gate: tuple[Judgement, ...] = ()
    courses: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    config: str = ""
    version: str = ""

    @property
    def labels(self) -> int:
        """Labels bought."""
        return sum(cycle.bought for cycle in self.cycles)
