"""Reading a campaign folder, finished or running: what `status` and the report are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ase import Atoms

from athanor.campaign.artefact import Artefacts
from athanor.campaign.config import CampaignConfig
from athanor.campaign.driver import SOURCE
from athanor.campaign.events import TaskFailed, TaskFinished
from athanor.campaign.gate import Judgement, judgements_of
from athanor.campaign.harvests import read_candidates, read_structures, read_trace
from athanor.campaign.journal import NAME as JOURNAL
from athanor.campaign.journal import read_journal
from athanor.campaign.labelling import read_label
from athanor.campaign.lock import writer
from athanor.campaign.measured import read_property
from athanor.campaign.parity import Parity
from athanor.campaign.plan import plan
from athanor.campaign.progress import Progress, progress_of
from athanor.campaign.state import State, fold
from athanor.campaign.steps import Work
from athanor.campaign.tasks import canonical
from athanor.campaign.workshop import POTENTIAL
from athanor.data.dataset import Dataset
from athanor.data.store import Store
from athanor.errors import FormatError
from athanor.potentials import Potential, load_folder
from athanor.query import Grade
from athanor.structure import FloatArray, Frame
from athanor.validate import PropertyResult


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One run of the sampler.

    Attributes
    ----------
    task : its id, for `Campaign.trace` and `Campaign.candidates`.
    steps, planned, stopped_by : as its Harvest says.
    time_fs : how long it lived, None when the sampler keeps no time.
    grades : of its candidates; None stands for a grade that is not finite.
    """

    task: str
    steps: int
    planned: int
    stopped_by: str
    formula: str
    n_atoms: int
    time_fs: float | None
    grades: tuple[float | None, ...]
    seconds: float

    @property
    def survival(self) -> float:
        """Share of the schedule it lived, 0 to 1."""
        return self.steps / max(self.planned, 1)


@dataclass(frozen=True, slots=True)
class Purchase:
    """One label that was bought: of what, why, and what it cost.

    `grade` is None where it was not graded (the first structures) or is not finite.
    """

    task: str
    cycle: int
    structure: str
    formula: str
    n_atoms: int
    reason: str
    grade: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Cycle:
    """One turn of the campaign; number 0 is the cycle that labelled the first structures.

    Attributes
    ----------
    errors : of the potential of the cycle before on this cycle's new labels, before they were
        trained on (keys as in `errors_of`; eV/atom, eV/Å, eV/Å³), None where there are none.
    fit : summary of the fit that ended it: n_train, n_valid, train, valid (errors); None without.
    n_train, n_valid : frames after it.
    seconds : task kind -> seconds of work.
    """

    number: int
    trajectories: tuple[Trajectory, ...]
    offered: int
    labels: tuple[Purchase, ...]
    failures: tuple[TaskFailed, ...]
    errors: Mapping[str, float | None] | None
    fit: Mapping[str, Any] | None
    n_train: int
    n_valid: int
    seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class CampaignStatus:
    """How a campaign stands: `running` is the process id of its driver, None when there is none.

    `gate` is what the regression gate said of each potential it judged.
    """

    name: str
    folder: str
    running: int | None
    progress: Progress
    cycles: tuple[Cycle, ...]
    gate: tuple[Judgement, ...] = ()

    @property
    def refused(self) -> Judgement | None:
        """What the gate said of the latest potential it judged, if it refused that."""
        return self.gate[-1] if self.gate and not self.gate[-1].promoted else None

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "name": self.name,
            "folder": self.folder,
            "running": self.running,
            **self.progress.as_dict(),
            "cycles": [asdict(cycle) for cycle in self.cycles],
            "gate": [{"promoted": one.promoted, **asdict(one)} for one in self.gate],
        }


class Campaign:
    """A campaign folder as it is now; reads only, and may be used while a run goes on.

    Raises
    ------
    FormatError : the folder holds no campaign, or a damaged one.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        path = self.folder / JOURNAL
        if not path.is_file():
            raise FormatError(
                path, None, "there is no campaign here; give the folder that `athanor run` made"
            )
        self.state: State = fold(read_journal(path))
        self._artefacts = Artefacts(self.folder / "artefacts")
        self._store = Store(self.folder / "store")

    @property
    def name(self) -> str:
        return self.state.name

    @property
    def config(self) -> CampaignConfig:
        """The campaign file of the latest run; of the first one when it was made in Python."""
        path = self.folder / SOURCE
        if path.exists():
            return CampaignConfig.read(path)
        return CampaignConfig.of(self.state.config, where=str(self.folder))

    @property
    def source(self) -> str:
        """The text of the campaign file of the latest run, '' when it was made in Python."""
        path = self.folder / SOURCE
        return path.read_text(encoding="utf-8") if path.exists() else ""

    @property
    def cycles(self) -> tuple[Cycle, ...]:
        """Every cycle so far, in order, number 0 first."""
        return tuple(self._cycle(number) for number in range(self.state.cycle + 1))

    @property
    def purchases(self) -> tuple[Purchase, ...]:
        """Every label bought, in the order of the journal."""
        grades = self._chosen()
        return tuple(
            _purchase(record, grades.get(record.summary["structure"]))
            for record in self._records("label")
        )

    @property
    def failures(self) -> tuple[TaskFailed, ...]:
        """Tasks that gave nothing, with reasons, in the order of the journal."""
        return tuple(self.state.failed_tasks.values())

    @property
    def properties(self) -> tuple[PropertyResult, ...]:
        """What was measured with the potential that is handed over; empty before the end."""
        wanted = () if self.state.ended is None else self.state.ended.properties
        return tuple(
            read_property(self._artefacts.path(task))
            for task in wanted
            if task in self.state.finished_tasks
        )

    @property
    def judgements(self) -> tuple[Judgement, ...]:
        """What the regression gate said, in order; empty where there is none."""
        records = self.state.finished_tasks.values()
        return judgements_of(records, self._payload, self.config.validate)

    def history(self, number: int) -> tuple[tuple[int, PropertyResult], ...]:
        """(cycle, what was measured) of one [[validate]], counted from 0, in order."""
        identity = canonical(self.config.validate[number].identity)
        found = [
            (record.cycle, read_property(self._artefacts.path(record.task)))
            for record in self._records("validate")
            if canonical(self._payload(record.task)["property"]) == identity
        ]
        return tuple(sorted(found, key=lambda one: one[0]))

    def status(self) -> CampaignStatus:
        """How it stands."""
        step = None if self.state.ended else plan(self.config, self.state)
        work = step if isinstance(step, Work) else None
        # the clock of a campaign that nobody runs stands still
        now = self.state.last_at or 0.0
        progress = progress_of(self.config, self.state, work, now=now)
        return CampaignStatus(
            self.name,
            str(self.folder),
            writer(self.folder),
            progress,
            self.cycles,
            self.judgements,
        )

    def load_potential(self) -> Potential:
        """The final potential, or the latest there is; FormatError when none is fitted yet."""
        fits = self._records("fit")
        if not fits:
            raise FormatError(self.folder, None, "no potential has been fitted yet; let it run on")
        task = fits[-1].task if self.state.ended is None else self.state.ended.potential
        return load_folder(self._artefacts.path(task) / POTENTIAL)

    def training(self) -> Dataset:
        """Every frame trained on so far."""
        return self._dataset("train")

    def validation(self) -> Dataset:
        """Every labelled frame kept for validation so far."""
        return self._dataset("valid")

    def parity(self, cycle: int) -> Parity | None:
        """The points behind `Cycle.errors`; None where there are none."""
        for record in self._records("test"):
            if record.cycle == cycle:
                return Parity.read(self._artefacts.path(record.task))
        return None

    def frame(self, label: str) -> Frame:
        """The structure and labels of one purchase (its `task`)."""
        return read_label(self._artefacts.path(label))

    def trace(self, trajectory: str) -> dict[str, FloatArray]:
        """The traces of one trajectory (its `task`): name -> (n_records,)."""
        return read_trace(self._artefacts.path(trajectory))

    def candidates(self, trajectory: str) -> tuple[list[Atoms], list[Grade], list[str]]:
        """Structures, grades and reasons of one trajectory's candidates."""
        found = read_candidates(self._artefacts.path(trajectory))
        return found.structures, found.grades, found.reasons

    def starts(self) -> list[Atoms]:
        """The structures that were drawn first."""
        drawn = self._records("draw")
        return read_structures(self._artefacts.path(drawn[0].task)) if drawn else []

    def _payload(self, task: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._artefacts.result(task)["task"]["payload"]
        return found

    def _records(self, kind: str) -> list[TaskFinished]:
        return [record for record in self.state.finished_tasks.values() if record.kind == kind]

    def _dataset(self, part: str) -> Dataset:
        if not self.state.snapshots:
            return Dataset()
        latest = self.state.snapshots[max(self.state.snapshots)]
        return self._store.dataset(getattr(latest, part))

    def _chosen(self) -> dict[str, float | None]:
        """Structure id -> the grade it was selected with."""
        return {
            one["structure"]: one["grade"]
            for record in self._records("select")
            for one in record.summary["chosen"]
        }

    def _cycle(self, number: int) -> Cycle:
        records = [r for r in self.state.finished_tasks.values() if r.cycle == number]
        grades = self._chosen()
        seconds: dict[str, float] = {}
        for record in records:
            seconds[record.kind] = seconds.get(record.kind, 0.0) + record.seconds
        summaries = {record.kind: record.summary for record in records}
        made = [m for cycle, m in sorted(self.state.snapshots.items()) if cycle <= number]
        return Cycle(
            number=number,
            trajectories=tuple(_trajectory(r) for r in records if r.kind == "sample"),
            offered=summaries.get("select", {}).get("offered", 0),
            labels=tuple(
                _purchase(r, grades.get(r.summary["structure"]))
                for r in records
                if r.kind == "label"
            ),
            failures=tuple(f for f in self.failures if f.cycle == number),
            errors=summaries.get("test"),
            fit=summaries.get("fit"),
            n_train=made[-1].n_train if made else 0,
            n_valid=made[-1].n_valid if made else 0,
            seconds=seconds,
        )


def _trajectory(record: TaskFinished) -> Trajectory:
    told = record.summary
    return Trajectory(
        task=record.task,
        steps=told["steps"],
        planned=told["planned"],
        stopped_by=told["stopped_by"],
        formula=told["formula"],
        n_atoms=told["n_atoms"],
        time_fs=told["time_fs"],
        grades=tuple(told["grades"]),
        seconds=record.seconds,
    )


def _purchase(record: TaskFinished, grade: float | None) -> Purchase:
    told = record.summary
    return Purchase(
        task=record.task,
        cycle=record.cycle,
        structure=told["structure"],
        formula=told["formula"],
        n_atoms=told["n_atoms"],
        reason=told["reason"],
        grade=grade,
        seconds=record.seconds,
    )
