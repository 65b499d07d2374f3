"""From a campaign's folder, finished or not, to what its report tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase.formula import Formula
from ase.units import GPa

import athanor
from athanor.campaign.folder import Campaign, Cycle, Trajectory
from athanor.campaign.gate import Judgement
from athanor.campaign.state import State
from athanor.query.committee import CommitteeConfig
from athanor.report.content import Choice, Content, CycleStory, Failure, Panel, Parity, Run, Series
from athanor.report.content import State as Word
from athanor.report.course import courses_of
from athanor.structure import FloatArray
from athanor.validate import PropertyResult

WORK = {
    "draw": "starting structures",
    "sample": "dynamics",
    "select": "selection",
    "label": "labels",
    "test": "errors",
    "fit": "fits",
    "validate": "validation",
    "gate": "regression gate",
}
"""What people call the kinds of tasks."""
LIMITS = {"max_cycles": "cycles", "max_labels": "labels", "max_hours": "hours"}


def content_of(folder: Path) -> Content:
    """Collect everything the report shows of a campaign's folder, finished or not.

    Raises
    ------
    FormatError : it is not the folder of a campaign, or its journal or an artefact is damaged.
    """
    campaign = Campaign(folder)
    state = campaign.state
    cycles = campaign.cycles
    gate = campaign.judgements
    sample = state.config.get("sample", {})
    save, halt = _thresholds(state.config.get("query", {}))
    potential = folder.absolute() / "potential"
    return Content(
        name=campaign.name,
        folder=str(folder.absolute()),
        state=_word(state, gate),
        sentence=_sentence(campaign, gate),
        potential=str(potential) if potential.is_dir() else None,
        elements=_elements(cycles),
        elapsed=state.elapsed_s,
        cycles=tuple(_story(cycle, sample) for cycle in cycles),
        choices=_choices(campaign),
        failures=_failures(campaign),
        properties=campaign.properties,
        grades=_grades(campaign, cycles),
        save=save,
        halt=halt,
        parities=_parities(campaign),
        gate=gate,
        courses=courses_of(campaign),
        config=campaign.source,
        version=athanor.__version__,
    )


def _thresholds(query: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Of the grades: a committee has defaults by measure, and a scale of its own for several."""
    if query.get("kind") == "committee":
        return CommitteeConfig.parse(query, where="[query]").thresholds
    return query.get("save"), query.get("halt")


def _choices(campaign: Campaign) -> tuple[Choice, ...]:
    return tuple(
        Choice(
            cycle=bought.cycle,
            formula=bought.formula,
            n_atoms=bought.n_atoms,
            reason=bought.reason,
            grade=bought.grade,
            seconds=bought.seconds,
        )
        for bought in campaign.purchases
    )


def _failures(campaign: Campaign) -> tuple[Failure, ...]:
    return tuple(
        Failure(
            failure.cycle,
            f"{WORK.get(failure.kind, failure.kind)}: {failure.title}",
            failure.reason,
        )
        for failure in campaign.failures
    )


def _word(state: State, gate: Sequence[Judgement]) -> Word:
    if state.stopped_by is None:
        return "unfinished"
    if gate and not gate[-1].promoted:
        return "missed"
    return "converged" if state.stopped_by == "untriggered" else "limit"


def _sentence(campaign: Campaign, gate: Sequence[Judgement]) -> str:
    """How the campaign stands."""
    ended = campaign.state.stopped_by is not None
    if ended and gate and not gate[-1].promoted:
        last = gate[-1]
        return (
            f"The regression gate refused the potential of cycle {last.cycle}: "
            f"{'; '.join(last.reasons)}. What is handed over is the potential of cycle "
            f"{last.against}, with the structures it was fitted to. {_course(campaign)}"
        )
    return _course(campaign)


def _course(campaign: Campaign) -> str:
    """How far the campaign came."""
    state = campaign.state
    if state.stopped_by is None:
        return (
            f"This campaign has not ended: what follows is how it stood in cycle {state.cycle}. "
            "Run the same line again to carry on."
        )
    if state.stopped_by == "untriggered":
        count = campaign.config.stop.untriggered_cycles or 1
        span = "In the last cycle" if count == 1 else f"In the last {count} cycles"
        return (
            f"{span} every trajectory ran its full schedule: at these conditions the potential no "
            "longer has to guess."
        )
    return (
        f"It stopped at its limit of {LIMITS.get(state.stopped_by, state.stopped_by)}, before its "
        "trajectories had run their full schedule often enough."
    )


def _elements(cycles: Sequence[Cycle]) -> tuple[str, ...]:
    formulas = {label.formula for cycle in cycles for label in cycle.labels}
    return tuple(sorted({symbol for formula in formulas for symbol in Formula(formula).count()}))


def _story(cycle: Cycle, sample: Mapping[str, Any]) -> CycleStory:
    errors = cycle.errors or {}
    return CycleStory(
        number=cycle.number,
        runs=tuple(_run(trajectory, sample) for trajectory in cycle.trajectories),
        candidates=sum(len(trajectory.grades) for trajectory in cycle.trajectories),
        bought=len(cycle.labels),
        failed=sum(failure.kind == "label" for failure in cycle.failures),
        energy_rmse=_milli(errors.get("energy_rmse")),
        force_rmse=_milli(errors.get("forces_rmse")),
        training_size=cycle.n_train + cycle.n_valid,
        seconds={WORK.get(kind, kind): seconds for kind, seconds in cycle.seconds.items()},
    )


def _run(trajectory: Trajectory, sample: Mapping[str, Any]) -> Run:
    """A trajectory's life as a share of its schedule, and in ps where the sampler says it."""
    length = sample.get("length_ps")
    if length is None and sample.get("steps") and sample.get("timestep_fs"):
        length = sample["steps"] * sample["timestep_fs"] / 1000
    if length is None or trajectory.time_fs is None:
        return Run(trajectory.survival, trajectory.stopped_by)
    lived = trajectory.time_fs / 1000
    return Run(trajectory.survival, trajectory.stopped_by, lived_ps=lived, planned_ps=length)


def _grades(campaign: Campaign, cycles: Sequence[Cycle]) -> FloatArray:
    """Grades of every structure that was graded on the way, without those that are not finite."""
    found = [np.zeros(0)]
    for cycle in cycles:
        for run in cycle.trajectories:
            met = campaign.trace(run.task).get("grade")
            candidates = np.array([g for g in run.grades if g is not None], dtype=float)
            found.append(candidates if met is None else met)
    grades = np.concatenate(found)
    return grades[np.isfinite(grades) & (grades > 0)]


def _parities(campaign: Campaign) -> tuple[Parity, ...]:
    """Held-out frames where they were measured, and the new labels of all cycles."""
    points = [held_out(result) for result in campaign.properties]
    return tuple(one for one in (*points, _new_labels(campaign)) if one is not None)


def held_out(result: PropertyResult) -> Parity | None:
    """The points of a property whose curves are name -> {quantity, unit, reference, potential}."""
    lines = {name: line for name, line in result.curves.items() if _is_parity(line)}
    panels = []
    for quantity in dict.fromkeys(line["quantity"] for line in lines.values()):
        mine = {name: line for name, line in lines.items() if line["quantity"] == quantity}
        series = tuple(
            Series(
                name=name.removeprefix(f"{quantity}, "),
                reference=np.array(line["reference"], dtype=float),
                predicted=np.array(line["potential"], dtype=float),
            )
            for name, line in mine.items()
        )
        told = [q.value / 1000 for q in result.quantities if q.name == f"{quantity} RMSE"]
        unit = next(iter(mine.values()))["unit"]
        panels.append(
            Panel(title=quantity, unit=unit, series=series, rmse=told[0] if told else _rmse(series))
        )
    return Parity(of=result.title, panels=tuple(panels)) if panels else None


def _is_parity(line: object) -> bool:
    return isinstance(line, dict) and {"quantity", "unit", "reference", "potential"} <= line.keys()


def _new_labels(campaign: Campaign) -> Parity | None:
    """Labels of all cycles beside what the potential of the cycle before said of them."""
    points = [campaign.parity(number) for number in range(campaign.state.cycle + 1)]
    found = [one for one in points if one is not None]
    quantities = (
        ("energy", "eV/atom", "energy", 1.0),
        ("force", "eV/Å", "forces", 1.0),
        ("stress", "GPa", "stress", 1.0 / GPa),
    )
    panels = []
    for title, unit, name, factor in quantities if found else ():
        reference = factor * np.concatenate([getattr(one, name) for one in found])
        predicted = factor * np.concatenate([getattr(one, f"{name}_predicted") for one in found])
        finite = np.isfinite(predicted)
        if finite.any():
            series = (Series(name="", reference=reference[finite], predicted=predicted[finite]),)
            panels.append(Panel(title=title, unit=unit, series=series, rmse=_rmse(series)))
    return (
        Parity(of="New labels, before they were trained on", panels=tuple(panels))
        if panels
        else None
    )


def _rmse(series: Sequence[Series]) -> float:
    errors = np.concatenate([one.predicted - one.reference for one in series])
    return float(np.sqrt(np.mean(errors**2)))


def _milli(value: float | None) -> float | None:
    return None if value is None else 1000 * value
