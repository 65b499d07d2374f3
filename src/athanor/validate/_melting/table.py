"""Melting points as values, plots and sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from athanor.validate._measured import Line, Measured, Panel, Value
from athanor.validate._melting.point import Melting

METRES_PER_SECOND = 100.0
"""In one Å/ps."""


def measured(done: Sequence[Melting], failures: tuple[str, ...], confidence: float) -> Measured:
    """What the suite shows of the melting points at one or more pressures."""
    panels = {f"Growth of the crystal{_at(one)}": _growth(one) for one in done}
    if len(done) > 1:
        panels["Melting curve"] = _curve(done)
    return Measured(
        values=tuple(value for one in done for value in _values(one)),
        panels=panels,
        notes=tuple(_sentence(one, confidence) for one in done),
        failures=failures,
        data={"confidence": confidence, "pressures": [_plain(one) for one in done]},
    )


def _at(one: Melting) -> str:
    return f" at {one.pressure_GPa:g} GPa" if one.pressure_GPa else ""


def _values(one: Melting) -> tuple[Value, ...]:
    crossing, solid, liquid = one.found.crossing, one.solid, one.liquid
    heat_error = float(np.hypot(solid.enthalpy_error, liquid.enthalpy_error))
    change = liquid.volume - solid.volume
    change_error = float(np.hypot(solid.volume_error, liquid.volume_error))
    slope_error = abs(one.clapeyron) * float(
        np.hypot(change_error / change, heat_error / one.heat) if change else 0.0
    )
    speed, speed_error = crossing.slope, crossing.slope_error
    given = (
        ("melting point", crossing.temperature, "K", crossing.error),
        ("heat of fusion", 1000 * one.heat, "meV/atom", 1000 * heat_error),
        ("crystal volume at melting", solid.volume, "Å³/atom", solid.volume_error),
        ("liquid volume at melting", liquid.volume, "Å³/atom", liquid.volume_error),
        ("slope of the melting line", one.clapeyron, "K/GPa", slope_error),
        (
            "kinetic coefficient",
            *(METRES_PER_SECOND * speed, "m/s/K", METRES_PER_SECOND * speed_error),
        ),
    )
    return tuple(
        Value(f"{name}{_at(one)}", value, unit, error) for name, value, unit, error in given
    )


def _growth(one: Melting) -> Panel:
    crossing, speeds = one.found.crossing, one.found.velocities
    ordered = sorted(speeds, key=lambda speed: speed.temperature)
    temperatures = [speed.temperature for speed in ordered]
    ends = np.array([*temperatures, crossing.low, crossing.high])
    across = np.linspace(ends.min(), ends.max(), 21)
    line = [METRES_PER_SECOND * crossing.velocity(float(t)) for t in across]
    return Panel(
        "temperature, K",
        "velocity of each interface, m/s",
        {
            "runs": Line.of(
                temperatures,
                [METRES_PER_SECOND * speed.value for speed in ordered],
                [METRES_PER_SECOND * speed.error for speed in ordered],
            ),
            "line": Line.of(across, line),
            "interval": Line.of([crossing.low, crossing.temperature, crossing.high], [0, 0, 0]),
        },
        style="both",
    )


def _curve(done: Sequence[Melting]) -> Panel:
    ordered = sorted(done, key=lambda one: one.pressure_GPa)
    crossings = [one.found.crossing for one in ordered]
    line = Line.of(
        [one.pressure_GPa for one in ordered],
        [one.temperature for one in crossings],
        [one.error for one in crossings],
    )
    return Panel("pressure, GPa", "melting point, K", {"": line}, style="both")


def _sentence(one: Melting, confidence: float) -> str:
    crossing = one.found.crossing
    words = (
        f"{100 * confidence:g} % interval of the melting point{_at(one)}: {crossing.low:.1f} to "
        f"{crossing.high:.1f} K, from {len(one.found.runs)} runs with {one.atoms} atoms"
    )
    if one.found.narrow:
        return words + "."
    return words + "; this is wider than asked: allow more runs, or longer ones."


def _plain(one: Melting) -> dict[str, Any]:
    return {
        "pressure_GPa": one.pressure_GPa,
        "atoms": one.atoms,
        "interval_K": [one.found.crossing.low, one.found.crossing.high],
        "crossing": asdict(one.found.crossing),
        "perfect_crystal_melts_at_K": one.melts_at,
        "solid": asdict(one.solid),
        "liquid": asdict(one.liquid),
        "runs": [
            asdict(run) | {"position": [round(place, 3) for place in run.position]}
            for run in one.found.runs
        ],
        "velocities": [asdict(speed) for speed in one.found.velocities],
    }
