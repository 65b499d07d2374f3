"""Properties: measured physical quantities with a reference to compare with.

A new property is one file in this package (or an entry point in the group `athanor.validate`). Most
are an `AloneConfig`: measured with one calculator, so that any number of them stand side by side.
"""

from __future__ import annotations

from athanor.component import discover
from athanor.validate._alone import AloneConfig, Tell, panels_of, silent
from athanor.validate._contract import PropertyConfig, PropertyResult, Quantity
from athanor.validate._measured import Line, Measured, Panel, Value
from athanor.validate._regression import regressions

__all__ = [
    "AloneConfig",
    "Line",
    "Measured",
    "Panel",
    "PropertyConfig",
    "PropertyResult",
    "Quantity",
    "Tell",
    "Value",
    "kinds",
    "panels_of",
    "regressions",
    "silent",
]


def kinds() -> dict[str, type[PropertyConfig]]:
    """Every kind of property there is, by name."""
    return discover("athanor.validate", PropertyConfig)
