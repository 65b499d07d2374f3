"""The search for the temperature at which neither phase grows: where to run next, when to stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from athanor.errors import MeasurementError
from athanor.validate._melting.crossing import Crossing, crossing_of
from athanor.validate._melting.growth import Growth, Velocity, noise_of, velocity_of

SURE = 2.0
"""Standard errors of a velocity that say which side grows."""
BROAD = 0.02
"""Relative: while one bracket is wider than this, the next run is within it."""
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


def search(grow: Callable[[float, int], Growth], aim: Aim) -> Found:
    """Run at one temperature after the other until the interval is as narrow as asked.

    `grow(temperature, number)` makes the run of that number, and the same one whenever it is asked
    again. First a bracket is sought: a temperature where the crystal surely grows and one where it
    surely melts. Then runs lie close to the crossing, on the side that has had less time.

    Raises MeasurementError where there is no bracket within the range, where the phases never
    coexist long enough, and where the interface does not move.
    """
    runs: list[Growth] = []
    for number in range(aim.runs):
        runs.append(grow(next_temperature(runs, aim), number))
        crossing = crossing_of_runs(runs, aim)
        if crossing is not None and _settled(runs, crossing, aim):
            return Found(crossing, tuple(runs), velocities_of(runs), narrow=True)
    crossing = crossing_of_runs(runs, aim)
    if crossing is None or not aim.lowest <= crossing.temperature <= aim.highest:
        raise MeasurementError(_nothing(runs, aim))
    return Found(crossing, tuple(runs), velocities_of(runs), narrow=False)


def velocities_of(runs: Sequence[Growth]) -> tuple[Velocity, ...]:
    """Of the runs that are long enough, under the noise they share."""
    long = [run for run in runs if run.measurable]
    if not long:
        return ()
    noise = noise_of(long)
    return tuple(velocity_of(run, noise) for run in long)


def crossing_of_runs(runs: Sequence[Growth], aim: Aim) -> Crossing | None:
    """Where the velocities of the runs cross zero; None where that is not known yet."""
    return crossing_of(velocities_of(runs), confidence=aim.confidence, window=aim.window)


def next_temperature(runs: Sequence[Growth], aim: Aim) -> float:
    """Where to run next; MeasurementError where the range or the bracket is used up."""
    if not runs:
        return aim.guess
    growing, melting = sides(runs)
    if not growing or not melting:
        return _outwards(runs, aim, up=bool(growing), down=bool(melting))
    low, high = max(growing), min(melting)
    crossing = crossing_of_runs(runs, aim)
    if crossing is None:
        return _between(runs, low, high)
    middle = min(max(crossing.temperature, min(low, high)), max(low, high))
    if high - low > BROAD * middle and not min(low, high) < _last(runs) < max(low, high):
        return middle
    nearest, farthest = (part * middle for part in NEAR)
    away = min(max(crossing.half_width, nearest), farthest)
    above = sum(run.time for run in runs if run.temperature > middle)
    below = sum(run.time for run in runs if run.temperature <= middle)
    return middle - away if above >= below else middle + away


def sides(runs: Sequence[Growth]) -> tuple[list[float], list[float]]:
    """Temperatures at which the crystal surely grew, and at which it surely melted."""
    speeds = iter(velocities_of(runs))
    growing: list[float] = []
    melting: list[float] = []
    for run in runs:
        # a run that filled its box says which way, however short
        sign = {"solid": 1, "liquid": -1}.get(run.end, 0)
        if run.measurable:
            speed = next(speeds)
            if sign == 0 and abs(speed.value) > SURE * speed.error:
                sign = 1 if speed.value > 0 else -1
        if sign:
            (growing if sign > 0 else melting).append(run.temperature)
    return growing, melting


def _last(runs: Sequence[Growth]) -> float:
    return runs[-1].temperature


def _outwards(runs: Sequence[Growth], aim: Aim, *, up: bool, down: bool) -> float:
    """The next temperature beyond those tried, each step twice the one before."""
    tried = [run.temperature for run in runs]
    top, bottom = max(tried), min(tried)
    if not up and not down:
        # nothing moved for sure: the nearer end of what was tried is left first
        up = abs(top - aim.guess) <= abs(bottom - aim.guess)
    edge, limit = (top, aim.highest) if up else (bottom, aim.lowest)
    if edge == limit:
        raise MeasurementError(_nothing(runs, aim))
    stride = aim.step * aim.guess + abs(edge - aim.guess)
    wanted = edge + stride if up else edge - stride
    return min(wanted, limit) if up else max(wanted, limit)


def _between(runs: Sequence[Growth], low: float, high: float) -> float:
    """Half-way of a bracket that has no line yet; MeasurementError where it is no use."""
    middle = (low + high) / 2
    if abs(high - low) < NEAR[0] * middle and not any(run.measurable for run in runs):
        raise MeasurementError(
            f"the two phases never coexist: at {low:.1f} K the box froze and at {high:.1f} K it "
            f"melted, each before there were samples for a velocity; give more atoms"
        )
    if abs(high - low) < NEAR[0] * middle:
        # both at once: noise; a little to each side in turn
        return middle * (1 + NEAR[1] * (1 if len(runs) % 2 else -1))
    return middle


def _settled(runs: Sequence[Growth], crossing: Crossing, aim: Aim) -> bool:
    """Whether the interval is narrow enough, within the range, with the bracket's both sides."""
    growing, melting = sides(runs)
    inside = aim.lowest <= crossing.temperature <= aim.highest
    enough = crossing.used >= 3 and bool(growing) and bool(melting)
    return inside and enough and crossing.half_width <= aim.half_width


def _nothing(runs: Sequence[Growth], aim: Aim) -> str:
    """Why there is no melting point."""
    growing, melting = sides(runs)
    tried = [run.temperature for run in runs]
    span = f"from {min(tried):.0f} to {max(tried):.0f} K"
    limits = f"(the range is {aim.lowest:.0f} to {aim.highest:.0f} K)"
    if growing and not melting:
        return f"there is no bracket: the crystal grows {span} and melts nowhere {limits}"
    if melting and not growing:
        return f"there is no bracket: the crystal melts {span} and grows nowhere {limits}"
    if not growing:
        return (
            f"the interface does not move beyond its noise {span} {limits}; "
            "give longer runs, or another crystal"
        )
    return (
        f"{len(runs)} runs {span} give no line of growth against temperature that falls through "
        "zero; give longer runs or more atoms"
    )
