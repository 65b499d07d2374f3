"""Starts read from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from ase import Atoms
from pydantic import Field

from athanor.errors import ConfigError
from athanor.sample import StartConfig
from athanor.structure import bare, check_structure


class FileStart(StartConfig):
    """Draws structures of a file at random, each once before any is drawn again."""

    kind: Literal["file"] = "file"
    path: Path
    species: tuple[str, ...] | None = Field(
        default=None, description="symbols in the order of a .cfg file's indices"
    )

    def structures(self, count: int, rng: np.random.Generator) -> list[Atoms]:
        """Draw `count` structures; FormatError, StructureError, ConfigError for an empty file."""
        # ASE's readers take long to import, and a campaign without a file needs none of them
        from athanor.data.formats import read_structures

        found = read_structures(self.path, species=self.species)
        if not found:
            raise ConfigError(f"{self.path}: it has no structures; give a file with starts")
        for index, atoms in enumerate(found):
            check_structure(atoms, where=f"{self.path}, structure {index}")
        rounds = -(-count // len(found))
        order = [index for _ in range(rounds) for index in rng.permutation(len(found)).tolist()]
        return [bare(found[index]) for index in order[:count]]
