"""The contract of a property, as a campaign and a suite see it."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Self

from ase.calculators.calculator import Calculator
from pydantic import Field, model_validator

from athanor.component import Component, kind_of

FAILED = "measured without failure"
"""Name of the quantity, 0 where it should be 1, of a property that had failures."""
SCHEDULE = frozenset({"every", "gate", "gate_margin"})
"""Fields that say when to measure and what to judge, and change no number."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number: the potential's value, the reference's, in `unit`, with an uncertainty if known.

    `passed` is the verdict against the tolerance the config gives, None where it gives none;
    `literature` is what is published. Uncertainties are one standard deviation. `is_error`: it is a
    deviation from the reference by itself, such as an RMSE, and the smaller the better.
    """

    name: str
    value: float
    unit: str
    reference: float | None = None
    uncertainty: float | None = None
    passed: bool | None = None
    reference_uncertainty: float | None = None
    literature: float | None = None
    is_error: bool = False


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

    every: int | None = Field(
        default=None,
        ge=1,
        description="in a campaign: measure after every so many cycles too, not only at the end",
    )
    gate: tuple[str, ...] = Field(
        default=(),
        description="names of values (* for any characters) that must not get worse beyond noise: "
        "else the older potential is kept",
    )
    gate_margin: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default={},
        description="name of a value (* for any characters) = by how much it may get worse beside "
        "its noise, in the value's unit",
    )

    @model_validator(mode="after")
    def _gated(self) -> Self:
        if self.gate_margin and not self.gate:
            raise ValueError("gate_margin needs gate = [names of values that are judged]")
        return self

    @property
    def identity(self) -> dict[str, Any]:
        """What its numbers depend on, as plain JSON data."""
        return self.model_dump(mode="json", exclude=set(SCHEDULE))

    @property
    def kind_name(self) -> str:
        """The `kind` it is chosen by."""
        return kind_of(type(self)) or ""

    @abstractmethod
    def measure(
        self, potential: Calculator, reference: Calculator, *, seed: int, workdir: Path
    ) -> PropertyResult:
        """Measure with any two ASE calculators; deterministic for a given seed."""
