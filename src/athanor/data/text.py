"""Files, as a whole: their bytes, and their text."""

from __future__ import annotations

from pathlib import Path

from athanor.errors import FormatError


def read_bytes(path: Path) -> bytes:
    """Return all there is in a file; FormatError when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise FormatError(path, None, f"cannot be read ({error.strerror})") from None


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
