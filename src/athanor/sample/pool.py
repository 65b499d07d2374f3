"""Structures someone else made: a pool to choose labels from."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from ase import Atoms
from pydantic import Field

from athanor.errors import ConfigError, StructureError, UnknownElementError
from athanor.potentials import Potential
from athanor.query import Grade, Query
from athanor.sample import Harvest, SamplerConfig
from athanor.sample._file import check_file, read_file
from athanor.structure import bare, check_structure

BATCH = 64


class PoolSampler(SamplerConfig):
    """Grades every structure of a file and brings home those the query would save.

    The start is ignored and nothing is drawn: every run of it brings the same, so one trajectory
    in a cycle is enough.
    """

    kind: Literal["pool"] = "pool"
    path: Path = Field(description="from the current directory, if relative")
    species: tuple[str, ...] | None = Field(
        default=None, description="symbols in the order of a .cfg file's indices"
    )
    stride: int = Field(default=1, ge=1, description="take every n-th structure of the file")

    def check(self) -> None:
        """Raise ConfigError unless the file is there."""
        check_file(self.path)

    def run(
        self, start: Atoms, potential: Potential, query: Query, *, seed: int, workdir: Path
    ) -> Harvest:
        """Grade the pool.

        Raises FormatError (not a file of structures), ConfigError (no file, or nothing in it), and
        StructureError or UnknownElementError naming the structure that cannot be graded.
        """
        pool = read_file(self.path, self.species)[:: self.stride]
        if not pool:
            raise ConfigError(f"{self.path}: the pool is empty; give a file with structures")
        grades = self._grades(pool, query)
        kept = [index for index, grade in enumerate(grades) if grade.verdict != "keep"]
        return Harvest(
            structures=tuple(bare(pool[index]) for index in kept),
            grades=tuple(grades[index] for index in kept),
            reasons=tuple(self._reason(index, grades[index]) for index in kept),
            steps=len(pool),
            planned=len(pool),
            stopped_by="completed",
            trace={
                "index": np.arange(len(pool), dtype=np.float64) * self.stride,
                "grade": np.array([grade.value for grade in grades]),
            },
        )

    def _grades(self, pool: list[Atoms], query: Query) -> list[Grade]:
        for index, atoms in enumerate(pool):
            check_structure(atoms, where=self._name(index))
        grades: list[Grade] = []
        for first in range(0, len(pool), BATCH):
            batch = [bare(atoms) for atoms in pool[first : first + BATCH]]
            try:
                grades += query.grade(batch)
            except (StructureError, UnknownElementError):
                # again one by one, to say which of them it is
                grades += [self._grade(first + k, atoms, query) for k, atoms in enumerate(batch)]
        return grades

    def _grade(self, index: int, atoms: Atoms, query: Query) -> Grade:
        try:
            return query.grade([atoms])[0]
        except (StructureError, UnknownElementError) as error:
            raise type(error)(f"{self._name(index)}: {error}") from error

    def _name(self, index: int) -> str:
        return f"{self.path}, structure {index * self.stride}"

    def _reason(self, index: int, grade: Grade) -> str:
        return f"grade {grade.value:.3g} in {self.path.name}, structure {index * self.stride}"
