"""The lines of a file of words, taken one after the other."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import chain, islice
from pathlib import Path
from typing import NoReturn

from athanor.errors import FormatError


class Lines:
    """The lines of a file and a place among them; every mismatch is a FormatError with its line."""

    def __init__(self, path: Path, lines: Iterable[str]) -> None:
        self.path = path
        self.number = 0  # how many are taken, so also the 1-based number of the last one taken
        self._lines = iter(lines)
        self._ahead: list[str] = []  # the one that was looked at and not taken

    def fail(self, message: str, *, line: int | None = None) -> NoReturn:
        raise FormatError(self.path, self.number if line is None else line, message)

    def peek(self) -> list[str]:
        """The words of the next line that is not blank, not taken; empty at the end."""
        while True:
            self._ahead = self._ahead or list(islice(self._lines, 1))
            if not self._ahead:
                return []
            words = self._ahead[0].split()
            if words:
                return words
            self._ahead = []
            self.number += 1

    def rows(self, count: int) -> list[list[str]]:
        """The words of the next `count` lines, blank ones too; fewer at the end. All are taken."""
        found = [line.split() for line in islice(chain(self._ahead, self._lines), count)]
        self._ahead = []
        self.number += len(found)
        return found

    def take(self, what: str) -> list[str]:
        words = self.peek()
        if not words:
            self.fail(f"found the end of the file, expected {what}: the file is half-written")
        self._ahead = []
        self.number += 1
        return words

    def real(self, word: str, what: str, *, line: int | None = None) -> float:
        try:
            value = float(word)
        except ValueError:
            self.fail(f"found {word[:40]!r}, expected a number as {what}", line=line)
        if not math.isfinite(value):
            self.fail(f"found {word[:40]}, expected a finite number as {what}", line=line)
        return value

    def integer(self, word: str, what: str, *, line: int | None = None) -> int:
        if not (word.isascii() and word.isdigit() and len(word) <= 18):
            self.fail(f"found {word[:40]!r}, expected {what}, a whole number", line=line)
        return int(word)
