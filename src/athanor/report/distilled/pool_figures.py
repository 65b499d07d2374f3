"""Figures of a pool: its clusters along the trajectory and on the map, and how they were found."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from athanor.report.canvas import (
    COOL,
    EMBER,
    FAINT,
    INK,
    MANY_POINTS,
    STYLE,
    figure_of,
    svg,
)
from athanor.report.distilled.content import ClusterStory, Convergence, PoolStory, ScanPoint
from athanor.report.distilled.palette import colours, group_colours
from athanor.structure import FloatArray

MANY_STRETCHES = 40
"""Stretches of one group beyond which they are not shaded: the file's groups are mixed."""
NARROW = 0.03
"""Share of the trajectory below which a stretch is shaded and not named."""
MANY_GROUPS = 14


def trajectory(pool: PoolStory, found: ClusterStory | None) -> str:
    """Energy per atom, and the cluster of each structure, against its number in the pool."""
    energies = bool(np.isfinite(pool.energies).any())
    rows = int(energies) + int(found is not None)
    with matplotlib.rc_context(STYLE):
        tall = 0.0 if found is None else 1.7 + 0.075 * min(found.n_clusters, 20)
        figure, _ = figure_of(9.2, 0.85 + 1.5 * energies + tall, columns=0)
        heights = [1.5] * energies + [tall] * (found is not None)
        panels = list(
            figure.subplots(rows, 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
        )
        for number, axes in enumerate(panels):
            _stretches(axes, pool, named=number == 0)
            axes.grid(False, axis="x")
        if energies:
            _energy_line(panels[0], pool.energies)
        if found is not None:
            _cluster_rows(panels[-1], found)
        panels[-1].set(xlabel="number in the pool", xlim=(-0.5, pool.n - 0.5))
        return svg(figure, "trajectory")


def _stretches(axes: Axes, pool: PoolStory, *, named: bool) -> None:
    """Shade where the structures of one group follow each other."""
    if pool.groups is None:
        return
    shades = group_colours(pool.groups)
    ends = [0]
    for _, some in itertools.groupby(pool.groups):
        ends.append(ends[-1] + len(list(some)))
        if len(ends) > MANY_STRETCHES:
            return
    for first, last in itertools.pairwise(ends):
        name = pool.groups[first]
        axes.axvspan(first - 0.5, last - 0.5, color=shades[name], alpha=0.16, lw=0, zorder=0)
        if named and last - first >= NARROW * pool.n:
            axes.annotate(
                name,
                ((first + last - 1) / 2, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(-4, 3),
                textcoords="offset points",
                rotation=24,
                ha="left",
                va="bottom",
                fontsize=8,
            )


def _energy_line(axes: Axes, energies: FloatArray) -> None:
    numbers = np.arange(len(energies))
    axes.plot(numbers, energies, color=INK, lw=0.7, rasterized=len(energies) > 2 * MANY_POINTS)
    axes.set_ylabel("energy, eV/atom")
    axes.yaxis.set_major_locator(MaxNLocator(4))


def _cluster_rows(axes: Axes, found: ClusterStory) -> None:
    many = len(found.indices) > MANY_POINTS
    shades = np.array(colours(found.n_clusters))
    axes.scatter(
        found.indices,
        found.clusters,
        c=shades[found.clusters - 1],
        s=14,
        marker="|",
        lw=0.9,
        rasterized=many,
    )
    some = found.chosen
    if some.any():
        axes.scatter(
            found.indices[some],
            found.clusters[some],
            s=11,
            color=INK,
            lw=0,
            zorder=3,
            rasterized=int(some.sum()) > MANY_POINTS,
            label="chosen",
        )
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axes.set(ylabel="cluster", ylim=(found.n_clusters + 0.7, 0.3))
    axes.yaxis.set_major_locator(MaxNLocator(12, integer=True))


def maps(pool: PoolStory, found: ClusterStory) -> str:
    """The plane in which distances are kept as well as can be, by cluster and by group."""
    with matplotlib.rc_context(STYLE):
        figure, panels = figure_of(9.2, 3.9, columns=2)
        shades = np.array(colours(found.n_clusters))
        _plane(panels[0], found, shades[found.clusters - 1])
        panels[0].set_title("by cluster")
        if pool.groups is not None:
            _by_group(panels[1], pool.groups, found)
        else:
            _by_energy(panels[1], pool.energies, found)
        return svg(figure, "maps")


def _plane(axes: Axes, found: ClusterStory, colour: Any) -> Any:
    points, some = found.points, found.chosen
    many = len(points) > MANY_POINTS
    drawn = axes.scatter(
        points[:, 0], points[:, 1], c=colour, s=11, alpha=0.75, lw=0, rasterized=many
    )
    if some.any():
        axes.scatter(
            points[some, 0],
            points[some, 1],
            s=20,
            facecolors="none",
            edgecolors=INK,
            lw=0.7,
            rasterized=int(some.sum()) > MANY_POINTS,
        )
    axes.set(aspect="equal", xlabel="first coordinate", ylabel="second coordinate")
    axes.set_adjustable("datalim")
    axes.locator_params(nbins=5)
    return drawn


def _by_group(axes: Axes, groups: Sequence[str], found: ClusterStory) -> None:
    shades = group_colours(groups)
    _plane(axes, found, [shades[groups[int(i)]] for i in found.indices])
    axes.set(title="by group", ylabel="")
    if len(shades) <= MANY_GROUPS:
        _named(axes, shades)


def _named(axes: Axes, shades: Mapping[str, str]) -> None:
    for name, colour in shades.items():
        # a label that begins with an underscore is left out of a legend
        axes.plot([], [], "o", color=colour, ms=4.5, label=f" {name}")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), handletextpad=0.1)


def _by_energy(axes: Axes, energies: FloatArray, found: ClusterStory) -> None:
    """Where the file has no groups; the number in the pool where it has no energies either."""
    values = energies[found.indices]
    title = "by energy, eV/atom"
    if not np.isfinite(values).all():
        values, title = found.indices.astype(float), "by number in the pool"
    drawn = _plane(axes, found, values)
    axes.set(title=title, ylabel="")
    axes.figure.colorbar(drawn, ax=axes, shrink=0.8)


def scan(points: Sequence[ScanPoint], *, best: float | None) -> str:
    """Number of clusters, energy spread inside them, and agreement with groups against delta."""
    deltas = [one.delta for one in points]
    rated = any(one.ari is not None for one in points)
    spread = any(one.spread is not None for one in points)
    with matplotlib.rc_context(STYLE):
        figure, panels = figure_of(9.2, 2.7, columns=1 + spread + rated)
        _numbers(panels[0], points)
        if spread:
            _spreads(panels[1], points)
        if rated:
            known = [(one.delta, one.ari) for one in points if one.ari is not None]
            panels[-1].plot(*zip(*known, strict=True), "o-", color="#7a5ba6", lw=1.4, ms=4)
            panels[-1].set_title("adjusted Rand index against groups")
            panels[-1].set_ylim(min(0.0, *(ari for _, ari in known)), 1.0)
        for axes in panels:
            if best is not None:
                axes.axvline(best, color=EMBER, lw=1, ls=(0, (4, 3)), zorder=1)
            axes.set(xlabel="δ", xlim=(min(deltas) - 0.05, max(deltas) + 0.05))
        return svg(figure, "scan")


def _numbers(axes: Axes, points: Sequence[ScanPoint]) -> None:
    """With the range in which random starts settle."""
    for one in points:
        axes.plot([one.delta] * 2, one.range, color=COOL, lw=3.5, alpha=0.3, solid_capstyle="butt")
    axes.plot(
        [one.delta for one in points],
        [one.n_clusters for one in points],
        "o-",
        color=COOL,
        lw=1.4,
        ms=4,
    )
    axes.set_title("number of clusters")
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))


def _spreads(axes: Axes, points: Sequence[ScanPoint]) -> None:
    """Milli-electronvolts per atom, of clusters alike (as the paper) and of structures alike."""
    for name, colour, line, values in (
        ("mean of clusters", EMBER, "o-", [one.spread for one in points]),
        ("mean of structures", FAINT, "s--", [one.spread_by_structure for one in points]),
    ):
        known = [
            (one.delta, 1000 * value)
            for one, value in zip(points, values, strict=True)
            if value is not None
        ]
        if known:
            x, y = zip(*known, strict=True)
            axes.plot(x, y, line, color=colour, lw=1.4, ms=4, label=name)
    axes.set_title("energy spread in clusters, meV/atom")
    axes.set_ylim(0, 1.3 * axes.get_ylim()[1])
    axes.legend(loc="upper right")


def convergence(found: Convergence) -> str:
    """Mean distance between clusters, and its change, against their number."""
    numbers, means = np.array(found.numbers), np.array(found.means)
    with matplotlib.rc_context(STYLE):
        figure, (left, right) = figure_of(9.2, 2.7, columns=2)
        left.plot(numbers, means, color=COOL, lw=1.4)
        band = (means - found.uncertainty, means + found.uncertainty)
        left.fill_between(numbers, *band, color=COOL, alpha=0.25, lw=0)
        left.set(title="mean distance between clusters", xlabel="number of clusters")
        change = np.abs(means[found.patience :] - means[: -found.patience]) / found.patience
        if len(change):
            right.plot(numbers[: len(change)], np.maximum(change, 1e-7), color=COOL, lw=1.4)
            right.set_yscale("log")
            right.yaxis.set_major_formatter("{x:g}")
            right.yaxis.set_minor_formatter("")
        title = "its change per cluster added"
        if found.patience > 1:
            title += f", over the next {found.patience}"
        right.set(title=title, xlabel="number of clusters", xlim=left.get_xlim())
        right.axhline(found.d_tol, color=INK, lw=1, ls=(0, (4, 3)), label=f"d_tol {found.d_tol:g}")
        if found.uncertainty > 0:
            told = f"uncertainty {found.uncertainty:.2g}"
            right.axhline(found.uncertainty, color=FAINT, lw=1, ls=":", label=told)
        for axes in (left, right):
            axes.axvspan(*found.range, color=EMBER, alpha=0.1, lw=0)
            axes.axvline(found.chosen, color=EMBER, lw=1.2, label=f"{found.chosen} clusters")
        right.legend(loc="best")
        return svg(figure, "convergence")
