"""Structures written one by one, into a file that is there once it is whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ase import Atoms

from athanor.data import extxyz
from athanor.data.cfg import CfgRecord, cfg_text
from athanor.data.durable import whole_file
from athanor.errors import ConfigError, FolderError
from athanor.structure import Labels

SUFFIXES = (".extxyz", ".xyz", ".cfg")


@dataclass(slots=True)
class StructureWriter:
    """Appends structures with their labels and info.

    Attributes
    ----------
    written : how many so far.
    """

    path: Path
    species: Sequence[str] | None
    append: Callable[[bytes], None] = field(repr=False)
    written: int = 0

    def write(
        self, atoms: Atoms, *, labels: Labels | None = None, info: Mapping[str, Any] | None = None
    ) -> None:
        """Append one structure. Raises ConfigError as `write_structures`, FolderError."""
        info = info or {}
        if self.path.suffix == ".cfg":
            features = {key: " ".join(str(value).split()) for key, value in info.items()}
            record = CfgRecord(atoms, labels, features)
            text = ("\n" if self.written else "") + cfg_text(
                record, path=self.path, species=self.species
            )
        else:
            text = extxyz.text_of(
                [atoms], labels=None if labels is None else [labels], info=[info], path=self.path
            )
        self.append(text.encode())
        self.written += 1


@contextmanager
def structure_writer(
    path: Path, *, species: Sequence[str] | None = None
) -> Iterator[StructureWriter]:
    """Yield a writer; the file is there under its name when the block has ended well, else not.

    Parameters
    ----------
    species : symbols by index, for `.cfg`.

    Raises
    ------
    FolderError : the file exists, or cannot be written.
    ConfigError : the suffix is none of extended XYZ and `.cfg`.
    """
    check_suffix(path)
    refuse_written(path)
    with whole_file(path) as append:
        yield StructureWriter(path, species, append)
        refuse_written(path)  # somebody else may have been faster


def check_suffix(path: Path) -> None:
    """Raise ConfigError unless structures can be written one by one to such a file."""
    if path.suffix not in SUFFIXES:
        raise ConfigError(
            f"{path}: structures are written one by one only to {', '.join(SUFFIXES)}; "
            "give the file such a suffix"
        )


def refuse_written(path: Path) -> None:
    """Raise FolderError where there is such a file."""
    if path.exists() or path.is_symlink():
        raise FolderError(f"{path} exists already; remove it or give another name")
