"""Is a text file whole? Checked before ASE, which takes some cut files for shorter ones."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from athanor.errors import FormatError

COUNTS = {
    "lammps-data": re.compile(r"^[ \t]*(\d+)[ \t]+atoms\b", re.MULTILINE | re.ASCII),
    "lammps-dump-text": re.compile(r"^ITEM: NUMBER OF ATOMS\s+(\d+)", re.MULTILINE | re.ASCII),
}


TABLES = frozenset(
    {
        *("aims", "cif", "espresso-in", "gen", "lammps-data", "lammps-dump-text", "vasp-xdatcar"),
        "xsf",
    }
)
"""Formats that end in rows of numbers."""

PDB_MODEL = ("MODEL", "ENDMDL")

UNENDED = (
    "without an end of line, shorter than what is before it: the file seems half-written "
    "(if it is whole, end it with a newline)"
)


def check_whole(path: Path, kind: str, text: str) -> None:
    """Raise FormatError for what ASE would read as something shorter, or fill memory with."""
    if kind == "vasp-xml" and not text.rstrip().endswith("</modeling>"):
        raise FormatError(
            path,
            text.count("\n") + 1,
            "found the end of the file, expected </modeling>: the file is half-written",
        )
    if kind in ("vasp", "vasp-xdatcar"):
        _check_poscar(path, text, rows=kind == "vasp")
    if kind == "proteindatabank":
        _check_pdb(path, text)
    if kind in TABLES and not text.endswith("\n"):
        rows = [line.split() for line in text.rstrip().split("\n")[-2:]]
        if kind == "aims" and _shorter(rows[0], rows[-1]):
            raise FormatError(path, text.count("\n") + 1, f"found {rows[-1][0][:40]!r} {UNENDED}")
        if len(rows) == 2 and len(rows[0]) == len(rows[1]) > 0:
            check_cut(path, text.count("\n") + 1, rows)
    if kind in COUNTS:
        for match in COUNTS[kind].finditer(text):
            line = text.count("\n", 0, match.start(1)) + 1
            _check_count(path, line, int(match.group(1)[:18]), text.count("\n") + 1)


def _shorter(before: Sequence[str], last: Sequence[str]) -> bool:
    """Whether a row has other words than the one before, or ends in its symbol cut (C of Cu)."""
    cut = before[-1:] != last[-1:] and bool(before) and before[-1].startswith(last[-1])
    return len(before) != len(last) or cut


def _check_pdb(path: Path, text: str) -> None:
    """Every model ended, and no atom cut before its coordinates are over (column 54)."""
    last = text.rsplit("\n", 1)[-1]
    if last.startswith(("ATOM", "HETATM")) and len(last.rstrip()) < 54:
        raise FormatError(path, text.count("\n") + 1, f"found {last[-40:]!r} {UNENDED}")
    begun, ended = (len(re.findall(rf"^{word}\b", text, re.MULTILINE)) for word in PDB_MODEL)
    if begun > ended:
        raise FormatError(
            path, text.count("\n") + 1, "found the end of the file, expected ENDMDL: half-written"
        )


def _check_count(path: Path, line: int, count: int, n_lines: int) -> None:
    if count > n_lines:
        raise FormatError(
            path,
            line,
            f"found {count} atoms in a file of {n_lines} lines: the file is half-written",
        )


def _check_poscar(path: Path, text: str, *, rows: bool) -> None:
    """Counts that match the symbols, and three words in every row of coordinates."""
    lines = text.split("\n")
    place = 5 if len(lines) > 5 and _integers(lines[5]) else 6
    counts = _integers(lines[place]) if len(lines) > place else []
    if not counts or min(counts) < 0 or sum(counts) == 0:
        raise FormatError(path, place + 1, "expected the number of atoms of each species")
    symbols = lines[5].split("!")[0].split()
    if place == 6 and len(symbols) != len(counts):
        raise FormatError(
            path,
            7,
            f"found {len(counts)} numbers of atoms, expected {len(symbols)}: one per symbol",
        )
    _check_count(path, place + 1, sum(counts), len(lines))
    if rows:
        selective = place + 1 < len(lines) and lines[place + 1].strip()[:1] in ("S", "s")
        _check_coordinates(path, lines, begin=place + 2 + selective, count=sum(counts))


def _integers(line: str) -> list[int]:
    """The integers of a line before any comment; none when something else is among them."""
    try:
        return [int(word[:20]) for word in line.split("!")[0].split()]
    except ValueError:
        return []


def _check_coordinates(path: Path, lines: Sequence[str], *, begin: int, count: int) -> None:
    rows = [line.split() for line in lines[begin : begin + count]]
    for number, row in enumerate(rows, start=begin + 1):
        if len(row) < 3:
            raise FormatError(
                path, number, f"found {len(row)} numbers, expected 3 coordinates of an atom"
            )
    if len(rows) < count:
        raise FormatError(
            path, len(lines), f"found {len(rows)} of {count} atoms: the file is half-written"
        )
    if begin + count >= len(lines):
        check_cut(path, len(lines), rows)


def check_cut(path: Path, line: int, rows: Sequence[Sequence[str]]) -> None:
    """Refuse a last line without an end whose last number is shorter than it should be.

    A number that was cut in its middle is still a number: it shows only in its decimals.
    """
    last = rows[-1][-1]
    others = [row[-1] for row in rows[:-1]] or rows[-1][1:-1]
    if min((_decimals(word) for word in others), default=0) > _decimals(last):
        raise FormatError(
            path,
            line,
            f"found {last[:40]!r} {UNENDED}",
        )


def _decimals(word: str) -> int:
    mantissa, _, exponent = word.lower().partition("e")
    return len(mantissa.partition(".")[2]) + len(exponent)
