"""From a distillation's folder, finished or not, to what its report tells."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from ase.units import GPa

import athanor
from athanor.distil import Distillation
from athanor.distil.folder import Errors, Trial
from athanor.distil.held_out import about, errors_by_group, judge_of
from athanor.distil.pooled import Pooled, read_pool
from athanor.distil.verdict import edge_sentence
from athanor.report.content import Failure, Panel, Series
from athanor.report.distilled.arms import arms_of, sentences_of
from athanor.report.distilled.clustered import clusters_of, scan_of
from athanor.report.distilled.content import Content, Parity, PoolStory, Round
from athanor.report.distilled.standing import sentence_of, word_of
from athanor.structure import FloatArray

WORK = {
    "pool": "the pool",
    "describe": "fingerprints",
    "distances": "Coulomb matrices",
    "similarity": "similarity",
    "partition": "clusters",
    "map": "the map",
    "draw": "choosing",
    "label": "labels",
    "propose": "proposals",
    "trial": "trials",
    "test": "held-out errors",
}
"""What people call the kinds of tasks."""
COMPARISON = "comparison"
MOST_POINTS = 20_000
"""Of a parity plot; beyond, every second, third ... one is drawn."""


def content_of(found: Distillation) -> Content:
    """Collect everything the report shows.

    Raises
    ------
    FormatError : an artefact is damaged.
    """
    potential = found.folder.absolute() / "potential"
    pool = _pool_story(found)
    rounds = _rounds(found)
    last = found.cycles[-1] if found.cycles else None
    return Content(
        name=found.state.name,
        folder=str(found.folder.absolute()),
        state=word_of(found),
        sentence=sentence_of(found),
        tolerance=found.config.stop.energy_rmse_meV / 1000,
        judged_on=judge_of(found),
        about=about(found),
        groups=errors_by_group(found) or {},
        potential=str(potential) if potential.is_dir() else None,
        elements=tuple(_pool_summary(found).get("species", ())),
        elapsed=found.state.elapsed_s,
        pool=pool,
        scan=scan_of(found),
        clusters=clusters_of(found),
        cycles=found.cycles,
        rounds=rounds,
        dimensions=() if found.config.space is None else found.config.space.dimensions,
        objective=_objective(found),
        arms=arms_of(found),
        comparison=sentences_of(found),
        parity=_parity(found),
        point=last.trials[last.best].point if last else {},
        edges=edge_sentence(found.at_edge) if found.at_edge else "",
        choices=found.selected().choices if last else (),
        failures=tuple(
            Failure(one.cycle, f"{WORK.get(one.kind, one.kind)}: {one.title}", one.reason)
            for one in found.failures
        ),
        seconds=_seconds(found),
        config=found.source,
        version=athanor.__version__,
    )


def _pool_task(found: Distillation) -> str | None:
    """The pool's artefact, which is there long before the clusters."""
    done = found.state.finished_tasks
    return next((task for task, record in done.items() if record.kind == "pool"), None)


def _pool_summary(found: Distillation) -> Mapping[str, Any]:
    task = _pool_task(found)
    return {} if task is None else found.state.summary(task)


def _pool_story(found: Distillation) -> PoolStory | None:
    task = _pool_task(found)
    if task is None:
        return None
    told = found.state.summary(task)
    pool = found.pool if found.ground is not None else read_pool(found.artefacts.path(task))
    facts = [
        ("structures", f"{told['n']} with {told['atoms']} atoms in all"),
        ("elements", ", ".join(told["species"])),
        ("level of theory", str(told["level"])),
        ("never chosen, to measure with", str(len(told["held_out"]))),
        ("without a label", str(len(told["unlabelled"]))),
    ]
    if pool.groups is not None:
        counts = Counter(pool.groups).items()
        facts.append(("groups", ", ".join(f"{name} ({count})" for name, count in counts)))
    return PoolStory(
        n=told["n"],
        facts=tuple(facts),
        energies=_energies(pool),
        groups=None if pool.groups is None else tuple(pool.groups),
        notes=tuple(told["notes"]),
    )


def _energies(pool: Pooled) -> FloatArray:
    energies = np.full(len(pool.structures), np.nan)
    for number, frame in pool.frames.items():
        energies[number] = frame.labels.energy / len(pool.structures[number])
    return energies


def _rounds(found: Distillation) -> tuple[Round, ...]:
    """The searches of all cycles, the one that goes on included."""
    over = [Round(cycle=one.number, trials=one.trials, best=one.best) for one in found.cycles]
    number = len(over) + 1
    done, failed = found.state.finished_tasks, found.state.failed_tasks
    trials = [
        _finished(found, record.summary, record.seconds)
        for record in done.values()
        if record.kind == "trial" and record.cycle == number
    ]
    trials += [
        Trial(_point(failure.title), None, None, 0.0, failure.reason)
        for failure in failed.values()
        if failure.kind == "trial" and failure.cycle == number
    ]
    if not trials:
        return tuple(over)
    scored = [(one.score, place) for place, one in enumerate(trials) if one.score is not None]
    best = min(scored)[1] if scored else None
    return (*over, Round(cycle=number, trials=tuple(trials), best=best))


def _finished(found: Distillation, summary: Mapping[str, Any], seconds: float) -> Trial:
    """A trial of a search that goes on; its point is what its recipe has in the marked fields."""
    point: dict[str, Any] = {}
    for one in () if found.config.space is None else found.config.space.dimensions:
        value: Any = summary["recipe"]
        for key in one.path:
            value = value[key]
        point[one.name] = value
    errors: Errors | None = summary["test"]
    score = None if errors is None else found.config.search.score(errors)
    return Trial(point, score, errors, seconds, "")


def _point(title: str) -> dict[str, Any]:
    """A failed trial is known by its title, which is its point where anything is searched."""
    try:
        point = json.loads(title)
    except ValueError:
        return {}
    return point if isinstance(point, dict) else {}


def _objective(found: Distillation) -> str:
    search = found.config.search
    if search.objective == "energy":
        return "energy RMSE on the cycle's test structures, meV/atom"
    return (
        f"energy RMSE + {search.force_weight:g} Å/atom × force RMSE on the cycle's test "
        "structures, meV/atom"
    )


def _parity(found: Distillation) -> Parity | None:
    """Held-out structures and the latest best potential; its own test ones where none are."""
    if not found.cycles:
        return None
    last = found.cycles[-1]
    apart = last.held_out is not None
    points = found.parity(held_out=apart)
    if points is None:
        return None
    errors = last.held_out if last.held_out is not None else last.test
    panels = []
    quantities = (
        ("energy", "eV/atom", "energy", 1.0),
        ("force", "eV/Å", "forces", 1.0),
        ("stress", "GPa", "stress", 1.0 / GPa),
    )
    for title, unit, name, factor in quantities:
        reference, predicted = getattr(points, name), getattr(points, f"{name}_predicted")
        both = np.isfinite(reference) & np.isfinite(predicted)
        rmse = errors[f"{name}_rmse"]
        if rmse is None or not both.any():
            continue
        step = -(-int(both.sum()) // MOST_POINTS)
        one = Series(
            name="",
            reference=factor * reference[both][::step],
            predicted=factor * predicted[both][::step],
        )
        panels.append(Panel(title=title, unit=unit, series=(one,), rmse=factor * rmse))
    of = "held-out structures" if apart else "its own test structures"
    return Parity(of=f"Cycle {last.number}, {of}", panels=tuple(panels)) if panels else None


def _seconds(found: Distillation) -> tuple[Mapping[str, float], ...]:
    """Work by cycle and kind; fits and tests beside those of the cycles are the comparison's."""
    own: set[str] = set()
    for turn in found.passed.turns:
        own |= {task.id for _, task in turn.winner.trials}
        own |= set() if turn.held_out is None else {turn.held_out.id}
    over = len(found.passed.turns)
    spent: list[dict[str, float]] = [{} for _ in range(found.state.cycle + 1)]
    for task, record in found.state.finished_tasks.items():
        name = WORK.get(record.kind, record.kind)
        if record.kind in ("trial", "test") and record.cycle <= over and task not in own:
            name = COMPARISON
        table = spent[record.cycle]
        table[name] = table.get(name, 0.0) + record.seconds
    return tuple(spent)
