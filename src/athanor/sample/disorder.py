"""Random disordered cells (Smith et al. 2021, section II.B.2)."""

from __future__ import annotations

import math
from typing import Literal, Self

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers
from ase.formula import Formula
from pydantic import Field, field_validator, model_validator

from athanor.component import nearest
from athanor.errors import StructureError
from athanor.sample import StartConfig
from athanor.sample._density import GRAM_PER_CM3
from athanor.sample._interval import PositiveInterval
from athanor.structure import REMOTEST, FloatArray

JAMMED = 0.38
"""Volume fraction at which random sequential placement of spheres comes to its end (0.384)."""
BATCH = 64
PROPOSALS = 20_000
DRAWS = 1000
MOST_ATOMS = 50_000
"""Every oracle and every start by single placements is hopeless beyond this."""


class DisorderStart(StartConfig):
    """Draws orthorhombic cells of random edges and density, filled with atoms one by one.

    Edges and density are uniform in their ranges; an atom proposed nearer than `min_distance` to
    one that is there, or to an image of it, is rejected and proposed again elsewhere.
    """

    kind: Literal["disorder"] = "disorder"
    composition: dict[str, float] = Field(
        description='formula ("AlNi3") or fraction by element ({Al = 0.5, Ni = 0.5})'
    )
    edges: PositiveInterval = Field(default=(10.5, 17.0), description="Å")
    density: PositiveInterval = Field(default=(1.80, 4.05), description="g/cm³")
    min_distance: float = Field(default=1.8, gt=0, description="Å")
    max_atoms: int | None = Field(
        default=None, ge=1, description="cells that would hold more are drawn again"
    )

    @field_validator("composition", mode="before")
    @classmethod
    def _formula(cls, given: object) -> object:
        if not isinstance(given, str):
            return given
        try:
            counts = Formula(given).count()
        except (ValueError, KeyError):
            raise ValueError(f"{given!r} is not a formula; write one like 'AlNi3'") from None
        return {symbol: float(count) for symbol, count in counts.items()}

    @field_validator("composition")
    @classmethod
    def _fractions(cls, parts: dict[str, float]) -> dict[str, float]:
        for symbol, part in parts.items():
            if symbol == "X" or symbol not in atomic_numbers:
                raise ValueError(f"there is no element {symbol!r}{nearest(symbol, atomic_numbers)}")
            if part <= 0:
                raise ValueError(f"the share of {symbol} is {part}; give a number above zero")
        if not parts:
            raise ValueError("it names no element; write one like 'Al'")
        total = sum(parts.values())
        return {symbol: part / total for symbol, part in parts.items()}

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.edges[0] < self.min_distance:
            raise ValueError(
                f"the shortest edge {self.edges[0]} Å must not be below min_distance = "
                f"{self.min_distance} Å, or an atom is too near its own image"
            )
        filled = self._number_density(self.density[1]) * math.pi / 6 * self.min_distance**3
        if filled > JAMMED:
            limit = self.density[1] * JAMMED / filled
            raise ValueError(
                f"{self.density[1]} g/cm³ cannot be reached with atoms placed at random at least "
                f"{self.min_distance} Å apart; lower density to {limit:.2f} g/cm³ or min_distance"
            )
        self._check_sizes()
        return self

    def _check_sizes(self) -> None:
        """Raise ValueError when every cell is too small for max_atoms, or the largest too large."""
        if self.edges[1] > REMOTEST:
            raise ValueError(f"the longest edge is {self.edges[1]:.1e} Å; give edges in Å")
        fewest = self._count(self.edges[0] ** 3, self.density[0])
        if self.max_atoms is not None and fewest > self.max_atoms:
            raise ValueError(
                f"the smallest cell holds {fewest} atoms, more than max_atoms = {self.max_atoms}; "
                "raise max_atoms or lower edges or density"
            )
        most = self._count(self.edges[1] ** 3, self.density[1])
        if min(most, self.max_atoms or most) > MOST_ATOMS:
            raise ValueError(
                f"the largest cell holds {most:.2g} atoms, more than the {MOST_ATOMS} allowed; "
                "lower edges (Å) or density (g/cm³), or give max_atoms"
            )

    def structures(self, count: int, rng: np.random.Generator) -> list[Atoms]:
        """Draw `count` cells, periodic in all directions.

        Raises StructureError when a cell cannot be filled, or none with at most `max_atoms` atoms
        is found, in a bounded number of attempts.
        """
        return [self._draw(rng) for _ in range(count)]

    def _draw(self, rng: np.random.Generator) -> Atoms:
        for _ in range(DRAWS):
            edges = rng.uniform(*self.edges, size=3)
            density = rng.uniform(*self.density)
            n_atoms = self._count(float(edges.prod()), density)
            if self.max_atoms is None or n_atoms <= self.max_atoms:
                positions = placed(n_atoms, edges, min_distance=self.min_distance, rng=rng)
                symbols = self._symbols(n_atoms, rng)
                return Atoms(symbols, positions=positions, cell=edges, pbc=True)
        raise StructureError(
            f"none of {DRAWS} random cells had at most max_atoms = {self.max_atoms} atoms; "
            "raise max_atoms or lower edges or density"
        )

    def _number_density(self, density: float) -> float:
        """Atoms per Å³ at a density in g/cm³."""
        mass = sum(
            part * atomic_masses[atomic_numbers[symbol]]
            for symbol, part in self.composition.items()
        )
        return float(density * GRAM_PER_CM3 / mass)

    def _count(self, volume: float, density: float) -> int:
        return max(1, round(volume * self._number_density(density)))

    def _symbols(self, n_atoms: int, rng: np.random.Generator) -> list[str]:
        """Each element's share of the atoms, what is left over drawn by its fraction; shuffled."""
        exact = n_atoms * np.array(list(self.composition.values()))
        counts = np.floor(exact + 1e-9).astype(int)
        rest = np.maximum(exact - counts, 0)
        missing = n_atoms - int(counts.sum())
        if missing:
            np.add.at(counts, rng.choice(len(rest), missing, replace=False, p=rest / rest.sum()), 1)
        return [
            str(symbol) for symbol in rng.permutation(np.repeat(list(self.composition), counts))
        ]


def placed(
    n_atoms: int, edges: FloatArray, *, min_distance: float, rng: np.random.Generator
) -> FloatArray:
    """Positions (n_atoms, 3) in Å in a periodic box, drawn one by one, none nearer than allowed.

    Raises StructureError when one atom found no room in 20,000 proposals.
    """
    positions = np.empty((n_atoms, 3))
    done, failed = 0, 0
    while done < n_atoms:
        proposals = rng.uniform(size=(BATCH, 3)) * edges
        free = _far(proposals, positions[:done], edges, min_distance)
        before = done
        for proposal in proposals[free]:
            # those of one batch must keep clear of each other too
            if (
                done < n_atoms
                and _far(proposal[None], positions[before:done], edges, min_distance).all()
            ):
                positions[done] = proposal
                done += 1
        failed = 0 if done > before else failed + BATCH
        if failed >= PROPOSALS:
            raise StructureError(
                f"only {done} of {n_atoms} atoms fit {min_distance} Å apart into a random cell of "
                f"{edges[0]:.1f} × {edges[1]:.1f} × {edges[2]:.1f} Å; lower density or min_distance"
            )
    return positions


def _far(
    proposals: FloatArray, others: FloatArray, edges: FloatArray, min_distance: float
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which proposals are no nearer than `min_distance` to any other, by the nearest image."""
    apart = proposals[:, None, :] - others[None, :, :]
    apart -= edges * np.round(apart / edges)
    close = np.einsum("ijk,ijk->ij", apart, apart) < min_distance**2
    return np.asarray(~close.any(axis=1))
