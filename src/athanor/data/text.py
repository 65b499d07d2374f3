"""Text files, as a whole."""

from __future__ import annotations

from pathlib import Path

from athanor.errors import FormatError


def read_text(path: Path, *, expected: str) -> str:
    """Return the text of a file; FormatError, which says what was `expected`, when it is none."""
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise FormatError(path, None, f"cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise FormatError(
            path, None, f"found bytes that are not text, expected {expected}"
        ) from None
