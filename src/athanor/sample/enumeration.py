"""Every ordered structure of a few elements on parent lattices, up to so many atoms."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from ase import Atoms
from pydantic import Field, PositiveFloat, field_validator, model_validator

from athanor.component import require_libraries
from athanor.data.lattice import reduced
from athanor.data.species import distinct_elements
from athanor.errors import ConfigError
from athanor.sample._listed import ListedStart
from athanor.sample._parents import Parent, parent, usual_volume
from athanor.structure import bare

MOST_STRUCTURES = 200_000
"""Beyond this the list does not fit into memory, and nobody relaxes it."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A structure of an enumeration.

    Attributes
    ----------
    name : lattice, formula, number among those of its lattice, and scale of the volume.
    """

    name: str
    atoms: Atoms


class EnumerationStart(ListedStart):
    """All symmetrically distinct occupations of all superlattices (Hart & Forcade 2008), by icet.

    Volumes follow Vegard's law: an element takes as much room as in its own crystal. The list is
    the same for the same fields, shaken positions included.
    """

    kind: Literal["enumeration"] = "enumeration"
    species: tuple[str, ...] = Field(min_length=1, description='e.g. ["Ag", "Pd"]')
    lattices: tuple[Parent, ...] = Field(default=("fcc", "bcc", "hcp"), min_length=1)
    max_atoms: int = Field(
        default=8, ge=1, description="of a cell; a binary has 1,600 up to 8 and 20,000 up to 12"
    )
    volumes: dict[str, PositiveFloat] = Field(
        default={}, description="Å³ per atom by element; the known crystal's where not given"
    )
    scales: tuple[Annotated[float, Field(ge=0.5, le=2)], ...] = Field(
        default=(1.0,), min_length=1, description="volumes each is made at, as parts of Vegard's"
    )
    rattle: float = Field(
        default=0.0, ge=0, le=1, description="Å; positions are shaken by so much (1 sigma)"
    )

    @field_validator("species")
    @classmethod
    def _elements(cls, species: tuple[str, ...]) -> tuple[str, ...]:
        return distinct_elements(species)

    @model_validator(mode="after")
    def _sized(self) -> Self:
        strange = sorted(set(self.volumes) - set(self.species))
        if strange:
            raise ValueError(
                f"volumes are given for {', '.join(strange)}, species are "
                f"{', '.join(self.species)}; give volumes of these only"
            )
        for name in self.lattices:
            fewest = len(parent(name, self.species[0], 1.0))
            if fewest > self.max_atoms:
                raise ValueError(
                    f"a cell of {name} has {fewest} atoms at least, max_atoms is "
                    f"{self.max_atoms}; raise it or leave {name} out"
                )
        return self

    def check(self) -> None:
        """Raise MissingExtraError where icet is not installed."""
        require_libraries({"icet": "physics"})

    @cached_property
    def candidates(self) -> tuple[Candidate, ...]:
        """All of them, lattice by lattice, small cells first.

        Raises MissingExtraError without icet and ConfigError where there are too many.
        """
        self.check()
        names = dict.fromkeys(self.lattices)
        found = [one for name in names for one in self._on(name)]
        if self.rattle:
            for number, one in enumerate(found):
                rng = np.random.default_rng([len(one.atoms), number])
                one.atoms.positions += rng.normal(0, self.rattle, one.atoms.positions.shape)
        return tuple(found)

    def listed(self) -> tuple[Atoms, ...]:
        """The structures of all candidates."""
        return tuple(one.atoms for one in self.candidates)

    def write(self, path: str | Path) -> None:
        """Write all of them to a structure file, for `athanor relax` and others."""
        from athanor.data.formats import write_structures

        write_structures(path, list(self.listed()))

    def _on(self, name: Parent) -> Iterator[Candidate]:
        """Those on one lattice."""
        room = {one: self.volumes.get(one) or usual_volume(one) for one in self.species}
        for number, found in enumerate(self._enumerated(name)):
            if number * len(self.scales) >= MOST_STRUCTURES:
                raise ConfigError(
                    f"there are more than {MOST_STRUCTURES} structures on {name} up to "
                    f"{self.max_atoms} atoms; lower max_atoms"
                )
            volume = sum(room[symbol] for symbol in found.symbols)
            for scale in self.scales:
                atoms = bare(reduced(found)[0])
                stretch = np.cbrt(scale * volume / found.get_volume())
                atoms.set_cell(atoms.cell * stretch, scale_atoms=True)
                formula = atoms.get_chemical_formula(empirical=True)
                yield Candidate(f"{name} {formula} {number + 1} x{scale:g}", atoms)

    def _enumerated(self, name: Parent) -> Iterator[Atoms]:
        with warnings.catch_warnings():
            # what icet deprecates in the libraries below it does not concern anybody here
            warnings.simplefilter("ignore")
            from icet.tools import enumerate_structures

            primitive = parent(name, self.species[0], usual_volume(self.species[0]))
            sizes = range(1, self.max_atoms // len(primitive) + 1)
            yield from enumerate_structures(primitive, sizes, list(self.species))
