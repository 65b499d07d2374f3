"""How a distillation stands, as a word and as a sentence."""

from __future__ import annotations

from athanor.campaign.steps import Work
from athanor.distil import Distillation
from athanor.distil.folder import Cycle, Errors
from athanor.report.distilled.content import Word

PHASES = {
    "pool": "reading or making the pool",
    "describe": "describing structures",
    "distances": "comparing Coulomb matrices",
    "similarity": "putting the kernels together",
    "partition": "clustering",
    "map": "drawing the map",
    "draw": "choosing structures",
    "label": "buying labels",
    "propose": "searching hyperparameters",
    "trial": "searching hyperparameters",
    "test": "measuring on held-out structures",
    "compare": "comparing ways of choosing",
}
"""What people call the phases."""


def word_of(found: Distillation) -> Word:
    """Whether the tolerance was reached, a limit was, or neither yet."""
    # one made by an older version may lack steps that this one's plan has
    if found.state.stopped_by is None or not found.cycles:
        return "unfinished"
    return "reached" if found.state.stopped_by == "tolerance" else "limit"


def sentence_of(found: Distillation) -> str:
    """How it stands."""
    stopped_by = found.state.stopped_by
    if stopped_by is None or not found.cycles:
        return _unfinished(found)
    last, stop = found.cycles[-1], found.config.stop
    used = f"{_used(found, last)}, the energy RMSE is {_errors(last)}"
    tolerance = f"a tolerance of {stop.energy_rmse_meV:g}"
    if stopped_by == "tolerance":
        judge = {"test": " on test structures", "held_out": " on held-out structures", "both": ""}
        return f"The tolerance is met{judge[stop.judged_on]}: with {used}, against {tolerance}."
    limits = {
        "whole_pool": "All of the pool that may be chosen was used",
        "max_fraction": f"It stopped at its limit of {_percent(stop.max_fraction)} of the pool",
        "max_cycles": f"It stopped at its limit of {stop.max_cycles} cycles",
        "max_hours": f"It stopped at its limit of {stop.max_hours} hours",
    }
    head = limits.get(stopped_by, f"It stopped at its limit {stopped_by}")
    return f"{head}, before the tolerance was met: with {used}, against {tolerance}."


def where(found: Distillation) -> tuple[str, int, int] | None:
    """What it is at, and how many tasks of how many are done; None between steps."""
    step = found.passed.step
    if not isinstance(step, Work):
        return None
    left = len(found.state.pending(step.tasks))
    return PHASES.get(step.phase, step.phase), step.planned - left, step.planned


def _unfinished(found: Distillation) -> str:
    at = where(found)
    if at is None:
        place = ""
    else:
        cycle = f" in cycle {len(found.cycles) + 1}" if _inside_cycle(found) else ""
        done = f", {at[1]} of {at[2]} tasks done" if at[2] > 1 else ""
        place = f" at {at[0]}{cycle}{done}"
    sofar = ""
    if found.cycles:
        last = found.cycles[-1]
        sofar = f" So far, with {_used(found, last)}, the energy RMSE is {_errors(last)}."
    return (
        f"This distillation has not ended: what follows is how it stood{place}.{sofar} "
        "Run the same line again to carry on."
    )


def _inside_cycle(found: Distillation) -> bool:
    step = found.passed.step
    inside = ("draw", "label", "propose", "trial", "test")
    return isinstance(step, Work) and step.phase in inside


def _used(found: Distillation, last: Cycle) -> str:
    pool = found.ground.found["n"] if found.ground is not None else 0
    used = f"{last.n_train + last.n_test} of {pool} structures"
    parts = f"{last.n_train} fitted, {last.n_test} for testing"
    return f"{used} ({_percent(last.fraction)} of the pool; {parts})"


def _errors(last: Cycle) -> str:
    if last.held_out is None:
        return f"{_milli(last.test)} meV/atom on its own test structures"
    return (
        f"{_milli(last.held_out)} meV/atom on held-out structures and {_milli(last.test)} on its "
        "own test structures"
    )


def _milli(errors: Errors) -> str:
    value = errors["energy_rmse"]
    return "not finite" if value is None else f"{1000 * value:.3g}"


def _percent(share: float) -> str:
    """With a space that does not break."""
    return f"{100 * share:.3g}\u00a0%"
