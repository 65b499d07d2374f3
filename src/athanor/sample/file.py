"""Starts read from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from ase import Atoms
from pydantic import Field

from athanor.errors import ConfigError
from athanor.sample import StartConfig
from athanor.sample._file import check_file, read_file
from athanor.structure import bare, check_structure


class FileStart(StartConfig):
    """Draws structures of a file at random, each once before any is drawn again."""

    kind: Literal["file"] = "file"
    path: Path = Field(description="from the current directory, if relative")
    species: tuple[str, ...] | None = Field(
        default=None, description="symbols in the order of a .cfg file's indices"
    )

    def check(self) -> None:
        """Raise ConfigError unless the file is there."""
        check_file(self.path)

    def structures(self, count: int, rng: np.random.Generator) -> list[Atoms]:
        """Draw `count` structures; FormatError, StructureError, ConfigError for an empty file."""
        found = read_file(self.path, self.species)
        if not found:
            raise ConfigError(f"{self.path}: it has no structures; give a file with starts")
        for index, atoms in enumerate(found):
            check_structure(atoms, where=f"{self.path}, structure {index}")
        rounds = -(-count // len(found))
        order = [index for _ in range(rounds) for index in rng.permutation(len(found)).tolist()]
        return [bare(found[index]) for index in order[:count]]
