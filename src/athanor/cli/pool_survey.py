"""What a pool holds, for people and for the sizes in a campaign file."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from athanor.cli.progress import counted
from athanor.data.closeness import shortest_below
from athanor.pool import Pool

FAR = 6.0
"""Å; no neighbours are looked for beyond."""
NAMED = 6
"""Groups and formulas that are named one by one."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What a pool holds.

    Attributes
    ----------
    name : of the file or files.
    n, labelled : structures in all, and those with labels.
    smallest, largest : number of atoms. atoms : of all.
    formulas : empirical formula -> number of structures.
    species : symbols, sorted.
    forces, stress : whether all labelled structures have them.
    groups : name -> number of structures; None where the file names none.
    closest : shortest distance between two atoms, Å; None where none are near.
    density : atoms in a cubic Å, mean over structures with a cell; None without.
    notes : sentences of the pool's own.
    """

    name: str
    n: int
    labelled: int
    smallest: int
    largest: int
    atoms: int
    formulas: dict[str, int]
    species: tuple[str, ...]
    forces: bool
    stress: bool
    groups: dict[str, int] | None
    closest: float | None
    density: float | None
    notes: tuple[str, ...]

    @classmethod
    def of(cls, pool: Pool, *, name: str) -> Survey:
        """Look through a pool."""
        sizes = [len(atoms) for atoms in pool.structures]
        labels = [one for one in pool.labels if one is not None]
        return cls(
            name=name,
            n=len(pool),
            labelled=len(labels),
            smallest=min(sizes),
            largest=max(sizes),
            atoms=sum(sizes),
            formulas=dict(Counter(map(_formula, pool.structures)).most_common()),
            species=tuple(sorted({s for atoms in pool.structures for s in atoms.symbols})),
            forces=all(one.has_forces for one in labels),
            stress=bool(labels) and all(one.stress is not None for one in labels),
            groups=None if pool.groups is None else dict(Counter(pool.groups)),
            closest=_closest(pool.structures),
            density=_density(pool.structures),
            notes=pool.notes,
        )

    def lines(self) -> list[str]:
        """What was found, for people."""
        told = [
            f"{self.name}: {counted(self.n, 'structure')} of {self._sizes()}, "
            f"{_few(self.formulas, 'formulas')}",
            f"labels: {self._labels()}",
        ]
        if self.groups is not None:
            told.append(f"groups: {_few(self.groups, 'groups')}")
        if self.closest is not None:
            told.append(f"shortest distance: {self.closest:.2f} Å")
        return told + [f"note: {note}" for note in self.notes]

    def radius(self, neighbours: int) -> float | None:
        """Å around an atom that hold so many others on average."""
        if self.density is None:
            return None
        return float((3 * neighbours / (4 * math.pi * self.density)) ** (1 / 3))

    def _sizes(self) -> str:
        if self.smallest == self.largest:
            return counted(self.largest, "atom")
        return f"{self.smallest} to {self.largest} atoms"

    def _labels(self) -> str:
        if not self.labelled:
            return "none; the oracle is asked for those of what is chosen"
        kinds = ["energies"]
        kinds += ["forces"] if self.forces else []
        kinds += ["stress"] if self.stress else []
        told = " and ".join(kinds) if len(kinds) < 3 else "energies, forces and stress"
        lacking = "" if self.forces else "; no forces"
        how_many = "all" if self.labelled == self.n else f"{self.labelled} of {self.n}"
        return f"{told} of {how_many}{lacking}"


def _formula(atoms: Atoms) -> str:
    """`SiO2`, of any number of them."""
    unit, _ = atoms.symbols.formula.reduce()
    return str(unit.format("ab2"))


def _few(counts: dict[str, int], what: str) -> str:
    """`SiO2`, or `300 (200), 600 (100)`."""
    if len(counts) == 1:
        return next(iter(counts))
    if len(counts) > NAMED:
        return f"{len(counts)} {what}, the first {', '.join(list(counts)[:NAMED])}"
    return ", ".join(f"{name} ({count})" for name, count in counts.items())


def _closest(structures: tuple[Atoms, ...]) -> float | None:
    """A search that shortens its reach as it goes, so that most structures cost little."""
    reach: float | None = None
    for atoms in structures:
        if reach == 0:
            break
        found = shortest_below(atoms, FAR if reach is None else reach)
        reach = reach if found is None else found
    return reach


def _density(structures: tuple[Atoms, ...]) -> float | None:
    densities = [len(atoms) / atoms.cell.volume for atoms in structures if atoms.pbc.all()]
    return float(np.mean(densities)) if densities else None
