"""Legs of a run in files, so that a killed measurement goes on after the last one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from athanor.data.durable import write_file
from athanor.data.packing import npz_bytes, pack_structures, read_npz, unpack_structures
from athanor.errors import FormatError


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A leg that was run.

    Attributes
    ----------
    end : with momenta. frames : what was sampled on the way.
    """

    end: Atoms
    frames: tuple[Atoms, ...] = ()


def keep(path: Path, part: Part) -> None:
    """Write a leg, whole or not at all; FolderError where that cannot be."""
    packed = pack_structures([part.end, *part.frames])
    packed |= {"momenta": part.end.get_momenta(), "masses": part.end.get_masses()}
    write_file(path, npz_bytes(packed))


def kept(path: Path) -> Part | None:
    """The leg in a file, bit for bit; None where there is none, or not a whole one."""
    try:
        arrays = read_npz(path)
        end, *frames = unpack_structures(arrays)
        end.set_masses(arrays["masses"])
        end.set_momenta(arrays["momenta"])
    except (FormatError, LookupError, ValueError):
        return None
    return Part(end, tuple(frames))
