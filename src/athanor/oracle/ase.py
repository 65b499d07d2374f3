"""Any ASE calculator as an oracle, by name."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from subprocess import SubprocessError
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import (
    CalculationFailed,
    Calculator,
    CalculatorSetupError,
    ReadError,
    SCFError,
    get_calculator_class,
)
from ase.calculators.calculator import names as calculator_names
from pydantic import Field, field_validator

from athanor.component import nearest
from athanor.errors import ConfigError, LabelError, OracleError
from athanor.oracle import OracleConfig
from athanor.oracle._labelling import labels_of
from athanor.structure import Labels, check_labels

SELF_CONTAINED = frozenset({"emt", "lj", "morse"})
"""Calculators that take any keyword in silence though `default_parameters` names all they know."""

TRANSIENT = (CalculationFailed, ReadError, OSError, SubprocessError)
"""What a program that was killed, starved or lost its disk looks like; it may work next time."""

LASTING = (
    FileNotFoundError,
    PermissionError,
    NotADirectoryError,
    IsADirectoryError,
    CalculatorSetupError,
    SCFError,
)
"""Those among them that the same call will meet again."""


@dataclass(frozen=True)
class AseOracle:
    """Labels structures with a fresh ASE calculator each time, so that nothing carries over.

    Attributes
    ----------
    name : ASE's name of the calculator.
    settings : JSON text of its keyword arguments, keys sorted.
    """

    name: str
    settings: str

    @property
    def level(self) -> str:
        """`ase:NAME:` and a hash of the settings.

        The versions of ASE and of the program behind it are left out on purpose: an update must
        not make a campaign pay for its labels again.
        """
        return f"ase:{self.name}:{hashlib.sha256(self.settings.encode()).hexdigest()[:12]}"

    def label(self, atoms: Atoms, *, workdir: Path) -> Labels:
        """Label one structure; the energy is the force-consistent one where there are two.

        Raises OracleError for whatever the calculator raises and for labels that are not finite;
        `retry` is set where the failure was not of the calculator's own making.
        """
        try:
            # the calculator's overflows show in the labels, which are checked
            with np.errstate(all="ignore"):
                labels = labels_of(atoms, self.calculator(workdir=workdir))
        except Exception as error:
            # any program may stand behind the name: its failure costs one label, not the campaign
            transient = isinstance(error, TRANSIENT) and not isinstance(error, LASTING)
            raise OracleError(self._said(error), retry=transient) from error
        try:
            check_labels(labels, len(atoms), where=f"{self.name}")
        except LabelError as error:
            raise OracleError(str(error)) from error
        return labels

    def calculator(self, *, workdir: Path) -> Calculator:
        """A fresh calculator; one that keeps files keeps them in `workdir`."""
        made = calculator_class(self.name)(**json.loads(self.settings))
        if hasattr(made, "directory"):
            made.directory = workdir
        return made

    def _said(self, error: Exception) -> str:
        text = " ".join(str(error).split()) or "no message"
        return f"{self.name} failed with {type(error).__name__}: {text[:500]}"


class AseOracleConfig(OracleConfig):
    """An ASE calculator by its name with its settings; the embedded default is EMT."""

    kind: Literal["ase"] = "ase"
    calculator: str = Field(default="emt", description="name in ase.calculators")
    settings: dict[str, Any] = Field(default={}, description="keyword arguments of the calculator")

    @field_validator("settings")
    @classmethod
    def _plain(cls, settings: dict[str, Any]) -> dict[str, Any]:
        try:
            json.dumps(settings, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"settings hold numbers, text, lists and tables only ({error})"
            ) from None
        return settings

    def build(self) -> AseOracle:
        """Make the oracle and, to see that name and settings exist, one calculator.

        Raises ConfigError.
        """
        oracle = AseOracle(self.calculator, json.dumps(self.settings, sort_keys=True))
        kind = calculator_class(self.calculator)
        known = list(getattr(kind, "default_parameters", {}))
        for key in self.settings:
            if self.calculator in SELF_CONTAINED and key not in known:
                raise ConfigError(
                    f"[oracle] {self.calculator} has no setting {key!r}{nearest(key, known)}; "
                    f"it has {', '.join(known)}"
                )
        try:
            kind(**self.settings)
        except Exception as error:
            # constructors of third parties raise what they like; all of it is the settings' doing
            raise ConfigError(
                f"[oracle] {self.calculator} cannot be set up with settings = {self.settings} "
                f"({type(error).__name__}: {error}); see its page in ASE's documentation"
            ) from error
        return oracle


def calculator_class(name: str) -> type[Calculator]:
    """Return the class of an ASE calculator; ConfigError where none of that name loads."""
    if name not in calculator_names:
        raise ConfigError(
            f"[oracle] ASE has no calculator {name!r}{nearest(name, calculator_names)}; "
            f"it has {', '.join(calculator_names)}"
        )
    try:
        found: type[Calculator] = get_calculator_class(name)
    except ImportError as error:
        raise ConfigError(
            f"[oracle] the calculator {name!r} is known to ASE but cannot be loaded ({error}); "
            "install the program it belongs to"
        ) from error
    return found
