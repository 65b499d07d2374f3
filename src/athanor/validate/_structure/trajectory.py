"""The frames a property is measured on: read from a file, or made here by dynamics."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self, cast

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from pydantic import AfterValidator, Field, model_validator

from athanor.component import Component
from athanor.data.durable import only_one
from athanor.data.formats import read_structures
from athanor.dynamics import Leg, Snapshot, engine_of
from athanor.errors import ConfigError, MeasurementError
from athanor.structure import bare, structure_id
from athanor.validate import Tell, silent
from athanor.validate._lattice import Lattice, check_element, crystal, usual_volume
from athanor.validate._structure.kept import Part, keep, kept

USUAL_ATOMS = 256
SHOWN_STEPS = 100
"""Steps between signs of life of a leg that is not sampled."""
MOLTEN = 0.35
"""Of the spacing of atoms: no crystal vibrates so far, a liquid goes beyond within a picosecond."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A leg of a run, what it is for people, whether its frames are taken, and whether it melts."""

    name: str
    leg: Leg
    sampled: bool = False
    melts: bool = False


class OfTrajectory(Component):
    """Fields of properties of frames: a `trajectory`, or dynamics from a crystal or a `file`.

    Dynamics: where `melt_temperature_K` is given, `melt_ps` there and a linear quench of
    `quench_ps`; then `equilibration_ps` and `sampling_ps` at `temperature_K`, in `blocks` pieces.
    At constant volume, or at `pressure_GPa` all along. The default 256 atoms take 7,500 steps.
    """

    trajectory: Path | None = Field(
        default=None,
        description="frames that ASE reads, all of one run; nothing is calculated then",
    )
    skip: int = Field(default=0, ge=0, description="frames of the trajectory left out at its start")
    element: Annotated[str, AfterValidator(check_element)] | None = None
    lattice: Lattice | None = None
    file: Path | None = Field(default=None, description="a structure to start from, instead")
    atoms: int | None = Field(
        default=None,
        ge=1,
        description="the cell is repeated to about so many; 256 of a lattice, a file as it is",
    )
    volume: float | None = Field(
        default=None, gt=0, description="Å³ per atom at the start; the structure is scaled to it"
    )
    temperature_K: float | None = Field(default=None, gt=0)
    pressure_GPa: float | None = Field(default=None, description="constant volume where not given")
    melt_temperature_K: float | None = Field(default=None, gt=0)
    melt_ps: float = Field(default=5.0, gt=0)
    quench_ps: float = Field(default=5.0, gt=0)
    timestep_fs: float = Field(default=2.0, gt=0)
    equilibration_ps: float = Field(default=5.0, ge=0)
    sampling_ps: float = Field(default=10.0, gt=0)
    interval_ps: float = Field(default=0.1, gt=0, description="between frames")
    blocks: int = Field(
        default=5, ge=1, description="pieces of the run whose scatter gives the uncertainties"
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        named = self.element is not None and self.lattice is not None
        sources = [self.trajectory is not None, self.file is not None, named]
        if sum(sources) != 1 or (not named and (self.element or self.lattice)):
            raise ValueError(
                "give one of a trajectory, element and lattice, or a file to start from"
            )
        if self.trajectory is not None:
            return self
        if self.temperature_K is None:
            raise ValueError("dynamics need temperature_K; give it, or a trajectory")
        if named and self.volume is None and self.pressure_GPa is None:
            raise ValueError("dynamics of a lattice need a volume (Å³ per atom) or pressure_GPa")
        if self.sampling_ps < self.interval_ps:
            raise ValueError("sampling_ps is shorter than interval_ps, so there would be no frame")
        return self

    @property
    def shared_run(self) -> dict[str, Any] | None:
        """The fields of the dynamics; what is made of their frames changes nothing in them."""
        if self.trajectory is not None:
            return None
        return self.model_dump(mode="json", include=set(OfTrajectory.model_fields))

    @property
    def subject(self) -> str:
        """For people: 'fcc Al at 1000 K', or the file's name."""
        if self.trajectory is not None:
            return self.trajectory.stem
        start = f"{self.lattice} {self.element}" if self.file is None else self.file.stem
        molten = "" if self.melt_temperature_K is None else f"molten at {self.melt_temperature_K:g}"
        place = f"{start} {molten} K," if molten else start
        under = "" if self.pressure_GPa is None else f" and {self.pressure_GPa:g} GPa"
        return f"{place} at {self.temperature_K:g} K{under}"

    def start(self) -> Atoms:
        """What the dynamics start from, repeated and scaled; FormatError for an unreadable file."""
        if self.file is not None:
            given = read_structures(self.file)
            if len(given) != 1:
                raise ConfigError(
                    f"{self.file} holds {len(given)} structures, dynamics start from one; "
                    "give a file with one, or the whole as a trajectory"
                )
            cell = bare(given[0])
        else:
            assert self.element is not None
            assert self.lattice is not None
            volume = self.volume or usual_volume(self.element)
            cell = crystal(self.element, self.lattice, volume, cubic=True)
        if self.volume is not None:
            if not cell.pbc.all():
                raise ConfigError(f"{self.file} is not periodic, so it has no volume; leave it out")
            scale = (self.volume * len(cell) / cell.get_volume()) ** (1 / 3)
            cell.set_cell(cell.cell.array * scale, scale_atoms=True)
        wanted = self.atoms or (USUAL_ATOMS if self.file is None else len(cell))
        return repeated(cell, wanted)

    def pieces(self) -> list[Piece]:
        """The whole run, leg by leg."""
        assert self.temperature_K is not None
        found = []
        if self.melt_temperature_K is not None:
            hot, cool = self.melt_temperature_K, (self.melt_temperature_K, self.temperature_K)
            found += [
                Piece("melting", self._leg(self.melt_ps, hot), melts=True),
                Piece("quenching", self._leg(self.quench_ps, cool)),
            ]
        found.append(
            Piece("coming to equilibrium", self._leg(self.equilibration_ps, self.temperature_K))
        )
        every = self._steps(self.interval_ps)
        frames = max(1, round(self.sampling_ps / self.interval_ps))
        edges = np.linspace(0, frames, min(self.blocks, frames) + 1).round().astype(int)
        for count in np.diff(edges):
            leg = self._leg(self.interval_ps, self.temperature_K, steps=int(count) * every)
            found.append(Piece("sampling", leg, sampled=True))
        return found

    def _steps(self, time_ps: float) -> int:
        return max(1, round(1000 * time_ps / self.timestep_fs))

    def _leg(
        self, time_ps: float, temperature_K: float | tuple[float, float], steps: int | None = None
    ) -> Leg:
        return Leg(
            steps=(self._steps(time_ps) if time_ps else 0) if steps is None else steps,
            timestep_fs=self.timestep_fs,
            temperature_K=temperature_K,
            pressure_GPa=self.pressure_GPa,
            every=SHOWN_STEPS if steps is None else self._steps(self.interval_ps),
        )

    def frames_of(
        self, calculator: Calculator, *, seed: int, workdir: Path, tell: Tell = silent
    ) -> list[Atoms]:
        """The frames, without calculators; a leg that is in `workdir` already is not run again.

        Raises FormatError for a file that cannot be read, MeasurementError where the run is lost or
        nothing melts that should.
        """
        if self.trajectory is not None:
            return read_structures(self.trajectory)[self.skip :]
        start = self.start()
        stem = workdir / f"leg-{self._digest(start, seed)}"
        # another property may be waiting for the very same run
        with only_one(stem.with_suffix(".lock")):
            return self._run(start, calculator, seed=seed, stem=stem, tell=tell)

    def _run(
        self, atoms: Atoms, calculator: Calculator, *, seed: int, stem: Path, tell: Tell
    ) -> list[Atoms]:
        """The frames of dynamics; legs are kept in files that begin with `stem`."""
        frames: list[Atoms] = []
        pieces = self.pieces()
        whole, done = max(1, sum(piece.leg.steps for piece in pieces)), 0
        for number, piece in enumerate(pieces):
            path = stem.with_name(f"{stem.name}-{number}.npz")
            part = kept(path)
            if part is None:

                def told(step: int, before: int = done, name: str = piece.name) -> None:
                    tell((before + step) / whole, name)

                draw = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
                part = run(piece, atoms, calculator, seed=draw, told=told)
                keep(path, part)
            if piece.melts:
                check_molten(atoms, part.end, piece.leg)
            atoms, done = part.end, done + piece.leg.steps
            frames += part.frames
        return frames

    def _digest(self, start: Atoms, seed: int) -> str:
        """Of all that the legs depend on beside the calculator."""
        what = f"{json.dumps(self.shared_run)} {structure_id(start)} {seed}"
        return hashlib.sha256(what.encode()).hexdigest()[:12]


def run(
    piece: Piece, atoms: Atoms, calculator: Calculator, *, seed: int, told: Callable[[int], None]
) -> Part:
    """Run one leg; `told` hears of its steps."""
    frames: list[Atoms] = []

    def watch(snapshot: Snapshot) -> bool:
        told(snapshot.step)
        if piece.sampled:
            frames.append(bare(snapshot.atoms))
        return False

    end = engine_of(calculator).run(atoms, piece.leg, seed=seed, watch=watch)
    return Part(end, tuple(frames))


def check_molten(before: Atoms, after: Atoms, leg: Leg) -> None:
    """Raise MeasurementError where the atoms only vibrate about where they were before a leg."""
    moved = after.get_scaled_positions(wrap=False) - before.get_scaled_positions(wrap=False)
    moved -= np.round(moved)
    far = np.linalg.norm((moved - moved.mean(axis=0)) @ after.cell.array, axis=1)
    spacing = (after.get_volume() / len(after)) ** (1 / 3)
    rms = float(np.sqrt(np.mean(far**2)))
    if rms < MOLTEN * spacing:
        raise MeasurementError(
            f"it did not melt within {leg.steps * leg.timestep_fs / 1000:g} ps at "
            f"{leg.target(0):g} K (its atoms moved {rms:.2f} Å); give a higher "
            "melt_temperature_K or a longer melt_ps"
        )


def repeated(cell: Atoms, atoms: int) -> Atoms:
    """The cell repeated to about so many atoms, as near to a cube as it can; never made smaller."""
    if atoms <= len(cell) or not cell.pbc.all():
        return cell
    edge = (atoms / len(cell) * cell.get_volume()) ** (1 / 3)
    times = tuple(max(1, round(edge / length)) for length in cell.cell.lengths())
    return cell.repeat(cast(tuple[int, int, int], times))
