"""Constant-temperature dynamics of a crystal or a melt, with labelled frames."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.md.langevin import Langevin
from pydantic import Field

from athanor.component import Component
from athanor.data.durable import make_folder, write_file
from athanor.data.packing import npz_bytes, pack_frames, read_npz, unpack_frames
from athanor.errors import AthanorError, FormatError, StructureError
from athanor.sample._trial import Limits
from athanor.sample._velocities import thermalise
from athanor.structure import Frame, Labels, bare, structure_id
from athanor.validate._lattice import PER_CUBE, Lattice, crystal

FRICTION_PER_PS = 10.0
MELT_EXPANSION = 1.12
"""Volume of a melt over that of its cold crystal; aluminium at its melting point has about 1.15."""
TOO_NEAR = 0.5
"""Å; a trajectory that brings atoms so near is lost."""
TOO_HOT = 10.0
"""Times the target temperature; neither is equilibrium ever so hot."""


class HeldOutRun(Component):
    """One trajectory: `structure` at a temperature, `frames` of it `interval` steps apart.

    A melt starts as an fcc crystal, expanded, and is melted at `melt_temperature_K` for
    `melt_steps` first.
    """

    structure: Literal["fcc", "hcp", "bcc", "sc", "melt"]
    temperature_K: float = Field(gt=0)
    frames: int = Field(default=100, ge=1)
    interval: int = Field(default=10, ge=1, description="steps between frames")
    atoms: int = Field(default=108, ge=1, description="the box comes as near to it as it can")
    volume_scale: float | None = Field(
        default=None, gt=0, description="of the volume; 1 for a crystal, 1.12 for a melt"
    )
    timestep_fs: float = Field(default=2.0, gt=0)
    equilibration_steps: int = Field(default=200, ge=0)
    melt_temperature_K: float = Field(default=3000.0, gt=0)
    melt_steps: int = Field(default=200, ge=1)

    @property
    def lattice(self) -> Lattice:
        """The lattice it starts from."""
        return "fcc" if self.structure == "melt" else self.structure

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.structure} at {self.temperature_K:.0f} K"

    @property
    def before(self) -> int:
        """Steps before the first frame may be taken."""
        return self.equilibration_steps + (self.melt_steps if self.structure == "melt" else 0)

    @property
    def planned(self) -> int:
        """Steps of the whole trajectory."""
        return self.before + self.frames * self.interval

    def start(self, element: str, volume: float) -> Atoms:
        """The perfect crystal to start from, `volume` in Å³ per atom before scaling."""
        scale = self.volume_scale
        if scale is None:
            scale = MELT_EXPANSION if self.structure == "melt" else 1.0
        cell = crystal(element, self.lattice, volume * scale, cubic=True)
        if self.lattice in PER_CUBE:
            repeat = (max(1, round((self.atoms / len(cell)) ** (1 / 3))),) * 3
        else:
            edge = (self.atoms / len(cell) * cell.get_volume()) ** (1 / 3)
            lengths = cell.cell.lengths()
            repeat = cast(
                tuple[int, int, int], tuple(max(1, round(edge / length)) for length in lengths)
            )
        return cell.repeat(repeat)

    def target(self, step: int) -> float:
        """Temperature of the thermostat in K."""
        melting = self.structure == "melt" and step < self.melt_steps
        return self.melt_temperature_K if melting else self.temperature_K


@dataclass(frozen=True, slots=True)
class Trajectory:
    """Frames with the labels of the calculator that drove them.

    Attributes
    ----------
    name : for people. steps, planned : done, and of the whole trajectory.
    stopped : what ended it too soon, empty if nothing did.
    """

    name: str
    frames: tuple[Frame, ...]
    steps: int
    planned: int
    stopped: str = ""


def drive(
    run: HeldOutRun,
    start: Atoms,
    calculator: Calculator,
    *,
    seed: Sequence[int],
    cache: Path | None = None,
) -> Trajectory:
    """Run Langevin dynamics and take frames.

    With a `cache` folder, a trajectory that ran whole is kept there and found again by the same
    run, start and seed, as long as the calculator gives the same energy for a distorted start.
    """
    path = None
    if cache is not None:
        make_folder(cache)
        path = cache / f"frames-{_fingerprint(run, start, calculator, seed)}.npz"
        try:
            frames = tuple(unpack_frames(read_npz(path)))
        except (FormatError, LookupError, ValueError):
            pass  # none yet, or a damaged one: it is made again
        else:
            return Trajectory(run.name, frames, run.planned, run.planned)
    trajectory = _driven(run, start, calculator, np.random.default_rng(list(seed)))
    if path is not None and not trajectory.stopped:
        write_file(path, npz_bytes(pack_frames(trajectory.frames)))
    return trajectory


def _fingerprint(run: HeldOutRun, start: Atoms, calculator: Calculator, seed: Sequence[int]) -> str:
    probe = bare(start)
    probe.rattle(0.1, rng=np.random.default_rng(0))
    probe.calc = calculator
    energy = float(probe.get_potential_energy())
    what = f"{run.model_dump_json()} {structure_id(start)} {list(seed)} {energy.hex()}"
    return hashlib.sha256(what.encode()).hexdigest()[:16]


def _driven(
    run: HeldOutRun, start: Atoms, calculator: Calculator, rng: np.random.Generator
) -> Trajectory:
    atoms = bare(start)
    atoms.calc = calculator
    # half of the kinetic energy of a perfect crystal goes into its vibrations
    thermalise(atoms, 2 * run.target(0), rng)
    dynamics = Langevin(
        atoms,
        run.timestep_fs * units.fs,
        temperature_K=run.target(0),
        friction=FRICTION_PER_PS / (1000 * units.fs),
        fixcm=False,
        rng=rng,
    )
    frames: list[Frame] = []
    step, stopped, forces = 0, "", None
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # a lost trajectory is found just after
            while step < run.planned and not stopped:
                dynamics.set_temperature(temperature_K=run.target(step))
                forces = dynamics.step(forces)
                step += 1
                since = step - run.before
                if since % run.interval == 0:
                    stopped = _lost(atoms, run, step)
                    if since > 0 and not stopped:
                        frames.append(_frame(atoms, run, step))
    except (AthanorError, ArithmeticError) as error:
        stopped = f"lost at step {step} of {run.planned} ({error})"
    return Trajectory(run.name, tuple(frames), step, run.planned, stopped)


def _lost(atoms: Atoms, run: HeldOutRun, step: int) -> str:
    limits = Limits(TOO_NEAR, TOO_HOT * max(run.temperature_K, run.target(0)))
    labels = Labels(float(atoms.get_potential_energy()), atoms.get_forces(), None)
    broken = limits.broken(atoms, labels)
    return f"lost at step {step} of {run.planned}: {broken[1]}" if broken else ""


def _frame(atoms: Atoms, run: HeldOutRun, step: int) -> Frame:
    geometry = bare(atoms)
    geometry.wrap()
    labels = Labels(float(atoms.get_potential_energy()), atoms.get_forces(), None)
    return Frame(geometry, labels, origin=f"{run.name}, step {step}")


def calculated(atoms: Atoms, calculator: Calculator) -> Labels | None:
    """Energy and forces of a structure; None where the calculator cannot give finite ones."""
    probe = bare(atoms)
    probe.calc = calculator
    try:
        energy, forces = float(probe.get_potential_energy()), probe.get_forces()
    except StructureError:
        return None
    if not (math.isfinite(energy) and np.isfinite(forces).all()):
        return None
    return Labels(energy, forces, None)
