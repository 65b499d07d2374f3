"""A distillation on the command line: how it stands and what came out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from athanor.cli.live import PHASES
from athanor.cli.progress import counted, duration
from athanor.distil import Distillation
from athanor.distil.folder import DistilStatus
from athanor.distil.verdict import edge_sentence, sentence_of

REACHED = "tolerance"
"""The stopping rule that is a success."""
POTENTIAL = "potential"
FILES = {
    "potential": POTENTIAL,
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
    if found.at_edge:
        lines.append(f"  search        {edge_sentence(found.at_edge)}")
    if found.comparison:
        lines.append(f"  comparison    {sentence_of(found)}")
    lines += [f"  {name:<13} {folder / place}" for name, place in FILES.items()]
    return "\n".join(lines)


def word(status: DistilStatus) -> str:
    """Return converged (the tolerance is met), limit (stopped by one), running or unfinished."""
    stopped_by = status.progress.stopped_by
    if stopped_by is not None:
        return "converged" if stopped_by == REACHED else "limit"
    return "unfinished" if status.running is None else "running"


def show(found: Distillation) -> None:
    """Print how it stands: a line for each cycle."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    status = found.status()
    console.print(Text.assemble((status.name, "bold"), f": {_standing(status)}"), soft_wrap=True)
    for line in _pool(found):
        console.print(Text(line), soft_wrap=True)
    if status.cycles:
        console.print(_table(status))
        stop = found.config.stop
        judge = {"test": "tests", "held_out": "held-out ones", "both": "both"}[stop.judged_on]
        told = f"RMSE of energies, meV/atom (tolerance {stop.energy_rmse_meV:g} on {judge}), "
        console.print(
            Text(f"{told}and forces, eV/Å; held: held-out structures", style="dim"), soft_wrap=True
        )
    if found.comparison:
        console.print(Text(sentence_of(found)), soft_wrap=True)
    for failure in found.failures:
        text = Text(f"failed: {failure.title}: {failure.reason}")
        console.print(text, soft_wrap=True)


def as_json(found: Distillation) -> str:
    """How it stands, for scripts: eV, Å, seconds; `status` is its `word`."""
    status = found.status()
    potential = Path(status.folder) / POTENTIAL
    told: dict[str, Any] = {
        "status": word(status),
        "potential": str(potential) if potential.is_dir() else None,
        **status.as_dict(),
    }
    return json.dumps(told, indent=2, allow_nan=False)


def _standing(status: DistilStatus) -> str:
    """The word and what it is at, with the work so far."""
    now, name = status.progress, word(status)
    told = {
        "converged": "the tolerance is met",
        "limit": f"stopped by the limit {now.stopped_by}",
        "running": f"running as process {status.running}",
    }.get(name, name)
    if now.stopped_by is None:
        told += f", {PHASES.get(now.phase, now.phase)}"
        if now.planned:
            told += f", {now.done} of {now.planned} done"
    return f"{told}; {duration(now.elapsed_s)} of work"


def _pool(found: Distillation) -> list[str]:
    """The pool and its clusters, where they are known."""
    if found.ground is None:
        return []
    best, told = found.best, found.ground.found
    line = f"{best['n_clusters']} clusters at delta = {best['delta']:g}"
    if best["ari"] is not None:
        line += f", adjusted Rand index {best['ari']:.2f} against the groups of the file"
    return [f"pool of {told['n']} structures; {line}"]


def _table(status: DistilStatus) -> Any:
    """A row for each cycle that is over."""
    from rich import box
    from rich.table import Table

    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    errors = ("E test", "E held", "F test", "F held")
    for heading in ("cycle", "fitted", "tested", "% pool", "trials", *errors):
        grid.add_column(heading, justify="right", no_wrap=True)
    for cycle in status.cycles:
        held_out: Mapping[str, float | None] = cycle.held_out or {}
        grid.add_row(
            str(cycle.number),
            str(cycle.n_train),
            str(cycle.n_test),
            f"{100 * cycle.fraction:.1f}",
            str(len(cycle.trials)),
            _milli(cycle.test.get("energy_rmse")),
            _milli(held_out.get("energy_rmse")),
            _plain(cycle.test.get("forces_rmse")),
            _plain(held_out.get("forces_rmse")),
        )
    return grid


def _milli(value: float | None) -> str:
    return "" if value is None else f"{1000 * value:.2f}"


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _errors(errors: Mapping[str, float | None]) -> str:
    """RMSE of energy and forces for people."""
    energy, force = errors["energy_rmse"], errors["forces_rmse"]
    parts = [
        "energy not finite" if energy is None else f"{1000 * energy:.3g} meV/atom",
        "no forces" if force is None else f"{force:.3g} eV/Å",
    ]
    return ", ".join(parts)
