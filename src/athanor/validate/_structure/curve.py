"""A measured curve in a file of two columns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from athanor.errors import FormatError
from athanor.structure import FloatArray

FEWEST = 5


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A curve from somewhere else.

    Attributes
    ----------
    name : for people. x, y : (n,), x ascending.
    """

    name: str
    x: FloatArray
    y: FloatArray


def read_curve(path: Path) -> Curve:
    """Read two columns, x ascending, separated by spaces or commas; '#' begins a comment.

    Raises FormatError with the line that is wrong.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(path, None, f"cannot be read as a curve ({error})") from None
    rows: list[tuple[float, float]] = []
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].replace(",", " ").split()
        if not words:
            continue
        try:
            x, y = float(words[0]), float(words[1])
        except (ValueError, IndexError):
            raise FormatError(
                path, number, f"found {line.strip()[:40]!r}, expected two columns of numbers"
            ) from None
        if not (np.isfinite(x) and np.isfinite(y)) or (rows and x <= rows[-1][0]):
            raise FormatError(
                path, number, "numbers must be finite and the first column must ascend"
            )
        rows.append((x, y))
    if len(rows) < FEWEST:
        raise FormatError(path, None, f"holds {len(rows)} points, a curve has at least {FEWEST}")
    table = np.array(rows)
    return Curve(path.stem, table[:, 0], table[:, 1])
