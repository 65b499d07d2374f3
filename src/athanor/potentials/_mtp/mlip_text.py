"""Reading MLIP's text: words, numbers and tables in braces, white space free, with line numbers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NoReturn

import numpy as np

from athanor.errors import FormatError
from athanor.potentials._mtp.model import IntArray

INTEGER = re.compile(r"[+-]?\d{1,18}(?![^\s,{}])", re.ASCII)
REAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![^\s,{}])", re.ASCII)
PAIR = re.compile(r"(\d{1,9})\s*-\s*(\d{1,9})(?!\S)", re.ASCII)
WORD = re.compile(r"[{},=]|[^\s{},=]+")
BLANK = re.compile(r"\s*")
LINE = re.compile(r"[^\n]*")
STATE = re.compile(rb"\n(?:\^|#MVS_v)")
"""Where an active-learning state begins behind a potential: MLIP-2, MLIP-3."""


def potential_part(content: bytes) -> bytes:
    """What of a file is the potential: all, or what precedes an active-learning state."""
    found = STATE.search(content)
    return content if found is None else content[: found.start() + 1]


class MlipText:
    """The text of a file and a place in it; every mismatch is a FormatError with its line."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.text = text
        self.place = 0

    def fail(self, message: str, *, at: int | None = None) -> NoReturn:
        line = 1 + self.text.count("\n", 0, self.place if at is None else at)
        raise FormatError(self.path, line, message)

    def skip(self) -> None:
        match = BLANK.match(self.text, self.place)
        assert match is not None  # it matches the empty string
        self.place = match.end()

    def next_word(self) -> str:
        """The word ahead, not taken; empty at the end of the file."""
        self.skip()
        match = WORD.match(self.text, self.place)
        return "" if match is None else match.group()

    def expected(self, what: str) -> NoReturn:
        word = self.next_word()
        found = repr(word if len(word) <= 40 else f"{word[:40]}...") if word else "the end"
        self.fail(f"found {found}, expected {what}")

    def take(self, pattern: re.Pattern[str], what: str) -> re.Match[str]:
        self.skip()
        match = pattern.match(self.text, self.place)
        if match is None:
            self.expected(what)
        self.place = match.end()
        return match

    def word(self, word: str, *, context: str = "") -> None:
        if self.next_word() != word:
            self.expected(repr(word) + context)
        self.place += len(word)

    def key(self, name: str) -> None:
        self.word(name)
        self.word("=", context=f" after {name}")

    def rest_of_line(self) -> str:
        match = LINE.match(self.text, self.place)
        assert match is not None  # it matches the empty string
        self.place = match.end()
        return match.group().strip()

    def integer(self, what: str, *, low: int, high: int | None = None) -> int:
        start = self.take(INTEGER, what)
        value = int(start.group())
        if value < low or (high is not None and value > high):
            allowed = f"at least {low}" if high is None else f"from {low} to {high}"
            self.fail(f"found {value}, expected {what} {allowed}", at=start.start())
        return value

    def real(self, what: str) -> float:
        start = self.take(REAL, what)
        value = float(start.group())
        if not np.isfinite(value):
            self.fail(f"found {start.group()}, expected {what} that is finite", at=start.start())
        return value

    def reals(self, count: int, what: str) -> list[float]:
        """A row `{a, b, ...}` of exactly `count` numbers."""
        self.skip()
        begin = self.place
        self.word("{", context=f", the beginning of {what}")
        row = [self.real(f"a number of {what}")]
        while self.next_word() == ",":
            self.place += 1
            row.append(self.real(f"a number of {what}"))
        self.word("}", context=f", the end of {what}")
        if len(row) != count:
            self.fail(f"found {len(row)} numbers, expected {count} in {what}", at=begin)
        return row

    def integers(self, what: str) -> list[int]:
        """A row `{i, j, ...}` of 32-bit numbers, of any length."""
        self.word("{", context=f", the beginning of {what}")
        row = [self._index(what)]
        while self.next_word() == ",":
            self.place += 1
            row.append(self._index(what))
        self.word("}", context=f", the end of {what}")
        return row

    def _index(self, what: str) -> int:
        return self.integer(f"an integer of {what}", low=-(2**31), high=2**31 - 1)

    def table(self, name: str, *, rows: int) -> tuple[IntArray, list[int]]:
        """A table `{{i, j, k, l}, ...}` with exactly `rows` rows, and where each row stands."""
        self.skip()
        begin = self.place
        self.word("{", context=f", the beginning of {name}")
        found: list[list[int]] = []
        places: list[int] = []
        while self.next_word() == "{":
            places.append(self.place)
            found.append(self.integers(f"a row of {name}"))
            if len(found[-1]) != 4:
                self.fail(
                    f"found {len(found[-1])} numbers, expected 4 in a row of {name}", at=places[-1]
                )
            if self.next_word() != ",":
                break
            self.place += 1
            if self.next_word() != "{":
                self.expected(f"another row of {name}")
        self.word("}", context=f", the end of {name}")
        if len(found) != rows:
            self.fail(f"found {len(found)} rows, expected {rows} in {name}", at=begin)
        return np.array(found, dtype=np.int32).reshape(-1, 4), places
