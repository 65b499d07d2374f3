"""What all figures of a report share: colours, style, axes, and the way into a page."""

from __future__ import annotations

import io
import re
import warnings
import zlib
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

INK = "#22262e"
FAINT = "#8b919c"
GRID = "#e4e6ea"
EMBER = "#c2501f"
COOL = "#1f6f8b"
LATTICE_COLOURS = ("#c2501f", "#1f6f8b", "#7a5ba6", "#5b8c3a", "#b8860b", "#a23b72")
PALE_COLOURS = ("#e39a6c", "#63b0c9", "#b39bdb", "#9cc97c", "#e3c155", "#d67fae")
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "text.color": INK,
    # names of groups and choices are the user's: a dollar sign in them is no formula
    "text.parse_math": False,
    "svg.fonttype": "path",
}
PIXELS_PER_INCH = 108
MANY_POINTS = 1500
"""Scatters with more points are drawn as pixels, or the page would weigh megabytes."""

MANY_DECADES = 1e3
"""Factor spanned beyond which only powers of ten are named."""


def figure_of(width: float, height: float, *, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure of so many inches, with axes side by side."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, [figure.add_subplot(1, columns, k + 1) for k in range(columns)]


def svg(figure: Figure, name: str) -> str:
    """The figure as an <svg> element; `name` keeps the ids of several on one page apart."""
    with matplotlib.rc_context({"svg.hashsalt": name}), warnings.catch_warnings():
        # a name of the user's in a script the font lacks is drawn as boxes
        warnings.filterwarnings("ignore", r"Glyph .* missing from font")
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", dpi=180, transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    # the XML prologue has no place inside a page, and its DOCTYPE is a link
    text = text[text.index("<svg") :]
    head, body = text.split(">", 1)
    # letters keep one size over the page: a figure is as wide as it was drawn, or as the page is
    width = f'style="max-width: {PIXELS_PER_INCH * figure.get_figwidth():.0f}px"'
    head = re.sub(r'(width|height)="[^"]*"', "", head).replace("<svg", f"<svg {width}", 1)
    # every figure brings the same names for its letters: on one page they must differ
    prefix = f"f{zlib.crc32(name.encode()):08x}-"
    body = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}", body)
    return f"{head}>{body}"


def whole_numbers(axes: Axes, count: int) -> None:
    """Ticks at 1, 2, 3 ... below the axes, or at some of them."""
    step = max(1, -(-count // 15))
    axes.set_xticks(np.arange(1, count + 1, step))
    axes.grid(False, axis="x")


def logarithmic(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic axis with plain numbers, only where the values span enough for it."""
    if not values:
        return
    low, high = min(values), max(values)
    if high / low < 5:
        axes.set_ylim(0, 1.15 * high)
        return
    axes.set_yscale("log")
    axes.set_ylim(0.7 * low, 1.5 * high)
    subs = (1.0, 2.0, 5.0) if high / low < MANY_DECADES else (1.0,)
    axes.yaxis.set_major_locator(LogLocator(subs=subs))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("")


def legend_beside(axes: Axes) -> None:
    """What the colours mean, to the right of the axes."""
    handles, _ = axes.get_legend_handles_labels()
    if handles:
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
