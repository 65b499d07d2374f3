"""Radial distribution functions, coordination numbers and l-fold fractions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from pydantic import Field

from athanor.data.formats import read_structures
from athanor.structure import FloatArray
from athanor.validate import AloneConfig, Line, Measured, Panel, Quantity, Tell, Value, silent
from athanor.validate._structure.blocks import Blocked, error_of
from athanor.validate._structure.bonds import bond_cutoffs, first_shell
from athanor.validate._structure.curve import read_curve
from athanor.validate._structure.distribution import Distribution, distribution
from athanor.validate._structure.findings import Findings
from athanor.validate._structure.topology import find_angles, find_coordination
from athanor.validate._structure.trajectory import OfTrajectory
from athanor.validate._structure.wright import compared_lines, distance

REDUCED = "Reduced G(r)"
TOTAL = "total"
R_X = "R_X of G(r)"


class RadialDistribution(OfTrajectory, AloneConfig):
    """g(r) in total and by pair of elements, first peaks, coordination numbers, l-fold fractions.

    On the frames of a `trajectory` (then nothing is calculated) or on dynamics made here. Atoms are
    bonded up to the first minimum of their g(r), or up to given lengths. `experiment` is a file of
    two columns, r and the function named; `against` another trajectory, such as one of ab initio
    dynamics; each gives Wright's R_X of the reduced G(r) = 4 pi rho r (g - 1).
    """

    kind: Literal["rdf"] = "rdf"
    r_max: float = Field(default=10.0, gt=0, le=100, description="Å; may exceed half the box")
    bin_width: float = Field(default=0.05, gt=0, le=0.5, description="Å")
    bonds: dict[str, Annotated[float, Field(gt=0)] | Literal["minimum"]] = Field(
        default={},
        description='pair like "Si-O" = longest bond in Å, or "minimum" for the first minimum of '
        "its g(r); not given, the nearest pairs up to their minima",
    )
    folds: dict[str, tuple[Annotated[int, Field(ge=0)], ...]] = Field(
        default={},
        description="element = numbers of bonds whose fraction is always given, not only from 1 %",
    )
    angles: bool = Field(default=False, description="whether angles between bonds are measured")
    experiment: Path | None = None
    experiment_function: Literal["g(r)", "G(r)", "T(r)"] = Field(
        default="g(r)", description="what the file holds; T(r) is 4 pi rho r g(r)"
    )
    against: Path | None = Field(default=None, description="another trajectory to compare with")
    r_range: tuple[float, float] | None = Field(
        default=None, description="Å, over which R_X is taken; all that is there if not given"
    )

    per_member: ClassVar[bool] = False

    @property
    def title(self) -> str:
        """Its name for people."""
        return f"Radial distribution of {self.subject}"

    def alone(
        self, calculator: Calculator, *, seed: int, workdir: Path, tell: Tell = silent
    ) -> Measured:
        """Take the frames and analyse them.

        Raises MeasurementError where the dynamics are lost or the frames have no density.
        """
        frames = self.frames_of(calculator, seed=seed, workdir=workdir, tell=tell)
        found = self._distribution(frames)
        into = Findings()
        into.notes.append(frames_note(frames, float(found.density.mean), self.r_max))
        into.values += _peaks(found)
        into.panels |= _panels(found)
        into.attempt(lambda: self._bonded(into, frames, found))
        into.attempt(lambda: self._beside_experiment(into, found))
        into.attempt(lambda: self._beside_trajectory(into))
        return into.measured()

    def compared(self, mine: Measured, theirs: Measured) -> tuple[Quantity, ...]:
        """R_X of both reduced G(r), and l-fold fractions that only the reference has."""
        none = [
            self._judged(Value(one.name, 0.0, "%"), one)
            for one in theirs.values
            if one.name.endswith("-fold")
            and mine.value(one.name) is None
            and mine.value(f"{one.name.split()[0]} coordination") is not None
        ]
        distances = compared_lines(
            {REDUCED: R_X},
            mine,
            theirs,
            line=TOTAL,
            span=self.r_range,
            tolerance=self.tolerance,
        )
        return (*none, *distances)

    def _distribution(self, frames: Sequence[Atoms]) -> Distribution:
        return distribution(frames, r_max=self.r_max, width=self.bin_width, blocks=self.blocks)

    def _bonded(self, into: Findings, frames: Sequence[Atoms], found: Distribution) -> None:
        given = {name: None if one == "minimum" else one for name, one in self.bonds.items()}
        cutoffs = bond_cutoffs(found, given)
        find_coordination(
            into, frames, found.elements, cutoffs, folds=self.folds, blocks=self.blocks
        )
        if self.angles:
            find_angles(into, frames, found.elements, cutoffs, blocks=self.blocks)

    def _beside_experiment(self, into: Findings, found: Distribution) -> None:
        if self.experiment is None:
            return
        curve, rho = read_curve(self.experiment), float(found.density.mean)
        base = 4 * np.pi * rho * curve.x
        reduced = {
            "g(r)": base * (curve.y - 1),
            "T(r)": curve.y - base,
            "G(r)": curve.y,
        }[self.experiment_function]
        self._beside(into, curve.name, Line.of(curve.x, reduced))

    def _beside_trajectory(self, into: Findings) -> None:
        if self.against is None:
            return
        other = self._distribution(read_structures(self.against))
        self._beside(into, self.against.stem, _line(other.r, other.reduced))

    def _beside(self, into: Findings, name: str, line: Line) -> None:
        lines = into.panels[REDUCED].lines
        into.values.append(distance(f"{R_X} against {name}", lines[TOTAL], line, self.r_range))
        lines[name] = line


def frames_note(frames: Sequence[Atoms], density: float, r_max: float) -> str:
    """How much was analysed, and whether the box is seen twice."""
    words = f"{len(frames)} frames of {len(frames[0])} atoms, {density:.4f} atoms per Å³"
    heights = [1 / np.linalg.norm(frame.cell.reciprocal(), axis=1).max() for frame in frames]
    if r_max > min(heights) / 2:
        words += f"; beyond {min(heights) / 2:.1f} Å, half the box, it sees its own images"
    return f"{words}."


def _peaks(found: Distribution) -> list[Value]:
    """Place and height of the first peak of each pair that has one."""
    values = []

    def shell(g: FloatArray) -> tuple[float, float]:
        first = first_shell(found.r, g)
        return (np.nan, np.nan) if first is None else (first.peak, first.height)

    for row, pair in enumerate(found.elements.pairs):
        partial, name = found.partial.at(row), "-".join(pair)
        place, height = shell(partial.mean)
        if np.isnan(place):
            continue
        scatter = partial.map(shell)
        values += [
            Value(f"{name} first peak", place, "Å", error_of(scatter.at(0))),
            Value(f"{name} first peak height", height, "", error_of(scatter.at(1))),
        ]
    return values


def _panels(found: Distribution) -> dict[str, Panel]:
    lines = {TOTAL: _line(found.r, found.total)}
    if len(found.elements.pairs) > 1:
        for row, pair in enumerate(found.elements.pairs):
            lines["-".join(pair)] = _line(found.r, found.partial.at(row))
    reduced = {TOTAL: _line(found.r, found.reduced)}
    return {
        "g(r)": Panel("r, Å", "g(r)", lines),
        REDUCED: Panel("r, Å", "G(r), Å⁻²", reduced),
    }


def _line(r: FloatArray, values: Blocked) -> Line:
    return Line.of(r, values.mean, values.error)
