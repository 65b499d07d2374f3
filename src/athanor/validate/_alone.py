"""Properties that each calculator has by itself: measured alone, compared afterwards."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase.calculators.calculator import Calculator, CalculatorError
from pydantic import Field

from athanor.calculator import PotentialCalculator
from athanor.data.durable import make_folder, write_file
from athanor.errors import AthanorError
from athanor.validate._contract import FAILED, PropertyConfig, PropertyResult, Quantity
from athanor.validate._measured import Line, Measured, Panel, Value
from athanor.validate._part import part_of

Tell = Callable[[float, str], None]
"""Called with the share done (0 to 1) and what is being done."""

STOPPED = (
    AthanorError,
    ArithmeticError,
    np.linalg.LinAlgError,
    CalculatorError,
    NotImplementedError,
)
"""What calculators and measurements raise; the last is ASE's for an element that is not known."""


def silent(share: float, words: str) -> None:
    """Tell nobody."""


class AloneConfig(PropertyConfig):
    """The recipe of a property of one calculator; what is compared are the values of equal name.

    A subclass defines `title` and `alone`, and `compared` where curves are compared too.
    """

    tolerance: dict[str, float] = Field(
        default={},
        description="name of a value (* for any characters) = allowed difference from the "
        "reference, in the value's unit",
    )
    literature: dict[str, float] = Field(
        default={}, description="name of a value = what is published, in the value's unit"
    )

    per_member: ClassVar[bool] = True
    """Whether it is cheap enough to be measured for every member of an ensemble."""

    @property
    @abstractmethod
    def title(self) -> str:
        """Its name for people, with what it is measured on."""

    @property
    def identity(self) -> dict[str, Any]:
        judging = {"tolerance", "literature"}
        return {key: value for key, value in super().identity.items() if key not in judging}

    @property
    def shared_run(self) -> dict[str, Any] | None:
        """What its dynamics depend on, if others may be measured on the same run; else None.

        In a suite, properties for which it is equal get the same seed and `workdir`, which stays.
        """
        return None

    @abstractmethod
    def alone(
        self, calculator: Calculator, *, seed: int, workdir: Path, tell: Tell = silent
    ) -> Measured:
        """Measure with one ASE calculator; deterministic for a given seed.

        `workdir` is this measurement's own; what lies there from a run that was killed may be used.
        Raises MeasurementError, or puts into `failures` what could not be measured while the rest
        was.
        """

    def compared(self, mine: Measured, theirs: Measured) -> tuple[Quantity, ...]:
        """More numbers from both measurements, such as the RMS difference of two curves."""
        return ()

    def member(
        self, calculator: Calculator, *, whole: Measured, seed: int, workdir: Path
    ) -> Measured:
        """Measure one member of the ensemble that gave `whole`; lines want the same x as there."""
        return self.alone(calculator, seed=seed, workdir=workdir)

    def attempt(
        self, calculator: Calculator, *, seed: int, workdir: Path, tell: Tell = silent
    ) -> Measured:
        """Measure, members included; what stops it becomes a failure with its reason."""
        make_folder(workdir)
        try:
            found = self.alone(calculator, seed=seed, workdir=workdir, tell=tell)
            members = members_of(calculator) if self.per_member else ()
            each = []
            for number, one in enumerate(members):
                part = workdir / f"member-{number}"
                make_folder(part)
                each.append(self._of_member(one, found, seed=seed, workdir=part))
        except STOPPED as error:
            return Measured(failures=(str(error),))
        return with_spread(found, each)

    def _of_member(
        self, calculator: Calculator, whole: Measured, *, seed: int, workdir: Path
    ) -> Measured:
        try:
            return self.member(calculator, whole=whole, seed=seed, workdir=workdir)
        except STOPPED as error:
            return Measured(failures=(str(error),))

    def measure(
        self, potential: Calculator, reference: Calculator, *, seed: int, workdir: Path
    ) -> PropertyResult:
        """Measure both and compare; the reference's part is kept in `workdir` for the next one."""
        make_folder(workdir)
        digest = hashlib.sha256(json.dumps([self.identity, seed]).encode()).hexdigest()[:16]
        kept = workdir / f"reference-{digest}.json"
        try:
            theirs = Measured.read(json.loads(kept.read_bytes()))
        except (OSError, ValueError):
            theirs = self.attempt(reference, seed=seed, workdir=workdir / "reference")
            if not theirs.failures:
                write_file(kept, json.dumps(theirs.plain()).encode())
        # a workdir is the reference's: two potentials must not find each other's parts in it
        with part_of(workdir, potential) as part:
            mine = self.attempt(potential, seed=seed, workdir=part)
        return self.joined(mine, theirs)

    def joined(self, mine: Measured, theirs: Measured | None) -> PropertyResult:
        """What was measured beside the reference's numbers and the literature's, with verdicts."""
        known = theirs or Measured()
        quantities = [self._judged(one, known.value(one.name)) for one in mine.values]
        failed = [Quantity(FAILED, 0.0, "", 1.0, passed=False) for _ in mine.failures[:1]]
        return PropertyResult(
            kind=self.kind_name,
            title=self.title,
            quantities=(*quantities, *self.compared(mine, known), *failed),
            curves=panels_of({"potential": mine, "reference": known}),
            notes=(
                *mine.notes,
                *mine.failures,
                *(f"Reference: {one}" for one in (*known.notes, *known.failures)),
            ),
        )

    def _judged(self, one: Value, true: Value | None) -> Quantity:
        allowed = next(
            (most for name, most in self.tolerance.items() if fnmatchcase(one.name, name)), None
        )
        passed = None
        if allowed is not None and true is not None:
            passed = abs(one.value - true.value) <= allowed
        return Quantity(
            one.name,
            one.value,
            one.unit,
            reference=None if true is None else true.value,
            uncertainty=one.uncertainty,
            passed=passed,
            reference_uncertainty=None if true is None else true.uncertainty,
            literature=self.literature.get(one.name),
        )


def members_of(calculator: Calculator) -> tuple[Calculator, ...]:
    """A calculator for each member of an ensemble; none for anything else."""
    if not isinstance(calculator, PotentialCalculator):
        return ()
    members: Sequence[Any] = getattr(calculator.potential, "members", ())
    return tuple(PotentialCalculator(one) for one in members) if len(members) > 1 else ()


def with_spread(found: Measured, each: Sequence[Measured]) -> Measured:
    """The ensemble's measurement with the spread of its members as the uncertainties.

    A value or line that not every member has keeps its own uncertainty.
    """
    if len(each) < 2:
        return found
    values = []
    for one in found.values:
        given = [other.value for member in each if (other := member.value(one.name)) is not None]
        spread = float(np.std(given, ddof=1)) if len(given) == len(each) else one.uncertainty
        values.append(replace(one, uncertainty=spread))
    panels = {
        title: replace(
            panel,
            lines={
                name: _spread_line(line, title, name, each) for name, line in panel.lines.items()
            },
        )
        for title, panel in found.panels.items()
    }
    missing = tuple(
        f"member {number + 1}: {failure}"
        for number, member in enumerate(each)
        for failure in member.failures
    )
    return replace(found, values=tuple(values), panels=panels, notes=(*found.notes, *missing))


def _spread_line(line: Line, title: str, name: str, each: Sequence[Measured]) -> Line:
    others = [
        member.panels[title].lines[name].y
        for member in each
        if title in member.panels
        and name in member.panels[title].lines
        and member.panels[title].lines[name].x == line.x
    ]
    if len(others) < len(each):
        return line
    return replace(line, error=tuple(np.std(others, axis=0, ddof=1).tolist()))


def panels_of(by_subject: dict[str, Measured]) -> dict[str, Any]:
    """title -> {xlabel, ylabel, style, ticks, lines: {subject: {name: {x, y, error}}}}."""
    shown: dict[str, Any] = {}
    for subject, measured in by_subject.items():
        for title, panel in measured.panels.items():
            entry = shown.setdefault(title, _axes(panel))
            entry["lines"][subject] = {
                name: {"x": line.x, "y": line.y, "error": line.error}
                for name, line in panel.lines.items()
            }
    return shown


def _axes(panel: Panel) -> dict[str, Any]:
    return {
        "xlabel": panel.xlabel,
        "ylabel": panel.ylabel,
        "style": panel.style,
        "ticks": panel.ticks,
        "lines": {},
    }
