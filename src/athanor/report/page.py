"""The report as one HTML page that opens offline."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from importlib.resources import files
from typing import NamedTuple

import numpy as np
from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from markupsafe import Markup

from athanor.report import figures
from athanor.report.content import Content, CycleStory
from athanor.report.panels import is_panel, panel, subject_colours
from athanor.validate import PropertyResult

MOST_DECIMALS = 6


def render(content: Content) -> str:
    """Return the page; every text of the user's is escaped, nothing is linked from outside."""
    measured = [(r, q) for r in content.properties for q in r.quantities]
    return template("page.html.j2").render(
        c=content,
        tiles=_tiles(content),
        judged=[(r.title, q) for r, q in measured if q.passed is not None],
        measured=[(r.title, q) for r, q in measured],
        figures={name: Markup(svg) for name, svg in _figures(content).items()},
        properties=[plots for r in content.properties if (plots := _plots(r)).figures],
        courses=[
            _plots(PropertyResult("", title, (), dict(panels)), name="by cycle")
            for title, panels in content.courses.items()
        ],
        parities=[(p, Markup(figures.parity(p.panels, name=p.of))) for p in content.parities],
        usage=usage(content.potential, content.elements),
        total_seconds=_total_seconds(content),
    )


def template(name: str) -> Template:
    """A page of this package; what is put into it is escaped, and a name it lacks is an error."""
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(
            lambda wanted: files("athanor.report").joinpath(wanted).read_text(encoding="utf-8")
        ),
    )
    environment.filters["number"] = number
    environment.filters["milli"] = milli
    environment.filters["duration"] = duration
    environment.filters["quantity"] = quantity
    environment.filters["written"] = written
    return environment.get_template(name)


def number(value: float | int | None) -> str:
    """Write a number for people: 4 significant digits."""
    if value is None:
        return "–"
    if isinstance(value, int) or value == 0:
        value = int(value)
        return f"{value:,}".replace(",", "\u202f")
    if not np.isfinite(value):
        return "∞" if value > 0 else "not finite"
    if 1e4 <= abs(value) < 1e6:
        text = f"{value:.0f}"
    elif 1e-3 <= abs(value) < 1e4:
        text = f"{value:#.4g}".rstrip(".")
    else:
        text = f"{value:.3e}"
    return text.replace("-", "−")


def milli(value: float | None) -> str:
    """Write a thousandth of a unit for people: eV as meV."""
    return number(None if value is None else 1000 * value)


def quantity(value: float | None, unit: str) -> str:
    """Write a measured number; without a unit it counts something."""
    if value is not None and not unit and value == int(value):
        return number(int(value))
    return number(value)


def written(value: float | None, uncertainty: float | None, unit: str) -> str:
    """Write a number with its uncertainty to two digits of that: 114.2 ± 1.3."""
    if value is None or uncertainty is None or not uncertainty > 0:
        return quantity(value, unit)
    return f"{rounded(value, uncertainty)} ± {rounded(uncertainty, uncertainty)}"


def rounded(value: float, uncertainty: float) -> str:
    """Write a number to two digits of its uncertainty."""
    decimals = 1 - math.floor(math.log10(uncertainty))
    if decimals > MOST_DECIMALS or abs(value) >= 1e6:
        return number(value)
    shown = round(value, decimals)
    return f"{shown:.{max(decimals, 0)}f}".replace("-", "−")


def duration(seconds: float | None) -> str:
    """Write a time for people."""
    if seconds is None:
        return "–"
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _tiles(content: Content) -> list[tuple[str, str, str]]:
    """The numbers at the top: (value, what it is, a remark)."""
    judged = [q.passed for r in content.properties for q in r.quantities if q.passed is not None]
    last = content.cycles[-1] if content.cycles else None
    tiles = [(f"{sum(judged)}/{len(judged)}", "targets met", "")] if judged else []
    tiles += [
        (
            number(content.labels),
            "labels bought",
            f"{sum(c.failed for c in content.cycles)} failed",
        ),
        (number(sum(1 for c in content.cycles if c.runs)), "cycles", ""),
    ]
    if last is not None and last.runs:
        tiles.append((f"{last.survived}/{len(last.runs)}", "trajectories survived", "last cycle"))
    for parity in content.parities[:1]:
        tiles += [
            (
                f"{1000 * panel.rmse:.3g}",
                f"{panel.title} RMSE, m{panel.unit}",
                _first_lower(parity.of),
            )
            for panel in parity.panels
            if panel.unit.startswith("eV")
        ]
    if content.elapsed is not None:
        tiles.append((duration(content.elapsed), "elapsed", ""))
    return tiles


def _first_lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _figures(content: Content) -> dict[str, str]:
    drawn: dict[str, str] = {}
    turns = [cycle for cycle in content.cycles if cycle.runs]
    if turns:
        drawn["survival"] = _survival(turns)
    if any(c.energy_rmse is not None for c in turns):
        drawn["errors"] = figures.errors_per_cycle(
            [c.energy_rmse for c in turns], [c.force_rmse for c in turns]
        )
    if len(content.grades):
        drawn["grades"] = figures.grade_histogram(
            content.grades, save=content.save, halt=content.halt
        )
    cost = [(c.n_atoms, c.seconds) for c in content.choices if c.seconds is not None]
    if cost:
        drawn["cost"] = figures.label_cost(
            np.array([n for n, _ in cost], dtype=float), np.array([s for _, s in cost])
        )
    if any(c.seconds for c in content.cycles):
        drawn["time"] = figures.time_spent([c.seconds for c in content.cycles])
    return drawn


def _survival(turns: list[CycleStory]) -> str:
    """In ps where every trajectory knows its times, else in percent of the schedule."""
    runs = [[(r.lived_ps, r.planned_ps, r.stopped_by) for r in c.runs] for c in turns]
    timed = [
        [(lived, planned, stop) for lived, planned, stop in some if lived is not None and planned]
        for some in runs
    ]
    if all(len(some) == len(all_) for some, all_ in zip(timed, runs, strict=True)):
        return figures.survival(timed, unit="time survived, ps")
    shares = [[(100 * r.share, 100.0, r.stopped_by) for r in c.runs] for c in turns]
    return figures.survival(shares, unit="schedule survived, %")


class Plots(NamedTuple):
    """The figures of one property: (title, figure), one below the other or two in a row."""

    result: PropertyResult
    figures: list[tuple[str, Markup]]
    wide: bool


def _plots(result: PropertyResult, *, name: str = "") -> Plots:
    """Everything there is to draw of a property; `name` keeps figures of equal titles apart."""
    found = {title: one for title, one in result.curves.items() if is_panel(one)}
    colours = subject_colours(("potential", "reference"), reference="reference")
    drawn = [
        (
            title if name or len(found) > 1 else "",
            panel(
                one,
                name=f"{name} {result.title} {title}",
                colours=colours,
                reference="reference",
                wide=len(found) == 1,
            ),
        )
        for title, one in found.items()
    ]
    figures = [(title, Markup(svg)) for title, svg in drawn if svg]
    return Plots(result, figures, len(found) == 1)


def usage(
    folder: str | None, elements: Sequence[str], *, structures: str | None = None
) -> dict[str, str] | None:
    """Lines to copy, None while there is no potential.

    The structure in them is the first of a file if one is named, else a crystal.
    """
    if folder is None:
        return None
    symbol = elements[0] if elements else "Al"
    source, atoms = "from ase.build import bulk", f"bulk({symbol!r})"
    if structures is not None:
        source, atoms = "from ase.io import read", f"read({structures!r}, 0)"
    python = f"""\
import athanor
{source}

potential = athanor.load({folder!r})
atoms = {atoms}
atoms.calc = athanor.calculator(potential)

print(atoms.get_potential_energy())   # eV
print(atoms.get_forces())             # eV/Å
print(atoms.get_stress())             # eV/Å³, tension positive"""
    shell = f"""\
athanor evaluate {shlex.quote(folder)} structures.extxyz --out evaluated.extxyz
athanor relax {shlex.quote(folder)} structures.extxyz --out relaxed.extxyz --cell"""
    return {"python": python, "shell": shell}


def _total_seconds(content: Content) -> dict[str, float]:
    total: dict[str, float] = {}
    for cycle in content.cycles:
        for name, seconds in cycle.seconds.items():
            total[name] = total.get(name, 0.0) + seconds
    return total
