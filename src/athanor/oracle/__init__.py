"""The contract of an oracle: what we pay for labels.

A new oracle is one file in this package (or an entry point in the group `athanor.oracle`).
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Protocol

from ase import Atoms
from ase.calculators.calculator import Calculator
from pydantic import Field

from athanor.component import Component, discover
from athanor.structure import Labels


class Oracle(Protocol):
    """Gives labels at one level of theory."""

    @property
    def level(self) -> str:
        """Fingerprint of the level of theory: equal settings, equal string."""
        ...

    def label(self, atoms: Atoms, *, workdir: Path) -> Labels:
        """Label one structure, not modified; OracleError(reason, retry) when it cannot."""
        ...

    def calculator(self, *, workdir: Path) -> Calculator:
        """An ASE calculator at the same level, for reference dynamics and properties."""
        ...


class OracleConfig(Component):
    """The recipe of an oracle; it is the [oracle] section of a campaign file."""

    selfcheck: bool = Field(
        default=False, description="check units and signs by differences first (9 labels)"
    )

    @abstractmethod
    def build(self) -> Oracle:
        """Make the oracle; ConfigError when the calculator or its settings do not exist."""


def kinds() -> dict[str, type[OracleConfig]]:
    """Every kind of oracle there is, by name."""
    return discover("athanor.oracle", OracleConfig)
