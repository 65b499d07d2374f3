"""What every verb does with files: open a potential, read structures, refuse to overwrite."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from ase import Atoms

from athanor.data.dataset import Dataset
from athanor.data.species import check_species
from athanor.errors import (
    ConfigError,
    FolderError,
    FormatError,
    StructureError,
    UnknownElementError,
)
from athanor.loading import PUBLISHED, load
from athanor.potentials import HasMembers, Potential
from athanor.structure import Frame, Labels

SpeciesOption = Annotated[
    str | None,
    typer.Option(
        "--species", help="Chemical symbols by species index, for MLIP's .mtp, .als, .cfg: Al,Ni."
    ),
]
OutOption = Annotated[Path, typer.Option("--out", help="File to write; it must not exist yet.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
PotentialArgument = Annotated[
    Path,
    typer.Argument(
        metavar="POTENTIAL", help="Folder of a saved potential, a .mtp or an .info file."
    ),
]


@dataclass(frozen=True, slots=True)
class Opened:
    """A potential and the order of its species (None where it has no order of its own)."""

    potential: Potential
    species: tuple[str, ...] | None


def parse_species(text: str | None, *, option: str = "--species") -> tuple[str, ...] | None:
    """Turn `Al,Ni` into symbols; ConfigError for anything that is not a list of elements."""
    if text is None:
        return None
    return check_species([part.strip() for part in text.split(",")], where=f"{option} {text}")


def open_potential(path: Path, *, species: tuple[str, ...] | None) -> Opened:
    """Load a potential; a folder knows its elements, so `species` only has to agree with them.

    Raises FormatError, ConfigError.
    """
    if path.suffix in PUBLISHED and not path.is_dir():
        return Opened(load(path, species), species)
    potential = load(path)
    if species is not None and set(species) != potential.elements:
        raise ConfigError(
            f"{path}: --species names {', '.join(species)}, but the potential was fitted to "
            f"{', '.join(sorted(potential.elements))}; give these or leave --species out"
        )
    return Opened(potential, species or _own_order(potential))


def _own_order(potential: Potential) -> tuple[str, ...] | None:
    if len(potential.elements) == 1:
        return tuple(potential.elements)
    first = potential.members[0] if isinstance(potential, HasMembers) else potential
    order = getattr(getattr(first, "model", None), "species", None)
    return None if order is None else tuple(order)


def structures_of(path: Path, *, species: Sequence[str] | None) -> list[Atoms]:
    """Read the geometries of a file; FormatError when there are none."""
    # ase.io brings scipy in; `athanor --help` does without
    from athanor.data.formats import read_structures

    structures = read_structures(path, None if species is None else list(species))
    if not structures:
        raise FormatError(path, None, "holds no structures; at least one is needed")
    return structures


REFUSED = (StructureError, UnknownElementError)
"""What a potential raises for a structure it cannot evaluate."""


def blame(
    path: Path,
    structures: Sequence[Atoms],
    compute: Callable[[Sequence[Atoms]], Any],
    *,
    first: int = 0,
) -> None:
    """Find the structure that `compute` refuses and raise its error again, with file and frame.

    `first` is the number of the first structure in the file.
    """
    for index, atoms in enumerate(structures, start=first):
        try:
            compute([atoms])
        except REFUSED as error:
            raise type(error)(f"{path}, frame {index}: {error}") from None


def labelled(
    path: Path, *, species: Sequence[str] | None, forces_optional: bool = False
) -> Dataset:
    """Read labelled frames; FormatError when there are none.

    With `forces_optional` frames may have energies alone; their forces are NaN.
    """
    from athanor.data.formats import read_frames

    order = None if species is None else list(species)
    frames = read_frames(path, order, forces_optional=forces_optional)
    if len(frames) == 0:
        raise FormatError(path, None, "holds no labelled structures; at least one is needed")
    return frames


def geometry_only(path: Path, *, species: Sequence[str] | None) -> Dataset:
    """Read structures as a training set for a query, which looks at geometry alone."""
    return Dataset(
        tuple(
            Frame(atoms, Labels(0.0, np.zeros((len(atoms), 3)), None))
            for atoms in structures_of(path, species=species)
        )
    )


def refuse_existing(path: Path) -> Path:
    """Return `path` when something new can be written there; FolderError when not."""
    if path.exists() or path.is_symlink():
        raise FolderError(f"{path} exists already and is not overwritten; choose another name")
    parent = path.parent
    if not parent.is_dir():
        raise FolderError(f"{path}: there is no folder {parent}; make it first")
    if not os.access(parent, os.W_OK):
        raise FolderError(f"{path}: the folder {parent} is not writable; choose another place")
    return path
