"""A box half crystal, half liquid, and how its crystal grows at a temperature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from athanor.dynamics import Engine, Snapshot
from athanor.errors import MeasurementError
from athanor.sample._velocities import thermalise
from athanor.structure import FloatArray
from athanor.validate._melting.boxes import scaled, stretched
from athanor.validate._melting.growth import End, Growth
from athanor.validate._melting.kept import Part, kept
from athanor.validate._melting.order import Fingerprint, Order
from athanor.validate._melting.phases import Clock, Phase, drawn

TWO_PHASES = (0.2, 0.8)
"""Share of crystal between which a box has two phases with room for both."""
HOTTER = 1.5
"""Of the temperature at which the crystal melts at once: that of making one half liquid."""
TRIES = 3
SAMPLES = 120
"""Of the share of crystal in one run."""
PIECES = 4
"""Of a run, each kept: what a killed run loses is one of them."""
SETTLING, LEAST_SETTLING = 0.1, 1000
"""Of a run, and steps at least, before it is sampled: heat and cell come to the temperature."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What all two-phase runs of one pressure have in common.

    Attributes
    ----------
    crystal : the sites of the repeated crystal, at rest, its cell of any size.
    solids : the crystal at two temperatures, for the box's lengths at any.
    liquid : the liquid at the first of them.
    steps : of one run.
    """

    engine: Engine
    clock: Clock
    order: Order
    fingerprint: Fingerprint
    crystal: Atoms
    repeats: tuple[int, int, int]
    solids: tuple[Phase, Phase]
    bulk_repeats: tuple[int, int, int]
    liquid: Phase
    melts_at: float
    steps: int
    seed: int

    @property
    def settling(self) -> int:
        """Steps before a run is sampled, and of each leg that makes a box."""
        return max(LEAST_SETTLING, round(SETTLING * self.steps))

    def lengths(self, temperature: float) -> FloatArray:
        """(3,) of the whole crystalline box at a temperature, free of stress, Å."""
        (one, other) = self.solids
        slope = np.subtract(other.lengths, one.lengths) / (other.temperature - one.temperature)
        bulk = np.array(one.lengths) + slope * (temperature - one.temperature)
        return np.asarray(bulk / self.bulk_repeats * self.repeats)

    def thickness(self, atoms: Atoms, share: float) -> float:
        """How far each of the two interfaces of a box is from where there is no crystal, Å."""
        area = float(np.prod(np.diag(atoms.cell.array)[:2]))
        return share * len(atoms) * self.solids[0].volume / (2 * area)


def two_phases(setting: Setting) -> Part:
    """A box at the temperature of the first solid, lower half crystal, upper half liquid.

    {"share"} is the share of crystal after they were joined: whether they stayed two is not judged
    here. Raises MeasurementError where the upper half does not melt.
    """
    temperature = setting.solids[0].temperature
    start = scaled(setting.crystal, setting.lengths(temperature))
    ratio = setting.liquid.volume / setting.solids[0].volume
    box, lower = stretched(start, ratio)
    molten = _molten(setting, box, lower)
    rng = np.random.default_rng(drawn(setting.seed, "lower half"))
    # at rest on its sites: half of what it is given becomes potential energy
    part = molten[lower]
    thermalise(part, 2 * temperature, rng)
    momenta = molten.get_momenta()
    momenta[lower] = part.get_momenta()
    molten.set_momenta(momenta)
    leg = setting.clock.leg(setting.settling, temperature, axes="z")
    both = setting.engine.run(molten, leg, seed=drawn(setting.seed, "joining"))
    share = setting.order.solid_fraction(both)
    return Part({"share": share}, (both,))


def _molten(setting: Setting, box: Atoms, lower: NDArray[np.bool_]) -> Atoms:
    """The box with its upper half molten at constant volume and cooled again, the lower at rest."""
    temperature, hot = setting.solids[0].temperature, HOTTER * setting.melts_at
    steps = setting.settling
    for attempt in range(TRIES):
        seeds = [drawn(setting.seed, word, attempt) for word in ("melting", "cooling")]
        options = {"frozen": lower, "pressure_GPa": None}
        melt = setting.clock.leg(steps, hot, **options)
        cool = setting.clock.leg(steps, (hot, temperature), **options)
        start = box.copy()
        thermalise(start, 2 * hot, np.random.default_rng(seeds[0]))
        molten = setting.engine.run(start, melt, seed=seeds[0])
        molten = setting.engine.run(molten, cool, seed=seeds[1])
        if setting.order.solid_atoms(molten)[~lower].mean() < 0.5:
            return molten
        hot *= HOTTER
    raise MeasurementError(
        f"half of the box does not become liquid, even at {hot / HOTTER:.0f} K; "
        "the crystal may freeze at once when it is cooled"
    )


def run_at(setting: Setting, start: Atoms, temperature: float, number: int, folder: Path) -> Growth:
    """One two-phase run; its pieces are kept in `folder`.

    Cross-section and length follow the crystal's thermal expansion from `start`; then only the
    length is free. It ends early where one phase has nearly filled the box.
    """
    base = setting.solids[0].temperature
    ratio = setting.lengths(temperature) / setting.lengths(base)
    atoms = scaled(start, np.diag(start.cell.array) * ratio)
    every = max(1, setting.steps // SAMPLES)
    interval = every * setting.clock.timestep_fs / 1000
    shares: list[float] = []
    end: End = ""
    for piece in range(PIECES):
        part = kept(
            folder,
            f"run {number:03d} at {temperature:.6f} K, {piece}",
            _piece(setting, atoms, temperature, (number, piece), every),
        )
        atoms = part.structures[0]
        shares += part.data["shares"]
        end = part.data["end"]
        if end:
            break
    positions = tuple(setting.thickness(atoms, share) for share in shares)
    another = setting.fingerprint.is_another(atoms, setting.order.solid_atoms(atoms), temperature)
    return Growth(temperature, interval, positions, end, another)


def _piece(
    setting: Setting, atoms: Atoms, temperature: float, place: tuple[int, int], every: int
) -> Callable[[], Part]:
    """What makes one piece of a run; the first has the settling before it."""

    def make() -> Part:
        clock, moving = setting.clock, atoms
        if place[1] == 0:
            leg = clock.leg(setting.settling, temperature, axes="z")
            moving = setting.engine.run(moving, leg, seed=drawn(setting.seed, "settling", *place))
        shares = [setting.order.solid_fraction(moving)] if place[1] == 0 else []

        def watch(snapshot: Snapshot) -> bool:
            shares.append(setting.order.solid_fraction(snapshot.atoms))
            return not TWO_PHASES[0] < shares[-1] < TWO_PHASES[1]

        if not shares or TWO_PHASES[0] < shares[0] < TWO_PHASES[1]:
            steps = every * max(1, SAMPLES // PIECES)
            leg = clock.leg(steps, temperature, axes="z", every=every)
            seed = drawn(setting.seed, "growing", *place)
            moving = setting.engine.run(moving, leg, seed=seed, watch=watch)
        end: End = ""
        if shares[-1] >= TWO_PHASES[1]:
            end = "solid"
        elif shares[-1] <= TWO_PHASES[0]:
            end = "liquid"
        return Part({"shares": shares, "end": end}, (moving,))

    return make
