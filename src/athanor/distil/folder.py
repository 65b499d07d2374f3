"""Reading a distillation's folder, finished or running: for status, report and certificate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from athanor.campaign.artefact import Artefacts
from athanor.campaign.driver import SOURCE
from athanor.campaign.events import TaskFailed
from athanor.campaign.journal import NAME as JOURNAL
from athanor.campaign.journal import read_journal
from athanor.campaign.labelling import read_label
from athanor.campaign.lock import writer
from athanor.campaign.parity import Parity
from athanor.campaign.progress import Progress
from athanor.campaign.state import State, fold
from athanor.campaign.steps import Work
from athanor.campaign.tasks import Task
from athanor.data.dataset import Dataset
from athanor.data.packing import read_npz
from athanor.distil.bench import CLUSTERS, MAP, POTENTIAL
from athanor.distil.config import DistilConfig, is_distillation
from athanor.distil.plan import Ground, Passed, Turn, chosen_delta, retrace
from athanor.distil.pooled import Pooled, read_pool
from athanor.distil.progress import progress_of
from athanor.errors import FormatError
from athanor.potentials import Potential, load_folder
from athanor.query._clusters.spectral import IntArray
from athanor.search.space import Point
from athanor.structure import FloatArray

EDGE = 0.01
"""Share of a range; nearer to an end than this is at the end."""
Errors = Mapping[str, float | None]
"""Keys as `athanor.campaign.parity.errors_of` gives: energy_rmse (eV/atom), forces_rmse (eV/Å)."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One fit of a search.

    Attributes
    ----------
    point : dotted path -> value; empty where nothing is searched.
    score : what the search minimises, eV/atom; None where it failed or is not done.
    errors : on the cycle's test structures; None likewise.
    reason : why it failed, '' where it did not.
    """

    point: Point
    score: float | None
    errors: Errors | None
    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class Cycle:
    """One cycle that is over.

    Attributes
    ----------
    n_train, n_test : structures in all, those of the cycles before included.
    fraction : of the pool that they are.
    trials, best : of its search; the place of the best.
    test, held_out : errors of the best; held_out is None where nothing is held out.
    """

    number: int
    n_train: int
    n_test: int
    fraction: float
    trials: tuple[Trial, ...]
    best: int
    test: Errors
    held_out: Errors | None


@dataclass(frozen=True, slots=True)
class ArmResult:
    """One fit of the comparison: errors on the held-out structures, None where it failed."""

    arm: str
    seed: int
    n_train: int
    errors: Errors | None
    reason: str


@dataclass(frozen=True, slots=True)
class Selection:
    """The chosen structures with their labels; choices in the order of frames."""

    frames: Dataset
    choices: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """Why a structure was chosen; `cluster` counts from 1."""

    index: int
    structure: str
    origin: str
    group: str | None
    part: str
    cycle: int
    cluster: int
    reason: str

    def as_info(self) -> dict[str, Any]:
        """What is written beside the structure."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class DistilStatus:
    """How a distillation stands; `running` is the process id of its driver, None without one."""

    name: str
    folder: str
    running: int | None
    progress: Progress
    cycles: tuple[Cycle, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        head = {"name": self.name, "folder": self.folder, "running": self.running}
        cycles = [asdict(cycle) for cycle in self.cycles]
        return {**head, **self.progress.as_dict(), "cycles": cycles}


class Distillation:
    """A distillation's folder as it is now; reads only, and may be used while a run goes on.

    Raises
    ------
    FormatError : the folder holds no campaign, or a damaged one.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        config: DistilConfig | None = None,
        state: State | None = None,
    ) -> None:
        self.folder = Path(folder)
        path = self.folder / JOURNAL
        if not path.is_file():
            raise FormatError(
                path, None, "there is no campaign here; give the folder that `athanor run` made"
            )
        self.state = fold(read_journal(path)) if state is None else state
        self.config = self._written() if config is None else config
        self.artefacts = Artefacts(self.folder / "artefacts")

    @property
    def source(self) -> str:
        """The text of the campaign file of the latest run, '' when it was made in Python."""
        path = self.folder / SOURCE
        return path.read_text(encoding="utf-8") if path.exists() else ""

    @cached_property
    def passed(self) -> Passed:
        """All that is done, in the order of the plan."""
        return retrace(self.config, self.state)

    @property
    def ground(self) -> Ground | None:
        """Pool, similarity and clusters; None before they are there."""
        return self.passed.ground

    @cached_property
    def pool(self) -> Pooled:
        """The pool; FormatError before it is there."""
        return read_pool(self.artefacts.path(self._ground().pool.id))

    @property
    def similarity(self) -> Mapping[str, Any]:
        """n, slope, zeta, and the range of each kernel."""
        return self.state.summary(self._ground().similarity.id)

    @property
    def partitions(self) -> tuple[Mapping[str, Any], ...]:
        """Of every delta: delta, n_clusters, energy_spread, ari, mean_distances, uncertainty ..."""
        return tuple(self.state.summary(part.id) for part in self._ground().partitions)

    @property
    def other_best(self) -> Mapping[str, Any]:
        """The partition that the other affinity would draw from."""
        others = [self.state.summary(part.id) for part in self._ground().others]
        return others[chosen_delta(others)]

    @property
    def best(self) -> Mapping[str, Any]:
        """The partition that is drawn from."""
        return self.state.summary(self._ground().partition.id)

    def clusters(self, delta: float | None = None) -> IntArray:
        """(n,) cluster of each eligible structure, from 0; at the best delta by default."""
        ground = self._ground()
        parts = {part.payload["delta"]: part for part in ground.partitions}
        part = ground.partition if delta is None else parts[delta]
        return read_npz(self.artefacts.path(part.id) / CLUSTERS)["clusters"]

    def points(self) -> FloatArray:
        """(n, 2) the map of the eligible structures."""
        return read_npz(self.artefacts.path(self._ground().map.id) / MAP)["points"]

    @cached_property
    def cycles(self) -> tuple[Cycle, ...]:
        """Every cycle that is over, in order."""
        return tuple(self._cycle(turn) for turn in self.passed.turns)

    @cached_property
    def comparison(self) -> tuple[ArmResult, ...]:
        """Every fit of the comparison, arm by arm; empty before all are done."""
        return tuple(
            ArmResult(
                entry.arm,
                entry.seed,
                self.state.summary(entry.draw)["train"],
                self.state.summary(entry.test) if entry.test else None,
                self._reason(entry.trial),
            )
            for entry in self.passed.entries
        )

    @property
    def at_edge(self) -> tuple[str, ...]:
        """Searched fields whose best value is an end of its range, so that a wider one may help."""
        space = self.config.space
        if space is None or not self.cycles:
            return ()
        last = self.cycles[-1]
        point = last.trials[last.best].point
        return tuple(
            one.name
            for one in space.dimensions
            if one.choices is None
            and min(one.distance(point[one.name], end) for end in (one.low, one.high)) < EDGE
        )

    @property
    def failures(self) -> tuple[TaskFailed, ...]:
        """Tasks that gave nothing, with reasons."""
        return tuple(self.state.failed_tasks.values())

    def parity(self, *, held_out: bool = True) -> Parity | None:
        """Predictions of the latest cycle's best potential beside labels; None without."""
        if not self.passed.turns:
            return None
        turn = self.passed.turns[-1]
        task = turn.held_out if held_out else turn.winner.trial
        return None if task is None else Parity.read(self.artefacts.path(task.id))

    def selected(self) -> Selection:
        """All structures chosen so far, with labels and reasons, in the order of the pool."""
        if not self.passed.turns:
            raise FormatError(self.folder, None, "nothing has been fitted yet; let it run on")
        turn, pool = self.passed.turns[-1], self.pool
        place = {int(index): k for k, index in enumerate(pool.eligible)}
        clusters = self.clusters()
        frames, choices = [], []
        known = {*turn.data.train, *turn.data.test}
        for one in sorted(self._drawn(turn.draw), key=lambda one: int(one["index"])):
            i = int(one["index"])
            if i not in known:
                continue
            bought = turn.data.labels.get(i)
            frames.append(
                pool.frames[i] if bought is None else read_label(self.artefacts.path(bought))
            )
            choices.append(
                Choice(
                    index=i,
                    structure=one["structure"],
                    origin=pool.origins[i],
                    group=None if pool.groups is None else pool.groups[i],
                    part=one["part"],
                    cycle=one["cycle"],
                    cluster=int(clusters[place[i]]) + 1,
                    reason=one["reason"],
                )
            )
        return Selection(Dataset.of(frames, forces_optional=True), tuple(choices))

    def whole(self) -> tuple[Dataset, list[dict[str, Any]]]:
        """Every labelled structure of the pool, and the group of each where there are groups."""
        pool = self.pool
        numbers = sorted(pool.frames)
        info = [{} if pool.groups is None else {"group": pool.groups[i]} for i in numbers]
        return Dataset.of(pool.frames[i] for i in numbers), info

    @property
    def judged_on(self) -> str:
        """What the tolerance is held against: test, held_out or both; test where nothing is out."""
        ground = self.ground
        apart = ground is not None and bool(ground.found["held_out"])
        return self.config.stop.judged_on if apart else "test"

    def status(self) -> DistilStatus:
        """How it stands."""
        step = self.passed.step if isinstance(self.passed.step, Work) else None
        # the clock of a campaign that nobody runs stands still
        now = self.state.last_at or 0.0
        progress = progress_of(self.config, self.state, step, now=now)
        running = writer(self.folder)
        return DistilStatus(self.state.name, str(self.folder), running, progress, self.cycles)

    def load_potential(self) -> Potential:
        """The final potential, or the latest there is; FormatError when none is fitted yet."""
        if not self.passed.turns:
            raise FormatError(self.folder, None, "nothing has been fitted yet; let it run on")
        trial = self.passed.turns[-1].winner.trial
        return load_folder(self.artefacts.path(trial.id) / POTENTIAL)

    def _written(self) -> DistilConfig:
        path = self.folder / SOURCE
        if path.exists():
            return DistilConfig.read(path)
        tables = {key: value for key, value in self.state.config.items() if value is not None}
        return DistilConfig.of(tables, where=str(self.folder))

    def _ground(self) -> Ground:
        if self.ground is None:
            raise FormatError(self.folder, None, "the pool is not clustered yet; let it run on")
        return self.ground

    def _drawn(self, draw: Task) -> list[Mapping[str, Any]]:
        return list(self.state.summary(draw.id)["chosen"])

    def _cycle(self, turn: Turn) -> Cycle:
        trials = tuple(self._trial(point, task) for point, task in turn.winner.trials)
        places = [task.id for _, task in turn.winner.trials]
        used = len(turn.data.train) + len(turn.data.test)
        return Cycle(
            number=turn.number,
            n_train=len(turn.data.train),
            n_test=len(turn.data.test),
            fraction=used / self._ground().found["n"],
            trials=trials,
            best=places.index(turn.winner.trial.id),
            test=turn.winner.errors,
            held_out=None if turn.held_out is None else self.state.summary(turn.held_out.id),
        )

    def _trial(self, point: Point, task: Task) -> Trial:
        record = self.state.finished_tasks.get(task.id)
        if record is None:
            return Trial(point, None, None, 0.0, self._reason(task.id))
        errors = record.summary["test"]
        score = None if errors is None else self.config.search.score(errors)
        return Trial(point, score, errors, record.seconds, "")

    def _reason(self, task: str) -> str:
        failure = self.state.failed_tasks.get(task)
        return "" if failure is None else failure.reason


def distillation(folder: Path) -> Distillation | None:
    """The distillation in a folder, None where the folder's campaign is of another kind.

    Raises FormatError where there is no campaign, or a damaged one.
    """
    path = Path(folder) / JOURNAL
    if not path.is_file():
        return None
    state = fold(read_journal(path))
    return Distillation(folder, state=state) if is_distillation(state.config) else None
