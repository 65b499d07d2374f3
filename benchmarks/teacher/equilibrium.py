"""The fcc/melt set: snapshots of near-equilibrium dynamics by the teacher (section IV)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.data import atomic_masses
from ase.md.langevin import Langevin
from ase.md.nptberendsen import NPTBerendsen
from ase.md.velocitydistribution import thermalize_momenta

from athanor.calculator import calculator
from athanor.data.dataset import Dataset
from athanor.data.durable import make_folder, write_file
from athanor.data.packing import npz_bytes, pack_structures, read_npz, unpack_structures
from athanor.potentials import Potential
from athanor.sample.disorder import GRAM_PER_CM3
from athanor.structure import Frame, bare
from teacher.settings import HEATED, Settings

FEMTOSECOND = units.fs
COLD, HOT = 300.0, 1500.0
TIMESTEP_FS = 2.0
LIQUID_TEMPERATURES = (950.0, 1100.0, 1300.0, 1600.0, 2000.0)
LIQUID_DENSITIES = (2.1, 2.25, 2.4, 2.6, 2.8)
"""K and g/cm³: from slight tension to some 20 GPa."""
MELTING_K, SETTLING_PS, BETWEEN_PS = 3500.0, 2.0, 0.4
COMPRESSIBILITY = 1 / (77.3 * units.GPa)
PIECES = 20
"""Stretches of the heating after each of which the state is kept."""


@dataclass(frozen=True, slots=True)
class Heating:
    """fcc, 108 atoms at zero pressure: heated from 300 to 1500 K and cooled back, evenly."""

    snapshots: int
    length_ps: float

    def temperature(self, share: float) -> float:
        """K after a share of the whole time."""
        return COLD + (HOT - COLD) * (1 - abs(2 * share - 1))


def melt_set(teacher: Potential, settings: Settings, folder: Path) -> Dataset:
    """As many labelled snapshots as the campaign has labels; stretches that are there are kept."""
    heated = round(HEATED * settings.labels)
    make_folder(folder)
    pieces = [
        *_heated(teacher, Heating(heated, settings.heating_ps), settings.seed, folder),
        *_liquids(teacher, settings.labels - heated, settings.seed, folder),
    ]
    frames = []
    for name, structures in pieces:
        labels = teacher.predict(structures)
        frames += [
            Frame(atoms, one, origin=name) for atoms, one in zip(structures, labels, strict=True)
        ]
    return Dataset.of(frames, where="the fcc/melt set")


def displacement(folder: Path) -> float:
    """Å, root mean square: how far the atoms were from their sites when it was hottest.

    Atoms of a solid stay within half a nearest-neighbour distance, 1.4 Å.
    """
    _, hot = _read(folder / f"heated_{PIECES // 2:02d}.npz")
    ideal = _crystal().get_scaled_positions(wrap=False)
    moved = (hot.get_scaled_positions(wrap=False) - ideal) @ hot.cell.array
    return float(np.sqrt((moved**2).sum(axis=1).mean()))


def _heated(
    teacher: Potential, plan: Heating, seed: int, folder: Path
) -> Iterator[tuple[str, list[Atoms]]]:
    """The stretches of the heating, each going on where the last ended."""
    state = _crystal()
    rng = np.random.default_rng([seed, 0])
    thermalize_momenta(state, temperature_K=COLD, rng=rng)
    due = np.linspace(0, 1, plan.snapshots, endpoint=False)
    for number in range(PIECES):
        path = folder / f"heated_{number:02d}.npz"
        if not path.exists():
            shares = due[(due * PIECES >= number) & (due * PIECES < number + 1)]
            _stretch(teacher, plan, number, shares, state, path)
            print(f"fcc/melt: heated, stretch {number + 1} of {PIECES}", flush=True)
        taken, state = _read(path)
        yield f"heated {number}", taken


def _crystal() -> Atoms:
    return bulk("Al", cubic=True, a=4.05).repeat(3)


def _stretch(
    teacher: Potential, plan: Heating, number: int, shares: np.ndarray, state: Atoms, path: Path
) -> None:
    """One stretch of the heating, with snapshots after these shares of the whole time."""
    steps = round(1000 * plan.length_ps / TIMESTEP_FS)
    first, last = number * steps // PIECES, (number + 1) * steps // PIECES
    wanted = set(np.round(shares * steps).astype(int).tolist())
    atoms = state.copy()
    atoms.calc = calculator(teacher)
    dynamics = NPTBerendsen(
        atoms,
        TIMESTEP_FS * FEMTOSECOND,
        temperature_K=plan.temperature(first / steps),
        taut=100 * FEMTOSECOND,
        pressure_au=0.0,
        taup=1000 * FEMTOSECOND,
        compressibility_au=COMPRESSIBILITY,
        fixcm=True,
    )
    taken = []
    for step in range(first, last):
        if step in wanted:
            taken.append(bare(atoms))
        dynamics.set_temperature(temperature_K=plan.temperature(step / steps))
        dynamics.run(1)
    _write(path, taken, atoms)


def _liquids(
    teacher: Potential, count: int, seed: int, folder: Path
) -> Iterator[tuple[str, list[Atoms]]]:
    """Melts over temperatures and densities, evenly."""
    states = [(t, d) for t in LIQUID_TEMPERATURES for d in LIQUID_DENSITIES]
    for number, (temperature, density) in enumerate(states):
        path = folder / f"liquid_{number:02d}.npz"
        wanted = count * (number + 1) // len(states) - count * number // len(states)
        if not path.exists():
            rng = np.random.default_rng([seed, 1, number])
            taken, state = _liquid(teacher, temperature, density, wanted, rng)
            _write(path, taken, state)
            print(f"fcc/melt: liquid {number + 1} of {len(states)}", flush=True)
        yield f"liquid {temperature:.0f} K {density} g/cm3", _read(path)[0]


def _liquid(
    teacher: Potential, temperature: float, density: float, count: int, rng: np.random.Generator
) -> tuple[list[Atoms], Atoms]:
    """108 atoms melted from fcc at that density, settled, then `count` snapshots."""
    a = (4 * atomic_masses[13] / (density * GRAM_PER_CM3)) ** (1 / 3)
    atoms = bulk("Al", cubic=True, a=a).repeat(3)
    atoms.calc = calculator(teacher)
    thermalize_momenta(atoms, temperature_K=2 * MELTING_K, rng=rng)
    run = _langevin(atoms, rng)
    run(MELTING_K, SETTLING_PS)
    run(temperature, SETTLING_PS)
    taken = []
    for _ in range(count):
        run(temperature, BETWEEN_PS)
        taken.append(bare(atoms))
    return taken, atoms


def _langevin(atoms: Atoms, rng: np.random.Generator) -> Callable[[float, float], None]:
    dynamics = Langevin(
        atoms,
        TIMESTEP_FS * FEMTOSECOND,
        temperature_K=MELTING_K,
        friction=0.01 / FEMTOSECOND,
        fixcm=False,
        rng=rng,
    )

    def run(temperature: float, picoseconds: float) -> None:
        dynamics.set_temperature(temperature_K=temperature)
        dynamics.run(round(1000 * picoseconds / TIMESTEP_FS))

    return run


def _write(path: Path, taken: list[Atoms], state: Atoms) -> None:
    """Snapshots and, last, where the dynamics are, in one file that is whole or not there."""
    arrays = {**pack_structures([*taken, state]), "momenta": state.get_momenta()}
    write_file(path, npz_bytes(arrays))


def _read(path: Path) -> tuple[list[Atoms], Atoms]:
    arrays = read_npz(path)
    *taken, state = unpack_structures(arrays)
    state.set_momenta(arrays["momenta"])
    return taken, state
