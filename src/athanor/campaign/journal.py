"""The journal: append-only JSON lines, each with a checksum that covers all lines before it.

A crash while a line is written leaves a torn last line. Its event was never acknowledged
(`append` returns only after fsync), so nothing is lost by dropping it: readers skip it, and the
next writer puts a copy of the whole lines in the journal's place by renaming. Nothing is ever
changed in place, so a second crash at any moment leaves the old journal or the new one.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from athanor.campaign.events import Event, decode, encode
from athanor.campaign.tasks import canonical
from athanor.data.durable import sync_folder, write_file, writing
from athanor.errors import FolderError, FormatError

NAME = "journal.jsonl"

SEED = "0" * 16
"""The checksum before the first line."""


def read_journal(path: Path) -> list[Event]:
    """Every event; skips a torn last line, FormatError names any other that is damaged."""
    return _scan(path)[0]


class Journal:
    """The one writer of a journal. Hold the folder's lock while it is open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events, whole, self._sum = _scan(path)
        self._count = len(self.events)
        if path.exists() and path.stat().st_size != len(whole):
            write_file(path, whole)
        with writing(path):
            self._file: IO[bytes] = path.open("ab")
            sync_folder(path.parent)

    def append(self, event: Event) -> None:
        """Add one event and return when it is on disk; FolderError when it could not be written."""
        if self._file.closed:
            raise FolderError(f"{self.path}: an earlier line could not be written; run again")
        name, data = encode(event)
        checksum = _chain(self._sum, self._count + 1, name, data)
        line = canonical({"n": self._count + 1, "event": name, "data": data, "sum": checksum})
        try:
            with writing(self.path):
                self._file.write(line + b"\n")
                self._file.flush()
                os.fsync(self._file.fileno())
        except FolderError:
            # what reached the disk is unknown now: whoever opens the journal next finds out
            self.close()
            raise
        self._count += 1
        self._sum = checksum

    def close(self) -> None:
        """Close the file; what a full disk refused is already reported."""
        try:
            self._file.close()
        except OSError:
            # Python closes the handle even when the flush of its buffer fails
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _scan(path: Path) -> tuple[list[Event], bytes, str]:
    """The events, the bytes of the whole lines and the last checksum."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return [], b"", SEED
    except OSError as error:
        raise FolderError(f"{path}: cannot be read ({error.strerror})") from None
    events: list[Event] = []
    checksum, end = SEED, 0
    lines = data.split(b"\n")
    torn = lines.pop()  # what follows the last newline; empty when all is whole
    for number, line in enumerate(lines, start=1):
        try:
            event, checksum = _line(line, number, checksum)
        except ValueError as error:
            if number == len(lines) and not torn:
                break
            raise FormatError(
                path,
                number,
                f"the journal is damaged here ({error}); restore it from a copy, or move it away "
                "and start a new folder",
            ) from None
        events.append(event)
        end += len(line) + 1
    return events, data[:end], checksum


def _line(line: bytes, number: int, before: str) -> tuple[Event, str]:
    """Parse and check one line; ValueError says what is wrong."""
    entry = json.loads(line)
    if not isinstance(entry, dict) or set(entry) != {"n", "event", "data", "sum"}:
        raise ValueError("not an entry with n, event, data and sum")
    checksum = _chain(before, number, entry["event"], entry["data"])
    if entry["n"] != number or entry["sum"] != checksum:
        raise ValueError("number or checksum do not match")
    return decode(entry["event"], entry["data"]), checksum


def _chain(before: str, number: int, name: Any, data: Any) -> str:
    return hashlib.sha256(canonical([before, number, name, data])).hexdigest()[:16]
