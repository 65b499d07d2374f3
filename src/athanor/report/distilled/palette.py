"""Colours of clusters, groups and cycles."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.colors import to_hex

from athanor.report.canvas import LATTICE_COLOURS, PALE_COLOURS

TURN = 0.618034
"""Of the circle of hues from one to the next: the golden ratio never comes back to one."""
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def colours(count: int) -> list[str]:
    """As many colours that differ, the first ones those of the page."""
    named = [*LATTICE_COLOURS, *PALE_COLOURS]
    if count <= len(named):
        return named[:count]
    hues = [(k * TURN) % 1.0 for k in range(count)]
    return [
        to_hex(colorsys.hls_to_rgb(hue, (0.35, 0.5, 0.65)[k % 3], 0.55))
        for k, hue in enumerate(hues)
    ]


def group_colours(groups: Sequence[str]) -> dict[str, str]:
    """Group -> colour, in the order to name them.

    Groups that all bear a number (of kelvin, most likely) go from cold to warm by it; others take
    different colours in the order in which they come.
    """
    names = list(dict.fromkeys(groups))
    found = {name: [float(text) for text in NUMBER.findall(name)] for name in names}
    if len(names) < 2 or not all(found.values()):
        return dict(zip(names, colours(len(names)), strict=True))
    names.sort(key=lambda name: -float(np.mean(found[name])))
    scale = matplotlib.colormaps["plasma"]
    shades = np.linspace(0.86, 0.05, len(names))
    return {name: to_hex(scale(float(shade))) for name, shade in zip(names, shades, strict=True)}
