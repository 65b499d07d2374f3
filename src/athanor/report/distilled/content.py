"""What the report of a distillation tells: gathered from its folder, shown by the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from athanor.distil.folder import Choice, Cycle, Errors, Trial
from athanor.distil.held_out import GroupErrors, Judge
from athanor.distil.verdict import Verdict
from athanor.query._clusters.spectral import IntArray
from athanor.report.content import Failure, Panel
from athanor.search.dimension import Dimension
from athanor.structure import FloatArray

Word = Literal["reached", "limit", "unfinished"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStory:
    """The pool.

    Attributes
    ----------
    facts : what it is, as (name, text).
    energies : (n,) eV/atom, NaN where there is no label.
    groups : one name per structure; None where the file has none.
    notes : sentences on what was found in it.
    """

    n: int
    facts: tuple[tuple[str, str], ...]
    energies: FloatArray
    groups: tuple[str, ...] | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanPoint:
    """Clusters at one delta; spreads in eV/atom, over clusters (section 3.1) and by structure."""

    delta: float
    n_clusters: int
    range: tuple[int, int]
    spread: float | None
    spread_by_structure: float | None
    ari: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Convergence:
    """Why there are so many clusters at the best delta.

    Attributes
    ----------
    numbers, means : (m,) numbers of clusters and the mean distance between them (eq. 13).
    uncertainty : standard deviation of that mean over random starts, at the number chosen.
    d_tol, patience : the mean has settled when it changes by less than d_tol each over so many.
    """

    numbers: tuple[int, ...]
    means: tuple[float, ...]
    uncertainty: float
    range: tuple[int, int]
    d_tol: float
    patience: int
    chosen: int
    converged: bool
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterStory:
    """The clusters that structures were drawn from.

    Attributes
    ----------
    indices : (m,) numbers in the pool, from 0, of the structures that could be chosen.
    clusters : (m,) from 1. points : (m, 2) the map.
    chosen : (m,) whether it was.
    other : what the other affinity gives, in a sentence.
    """

    delta: float
    n_clusters: int
    ari: float | None
    indices: IntArray
    clusters: IntArray
    points: FloatArray
    chosen: npt.NDArray[np.bool_]
    convergence: Convergence
    similarity: tuple[tuple[str, str], ...]
    other: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """The search of a cycle, over or not; `best` is the place of its best trial, if any."""

    cycle: int
    trials: tuple[Trial, ...]
    best: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmStory:
    """One way of choosing: both measures over its seeds; `seeds` counts fits that failed too."""

    name: str
    paper: str
    n_train: Sequence[int]
    seeds: int
    energy: Verdict
    forces: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """Potential against label, structures that `of` describes; a panel for each quantity."""

    of: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Everything on the page.

    Attributes
    ----------
    state, sentence : how it stands, as a word and as a sentence.
    tolerance : eV/atom; `judged_on` are the structures whose energy RMSE is held against it.
    scan : every delta that is done. clusters : those of the best one, once it is known.
    about : what errors on held-out structures measure. groups : these errors by group.
    cycles : those that are over. rounds : their searches, and the one that goes on.
    dimensions : what is searched.
    arms, comparison : ways of choosing, and sentences on what came out or why nothing did yet.
    point : hyperparameters of the latest best fit. edges : which are at an end of their range.
    seconds : work by what it was spent on, for each cycle from 0.
    config : the campaign file's text.
    """

    name: str
    folder: str
    state: Word
    sentence: str
    tolerance: float
    judged_on: Judge
    about: str = ""
    groups: Mapping[str, GroupErrors] = field(default_factory=dict)
    potential: str | None = None
    elements: tuple[str, ...] = ()
    elapsed: float | None = None
    pool: PoolStory | None = None
    scan: tuple[ScanPoint, ...] = ()
    clusters: ClusterStory | None = None
    cycles: tuple[Cycle, ...] = ()
    rounds: tuple[Round, ...] = ()
    dimensions: tuple[Dimension, ...] = ()
    objective: str = ""
    arms: tuple[ArmStory, ...] = ()
    comparison: tuple[str, ...] = ()
    parity: Parity | None = None
    point: Mapping[str, Any] = field(default_factory=dict)
    edges: str = ""
    choices: tuple[Choice, ...] = ()
    failures: tuple[Failure, ...] = ()
    seconds: tuple[Mapping[str, float], ...] = ()
    config: str = ""
    version: str = ""

    @property
    def last(self) -> Cycle | None:
        """The latest cycle that is over."""
        return self.cycles[-1] if self.cycles else None

    @property
    def errors(self) -> tuple[Errors, str] | None:
        """Errors of the latest potential and on what, in short: held-out structures if any."""
        if self.last is None:
            return None
        if self.last.held_out is None:
            return self.last.test, "test structures"
        return self.last.held_out, "held out"
