"""The pure phases: the crystal at a temperature, when it melts if heated fast, the liquid."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from ase import Atoms, units

from athanor.dynamics import Engine, Leg, Snapshot, mean_of
from athanor.errors import MeasurementError
from athanor.structure import FloatArray, bare
from athanor.validate._melting.kept import Part
from athanor.validate._melting.scale import nearest_distance

WARMER = 1.07
"""Ratio of temperatures of successive legs of fast heating."""
HEATING_FROM, HEATING_TO = 0.4, 5.0
"""Of Lindemann's temperature."""
AT_HOME = 0.5
"""Of the distance of neighbours: an atom nearer to its site than this is still there."""
LARGEST_DISTORTION = 0.08
"""Relative change of a length of the box against the others; fcc to bcc would be 0.26."""
SNAPSHOTS = 40
"""Of a pure phase that are averaged over; the last of them are what order is calibrated on."""
CALIBRATING = 4


@dataclass(frozen=True, slots=True)
class Clock:
    """Times of all legs, in steps; the thermostat's and barostat's follow the time step.

    Attributes
    ----------
    timestep_fs : of all dynamics.
    pressure_GPa : of all dynamics with a barostat.
    """

    timestep_fs: float
    pressure_GPa: float

    def leg(self, steps: int, temperature: float | tuple[float, float], **others: Any) -> Leg:
        """A leg at the pressure, unless told otherwise: 0.25 and 0.5 of a thousand steps."""
        settings: dict[str, Any] = {
            "pressure_GPa": self.pressure_GPa,
            "every": max(1, steps),
            "thermostat_ps": 0.25 * self.timestep_fs,
            "barostat_ps": 0.5 * self.timestep_fs,
        }
        return Leg(steps, self.timestep_fs, temperature, **(settings | others))


@dataclass(frozen=True, slots=True)
class Phase:
    """Averages of a pure phase at a temperature and the pressure.

    Attributes
    ----------
    temperature : K.
    lengths : (3,) of the box, Å.
    volume, volume_error : Å³ per atom.
    enthalpy, enthalpy_error : eV per atom, kinetic part (equal for both phases) left out.
    """

    temperature: float
    lengths: tuple[float, ...]
    volume: float
    volume_error: float
    enthalpy: float
    enthalpy_error: float

    @classmethod
    def of(cls, snapshots: list[Snapshot], temperature: float, pressure_GPa: float) -> Self:
        """Averages with errors by blocking."""
        count = len(snapshots[0].atoms)
        volumes = [one.volume / count for one in snapshots]
        work = pressure_GPa * units.GPa
        energies = [one.energy / count for one in snapshots]
        enthalpies = np.add(energies, work * np.array(volumes))
        lengths = np.mean([np.diag(one.atoms.cell.array) for one in snapshots], axis=0)
        volume, enthalpy = mean_of(volumes), mean_of(enthalpies)
        return cls(
            temperature,
            tuple(lengths.tolist()),
            *(volume.value, volume.error, enthalpy.value, enthalpy.error),
        )


def drawn(seed: int, *words: object) -> int:
    """A seed of its own for every leg, by what it is."""
    return zlib.crc32(repr((seed, *words)).encode())


def at_home(atoms: Atoms, sites: Atoms) -> float:
    """Share of the atoms that are near their sites, whatever the cells' lengths and drift."""
    moved = atoms.get_scaled_positions(wrap=False) - sites.get_scaled_positions(wrap=False)
    moved -= np.round(moved)
    # the drift of most atoms, not of all: few that have left must not shift the others
    moved -= np.median(moved, axis=0)
    moved -= np.round(moved)
    distances = np.linalg.norm(moved @ np.asarray(atoms.cell), axis=1)
    return float((distances < AT_HOME * nearest_distance(sites)).mean())


def distortion(atoms: Atoms, sites: Atoms) -> float:
    """Largest relative change of a length of the box against the mean of the three."""
    ratios = np.diag(atoms.cell.array) / np.diag(sites.cell.array)
    return float(np.abs(ratios / ratios.mean() - 1).max())


def heated(
    engine: Engine, sites: Atoms, clock: Clock, *, lindemann: float, steps: int, seed: int
) -> Part:
    """Heat a crystal leg by leg until it melts: {"temperature"} and the molten box.

    `sites` is the crystal at rest. Raises MeasurementError where it becomes another crystal, and
    where it does not melt up to five times Lindemann's temperature.
    """
    temperature, atoms, number = HEATING_FROM * lindemann, bare(sites), 0
    while temperature <= HEATING_TO * lindemann:
        leg = clock.leg(steps, temperature, axes="aniso")
        atoms = engine.run(atoms, leg, seed=drawn(seed, "heating", number))
        number += 1
        if at_home(atoms, sites) < 0.5:
            again = engine.run(atoms, leg, seed=drawn(seed, "heating", number))
            if at_home(again, atoms) >= 0.5:
                raise MeasurementError(
                    f"the crystal becomes another one when it is heated to {temperature:.0f} K: "
                    "its atoms left their sites but do not flow; give the crystal that melts"
                )
            return Part({"temperature": temperature}, (again,))
        if distortion(atoms, sites) > LARGEST_DISTORTION:
            raise MeasurementError(_distorted(atoms, sites, temperature))
        temperature *= WARMER
    raise MeasurementError(
        f"the crystal does not melt up to {temperature / WARMER:.0f} K, "
        f"{HEATING_TO:g} times Lindemann's estimate of its melting point"
    )


def solid_at(
    engine: Engine,
    sites: Atoms,
    clock: Clock,
    temperature: float,
    *,
    steps: int,
    seed: int,
    cubic: bool,
) -> Part:
    """The crystal at a temperature: {"phase"} and snapshots; `cubic` makes its lengths alike.

    Raises MeasurementError where it melts or becomes another crystal.
    """
    warm = bare(sites)
    snapshots = _averaged(
        engine,
        warm,
        clock,
        temperature,
        "aniso",
        steps=steps,
        seed=drawn(seed, "solid", temperature),
    )
    mean = _mean_of_positions([one.atoms for one in snapshots], sites)
    share = at_home(mean, sites)
    if distortion(mean, sites) > LARGEST_DISTORTION:
        raise MeasurementError(_distorted(mean, sites, temperature))
    if share < 0.9:
        raise MeasurementError(
            f"the crystal does not keep at {temperature:.0f} K: {100 * (1 - share):.0f} % of its "
            "atoms left their sites, so it melted or became another crystal"
        )
    phase = Phase.of(snapshots, temperature, clock.pressure_GPa)
    if cubic:
        lengths = np.diag(sites.cell.array) * np.mean(
            np.array(phase.lengths) / np.diag(sites.cell.array)
        )
        phase = _with_lengths(phase, lengths)
    return Part({"phase": _plain(phase)}, tuple(one.atoms for one in snapshots[-CALIBRATING:]))


def liquid_at(
    engine: Engine, molten: Atoms, clock: Clock, temperature: float, *, steps: int, seed: int
) -> Part:
    """The liquid at a temperature: {"phase"} and snapshots. Whether it froze is for `Order`."""
    snapshots = _averaged(
        engine,
        molten,
        clock,
        temperature,
        "iso",
        steps=steps,
        seed=drawn(seed, "liquid", temperature),
    )
    phase = Phase.of(snapshots, temperature, clock.pressure_GPa)
    return Part({"phase": _plain(phase)}, tuple(one.atoms for one in snapshots[-CALIBRATING:]))


def phase_of(part: Part) -> Phase:
    """The averages that a part of `solid_at` or `liquid_at` holds."""
    data = dict(part.data["phase"])
    return Phase(**(data | {"lengths": tuple(data["lengths"])}))


def _averaged(
    engine: Engine,
    atoms: Atoms,
    clock: Clock,
    temperature: float,
    axes: str,
    *,
    steps: int,
    seed: int,
) -> list[Snapshot]:
    """Snapshots of the second two thirds of a run at constant pressure."""
    settling = engine.run(atoms, clock.leg(steps // 3, temperature, axes=axes), seed=seed)
    snapshots: list[Snapshot] = []
    every = max(1, (steps - steps // 3) // SNAPSHOTS)
    leg = clock.leg(every * SNAPSHOTS, temperature, axes=axes, every=every)
    engine.run(settling, leg, seed=seed + 1, watch=_collector(snapshots))
    return snapshots


def _collector(snapshots: list[Snapshot]) -> Callable[[Snapshot], bool]:
    def watch(snapshot: Snapshot) -> bool:
        snapshots.append(snapshot)
        return False

    return watch


def _mean_of_positions(structures: list[Atoms], sites: Atoms) -> Atoms:
    """Time averages of positions and cell: thermal motion gone, what is left are the sites."""
    home = sites.get_scaled_positions(wrap=False)
    moved = []
    for atoms in structures:
        away = atoms.get_scaled_positions(wrap=False) - home
        away -= np.round(away)
        drift = np.median(away, axis=0)
        away -= drift
        moved.append(away - np.round(away))
    lengths = np.mean([np.diag(atoms.cell.array) for atoms in structures], axis=0)
    mean = bare(sites)
    mean.set_cell(np.diag(lengths))
    mean.set_scaled_positions(home + np.mean(moved, axis=0))
    return mean


def _distorted(atoms: Atoms, sites: Atoms, temperature: float) -> str:
    return (
        f"the crystal becomes another one at {temperature:.0f} K: a length of its box changed by "
        f"{100 * distortion(atoms, sites):.0f} % against the others; give the crystal that melts"
    )


def _plain(phase: Phase) -> dict[str, Any]:
    return {name: getattr(phase, name) for name in Phase.__slots__}


def _with_lengths(phase: Phase, lengths: FloatArray) -> Phase:
    return Phase(**(_plain(phase) | {"lengths": tuple(lengths.tolist())}))
