"""What a fit of moment tensor potentials needs to go on after a kill: models by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from athanor.data.packing import Arrays
from athanor.potentials import _checkpoint
from athanor.potentials._checkpoint import Numbers
from athanor.potentials._mtp.model import MtpModel

_PARTS = ("radial", "species_coeffs", "moment_coeffs")


class Checkpoint:
    """Models with a few numbers each, by name.

    Parameters
    ----------
    folder : where the file is.
    identity : the fingerprint; a file of another one is another file.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self._file = _checkpoint.Checkpoint(folder, identity)
        self._arrays: Arrays = {}
        self._numbers: dict[str, Numbers] = {}
        found = self._file.read()
        if found is not None:
            self._arrays, self._numbers = found

    @property
    def path(self) -> Path:
        """The file."""
        return self._file.path

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
        self._file.write(self._arrays, self._numbers)
