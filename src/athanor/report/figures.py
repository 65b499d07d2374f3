"""Figures of the report, as SVG text: equal data give equal bytes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator

from athanor.report.canvas import (
    COOL,
    EMBER,
    FAINT,
    INK,
    LATTICE_COLOURS,
    MANY_POINTS,
    PALE_COLOURS,
    STYLE,
    figure_of,
    legend_beside,
    logarithmic,
    svg,
    whole_numbers,
)
from athanor.report.content import Panel
from athanor.structure import FloatArray

STOP_COLOURS = {
    "completed": COOL,
    "grade": EMBER,
    "distance": "#7a5ba6",
    "temperature": "#b8860b",
    "nan": "#a23b72",
}
VERDICTS = {"trusted": COOL, "worth a label": "#e0a458", "stops the run": EMBER}
TRIFLE = 0.01
"""Share of the whole work below which a kind of work is not shown by itself."""


def survival(cycles: Sequence[Sequence[tuple[float, float, str]]], *, unit: str) -> str:
    """How long trajectories lived: per cycle a list of (lived, full schedule, stopped by)."""
    with matplotlib.rc_context(STYLE):
        figure, (axes,) = figure_of(7.2, 2.9)
        planned = [max((full for _, full, _ in runs), default=0.0) for runs in cycles]
        points = [
            (number + offset, lived, stop)
            for number, runs in enumerate(cycles, start=1)
            for (lived, _, stop), offset in zip(runs, _spread(len(runs)), strict=True)
        ]
        for stop, colour in STOP_COLOURS.items():
            some = [(x, lived) for x, lived, why in points if why == stop]
            if some:
                axes.plot(
                    *zip(*some, strict=True),
                    "o",
                    color=colour,
                    ms=5.5,
                    mec="white",
                    mew=0.6,
                    label=_stop_name(stop),
                )
        x = np.arange(1, len(cycles) + 1)
        axes.step(
            np.append(x - 0.5, x[-1:] + 0.5),
            [*planned, *planned[-1:]],
            where="post",
            color=FAINT,
            lw=1,
            ls=(0, (4, 3)),
            label="full schedule",
        )
        axes.set(xlabel="cycle", ylabel=unit, xlim=(0.5, len(cycles) + 0.5))
        axes.set_ylim(0, 1.12 * max([*planned, 1e-3]))
        whole_numbers(axes, len(cycles))
        legend_beside(axes)
        return svg(figure, "survival")


def errors_per_cycle(
    energy: Sequence[float | None],
    force: Sequence[float | None],
    *,
    energy_target: float | None = None,
    force_target: float | None = None,
) -> str:
    """RMSE on new labels before they were trained on: meV/atom and meV/Å, one value per cycle."""
    with matplotlib.rc_context(STYLE):
        figure, panels = figure_of(7.2, 2.7, columns=2)
        for axes, values, target, title, colour in (
            (panels[0], energy, energy_target, "energy RMSE, meV/atom", EMBER),
            (panels[1], force, force_target, "force RMSE, meV/Å", COOL),
        ):
            points = [(n, v) for n, v in enumerate(values, start=1) if v is not None and v > 0]
            axes.plot(
                [n for n, _ in points],
                [v for _, v in points],
                "o-",
                color=colour,
                lw=1.6,
                ms=5,
                mec="white",
                mew=0.6,
            )
            if target is not None:
                axes.axhline(target, color=FAINT, lw=1, ls=(0, (4, 3)))
                axes.annotate(
                    f"target {target:g}",
                    (1, target),
                    xycoords=("axes fraction", "data"),
                    ha="right",
                    va="bottom",
                    fontsize=8,
                    color=FAINT,
                )
            axes.set(title=title, xlabel="cycle", xlim=(0.5, len(values) + 0.5))
            logarithmic(axes, [v for _, v in points] + ([target] if target else []))
            whole_numbers(axes, len(values))
        return svg(figure, "errors")


def parity(panels: Sequence[Panel], *, name: str) -> str:
    """Prediction against reference, a square per quantity, a colour per origin."""
    with matplotlib.rc_context(STYLE):
        named = any(one.name for panel in panels for one in panel.series)
        width = 2.75 * len(panels) + (1.4 if named else 0.0)
        figure, all_axes = figure_of(width, 2.75, columns=len(panels))
        for axes, panel in zip(all_axes, panels, strict=True):
            _parity_panel(axes, panel)
        legend_beside(all_axes[-1])
        return svg(figure, f"parity {name}")


def _parity_panel(axes: Axes, panel: Panel) -> None:
    values = np.concatenate([[*s.reference, *s.predicted] for s in panel.series])
    low, high = float(values.min()), float(values.max())
    pad = 0.05 * max(high - low, 1e-6)
    ends = (low - pad, high + pad)
    axes.plot(ends, ends, color=FAINT, lw=1, zorder=1)
    for one, colour in zip(panel.series, LATTICE_COLOURS * 9, strict=False):
        axes.scatter(
            one.reference,
            one.predicted,
            s=7,
            color=colour,
            alpha=0.55,
            lw=0,
            rasterized=len(one.reference) > MANY_POINTS,
            zorder=2,
            label=one.name or None,
        )
    rmse = f"RMSE {_with_prefix(panel.rmse, panel.unit)}"
    axes.text(0.05, 0.95, rmse, transform=axes.transAxes, va="top", fontsize=8.5)
    axes.set(title=panel.title, xlim=ends, ylim=ends, aspect="equal")
    axes.set(xlabel=f"oracle, {panel.unit}", ylabel=f"potential, {panel.unit}")
    axes.locator_params(nbins=5)


def grade_histogram(
    values: FloatArray, *, save: float | None = None, halt: float | None = None
) -> str:
    """Distribution of extrapolation grades, with the thresholds; grades over 1e6 count as 1e6."""
    with matplotlib.rc_context(STYLE):
        figure, (axes,) = figure_of(7.2, 2.5)
        clipped = np.clip(values, 1e-2, 1e6)
        low, high = np.log10(clipped.min()) - 0.05, np.log10(clipped.max()) + 0.05
        bounds = [0.0, save or np.inf, halt or np.inf, np.inf]
        parts = [
            clipped[(clipped > begin) & (clipped <= end)]
            for begin, end in itertools.pairwise(bounds)
        ]
        bins = np.logspace(low, max(high, low + 0.5), 41).tolist()
        for part, (name, colour) in zip(parts, VERDICTS.items(), strict=True):
            if len(part):
                axes.hist(part, bins=bins, color=colour, label=f"{name} ({len(part)})")
        for threshold in (save, halt):
            if threshold is not None:
                axes.axvline(threshold, color=INK, lw=1, ls=(0, (4, 3)))
        axes.set(xscale="log", xlabel="extrapolation grade", ylabel="structures")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.grid(False, axis="x")
        legend_beside(axes)
        return svg(figure, "grades")


def time_spent(cycles: Sequence[Mapping[str, float]]) -> str:
    """Seconds of work per cycle, from cycle 0, by what they were spent on; trifles as one."""
    with matplotlib.rc_context(STYLE):
        figure, (axes,) = figure_of(7.2, 2.5)
        names = list(dict.fromkeys(name for cycle in cycles for name in cycle))
        total = {name: sum(cycle.get(name, 0.0) for cycle in cycles) for name in names}
        least = TRIFLE * sum(total.values())
        groups = [[name] for name in names if total[name] > least]
        groups.append([name for name in names if total[name] <= least])
        x = np.arange(len(cycles))
        bottom = np.zeros(len(cycles))
        colours = [*((*LATTICE_COLOURS, *PALE_COLOURS) * 9)[: len(groups) - 1], FAINT]
        for group, colour in zip(groups, colours, strict=True):
            heights = np.array([sum(cycle.get(name, 0.0) for name in group) for cycle in cycles])
            if group:
                label = group[0] if len(group) == 1 else "all else"
                axes.bar(x, heights, 0.62, bottom=bottom, color=colour, label=label)
            bottom += heights
        axes.set(xlabel="cycle", ylabel="seconds of work", xlim=(-0.5, len(cycles) - 0.5))
        axes.set_xticks(np.arange(0, len(cycles), max(1, -(-len(cycles) // 15))))
        axes.grid(False, axis="x")
        legend_beside(axes)
        return svg(figure, "time")


def label_cost(n_atoms: FloatArray, seconds: FloatArray) -> str:
    """What each label took against its number of atoms."""
    with matplotlib.rc_context(STYLE):
        figure, (axes,) = figure_of(7.2, 2.4)
        axes.scatter(n_atoms, seconds, s=18, color=EMBER, alpha=0.6, lw=0)
        axes.set(xlabel="atoms in the structure", ylabel="seconds per label")
        axes.set_ylim(bottom=0)
        return svg(figure, "cost")


def _spread(count: int) -> FloatArray:
    """Offsets that keep the points of one cycle apart."""
    return np.linspace(-0.28, 0.28, count) if count > 1 else np.zeros(count)


def _stop_name(stop: str) -> str:
    return {"completed": "ran to its end", "nan": "stopped: not finite"}.get(
        stop, f"stopped: {stop}"
    )


def _with_prefix(value: float, unit: str) -> str:
    """3.2 meV/atom for 0.0032 eV/atom; other units as they are."""
    return f"{1000 * value:.3g} m{unit}" if unit.startswith("eV") else f"{value:.3g} {unit}"
