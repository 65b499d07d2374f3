"""A chain of dynamics in pieces that are kept, so that a killed measurement goes on."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from athanor.data.durable import write_file
from athanor.data.packing import npz_bytes, pack_structures, read_npz, unpack_structures
from athanor.dynamics import Leg, Snapshot, engine_of
from athanor.errors import FormatError, MeasurementError
from athanor.structure import FloatArray, bare
from athanor.validate._alone import Tell

PIECE = 20_000
"""Steps after which a long leg is kept."""
SERIES = ("time_ps", "energy", "temperature_K", "pressure_GPa", "volume")


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """What a leg went through.

    Attributes
    ----------
    end : the last structure, with momenta.
    series : (5, k), rows as `SERIES`: ps from the start of the leg, eV, K, GPa, Å³; one column for
        each snapshot.
    length_ps : of the whole leg.
    frames : geometries of the snapshots, where they were asked for.
    """

    end: Atoms
    series: FloatArray
    length_ps: float
    frames: tuple[Atoms, ...] = ()

    def of(self, name: str) -> FloatArray:
        """(k,) the series of that name."""
        row: FloatArray = self.series[SERIES.index(name)]
        return row

    def then(self, other: Track) -> Track:
        """This and what came after it."""
        later = other.series.copy()
        later[0] += self.length_ps
        series = np.concatenate([self.series, later], axis=1)
        length = self.length_ps + other.length_ps
        return Track(other.end, series, length, (*self.frames, *other.frames))


class Driver:
    """Runs legs one after the other; every piece has a seed and a file of its own.

    Parameters
    ----------
    steps : of all legs together, for the share that is told.
    """

    def __init__(
        self, calculator: Calculator, *, seed: int, workdir: Path, tell: Tell, steps: int
    ) -> None:
        self._engine = engine_of(calculator)
        self._seed, self._workdir, self._tell = seed, workdir, tell
        self._whole, self._done, self._number = max(1, steps), 0, 0

    def run(self, name: str, atoms: Atoms, leg: Leg, *, frames: bool = False) -> Track:
        """Run a leg or find it in the folder; MeasurementError, with the `name`, if it is lost."""
        end = self._done + leg.steps
        track = Track(atoms, np.zeros((len(SERIES), 0)), 0.0)
        for piece in pieces_of(leg):
            try:
                track = track.then(self._piece(name, track.end, piece, frames=frames))
            except MeasurementError as error:
                # what comes next counts as if this were over
                self._done, self._number = end, self._number + 1
                raise MeasurementError(f"{name}: {error}") from error
            self._done += piece.steps
        return track

    def _piece(self, name: str, atoms: Atoms, leg: Leg, *, frames: bool) -> Track:
        self._number += 1
        path = self._workdir / f"leg-{self._number}.npz"
        found = _kept(path)
        if found is not None:
            return found
        rows: list[tuple[float, ...]] = []
        taken: list[Atoms] = []

        def watch(snapshot: Snapshot) -> bool:
            rows.append(tuple(float(getattr(snapshot, name)) for name in SERIES))
            if frames:
                taken.append(bare(snapshot.atoms))
            self._tell((self._done + snapshot.step) / self._whole, name)
            return False

        seed = int(np.random.SeedSequence([self._seed, self._number]).generate_state(1)[0])
        end = self._engine.run(atoms, leg, seed=seed, watch=watch)
        series = np.array(rows, dtype=float).reshape(-1, len(SERIES)).T
        track = Track(end, series, leg.steps * leg.timestep_fs / 1000, tuple(taken))
        _keep(path, track)
        return track


def pieces_of(leg: Leg) -> list[Leg]:
    """The leg in pieces of at most `PIECE` steps, or of `every` where that is more."""
    length = max(1, PIECE // leg.every) * leg.every
    edges = [*range(0, leg.steps, length), leg.steps]
    pieces = []
    for first, last in itertools.pairwise(edges):
        ends = (leg.target(first), leg.target(last))
        course = None if ends[0] is None or ends[1] is None else (ends[0], ends[1])
        pieces.append(replace(leg, steps=last - first, temperature_K=course))
    return pieces


def steps_of(time_ps: float, timestep_fs: float) -> int:
    """Steps in a time; none in none, else at least one."""
    return max(1, round(1000 * time_ps / timestep_fs)) if time_ps > 0 else 0


def joined(tracks: Sequence[Track]) -> Track:
    """One after the other."""
    whole = tracks[0]
    for track in tracks[1:]:
        whole = whole.then(track)
    return whole


def _keep(path: Path, track: Track) -> None:
    packed = pack_structures([track.end, *track.frames])
    packed |= {
        "momenta": track.end.get_momenta(),
        "masses": track.end.get_masses(),
        "series": track.series,
        "length": np.array(track.length_ps),
    }
    write_file(path, npz_bytes(packed))


def _kept(path: Path) -> Track | None:
    """The piece in a file, bit for bit; None where there is none, or not a whole one."""
    try:
        arrays = read_npz(path)
        end, *frames = unpack_structures(arrays)
        end.set_masses(arrays["masses"])
        end.set_momenta(arrays["momenta"])
        return Track(end, arrays["series"], float(arrays["length"]), tuple(frames))
    except (FormatError, LookupError, ValueError):
        return None
