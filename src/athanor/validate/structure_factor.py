"""Static structure factors: Faber-Ziman partials, what X-rays and neutrons see, reduced G(r)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from pydantic import Field, model_validator

from athanor.component import require_libraries
from athanor.data.formats import read_structures
from athanor.errors import FormatError
from athanor.structure import FloatArray
from athanor.validate import AloneConfig, Line, Measured, Panel, Quantity, Tell, Value, silent
from athanor.validate._structure.blocks import Blocked, error_of
from athanor.validate._structure.curve import read_curve
from athanor.validate._structure.distribution import distribution
from athanor.validate._structure.findings import Findings
from athanor.validate._structure.peaks import peaks_of
from athanor.validate._structure.scattering import Scattering, scattering
from athanor.validate._structure.trajectory import OfTrajectory
from athanor.validate._structure.transform import reduced, transformed
from athanor.validate._structure.weights import LONGEST_Q, Probe, weighted
from athanor.validate._structure.wright import compared_lines, distance
from athanor.validate.rdf import frames_note

TOTAL = "total"
PARTIAL = "Faber-Ziman S(q)"
SMOOTH = 0.08
"""1/Å; Gaussian that takes the noise from S(q) before peaks are sought."""
SAMPLED = 0.9
"""Share of `tell` that dynamics take where S(q) is summed after them."""


class StructureFactor(OfTrajectory, AloneConfig):
    """S(q) by pair of elements (Faber-Ziman) and weighted as X-rays and neutrons weight it.

    On the frames of a `trajectory` (then nothing is calculated) or on dynamics made here. "direct"
    sums over wave vectors of the box, "transform" takes the sine transform of g(r) up to `r_max`.
    The reduced G(r) is the transform of q (S - 1) up to `q_max`, as that of an experiment is.
    `experiment` is a file of two columns, q and the function named, measured with the first of
    `probes`; `against` another trajectory; each gives Wright's R_X of G(r), both S(q) transformed
    up to the same q. The direct sum takes frames x atoms x wave vectors, some 10⁸ a second.
    """

    kind: Literal["structure_factor"] = "structure_factor"
    probes: tuple[Probe, ...] = Field(default=("X-ray",), min_length=1)
    method: Literal["direct", "transform"] = "direct"
    q_max: float = Field(default=15.0, gt=0, le=LONGEST_Q, description="1/Å")
    q_width: float = Field(default=0.05, gt=0, le=1, description="1/Å, of a shell")
    vectors: int = Field(
        default=200, ge=1, description="about so many of a shell, drawn where the box has more"
    )
    r_max: float = Field(default=10.0, gt=0, le=100, description="Å, of G(r) and the transform")
    bin_width: float = Field(default=0.02, gt=0, le=0.5, description="Å")
    lorch: bool = Field(default=True, description="whether a Lorch window ends the transforms")
    experiment: Path | None = None
    experiment_function: Literal["S(q)", "q(S(q)-1)", "S(q)-1"] = "S(q)"
    against: Path | None = Field(default=None, description="another trajectory to compare with")
    r_range: tuple[float, float] | None = Field(
        default=None, description="Å, over which R_X is taken; all up to r_max if not given"
    )

    per_member: ClassVar[bool] = False

    @property
    def title(self) -> str:
        """Its name for people."""
        return f"Structure factor of {self.subject}"

    @model_validator(mode="after")
    def _one_probe_each(self) -> Self:
        if len(set(self.probes)) < len(self.probes):
            raise ValueError("probes names one twice; name each once")
        return self

    def alone(
        self, calculator: Calculator, *, seed: int, workdir: Path, tell: Tell = silent
    ) -> Measured:
        """Take the frames and analyse them.

        Raises MeasurementError where the dynamics are lost or the frames have no density,
        MissingExtraError where dynasor is not installed.
        """
        # before dynamics that would be in vain
        require_libraries({"dynasor": "physics"})

        def during(share: float, words: str) -> None:
            tell(SAMPLED * share, words)

        frames = self.frames_of(calculator, seed=seed, workdir=workdir, tell=during)
        found = self._scattering(
            frames, lambda share: tell(SAMPLED + (1 - SAMPLED) * share, "summing S(q)")
        )
        into = Findings()
        span = self.r_max if self.method == "transform" else 0.0
        into.notes.append(frames_note(frames, float(found.density.mean), span))
        if len(found.elements.pairs) > 1:
            into.panels[PARTIAL] = _partial_panel(found)
        for probe in self.probes:
            into.attempt(partial(self._seen, into, found, probe))
        into.attempt(lambda: self._beside_experiment(into))
        into.attempt(lambda: self._beside_trajectory(into))
        return into.measured()

    def compared(self, mine: Measured, theirs: Measured) -> tuple[Quantity, ...]:
        """R_X of both reduced G(r) of each probe."""
        return compared_lines(
            {_reduced(probe): _r_x(probe) for probe in self.probes},
            mine,
            theirs,
            line=TOTAL,
            span=self.r_range,
            tolerance=self.tolerance,
        )

    @property
    def _r(self) -> FloatArray:
        """Å, where G(r) is given."""
        return self.bin_width * np.arange(1.0, round(self.r_max / self.bin_width) + 1)

    def _scattering(
        self, frames: Sequence[Atoms], told: Callable[[float], None] = lambda share: None
    ) -> Scattering:
        if self.method == "transform":
            around = distribution(
                frames, r_max=self.r_max, width=self.bin_width, blocks=self.blocks
            )
            q = self.q_width * np.arange(1.0, round(self.q_max / self.q_width) + 1)
            return transformed(around, q=q, lorch=self.lorch)
        return scattering(
            frames,
            q_max=self.q_max,
            width=self.q_width,
            most=self.vectors,
            blocks=self.blocks,
            told=told,
        )

    def _seen(self, into: Findings, found: Scattering, probe: Probe) -> None:
        """S(q) and G(r) of one probe."""
        total = weighted(found, probe)
        into.values += _peaks(probe, found.q, total)
        into.panels[_total(probe)] = Panel(
            "q, 1/Å", "S(q)", {TOTAL: Line.of(found.q, total.mean, total.error)}
        )
        around = reduced(found.q, total, self._r, q_max=self.q_max, lorch=self.lorch)
        into.panels[_reduced(probe)] = Panel(
            "r, Å", "G(r), Å⁻²", {TOTAL: Line.of(self._r, around.mean, around.error)}
        )

    def _beside_experiment(self, into: Findings) -> None:
        """The experiment's S(q) and G(r) beside those of the first probe, both up to the same q."""
        if self.experiment is None or _total(self.probes[0]) not in into.panels:
            return
        curve = read_curve(self.experiment)
        if curve.x[0] <= 0:
            raise FormatError(self.experiment, None, "q begins at zero or below; leave that out")
        y = {
            "S(q)": curve.y,
            "S(q)-1": 1 + curve.y,
            "q(S(q)-1)": 1 + curve.y / curve.x,
        }[self.experiment_function]
        self._beside(into, curve.name, self.probes[0], Line.of(curve.x, y))

    def _beside_trajectory(self, into: Findings) -> None:
        if self.against is None:
            return
        other = self._scattering(read_structures(self.against))
        for probe in self.probes:
            if _total(probe) in into.panels:
                total = weighted(other, probe)
                line = Line.of(other.q, total.mean, total.error)
                self._beside(into, self.against.stem, probe, line)

    def _beside(self, into: Findings, name: str, probe: Probe, line: Line) -> None:
        lines = into.panels[_total(probe)].lines
        lines[name] = line
        top = min(lines[TOTAL].x[-1], line.x[-1])
        mine, true = (self._transformed(one, top) for one in (lines[TOTAL], line))
        around = into.panels[_reduced(probe)].lines
        around[name] = true
        # the statistical error is of the whole range of q, a little more than up to `top`
        mine = replace(mine, error=around[TOTAL].error)
        value = distance(f"{_r_x(probe)} against {name}", mine, true, self.r_range)
        into.values.append(value)

    def _transformed(self, line: Line, q_max: float) -> Line:
        """G(r) from a mean S(q)."""
        total = Blocked(np.array([line.y]))
        found = reduced(np.array(line.x), total, self._r, q_max=q_max, lorch=self.lorch)
        return Line.of(self._r, found.mean)


def _total(probe: Probe) -> str:
    return f"{probe} S(q)"


def _reduced(probe: Probe) -> str:
    return f"{probe} G(r)"


def _r_x(probe: Probe) -> str:
    return f"R_X of {probe} G(r)"


def _peaks(probe: Probe, q: FloatArray, total: Blocked) -> list[Value]:
    """Place and height of the first and, where it is another, the highest peak of S(q)."""
    grid = np.arange(q[0], q[-1], SMOOTH / 4)
    if len(grid) < 5:
        return []

    def tops(one: FloatArray) -> FloatArray:
        """(2, 2) place and height of the first and of the highest; NaN where there is none."""
        peaks = peaks_of(grid, np.interp(grid, q, one), smooth=SMOOTH)
        if not len(peaks.places):
            return np.full((2, 2), np.nan)
        highest = int(np.argmax(peaks.smooth[peaks.places]))
        return np.array([peaks.vertex(0), peaks.vertex(highest)])

    mean, scatter, found = tops(total.mean), total.map(tops), []
    for row, word in enumerate(("first", "highest")):
        if np.isfinite(mean[row]).all():
            name = f"{_total(probe)} {word} peak"
            found += [
                Value(name, float(mean[row, 0]), "1/Å", error_of(scatter.at(row, 0))),
                Value(f"{name} height", float(mean[row, 1]), "", error_of(scatter.at(row, 1))),
            ]
    return found


def _partial_panel(found: Scattering) -> Panel:
    lines = {}
    for row, pair in enumerate(found.elements.pairs):
        values = found.partial.at(row)
        lines["-".join(pair)] = Line.of(found.q, values.mean, values.error)
    return Panel("q, 1/Å", "S(q)", lines)
