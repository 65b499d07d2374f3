"""Figures of the fits: learning curve, search of hyperparameters, ways of choosing compared."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import Locator, LogLocator, MaxNLocator

from athanor.distil.folder import Cycle, Errors
from athanor.distil.verdict import Verdict
from athanor.report.canvas import (
    COOL,
    EMBER,
    FAINT,
    INK,
    STYLE,
    figure_of,
    legend_beside,
    logarithmic,
    svg,
)
from athanor.report.distilled.content import ArmStory, Round
from athanor.report.distilled.palette import colours
from athanor.search.dimension import Dimension

BAD = "#b3261e"
LONGEST = 18
"""Letters of a choice beside its tick."""


def learning_curve(
    cycles: Sequence[Cycle], *, tolerance: float, whole: tuple[Verdict, Verdict] | None
) -> str:
    """Errors of each cycle's best potential against the share of the pool it used.

    `tolerance` in eV/atom; `whole` are energy and forces of fits to all of the pool, if any.
    """
    with matplotlib.rc_context(STYLE):
        figure, (left, right) = figure_of(9.2, 2.9, columns=2)
        energy, forces = (None, None) if whole is None else (one.mean for one in whole)
        _errors(left, cycles, "energy_rmse", 1000.0, tolerance=tolerance, whole=energy)
        _errors(right, cycles, "forces_rmse", 1.0, tolerance=None, whole=forces)
        left.set_title("energy RMSE, meV/atom")
        right.set_title("force RMSE, eV/Å")
        # the left panel has the tolerance, too
        handles, names = left.get_legend_handles_labels()
        right.legend(handles, names, loc="upper left", bbox_to_anchor=(1.01, 1.0))
        return svg(figure, "learning curve")


def _errors(
    axes: Axes,
    cycles: Sequence[Cycle],
    name: str,
    factor: float,
    *,
    tolerance: float | None,
    whole: float | None,
) -> None:
    shown = []
    for label, line, colour, errors in (
        ("held out", "o-", EMBER, [one.held_out for one in cycles]),
        ("own test structures", "s--", COOL, [one.test for one in cycles]),
    ):
        points = _known(cycles, errors, name, factor)
        if points:
            axes.plot(*zip(*points, strict=True), line, color=colour, lw=1.6, ms=5, label=label)
        shown += [y for _, y in points]
    for label, level, style in (
        ("tolerance", tolerance, (0, (4, 3))),
        ("fit to the whole pool", whole, (0, (1, 2))),
    ):
        if level is not None:
            axes.axhline(factor * level, color=INK, lw=1, ls=style, label=label)
            shown.append(factor * level)
    axes.set(xlabel="share of the pool used, %")
    axes.set_xlim(0, 108 * max(one.fraction for one in cycles))
    logarithmic(axes, [y for y in shown if y > 0])


def _known(
    cycles: Sequence[Cycle], errors: Sequence[Errors | None], name: str, factor: float
) -> list[tuple[float, float]]:
    """(share in percent, error) of the cycles that have it."""
    return [
        (100 * one.fraction, factor * value)
        for one, some in zip(cycles, errors, strict=True)
        if some is not None and (value := some[name]) is not None
    ]


def search(rounds: Sequence[Round]) -> str:
    """The score of every trial, and the best so far of each cycle."""
    with matplotlib.rc_context(STYLE):
        figure, (axes,) = figure_of(9.2, 2.8)
        first, scores = 1, []
        for one, colour in zip(rounds, colours(len(rounds)), strict=True):
            scores += _search_of(axes, one, first, colour)
            first += len(one.trials)
            if one is not rounds[-1]:
                axes.axvline(first - 0.5, color=FAINT, lw=0.8, ls=":")
        axes.set(xlabel="trial", ylabel="score, meV/atom", xlim=(0.4, first - 0.4))
        axes.xaxis.set_major_locator(MaxNLocator(12, integer=True))
        axes.grid(False, axis="x")
        logarithmic(axes, [score for score in scores if score > 0])
        legend_beside(axes)
        return svg(figure, "search")


def _search_of(axes: Axes, one: Round, first: int, colour: str) -> list[float]:
    """Draw the trials of a cycle, from number `first` on; the scores in meV/atom."""
    x = [first + k for k, trial in enumerate(one.trials) if trial.score is not None]
    y = [1000 * trial.score for trial in one.trials if trial.score is not None]
    lost = [first + k for k, trial in enumerate(one.trials) if trial.score is None]
    if y:
        axes.plot(x, y, "o", color=colour, ms=5, mec="white", mew=0.6, label=f"cycle {one.cycle}")
        lowest = np.minimum.accumulate(y)
        ends = [*x, first + len(one.trials) - 0.5]
        axes.step(ends, [*lowest, lowest[-1]], where="post", color=colour, lw=1.4)
    if lost:
        known = axes.get_legend_handles_labels()[1]
        axes.plot(
            lost,
            [0.05] * len(lost),
            "x",
            color=BAD,
            ms=6,
            transform=axes.get_xaxis_transform(),
            label=None if "failed" in known else "failed",
        )
    return y


def fields(rounds: Sequence[Round], dimensions: Sequence[Dimension]) -> str:
    """The score against each field that was searched, a panel for each."""
    columns = min(3, len(dimensions))
    rows = -(-len(dimensions) // columns)
    with matplotlib.rc_context(STYLE):
        figure, _ = figure_of(3.05 * columns + 0.05, 2.4 * rows, columns=0)
        panels = list(figure.subplots(rows, columns, squeeze=False).flat)
        for axes, one in zip(panels, dimensions, strict=False):
            _field(axes, rounds, one)
        for axes in panels[len(dimensions) :]:
            axes.set_axis_off()
        for axes in panels[::columns]:
            axes.set_ylabel("score, meV/atom")
        return svg(figure, "fields")


def _field(axes: Axes, rounds: Sequence[Round], one: Dimension) -> None:
    scores = []
    for turn, colour in zip(rounds, colours(len(rounds)), strict=True):
        for place, trial in enumerate(turn.trials):
            x = one.number(trial.point.get(one.name))
            if x is None or trial.score is None:
                continue
            y = 1000 * trial.score
            scores.append(y)
            best = place == turn.best
            axes.plot(x, y, "o", color=colour, ms=7 if best else 4.5, mec=INK if best else "white")
    axes.set_title(one.name if len(one.name) <= 2 * LONGEST else f"…{one.name[-2 * LONGEST :]}")
    logarithmic(axes, [y for y in scores if y > 0])
    axes.yaxis.set_major_locator(_few(axes))
    _range(axes, one)


def _few(axes: Axes) -> Locator:
    if axes.get_yscale() == "log":
        return LogLocator(subs=(1.0, 2.0, 5.0), numticks=6)
    return MaxNLocator(5)


def _range(axes: Axes, one: Dimension) -> None:
    """The axis of a field: all of its range, with its choices by name."""
    if one.choices:
        names = [_short(choice) for choice in one.choices]
        axes.set_xticks(range(len(names)), names)
        axes.set_xlim(-0.5, len(names) - 0.5)
    elif one.log:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=6))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
        axes.set_xlim(
            one.low * (one.low / one.high) ** 0.06, one.high * (one.high / one.low) ** 0.06
        )
    else:
        edge = 0.06 * (one.high - one.low)
        axes.set_xlim(one.low - edge, one.high + edge)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=one.integer))


def _short(choice: Any) -> str:
    text = choice if isinstance(choice, str) else json.dumps(choice, default=str)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def comparison(arms: Sequence[ArmStory], *, tolerance: float) -> str:
    """Held-out errors by way of choosing: a dot per seed, the mean with its 95 % interval."""
    with matplotlib.rc_context(STYLE):
        figure, (left, right) = figure_of(9.2, 0.95 + 0.42 * len(arms), columns=2)
        _strip(left, [one.energy for one in arms], 1000.0)
        _strip(right, [one.forces for one in arms], 1.0)
        left.axvline(1000 * tolerance, color=INK, lw=1, ls=(0, (4, 3)))
        left.set(title="energy RMSE, meV/atom (dashed: tolerance)")
        right.set(title="force RMSE, eV/Å")
        names = [f"{one.paper}: {one.name}" if one.paper else one.name for one in arms]
        left.set_yticks(range(len(arms)), names)
        right.set_yticks(range(len(arms)), [])
        return svg(figure, "comparison")


def _strip(axes: Axes, verdicts: Sequence[Verdict], factor: float) -> None:
    for row, (one, colour) in enumerate(zip(verdicts, colours(len(verdicts)), strict=True)):
        values = factor * np.array(one.values)
        axes.plot(values, np.full(len(values), row - 0.16), "o", color=colour, ms=4.5, alpha=0.7)
        if one.mean is None:
            continue
        axes.plot(factor * one.mean, row + 0.14, "D", color=INK, ms=4)
        if one.low is not None and one.high is not None:
            ends = [factor * one.low, factor * one.high]
            axes.plot(ends, [row + 0.14] * 2, color=INK, lw=1.6)
    axes.set_ylim(len(verdicts) - 0.5, -0.5)
    # no error is negative, and two seeds can give an interval that dwarfs what was measured
    low, high = axes.get_xlim()
    most = factor * max((value for one in verdicts for value in one.values), default=high)
    axes.set_xlim(max(low, 0.0), min(high, 2.0 * most))
    axes.grid(False, axis="y")
    axes.locator_params(axis="x", nbins=6)
