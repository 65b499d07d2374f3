"""The contract of a property: a measured physical quantity with a reference to compare with.

A new property is one file in this package (or an entry point in the group `athanor.validate`).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ase.calculators.calculator import Calculator

from athanor.component import Component, discover


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number: the potential's value, the reference's, in `unit`, with an uncertainty if known.

    `passed` is the verdict against the tolerance the config gives, None where it gives none.
    """

    name: str
    value: float
    unit: str
    reference: float | None = None
    uncertainty: float | None = None
    passed: bool | None = None


@dataclass(frozen=True, slots=True)
class PropertyResult:
    """What one property measured.

    Attributes
    ----------
    kind, title : which property, and its name for people.
    quantities : the numbers.
    curves : name -> plain JSON data for the report's figure of this kind.
    notes : sentences for people (what could not be measured and why).
    """

    kind: str
    title: str
    quantities: tuple[Quantity, ...]
    curves: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class PropertyConfig(Component):
    """The recipe of a property; it is one [[validate]] section of a campaign file."""

    @abstractmethod
    def measure(
        self, potential: Calculator, reference: Calculator, *, seed: int, workdir: Path
    ) -> PropertyResult:
        """Measure with any two ASE calculators; deterministic for a given seed."""


def kinds() -> dict[str, type[PropertyConfig]]:
    """Every kind of property there is, by name."""
    return discover("athanor.validate", PropertyConfig)
