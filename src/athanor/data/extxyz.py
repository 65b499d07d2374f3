"""Extended XYZ: read with every line checked, written with every digit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import StringIO
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io.extxyz import key_val_str_to_dict, read_extxyz

from athanor.data._whole import check_cut
from athanor.errors import ConfigError, FormatError
from athanor.structure import FloatArray, Labels

COLUMNS = re.compile(r"[^:]+:[RISL]:[1-9]\d{0,5}(?::[^:]+:[RISL]:[1-9]\d{0,5})*", re.ASCII)
PLAIN = re.compile(r"[A-Za-z0-9_.+-]+", re.ASCII)
KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)
RESERVED = frozenset({"Lattice", "Properties", "pbc", "energy", "forces", "stress", "virial"})


class _Lines:
    """Lines one after the other; blank ones at the end do not count.

    Attributes
    ----------
    number : how many are taken.
    ended : at the end, whether the last line was ended by a newline.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self.number = 0
        self.ended = False
        self._lines = self._trimmed(lines)
        self._ahead: list[str] = []  # the one that was looked at and not taken

    def peek(self) -> str | None:
        """The next line, not taken; None at the end."""
        self._ahead = self._ahead or list(islice(self._lines, 1))
        return self._ahead[0] if self._ahead else None

    def take(self, count: int) -> list[str]:
        """The next lines; fewer than `count` at the end."""
        found = list(islice(chain(self._ahead, self._lines), count))
        self._ahead = []
        self.number += len(found)
        return found

    def _trimmed(self, lines: Iterable[str]) -> Iterator[str]:
        blank: list[str] = []
        for line in lines:
            if line.strip():
                yield from blank
                blank = []
                yield line
            else:
                blank.append(line)
        self.ended = bool(blank) and blank[-1] == ""


def frames(path: Path, lines: Iterable[str]) -> Iterator[Atoms]:
    """Read one frame after the other through ASE, once its lines and their columns were counted.

    ASE alone takes what stands before the first blank line for the whole file, drops columns that
    it was not told of, and fills memory when an atom count is absurd.

    Parameters
    ----------
    path : named in messages. lines : of the file, as `text.split("\\n")` has them.

    Raises
    ------
    FormatError : with the line, what was found and what was expected.
    """
    source = _Lines(lines)
    if source.peek() is None:
        raise FormatError(path, None, "found no structure, expected an atom count in line 1")
    while source.peek() is not None:
        begin = source.number
        frame = _frame(path, source)
        try:
            found = list(read_extxyz(StringIO("\n".join(frame) + "\n"), slice(None)))
        except (Exception, RecursionError) as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise FormatError(
                path, begin + 1, f"the frame that begins here cannot be read ({reason})"
            ) from None
        if source.peek() is None and not source.ended:
            check_cut(path, source.number, [line.split() for line in frame[2:]])
        yield from found


def _frame(path: Path, source: _Lines) -> list[str]:
    """Take the lines of a frame, all checked."""
    place = source.number
    (first,) = source.take(1)
    word = first.strip()
    if not (word.isascii() and word.isdigit() and 0 < len(word) <= 18 and int(word) > 0):
        raise FormatError(
            path, place + 1, f"found {word[:40]!r}, expected the number of atoms of a frame"
        )
    count, comment = int(word), source.take(1)
    rows = source.take(count)
    if len(rows) < count:
        raise FormatError(
            path,
            source.number,
            f"found the end of the file after {len(rows)} of {count} atoms: the frame that "
            f"begins in line {place + 1} is half-written",
        )
    vectors: list[str] = []
    while (source.peek() or "").lstrip().startswith("VEC"):
        vectors += source.take(1)
    # cell vectors as pseudo-atoms belong to plain XYZ, where the comment says nothing
    columns = _columns(path, "" if vectors else comment[0], place + 2)
    _check_rows(path, columns, rows, place + 3)
    return [first, *comment, *rows, *vectors]


def _columns(path: Path, comment: str, number: int) -> str | None:
    """The columns that a comment line declares, checked; None when it declares none."""
    try:
        declared = key_val_str_to_dict(comment).get("Properties") if comment.strip() else None
    except (Exception, RecursionError) as error:
        raise FormatError(path, number, f"the comment line cannot be read ({error})") from None
    if declared is None:
        return None
    groups = str(declared).split(":")
    names = groups[::3]
    if COLUMNS.fullmatch(str(declared)) is None or len(set(names)) != len(names):
        raise FormatError(
            path,
            number,
            f"found Properties={str(declared)[:80]}, expected different name:type:count groups "
            "such as species:S:1:pos:R:3",
        )
    if "pos:R:3" not in str(declared) or not {"species", "Z"} & set(names):
        raise FormatError(
            path, number, f"found Properties={str(declared)[:80]}, expected species (or Z) and pos"
        )
    return str(declared)


def _check_rows(path: Path, declared: str | None, rows: Sequence[str], number: int) -> None:
    """Every row must have the columns that the comment line declares (four when it does not)."""
    columns = declared or "species:S:1:pos:R:3"
    width = sum(int(count) for count in columns.split(":")[2::3])
    for line, row in enumerate(rows, start=number):
        found = len(row.split())
        if found < width or (found > width and declared is not None):
            raise FormatError(path, line, f"found {found} columns, expected {width} ({columns})")


def text_of(
    structures: Sequence[Atoms],
    *,
    labels: Sequence[Labels] | None,
    info: Sequence[Mapping[str, Any]] | None,
    path: Path,
) -> str:
    """Return extended XYZ in which every float has the digits that give its bits back.

    Raises
    ------
    ConfigError : an info key that extended XYZ cannot hold or that labels are written under.
    """
    parts: list[str] = []
    for index, atoms in enumerate(structures):
        parts += _frame_lines(
            atoms,
            None if labels is None else labels[index],
            {} if info is None else info[index],
            path=path,
        )
    return "\n".join(parts) + "\n"


def _frame_lines(
    atoms: Atoms, labels: Labels | None, info: Mapping[str, Any], *, path: Path
) -> list[str]:
    words: list[str] = []
    if atoms.cell.array.any():
        words.append(f'Lattice="{_reals(atoms.cell.array.ravel())}"')
    table: FloatArray = atoms.positions
    properties = "Properties=species:S:1:pos:R:3"
    if labels is not None and labels.has_forces:
        table = np.hstack([atoms.positions, labels.forces])
        properties += ":forces:R:3"
    words.append(properties)
    if labels is not None:
        words.append(f"energy={float(labels.energy)!r}")
        if labels.stress is not None:
            words.append(f'stress="{_reals(labels.stress.ravel())}"')
    words.append(f'pbc="{" ".join("FT"[bool(axis)] for axis in atoms.pbc)}"')
    words += [f"{_key(key, path)}={_value(value)}" for key, value in info.items()]
    rows = [
        # all of one length, so that a number which a crash cut short is seen to be short
        f"{symbol} {' '.join(f'{value:.16e}' for value in row)}"
        for symbol, row in zip(atoms.symbols, table.tolist(), strict=True)
    ]
    return [str(len(atoms)), " ".join(words), *rows]


def _key(key: str, path: Path) -> str:
    if KEY.fullmatch(key) is None or key in RESERVED:
        raise ConfigError(
            f"{path}: the info key {key!r} cannot be written; use letters, digits and underscores, "
            f"and none of {', '.join(sorted(RESERVED))}"
        )
    return key


def _value(value: Any) -> str:
    """A scalar bare, an array of one dimension in quotes, everything else as quoted text."""
    if isinstance(value, bool | np.bool_):
        return "FT"[bool(value)]
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, float | np.floating):
        return repr(float(value))
    if isinstance(value, list | tuple | np.ndarray) and np.ndim(value) == 1:
        return '"' + " ".join(_value(one) for one in np.asarray(value)) + '"'
    text = " ".join(str(value).split())
    if PLAIN.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _reals(row: FloatArray) -> str:
    return " ".join(map(repr, row.tolist()))
