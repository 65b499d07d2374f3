"""The verb convert: structures between formats, and MLIP's potentials and states."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from ase import Atoms

from athanor.cli.files import (
    SpeciesOption,
    labelled,
    open_potential,
    parse_species,
    refuse_existing,
    structures_of,
)
from athanor.errors import ConfigError, LabelError, StructureError
from athanor.loading import NEUROCHEM, PUBLISHED, STATES
from athanor.structure import Labels

LABELLED = (".extxyz", ".xyz", ".cfg")
"""Suffixes of the formats that hold labels."""


@dataclass(frozen=True, slots=True)
class Picks:
    """Which structures of a file are written, and how."""

    every: int
    last: bool
    reduce: bool
    split: bool

    @property
    def any(self) -> bool:
        return self.every > 1 or self.last or self.reduce or self.split

    def of(self, count: int) -> range:
        """The numbers of those written, of `count`."""
        return range(count - 1, count) if self.last else range(0, count, self.every)


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="It must not exist yet.")],
    *,
    every: Annotated[
        int, typer.Option("--every", min=1, help="Only every so many structures, from the first.")
    ] = 1,
    last: Annotated[bool, typer.Option("--last", help="Only the last structure.")] = False,
    reduce: Annotated[
        bool,
        typer.Option("--reduce", help="In the reduced, lower triangular cell, atoms inside."),
    ] = False,
    split: Annotated[
        bool, typer.Option("--split", help="Each to a file of its own, OUT with its number.")
    ] = False,
    species: SpeciesOption = None,
) -> None:
    """Convert structures between formats, or a potential: ours, .mtp, or from ANI's .info file.

    The suffix of OUT says what is written. Labels are kept where every structure has them. Of an
    MLIP state (.als, .almtp), the potential or the structures of its active set.
    """
    refuse_existing(target)
    order = parse_species(species)
    picks = Picks(every, last, reduce, split)
    if last and every > 1:
        raise ConfigError("--last and --every exclude each other; give one of them")
    if source.suffix in STATES and not _is_potential(target):
        _convert_state(source, target, species=order, picks=picks)
    elif source.suffix in (*PUBLISHED, NEUROCHEM) or source.is_dir():
        if picks.any:
            raise ConfigError(
                f"{source} is a potential: --every, --last, --reduce and --split are for structures"
            )
        _convert_potential(source, target, species=order)
    else:
        _convert_structures(source, target, species=order, picks=picks)
    print(f"written to {target}" + (", with numbers" if split else ""))


def _is_potential(target: Path) -> bool:
    """Whether this is the name of a potential's file or folder."""
    return target.suffix in ("", ".mtp") and not target.name.startswith("POSCAR")


def _convert_potential(source: Path, target: Path, *, species: tuple[str, ...] | None) -> None:
    potential = open_potential(source, species=species).potential
    if target.suffix in LABELLED:
        raise ConfigError(
            f"{source} is a potential and {target} a file of structures; give OUT the suffix .mtp, "
            "or none for a folder of ours"
        )
    if target.suffix != ".mtp":
        potential.save(target)
        return
    write = getattr(potential, "to_mlip", None)
    if write is None:
        raise ConfigError(
            f"{source}: only moment tensor potentials can be written as .mtp; "
            "give OUT without that suffix for a folder of ours"
        )
    write(target)


def _convert_state(
    source: Path, target: Path, *, species: tuple[str, ...] | None, picks: Picks
) -> None:
    from athanor.query.state import active_structures

    if species is None:
        raise ConfigError(f"{source}: it has only species indices; name them: --species Al,Ni")
    found = active_structures(source, species)
    if not found:
        raise ConfigError(f"{source}: its active set is empty, there are no structures to write")
    _write(source, target, found, labels=None, species=species, picks=picks)


def _convert_structures(
    source: Path, target: Path, *, species: tuple[str, ...] | None, picks: Picks
) -> None:
    structures = structures_of(source, species=species)
    labels = labels_of(source, species=species) if target.suffix in LABELLED else None
    _write(source, target, structures, labels=labels, species=species, picks=picks)


def _write(
    source: Path,
    target: Path,
    structures: Sequence[Atoms],
    *,
    labels: Sequence[Labels] | None,
    species: tuple[str, ...] | None,
    picks: Picks,
) -> None:
    from athanor.data.lattice import reduced

    written: list[Atoms] = []
    kept: list[Labels] = []
    for index in picks.of(len(structures)):
        atoms, label = structures[index], None if labels is None else labels[index]
        if picks.reduce:
            try:
                atoms, label = reduced(atoms, label)
            except StructureError as error:
                raise StructureError(f"{source}, frame {index}: {error}") from None
        written.append(atoms)
        if label is not None:
            kept.append(label)
    save = _save_split if picks.split else _save
    save(target, written, kept or None, species)


def _save(
    target: Path,
    structures: list[Atoms],
    labels: list[Labels] | None,
    species: tuple[str, ...] | None,
) -> None:
    from athanor.data.formats import write_structures

    try:
        write_structures(target, structures, labels=labels, species=species)
    except ConfigError as error:
        if len(structures) == 1 or target.suffix in LABELLED:
            raise
        raise ConfigError(f"{error}, and --split gives each a file of its own") from None


def _save_split(
    target: Path,
    structures: list[Atoms],
    labels: list[Labels] | None,
    species: tuple[str, ...] | None,
) -> None:
    """One file for each structure: OUT with its number before the suffix."""
    names = [target.with_name(f"{target.stem}{k}{target.suffix}") for k in range(len(structures))]
    for name in names:  # none is written unless all can be
        refuse_existing(name)
    for k, (name, atoms) in enumerate(zip(names, structures, strict=True)):
        _save(name, [atoms], None if labels is None else [labels[k]], species)


def labels_of(source: Path, *, species: tuple[str, ...] | None) -> list[Labels] | None:
    """The labels of a file's structures, None (and a line on stderr) where one has none."""
    try:
        return labelled(source, species=species).labels
    except LabelError as error:
        print(f"written without labels: {error}", file=sys.stderr)
        return None
