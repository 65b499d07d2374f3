"""A distillation on the command line: how it stands and what came out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from athanor.cli.progress import counted, duration
from athanor.distil import Distillation
from athanor.distil.verdict import sentence

FILES = {
    "potential": "potential",
    "chosen": "selected.extxyz",
    "certificate": "certificate.json",
    "report": "report.html",
}


def ending(found: Distillation, folder: Path) -> str:
    """What came out, and where it is."""
    last, best = found.cycles[-1], found.best
    used = f"{counted(last.n_train + last.n_test, 'structure')} ({100 * last.fraction:.3g} % of"
    lines = [
        f"{found.state.name}: {counted(last.number, 'cycle')}, {used} the pool), "
        f"{duration(found.state.elapsed_s)}",
        f"  clusters      {best['n_clusters']} at delta = {best['delta']:g}",
        f"  errors        {_errors(last.held_out)} on held-out structures"
        if last.held_out is not None
        else f"  errors        {_errors(last.test)} on its own test structures",
    ]
    if found.comparison:
        lines.append(f"  comparison    {sentence(found.comparison)}")
    lines += [f"  {name:<13} {folder / place}" for name, place in FILES.items()]
    return "\n".join(lines)


def show(found: Distillation) -> None:
    """Print how it stands: a line for each cycle."""
    status = found.status()
    moment = status.progress
    word = moment.stopped_by or (
        "unfinished" if status.running is None else f"running as process {status.running}"
    )
    print(f"{status.name}: {word}, {moment.phase}, {duration(moment.elapsed_s)} of work")
    for cycle in status.cycles:
        held = "" if cycle.held_out is None else f"; held out {_errors(cycle.held_out)}"
        print(
            f"  cycle {cycle.number}: {cycle.n_train} + {cycle.n_test} structures "
            f"({100 * cycle.fraction:.3g} %), {counted(len(cycle.trials), 'trial')}, "
            f"test {_errors(cycle.test)}{held}"
        )
    for failure in found.failures:
        print(f"  failed: {failure.title}: {failure.reason}")


def as_json(found: Distillation) -> str:
    """How it stands, for scripts."""
    return json.dumps(found.status().as_dict(), indent=2, allow_nan=False)


def _errors(errors: Mapping[str, float | None]) -> str:
    """RMSE of energy and forces for people."""
    energy, force = errors["energy_rmse"], errors["forces_rmse"]
    parts = [
        "energy not finite" if energy is None else f"{1000 * energy:.3g} meV/atom",
        "no forces" if force is None else f"{force:.3g} eV/Å",
    ]
    return ", ".join(parts)
