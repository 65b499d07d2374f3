"""The search for the temperature at which neither phase grows: where to run next, when to stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from athanor.errors import MeasurementError
from athanor.validate._melting.crossing import Crossing, crossing_of
from athanor.validate._melting.growth import Growth, Velocity, noise_of, velocity_of

SURE = 2.0
"""Standard errors of a velocity that say which side grows."""
BROAD = 0.02
"""Relative: while one bracket is wider than this, the next run is within it."""
FEWEST_NEAR = 2
"""Runs near the melting point that are enough to know the noise from."""
NEAR = (0.004, 0.012)
"""Least and largest relative distance of a refining run from the melting point found so far."""


@dataclass(frozen=True, slots=True)
class Aim:
    """What is looked for.

    Attributes
    ----------
    guess : K, where the first run is.
    lowest, highest : K, beyond which no run is made.
    half_width : K, of the interval that is narrow enough.
    confidence : probability of the interval.
    step : relative, to the second run; doubled for each further one until a bracket is there.
    window : relative, how far from the melting point velocities count in the line.
    runs : most runs.
    """

    guess: float
    lowest: float
    highest: float
    half_width: float
    confidence: float = 0.95
    step: float = 0.04
    window: float = 0.05
    runs: int = 40


@dataclass(frozen=True, slots=True)
class Found:
    """The result of a search: the crossing, all runs, and the velocities of the measurable ones."""

    crossing: Crossing
    runs: tuple[Growth, ...]
    velocities: tuple[Velocity, ...]
    narrow: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the runs so far say.

    Attributes
    ----------
    velocities : of the measurable runs, under the noise that they share.
    crossing : where they cross zero; None where that is not known yet.
    growing, melting : temperatures at which the crystal surely grew, and surely melted.
    """

    runs: tuple[Growth, ...] = ()
    velocities: tuple[Velocity, ...] = ()
    crossing: Crossing | None = None
    growing: tuple[float, ...] = ()
    melting: tuple[float, ...] = ()

    @classmethod
    def of(cls, runs: Sequence[Growth], aim: Aim) -> Self:
        """Weigh all runs anew: each one more tells better how much noise there is in all."""
        speeds, crossing = _weighed(runs, runs, aim)
        if crossing is not None:
            # fast interfaces are jerky: the noise is that of those near the melting point
            centre = crossing.temperature
            near = [run for run in runs if abs(run.temperature / centre - 1) <= aim.window]
            speeds, crossing = _weighed(runs, near, aim)
        sides: dict[int, list[float]] = {1: [], -1: [], 0: []}
        for run in runs:
            # a run that filled its box says which way, however short
            sign = {"solid": 1, "liquid": -1}.get(run.end, 0)
            speed = speeds.get(id(run))
            if speed is not None and sign == 0 and abs(speed.value) > SURE * speed.error:
                sign = 1 if speed.value > 0 else -1
            sides[sign].append(run.temperature)
        velocities = tuple(speeds.values())
        return cls(tuple(runs), velocities, crossing, tuple(sides[1]), tuple(sides[-1]))

    @property
    def bracket(self) -> tuple[float, float] | None:
        """Temperatures around the melting point, None as long as one of them is missing.

        Where no single run is sure, all together are once the whole interval is between them.
        """
        if self.growing and self.melting:
            low, high = sorted((max(self.growing), min(self.melting)))
            return low, high
        found = self.crossing
        if found is None or not min(self.tried) <= found.low < found.high <= max(self.tried):
            return None
        return found.low, found.high

    @property
    def tried(self) -> tuple[float, ...]:
        """Temperatures of all runs."""
        return tuple(run.temperature for run in self.runs)


def _weighed(
    runs: Sequence[Growth], near: Sequence[Growth], aim: Aim
) -> tuple[dict[int, Velocity], Crossing | None]:
    """Velocities by the identity of their runs, with the noise of those near, and the crossing."""
    long = [run for run in runs if run.measurable]
    quiet = [run for run in near if run.measurable]
    if not long:
        return {}, None
    noise = noise_of(quiet if len(quiet) >= FEWEST_NEAR else long)
    speeds = {id(run): velocity_of(run, noise) for run in long}
    found = crossing_of(list(speeds.values()), confidence=aim.confidence, window=aim.window)
    return speeds, found


def search(grow: Callable[[float, int], Growth], aim: Aim) -> Found:
    """Run at one temperature after the other until the interval is as narrow as asked.

    `grow(temperature, number)` makes the run of that number, and the same one whenever it is asked
    again. First a bracket is sought: a temperature where the crystal surely grows and one where it
    surely melts. Then runs lie close to the crossing, on the side that has had less time.

    Raises MeasurementError where there is no bracket within the range, where the phases never
    coexist long enough, and where the interface does not move.
    """
    runs: list[Growth] = []
    evidence = Evidence()
    for number in range(aim.runs):
        runs.append(grow(next_temperature(evidence, aim), number))
        evidence = Evidence.of(runs, aim)
        crossing = _bracketed(evidence, aim)
        if crossing is not None and crossing.used >= 3 and crossing.half_width <= aim.half_width:
            return Found(crossing, evidence.runs, evidence.velocities, narrow=True)
    crossing = _bracketed(evidence, aim)
    if crossing is None:
        raise MeasurementError(_nothing(evidence, aim))
    return Found(crossing, evidence.runs, evidence.velocities, narrow=False)


def _bracketed(evidence: Evidence, aim: Aim) -> Crossing | None:
    """The crossing, where it is within the range and there is a bracket."""
    crossing = evidence.crossing
    if crossing is None or evidence.bracket is None:
        return None
    return crossing if aim.lowest <= crossing.temperature <= aim.highest else None


def next_temperature(evidence: Evidence, aim: Aim) -> float:
    """Where to run next; MeasurementError where the range or the bracket is used up."""
    if not evidence.runs:
        return aim.guess
    if evidence.bracket is None:
        return _outwards(evidence, aim)
    low, high = evidence.bracket
    if evidence.crossing is None:
        return _between(evidence, low, high)
    middle = min(max(evidence.crossing.temperature, low), high)
    if high - low > BROAD * middle and not low < evidence.tried[-1] < high:
        return middle
    nearest, farthest = (part * middle for part in NEAR)
    away = min(max(evidence.crossing.half_width, nearest), farthest)
    above = sum(run.time for run in evidence.runs if run.temperature > middle)
    below = sum(run.time for run in evidence.runs if run.temperature <= middle)
    return middle - away if above >= below else middle + away


def _outwards(evidence: Evidence, aim: Aim) -> float:
    """The next temperature beyond those tried, each step twice the one before."""
    top, bottom = max(evidence.tried), min(evidence.tried)
    up = bool(evidence.growing)
    if not evidence.growing and not evidence.melting:
        # nothing moved for sure: the nearer end of what was tried is left first
        up = abs(top - aim.guess) <= abs(bottom - aim.guess)
    edge, limit = (top, aim.highest) if up else (bottom, aim.lowest)
    if edge == limit:
        raise MeasurementError(_nothing(evidence, aim))
    stride = aim.step * aim.guess + abs(edge - aim.guess)
    return min(edge + stride, limit) if up else max(edge - stride, limit)


def _between(evidence: Evidence, low: float, high: float) -> float:
    """Half-way of a bracket that has no line yet; MeasurementError where it is no use."""
    middle = (low + high) / 2
    if high - low >= NEAR[0] * middle:
        return middle
    if not evidence.velocities:
        raise MeasurementError(
            f"the two phases never coexist: at {low:.1f} K the box froze and at {high:.1f} K it "
            "melted, each before there were samples for a velocity; give more atoms"
        )
    # both sides at one temperature: noise; a little further out in turn
    return middle * (1 + NEAR[1] * (1 if len(evidence.runs) % 2 else -1))


def _nothing(evidence: Evidence, aim: Aim) -> str:
    """Why there is no melting point."""
    tried = evidence.tried
    span = f"from {min(tried):.0f} to {max(tried):.0f} K"
    limits = f"(the range is {aim.lowest:.0f} to {aim.highest:.0f} K)"
    if evidence.growing and not evidence.melting:
        return f"there is no bracket: the crystal grows {span} and melts nowhere {limits}"
    if evidence.melting and not evidence.growing:
        return f"there is no bracket: the crystal melts {span} and grows nowhere {limits}"
    if not evidence.growing:
        return (
            f"the interface does not move beyond its noise {span} {limits}; "
            "give longer runs, or another crystal"
        )
    return (
        f"{len(tried)} runs {span} give no line of growth against temperature that falls through "
        "zero; give longer runs or more atoms"
    )
