"""How much a file of structures holds, counted without reading the structures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ase.io.formats import open_with_compression


@dataclass(frozen=True, slots=True)
class Census:
    """Number of structures, atoms in all of them, and atoms of the largest."""

    structures: int
    atoms: int
    largest: int


def census(path: Path) -> Census | None:
    """Count what an extended XYZ or `.cfg` file holds; None where it cannot be counted.

    Nothing is checked: what is wrong with a file says whoever reads it.
    """
    counters = {".cfg": _cfg, ".xyz": _xyz, ".extxyz": _xyz}
    suffixes = [suffix for suffix in path.suffixes if suffix not in (".gz", ".bz2", ".xz")]
    counter = counters.get(suffixes[-1]) if suffixes else None
    if counter is None or not path.is_file():
        return None
    try:
        with open_with_compression(str(path), "rb") as file:
            structures = atoms = largest = 0
            for size in counter(iter(file)):
                structures, atoms, largest = structures + 1, atoms + size, max(largest, size)
    except (OSError, EOFError, ValueError):
        return None
    return Census(structures, atoms, largest) if structures else None


def _xyz(lines: Iterator[bytes]) -> Iterator[int]:
    for line in lines:
        words = line.split()
        if words and words[0].startswith(b"VEC"):
            continue
        if words:
            size = int(words[0])
            for _ in islice(lines, size + 1):
                pass
            yield size


def _cfg(lines: Iterator[bytes]) -> Iterator[int]:
    for line in lines:
        words = line.split()
        if words and words[0].rstrip(b":") == b"Size":
            yield int(words[1] if len(words) > 1 else next(lines, b"0"))
