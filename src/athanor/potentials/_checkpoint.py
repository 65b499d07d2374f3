"""What a fit needs to go on after a kill, in one file that is replaced whole.

The file is bound to a fingerprint of recipe, data and seed, which is in its name: a fit of
something else finds nothing here and leaves it alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from athanor.data.durable import write_file
from athanor.data.packing import Arrays, npz_bytes, read_npz
from athanor.errors import FormatError

_FORMAT = 1
_HEADER = "header"

Numbers = dict[str, float]


def fingerprint(parts: Iterable[object]) -> str:
    """Hash of arrays and of anything whose repr says all."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            found.update(f"{part.dtype}{part.shape}".encode())
            found.update(np.ascontiguousarray(part).tobytes())
        else:
            found.update(repr(part).encode())
        found.update(b"\0")
    return found.hexdigest()


class Checkpoint:
    """Arrays and a few numbers, or tables of such by name.

    Parameters
    ----------
    folder : where the file is.
    identity : the fingerprint; a file of another one is another file.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self.path = folder / f"fit-{identity[:16]}.npz"
        self._identity = identity

    def read(self) -> tuple[Arrays, Any] | None:
        """What is there; a file that is not whole or of something else counts as none."""
        if not self.path.exists():
            return None
        try:
            arrays = read_npz(self.path)
            header = json.loads(str(arrays.pop(_HEADER)))
        except (FormatError, KeyError, ValueError):
            return None
        expected = {"format": _FORMAT, "identity": self._identity}
        if not isinstance(header, dict) or {k: header.get(k) for k in expected} != expected:
            return None
        return arrays, header["numbers"]

    def write(self, arrays: Arrays, numbers: Numbers | dict[str, Numbers]) -> None:
        """Replace the file, durably; FolderError when that cannot be."""
        header = {"format": _FORMAT, "identity": self._identity, "numbers": numbers}
        write_file(self.path, npz_bytes({_HEADER: np.array(json.dumps(header)), **arrays}))
