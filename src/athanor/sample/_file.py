"""A file of structures that a campaign file names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ase import Atoms

from athanor.errors import ConfigError


def check_file(path: Path) -> None:
    """Raise ConfigError with the whole path unless there is such a file."""
    if not path.is_file():
        raise ConfigError(
            f"there is no file {path.absolute()}; relative paths count from the current directory"
        )


def read_file(path: Path, species: Sequence[str] | None) -> list[Atoms]:
    """Read its structures; messages name the whole path. Raises what `read_structures` raises."""
    return list(iter_file(path, species))


def iter_file(path: Path, species: Sequence[str] | None) -> Iterator[Atoms]:
    """Read one structure after the other; raises the same, where it gets to it."""
    # ASE's readers take long to import, and a campaign without a file needs none of them
    from athanor.data.formats import iter_structures

    check_file(path)
    return iter_structures(path.absolute(), species=species)
