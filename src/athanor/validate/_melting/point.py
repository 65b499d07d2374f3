"""The melting point at one pressure, from nothing but a crystal and an engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.units import GPa

from athanor.dynamics import Engine
from athanor.errors import MeasurementError
from athanor.validate._melting.boxes import cubelike, repeats
from athanor.validate._melting.growth import Growth
from athanor.validate._melting.interface import Setting, run_at, two_phases
from athanor.validate._melting.kept import Part, kept
from athanor.validate._melting.order import Fingerprint, Order
from athanor.validate._melting.phases import (
    Clock,
    Phase,
    heated,
    liquid_at,
    phase_of,
    solid_at,
)
from athanor.validate._melting.search import Aim, Found, search

SUPERHEATED = 1.3
"""How far above its melting point a perfect crystal lasts when it is heated this fast."""
BULK = 500
"""Atoms of the boxes of one phase."""
COLDER = 0.92
"""Of the guess: the crystal's other temperature, for its thermal expansion."""
RANGE = (0.4, 1.1)
"""Of the temperature at which a perfect crystal melts: where the melting point is looked for."""
ELONGATION = 2.5
PREPARED = (0.3, 0.7)
"""Share of crystal in a box that has just been made of two phases."""
LOWER, HIGHER = 0.9, 1.07
"""How a guess at which one phase goes at once is mended."""
TRIES = 6
HEATING = 1500
"""Steps of each leg of fast heating, at least."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to measure.

    Attributes
    ----------
    atoms : of the two-phase box, about.
    steps : of one two-phase run.
    half_width : of the interval that is narrow enough, K; None for 1 % of the guess.
    confidence : probability of the interval.
    runs : most two-phase runs.
    """

    atoms: int
    steps: int
    half_width: float | None
    confidence: float
    runs: int


@dataclass(frozen=True, slots=True)
class Melting:
    """A melting point and what was measured around it.

    Attributes
    ----------
    solid, liquid : the pure phases at the melting point.
    melts_at : where the perfect crystal melted when it was heated fast, K; the guess is from it.
    """

    pressure_GPa: float
    found: Found
    solid: Phase
    liquid: Phase
    melts_at: float
    atoms: int
    molten: Atoms

    @property
    def clapeyron(self) -> float:
        """Slope dT/dp of the melting line, K/GPa, by Clausius and Clapeyron."""
        change = self.liquid.volume - self.solid.volume
        return float(self.found.crossing.temperature * change / self.heat * GPa)

    @property
    def heat(self) -> float:
        """Heat of fusion, eV per atom."""
        return self.liquid.enthalpy - self.solid.enthalpy


@dataclass(frozen=True, slots=True)
class Task:
    """What one melting point is measured with."""

    engine: Engine
    unit: Atoms
    clock: Clock
    plan: Plan
    lindemann: float
    seed: int
    folder: Path
    tell: Callable[[float, str], None]

    def bulk(self) -> tuple[tuple[int, int, int], Atoms]:
        """The repeats of a box of one phase, and the box."""
        times = cubelike(self.unit, BULK)
        return times, self.unit.repeat(times)


def melting_at(
    task: Task, *, limits: tuple[float, float] | None, before: Melting | None
) -> Melting:
    """Measure at the pressure of the task's clock.

    `limits` is the range of temperatures, where given; `before` is the melting at a pressure close
    by, which spares the fast heating. Raises MeasurementError with the reason.
    """
    task.tell(0.0, _cost(task))
    melts_at, molten, guess = _guess(task, limits, before)
    setting, start = _coexisting(task, melts_at, molten, guess)
    guess = setting.solids[0].temperature
    low, high = limits or (RANGE[0] * melts_at, RANGE[1] * melts_at)
    aim = Aim(
        guess=guess,
        lowest=low,
        highest=high,
        half_width=task.plan.half_width or 0.01 * guess,
        confidence=task.plan.confidence,
        runs=task.plan.runs,
    )

    def grow(temperature: float, number: int) -> Growth:
        share = 0.25 + 0.65 * number / task.plan.runs
        task.tell(share, f"run {number + 1} of at most {task.plan.runs}, at {temperature:.1f} K")
        return run_at(setting, start, temperature, number, task.folder)

    found = search(grow, aim)
    _same_crystal(found, aim)
    task.tell(0.92, f"both phases at {found.crossing.temperature:.1f} K")
    solid, liquid = pure_phases(task, molten, found.crossing.temperature, task.plan.steps)
    return Melting(
        pressure_GPa=task.clock.pressure_GPa,
        found=found,
        solid=phase_of(solid),
        liquid=phase_of(liquid),
        melts_at=melts_at,
        atoms=len(start),
        molten=molten,
    )


def _same_crystal(found: Found, aim: Aim) -> None:
    """Raise MeasurementError where most runs near the melting point ended with another crystal.

    Far below it a crystal grows so fast that its defects say nothing.
    """
    melts = found.crossing.temperature
    near = [run for run in found.runs if abs(run.temperature / melts - 1) <= aim.window]
    if sum(run.another for run in near) > len(near) / 2:
        raise MeasurementError(
            f"what lives beside the liquid at {melts:.0f} K is another crystal than the one given: "
            "its bond order is not that of the pure crystal; give the crystal that freezes from "
            "the liquid"
        )


def _coexisting(task: Task, melts_at: float, molten: Atoms, guess: float) -> tuple[Setting, Atoms]:
    """A box of two phases at the guess, which is mended as long as one of them goes at once."""
    tried: list[tuple[float, float]] = []
    while len(tried) < TRIES:
        task.tell(0.1 + 0.02 * len(tried), f"crystal and liquid at {guess:.0f} K")
        setting = _setting(task, melts_at, molten, guess)
        task.tell(0.11 + 0.02 * len(tried), f"the box of two phases at {guess:.0f} K")
        make = partial(two_phases, setting)
        part = kept(task.folder, f"two phases at {guess:.3f} K", make)
        share = float(part.data["share"])
        tried.append((guess, share))
        if PREPARED[0] < share < PREPARED[1]:
            return setting, part.structures[0]
        guess *= LOWER if share < 0.5 else HIGHER
    places = ", ".join(f"{100 * share:.0f} % at {guess:.0f} K" for guess, share in tried)
    raise MeasurementError(
        "crystal and liquid never coexist: soon after half of the box was made liquid, of it is "
        f"crystal {places}; give temperature_K, a range around the melting point, or more atoms"
    )


def _guess(
    task: Task, limits: tuple[float, float] | None, before: Melting | None
) -> tuple[float, Atoms, float]:
    """Where the crystal melts when heated fast, a molten box, and a guess of the melting point."""
    if before is not None:
        old = before.found.crossing.temperature
        shift = before.clapeyron * (task.clock.pressure_GPa - before.pressure_GPa)
        guess = float(np.clip(old + shift, 0.5 * old, 2.0 * old))
        return before.melts_at * guess / old, before.molten, guess
    task.tell(0.02, "heating the crystal until it melts")
    part = kept(
        task.folder,
        "heating",
        lambda: heated(
            task.engine,
            task.bulk()[1],
            task.clock,
            lindemann=task.lindemann,
            steps=max(HEATING, task.plan.steps // 10),
            seed=task.seed,
        ),
    )
    melts_at = float(part.data["temperature"])
    guess = melts_at / SUPERHEATED
    if limits is not None:
        guess = float(np.clip(guess, *limits))
    return melts_at, part.structures[0], guess


def _setting(task: Task, melts_at: float, molten: Atoms, guess: float) -> Setting:
    """The pure phases at the guess, the order that tells them apart, the crystal's expansion."""
    steps = max(1, task.plan.steps // 4)
    solid, liquid = pure_phases(task, molten, guess, steps)
    cold = _solid(task, COLDER * guess, steps)

    phases = (phase_of(solid), phase_of(cold))

    def calibrate() -> Part:
        places = (phases[0].temperature, phases[1].temperature)
        prints = Fingerprint.of(solid.structures, cold.structures, places)
        order = Order.calibrated(solid.structures, liquid.structures)
        return Part({"order": order.plain(), "fingerprint": prints.plain()})

    found = kept(task.folder, f"order at {guess:.3f} K", calibrate).data
    order = Order(**found["order"])
    if any(order.solid_fraction(one) > 0.5 for one in liquid.structures):
        raise MeasurementError(
            f"the liquid froze by itself at {guess:.0f} K; give temperature_K, the range in which "
            "the melting point lies"
        )
    times = repeats(task.unit, task.plan.atoms, ELONGATION)
    return Setting(
        engine=task.engine,
        clock=task.clock,
        order=order,
        fingerprint=Fingerprint.read(found["fingerprint"]),
        crystal=task.unit.repeat(times),
        repeats=times,
        solids=phases,
        bulk_repeats=task.bulk()[0],
        liquid=phase_of(liquid),
        melts_at=melts_at,
        steps=task.plan.steps,
        seed=task.seed,
    )


def pure_phases(task: Task, molten: Atoms, temperature: float, steps: int) -> tuple[Part, Part]:
    """Crystal and liquid at a temperature, each kept."""

    def make() -> Part:
        options = {"steps": steps, "seed": task.seed}
        return liquid_at(task.engine, molten, task.clock, temperature, **options)

    solid = _solid(task, temperature, steps)
    return solid, kept(task.folder, f"liquid at {temperature:.3f} K", make)


def _solid(task: Task, temperature: float, steps: int) -> Part:
    lengths = np.diag(task.unit.cell.array)
    cubic = bool(np.ptp(lengths) < 1e-3 * lengths.max())

    def make() -> Part:
        sites, clock, seed = task.bulk()[1], task.clock, task.seed
        return solid_at(task.engine, sites, clock, temperature, steps=steps, seed=seed, cubic=cubic)

    return kept(task.folder, f"solid at {temperature:.3f} K", make)


def _cost(task: Task) -> str:
    """What the whole will take, before any of it is done."""
    plan, times = task.plan, repeats(task.unit, task.plan.atoms, ELONGATION)
    atoms = int(np.prod(times)) * len(task.unit)
    small = len(task.bulk()[1])
    likely = (0.1 * 20 + 2.75) * plan.steps * small + 10 * 1.1 * plan.steps * atoms
    return (
        f"some 10 (at most {plan.runs}) runs of {plan.steps} steps of "
        f"{task.clock.timestep_fs:g} fs with {atoms} atoms, and smaller ones before: "
        f"about {likely:.1e} evaluations of an atom"
    )
