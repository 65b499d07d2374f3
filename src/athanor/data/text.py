"""Files: their bytes and their text, as a whole or line by line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from athanor.errors import FormatError


def read_bytes(path: Path) -> bytes:
    """Return all there is in a file; FormatError when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise FormatError(path, None, f"cannot be read ({error.strerror})") from None


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading its bytes; FormatError when it cannot be read."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise FormatError(path, None, f"cannot be read ({error.strerror})") from None
    with file:
        yield file


def decoded(path: Path, content: bytes, *, expected: str) -> str:
    """Return what a file holds as text; FormatError, which says what was `expected`, if it is none.

    `path` is only named in the message.
    """
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise FormatError(
            path, None, f"found bytes that are not text, expected {expected}"
        ) from None


def read_text(path: Path, *, expected: str) -> str:
    """Return the text of a file; FormatError, which says what was `expected`, when it is none."""
    return decoded(path, read_bytes(path), expected=expected)


def lines_of(path: Path, content: Iterable[bytes], *, expected: str) -> Iterator[str]:
    """Return the lines of a file one by one, as `text.split("\\n")` has them: the last one is empty
    where the file ends with a newline. `content` is the file, opened for reading bytes.

    Raises FormatError, which says what was `expected`, when a line is no text.
    """
    ended = True
    for line in content:
        ended = line.endswith(b"\n")
        yield decoded(path, line[:-1] if ended else line, expected=expected)
    if ended:
        yield ""
