"""The contract of a property, as a campaign and a suite see it."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ase.calculators.calculator import Calculator

from athanor.component import Component, kind_of


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number: the potential's value, the reference's, in `unit`, with an uncertainty if known.

    `passed` is the verdict against the tolerance the config gives, None where it gives none;
    `literature` is what is published. Uncertainties are one standard deviation.
    """

    name: str
    value: float
    unit: str
    reference: float | None = None
    uncertainty: float | None = None
    passed: bool | None = None
    reference_uncertainty: float | None = None
    literature: float | None = None


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
    """The recipe of a property: [[validate]] in a campaign file, [[property]] in a suite's."""

    @property
    def kind_name(self) -> str:
        """The `kind` it is chosen by."""
        return kind_of(type(self)) or ""

    @abstractmethod
    def measure(
        self, potential: Calculator, reference: Calculator, *, seed: int, workdir: Path
    ) -> PropertyResult:
        """Measure with any two ASE calculators; deterministic for a given seed."""
