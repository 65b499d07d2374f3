"""What a fit needs to go on after a kill, in one file that is replaced whole.

The file is bound to a fingerprint of recipe, data and seed, which is in its name: a fit of
something else finds nothing here and leaves it alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from athanor.data.durable import write_file
from athanor.data.packing import Arrays, npz_bytes, read_npz
from athanor.errors import FormatError
from athanor.potentials._mtp.model import MtpModel

_FORMAT = 1
_HEADER = "header"
_PARTS = ("radial", "species_coeffs", "moment_coeffs")

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
    """Models with a few numbers each, by name.

    Parameters
    ----------
    folder : where the file is.
    identity : the fingerprint; a file of another one is another file.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self.path = folder / f"fit-{identity[:16]}.npz"
        self._identity = identity
        self._arrays: Arrays = {}
        self._numbers: dict[str, Numbers] = {}
        self._read()

    def _read(self) -> None:
        """Take over what is there; a file that is not whole or of something else counts as none."""
        if not self.path.exists():
            return
        try:
            arrays = read_npz(self.path)
            header = json.loads(str(arrays.pop(_HEADER)))
        except (FormatError, KeyError, ValueError):
            return
        expected = {"format": _FORMAT, "identity": self._identity}
        if not isinstance(header, dict) or {k: header.get(k) for k in expected} != expected:
            return
        self._arrays, self._numbers = arrays, header["numbers"]

    def get(self, name: str, like: MtpModel) -> tuple[MtpModel, Numbers] | None:
        """The model kept under a name, with the basis of `like`, and its numbers."""
        if name not in self._numbers:
            return None
        kept = {part: self._arrays[f"{name}/{part}"] for part in _PARTS}
        return replace(
            like,
            radial=kept["radial"],
            species_coeffs=kept["species_coeffs"],
            moment_coeffs=kept["moment_coeffs"],
        ), self._numbers[name]

    def put(self, name: str, model: MtpModel, numbers: Numbers) -> None:
        """Keep a model; `write` makes it last."""
        self._numbers[name] = numbers
        for part in _PARTS:
            self._arrays[f"{name}/{part}"] = getattr(model, part)

    def drop(self, name: str) -> None:
        """Forget a model, if there is one of that name."""
        self._numbers.pop(name, None)
        for part in _PARTS:
            self._arrays.pop(f"{name}/{part}", None)

    def write(self) -> None:
        """Replace the file, durably; FolderError when that cannot be."""
        header = {"format": _FORMAT, "identity": self._identity, "numbers": self._numbers}
        text = json.dumps(header)
        write_file(self.path, npz_bytes({_HEADER: np.array(text), **self._arrays}))
