"""Langevin dynamics along a course, in segments on disk: a kill costs one segment.

Every segment begins with a fresh calculator and what its forerunner left, so that the trajectory
does not depend on where it was interrupted, whatever the calculator remembers.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.md.langevin import Langevin

from athanor.data.durable import make_folder, write_file
from athanor.data.packing import npz_bytes, pack_frames, read_npz, unpack_frames
from athanor.errors import FormatError, OracleError
from athanor.oracle import Oracle
from athanor.oracle._labelling import labels_of
from athanor.pool._course import Course
from athanor.potentials import FIT_LOG
from athanor.sample._trial import Limits
from athanor.structure import FloatArray, Frame, Labels, bare

_FORMAT = 1
TOO_NEAR = 0.5
"""Å; a trajectory that brings atoms so near is lost."""
TOO_HOT = 10.0
"""Times the highest target; equilibrium is never so hot."""


@dataclass(frozen=True, slots=True)
class Dynamics:
    """How atoms move.

    Attributes
    ----------
    timestep_fs, friction_per_ps : of Langevin's equation.
    segment : steps between two states on disk.
    """

    timestep_fs: float
    friction_per_ps: float
    segment: int


class Trajectory:
    """The trajectory of one course, kept in a folder.

    Parameters
    ----------
    folder : of this very trajectory: its name is to tell it from any other.
    log : the folder whose log is told the progress.
    """

    def __init__(self, folder: Path, course: Course, dynamics: Dynamics, *, log: Path) -> None:
        self._folder, self._log = folder, log / FIT_LOG
        self._course, self._dynamics = course, dynamics
        self._began = time.monotonic()

    def run(
        self, begin: Callable[[], tuple[Atoms, np.random.Generator]], oracle: Oracle
    ) -> list[Frame]:
        """Go on from the last whole segment to the end; frames name stage and step as origin.

        `begin` gives the start with its momenta, and what draws the noise; it is called only where
        there is no segment yet. Raises OracleError where the trajectory is lost.
        """
        make_folder(self._folder)
        segments = self._segments()
        frames, state = self._kept(segments)
        if state is None:
            atoms, rng = begin()
        else:
            atoms, rng = state
        first = len(frames)
        for number in range(first, segments):
            fresh = oracle.calculator(workdir=self._folder)
            found = self._segment(number, atoms, rng, fresh, level=oracle.level)
            self._keep(number, found, atoms, rng)
            frames.append(found)
            self._tell(number, first)
        return [frame for found in frames for frame in found]

    def _segments(self) -> int:
        return -(-self._course.steps // self._dynamics.segment)

    def _path(self, number: int) -> Path:
        return self._folder / f"segment-{number:05d}.npz"

    def _kept(
        self, segments: int
    ) -> tuple[list[list[Frame]], tuple[Atoms, np.random.Generator] | None]:
        """Frames of the whole segments there are, and the state after the last."""
        frames: list[list[Frame]] = []
        state = None
        for number in range(segments):
            try:
                arrays = read_npz(self._path(number))
                found = unpack_frames(arrays)
                state = _state(arrays)
            except (FormatError, LookupError, ValueError):
                break  # none yet, or a damaged one: it is made again
            frames.append(found)
        return frames, state

    def _keep(
        self, number: int, frames: list[Frame], atoms: Atoms, rng: np.random.Generator
    ) -> None:
        arrays = {
            **pack_frames(frames),
            "format": np.array(_FORMAT),
            "state_numbers": atoms.numbers,
            "state_positions": atoms.positions,
            "state_momenta": atoms.get_momenta(),
            "state_cell": atoms.cell.array,
            "state_rng": np.array(json.dumps(rng.bit_generator.state)),
        }
        write_file(self._path(number), npz_bytes(arrays))

    def _segment(
        self,
        number: int,
        atoms: Atoms,
        rng: np.random.Generator,
        calculator: Calculator,
        *,
        level: str,
    ) -> list[Frame]:
        """Move the atoms through one segment; its frames."""
        course, dynamics = self._course, self._dynamics
        atoms.calc = calculator
        mover = Langevin(
            atoms,
            dynamics.timestep_fs * units.fs,
            temperature_K=course.stages[0].begin_K,
            friction=dynamics.friction_per_ps / (1000 * units.fs),
            fixcm=False,
            rng=rng,
        )
        frames: list[Frame] = []
        forces: FloatArray | None = None
        before = number * dynamics.segment
        try:
            for step in range(before + 1, min(before + dynamics.segment, course.steps) + 1):
                stage, place = course.at(step)
                mover.set_temperature(temperature_K=stage.target(place))
                with np.errstate(over="ignore", invalid="ignore"):  # a loss is found just after
                    forces = cast(FloatArray, mover.step(forces))
                if step % course.interval == 0:
                    self._check(atoms, step)
                    if course.keeps(step):
                        origin = f"{stage.name}, step {step}"
                        frames.append(_frame(atoms, calculator, level, origin))
        except Exception as error:
            # any program may stand behind the calculator, and it may fail in any way
            why = " ".join(str(error).split())[:300] or type(error).__name__
            raise OracleError(self._lost(step, why)) from error
        finally:
            atoms.calc = None
        return frames

    def _check(self, atoms: Atoms, step: int) -> None:
        hottest = max(max(stage.begin_K, stage.end_K) for stage in self._course.stages)
        labels = Labels(float(atoms.get_potential_energy()), atoms.get_forces(), None)
        broken = Limits(TOO_NEAR, TOO_HOT * hottest).broken(atoms, labels)
        if broken:
            raise OracleError(broken[1])

    def _lost(self, step: int, why: str) -> str:
        return (
            f"the trajectory of [pool] was lost at step {step} of {self._course.steps} ({why}); "
            "shorten timestep_fs, lower the temperatures or take another potential in [oracle]"
        )

    def _tell(self, number: int, first: int) -> None:
        """A line of the log; seconds are as if all of it had been made in this run."""
        done = min((number + 1) * self._dynamics.segment, self._course.steps)
        since = time.monotonic() - self._began
        line: dict[str, Any] = {
            "stage": f"{self._course.at(done)[0].name} of the melt-quench",
            "step": done,
            "steps": self._course.steps,
            "seconds": round(since * (number + 1) / (number + 1 - first), 3),
            "stage_began": 0.0,
        }
        with self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _state(arrays: dict[str, Any]) -> tuple[Atoms, np.random.Generator]:
    if int(arrays["format"]) != _FORMAT:
        raise ValueError("of another version")
    atoms = Atoms(
        numbers=arrays["state_numbers"],
        positions=arrays["state_positions"],
        cell=arrays["state_cell"],
        pbc=True,
    )
    atoms.set_momenta(arrays["state_momenta"])
    rng = np.random.default_rng()
    rng.bit_generator.state = json.loads(str(arrays["state_rng"]))
    return atoms, rng


def _frame(atoms: Atoms, calculator: Calculator, level: str, origin: str) -> Frame:
    labels = labels_of(atoms, calculator)
    geometry = bare(atoms)
    geometry.wrap()
    return Frame(geometry, labels, level=level, origin=origin)
