"""Structures someone else made: a pool to choose labels from."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from ase import Atoms
from pydantic import Field

from athanor.data.batches import batches_of
from athanor.errors import ConfigError, StructureError, UnknownElementError
from athanor.potentials import Potential
from athanor.query import Grade, Query
from athanor.sample import Harvest, SamplerConfig
from athanor.sample._file import check_file, iter_file
from athanor.structure import bare, check_structure


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
        kept: list[tuple[int, Atoms, Grade]] = []
        values: list[float] = []
        for batch in batches_of(self._structures()):
            grades = self._grades(batch, query, first=len(values))
            for index, (atoms, grade) in enumerate(zip(batch, grades, strict=True), len(values)):
                if grade.verdict != "keep" and not grade.unphysical:
                    kept.append((index, atoms, grade))
            values += [grade.value for grade in grades]
        if not values:
            raise ConfigError(f"{self.path}: the pool is empty; give a file with structures")
        return Harvest(
            structures=tuple(atoms for _, atoms, _ in kept),
            grades=tuple(grade for _, _, grade in kept),
            reasons=tuple(self._reason(index, grade) for index, _, grade in kept),
            steps=len(values),
            planned=len(values),
            stopped_by="completed",
            trace={
                "index": np.arange(len(values), dtype=np.float64) * self.stride,
                "grade": np.array(values),
            },
        )

    def _structures(self) -> Iterator[Atoms]:
        """The pool, one after the other: what is not kept is not held."""
        structures = islice(iter_file(self.path, self.species), 0, None, self.stride)
        for index, atoms in enumerate(structures):
            check_structure(atoms, where=self._name(index))
            yield bare(atoms)

    def _grades(self, batch: list[Atoms], query: Query, *, first: int) -> list[Grade]:
        try:
            return query.grade(batch)
        except (StructureError, UnknownElementError):
            # again one by one, to say which of them it is
            return [self._grade(first + k, atoms, query) for k, atoms in enumerate(batch)]

    def _grade(self, index: int, atoms: Atoms, query: Query) -> Grade:
        try:
            return query.grade([atoms])[0]
        except (StructureError, UnknownElementError) as error:
            raise type(error)(f"{self._name(index)}: {error}") from error

    def _name(self, index: int) -> str:
        return f"{self.path}, structure {index * self.stride}"

    def _reason(self, index: int, grade: Grade) -> str:
        why = f" ({grade.because})" if grade.because else ""
        return f"grade {grade.value:.3g}{why} in {self.path.name}, structure {index * self.stride}"
