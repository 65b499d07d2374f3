"""Generalised stacking faults of fcc: the slip path and the twinning path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase.calculators.calculator import Calculator
from pydantic import Field, model_validator
from scipy.interpolate import CubicSpline

from athanor.errors import MeasurementError
from athanor.structure import FloatArray
from athanor.validate._alone import AloneConfig, Tell, silent
from athanor.validate._contract import Quantity
from athanor.validate._crystal import OfCrystal
from athanor.validate._curves import line_of, rms_difference
from athanor.validate._kept import Kept
from athanor.validate._measured import Line, Measured, Panel, Value
from athanor.validate._slip import MJ_PER_M2, Slipping, Stack

Route = Literal["slip", "twinning", "perfect"]
TITLES = {"slip": "Slip path", "twinning": "Twinning path", "perfect": "Slip along <110>"}
TWINNED = 3
"""Layers that slip one after the other; the fault is a twin of so many layers then."""
RELAXED, UNRELAXED = "relaxed", "unrelaxed"
AXIS = {
    "slip": "slip along <112>, a/√6",
    "twinning": "slip along <112> of one layer after the other, a/√6",
    "perfect": "slip along <110>, a/√2",
}


class StackingFault(OfCrystal, AloneConfig):
    """Energy of fcc layers {111} that slip over each other, in mJ/m² (Smith et al. 2021, Fig. 3).

    On the slip path one half of a crystal slips over the other by up to a/6 <112>, into the
    intrinsic stacking fault. The twinning path goes on with the layer above and the one above
    that: at 2 is the extrinsic fault, at 3 a twin of three layers. The perfect path goes along
    <110> to the next equal place. Relaxed means along the normal alone, without normal stress.
    The stack is periodic, so that no surface is ever evaluated.
    """

    kind: Literal["stacking_fault"] = "stacking_fault"
    lattice: Literal["fcc"] = "fcc"
    paths: tuple[Route, ...] = Field(default=("slip", "twinning"), min_length=1)
    points: int = Field(default=11, ge=5, description="places for each slip, its ends included")
    layers: int = Field(default=12, ge=6, description="layers of the stack")

    @model_validator(mode="before")
    @classmethod
    def _element_only(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("file") is not None:
            raise ValueError("the layers are those of fcc: give an element and no file")
        return given

    @property
    def title(self) -> str:
        """Its name for people."""
        return f"Stacking faults of {self.crystal_name}"

    def alone(
        self, calculator: Calculator, *, seed: int, workdir: Path, tell: Tell = silent
    ) -> Measured:
        """Measure; nothing is drawn. MeasurementError where there is no fcc crystal."""
        calculator = Kept(calculator, workdir)
        crystal = self.crystal(calculator)
        a = float((4 * crystal.get_volume() / len(crystal)) ** (1 / 3))
        assert self.element is not None
        slipping = Slipping(Stack(self.element, a, self.layers), calculator)
        curves: dict[Route, _Curve] = {}
        failures: list[str] = []
        for number, path in enumerate(dict.fromkeys(self.paths)):
            tell(number / len(self.paths), TITLES[path])
            curves[path] = _measured(slipping, path, self.points)
            failures += curves[path].failures
        values = [value for path, curve in curves.items() for value in _values(path, curve)]
        # the twinning path begins with the slip path
        unique = {value.name: value for value in values}
        return Measured(
            values=tuple(unique.values()),
            panels={TITLES[path]: _panel(path, curve) for path, curve in curves.items()},
            notes=tuple(dict.fromkeys(_notes(unique))),
            failures=tuple(dict.fromkeys(failures)),
            data={"lattice constant": a},
        )

    def compared(self, mine: Measured, theirs: Measured) -> tuple[Quantity, ...]:
        """RMS difference of each path from the reference's, mJ/m²."""
        return tuple(
            quantity
            for path in dict.fromkeys(self.paths)
            for kind in (RELAXED, UNRELAXED)
            for quantity in rms_difference(
                f"{TITLES[path].lower()} RMSE{'' if kind == RELAXED else ', unrelaxed'}",
                "mJ/m²",
                line_of(mine, TITLES[path], kind),
                line_of(theirs, TITLES[path], kind),
                tolerance=self.tolerance,
            )
        )


@dataclass(frozen=True, slots=True)
class _Curve:
    """Energies (mJ/m²) at places along a path; NaN where the layers did not relax."""

    x: FloatArray
    relaxed: FloatArray
    unrelaxed: FloatArray
    failures: tuple[str, ...]


def _slips(path: Route, points: int, stack: Stack) -> tuple[FloatArray, list[FloatArray]]:
    """Places along a path and the slips there."""
    share = np.linspace(0, 1, points)
    if path == "perfect":
        return share, [np.array([[one * stack.side, 0.0]]) for one in share]
    slipping = 1 if path == "slip" else TWINNED
    x = np.linspace(0, slipping, slipping * (points - 1) + 1)
    by_layer = np.clip(x[:, None] - np.arange(slipping), 0, 1)
    slips = np.zeros((len(x), slipping, 2))
    slips[:, :, 1] = stack.partial * by_layer
    return x, list(slips)


def _measured(slipping: Slipping, path: Route, points: int) -> _Curve:
    x, slips = _slips(path, points, slipping.stack)
    unit = MJ_PER_M2 / slipping.stack.area
    zero = slipping.energy(np.zeros((0, 2)))
    unrelaxed = unit * np.array([slipping.energy(one) - zero for one in slips])
    relaxed = np.full(len(x), np.nan)
    failures = []
    spacings = slipping.stack.spacings
    for number, one in enumerate(slips):
        try:
            energy, spacings = slipping.relaxed(one, spacings)
        except MeasurementError as error:
            failures.append(f"{TITLES[path]} at {x[number]:.2f}: {error}")
        else:
            relaxed[number] = unit * (energy - zero)
    return _Curve(x, relaxed, unrelaxed, tuple(failures))


def _panel(path: Route, curve: _Curve) -> Panel:
    lines = {
        RELAXED: Line.of(curve.x, curve.relaxed),
        UNRELAXED: Line.of(curve.x, curve.unrelaxed),
    }
    return Panel(AXIS[path], "energy, mJ/m²", lines, style="both")


def _values(path: Route, curve: _Curve) -> Iterator[Value]:
    for y, suffix in ((curve.relaxed, ""), (curve.unrelaxed, ", unrelaxed")):
        for name, value in _named(path, curve.x, y):
            if np.isfinite(value):
                yield Value(f"{name}{suffix}", float(value), "mJ/m²")


def _named(path: Route, x: FloatArray, y: FloatArray) -> Sequence[tuple[str, float]]:
    """What has a name on a path; NaN where it was not measured."""
    if path == "perfect":
        return [("unstable energy along <110>", _highest(x, y, 0))]
    found = [
        ("unstable stacking fault energy", _highest(x, y, 0)),
        ("intrinsic stacking fault energy", _at(x, y, 1)),
    ]
    if path == "twinning":
        found += [
            ("unstable twinning energy", _highest(x, y, 1)),
            ("extrinsic stacking fault energy", _at(x, y, 2)),
            ("twin boundary energy", _at(x, y, TWINNED) / 2),
        ]
    return found


def _at(x: FloatArray, y: FloatArray, place: float) -> float:
    return float(y[np.argmin(np.abs(x - place))])


def _highest(x: FloatArray, y: FloatArray, start: float) -> float:
    """The maximum between `start` and 1 further, by a spline: the ends are level by symmetry."""
    part = (x > start - 1e-9) & (x < start + 1 + 1e-9)
    if not np.isfinite(y[part]).all():
        return float("nan")
    spline = CubicSpline(x[part], y[part], bc_type="clamped")
    places = np.concatenate([x[part], spline.derivative().roots(extrapolate=False)])
    return float(np.max(spline(places)))


def _notes(values: dict[str, Value]) -> Iterator[str]:
    intrinsic = values.get("intrinsic stacking fault energy")
    unstable = values.get("unstable stacking fault energy")
    if intrinsic is None or unstable is None:
        return
    if intrinsic.value < 0:
        yield "The stacking fault energy is negative: fcc is not the lowest stacking."
    if unstable.value <= intrinsic.value:
        yield "The stacking fault is no minimum of the slip path: it would slip back or on."
