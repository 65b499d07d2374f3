"""What a conformance check looks at, and how it compares and complains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms

from athanor.potentials import Potential, PotentialConfig
from athanor.structure import FloatArray, Labels
from athanor.testing import structures


class ConformanceError(AssertionError):
    """A potential breaks the contract; the message says which promise, by how much and where."""


@dataclass(frozen=True)
class Subject:
    """A kind of potential under test: its recipe and the fitted example the recipe gives.

    Attributes
    ----------
    recipe : the PotentialConfig subclass.
    potential : fitted; by default `recipe.example(seed=seed)`.
    seed : of every random structure.
    """

    recipe: type[PotentialConfig]
    potential: Potential = field(repr=False)
    seed: int = 0

    @classmethod
    def of(cls, recipe: type[PotentialConfig], *, seed: int = 0) -> Subject:
        """The subject that `recipe` gives by itself."""
        return cls(recipe, recipe.example(seed=seed), seed)

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)

    @property
    def elements(self) -> list[str]:
        return sorted(self.potential.elements)

    @property
    def spacing(self) -> float:
        """Distance of neighbours, Å: well within the cutoff."""
        return min(structures.SPACING, 0.55 * self.potential.cutoff)

    def zoo(self, rng: np.random.Generator) -> list[Atoms]:
        return structures.zoo(self.elements, rng, spacing=self.spacing)

    def dense(
        self, rng: np.random.Generator, *, repeats: tuple[int, int, int] = (2, 1, 2)
    ) -> Atoms:
        return structures.dense(self.elements, rng, repeats=repeats, spacing=self.spacing)

    def one(self, atoms: Atoms) -> Labels:
        return self.potential.predict([atoms])[0]

    def energies(self, batch: Sequence[Atoms]) -> FloatArray:
        return np.array([labels.energy for labels in self.potential.predict(batch)])


def name(atoms: Atoms) -> str:
    """A structure in a few words, for messages."""
    periodic = "".join("TF"[not flag] for flag in atoms.pbc)
    return f"{atoms.get_chemical_formula()} (pbc {periodic})"


def demand(holds: bool, promise: str) -> None:
    """Raise ConformanceError with `promise` unless it holds."""
    if not holds:
        raise ConformanceError(promise)


def close(found: object, expected: object, *, within: float, what: str) -> None:
    """Demand |found - expected| <= within * (1 + max|expected|) and finite, entry by entry."""
    one, two = np.asarray(found, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    demand(one.shape == two.shape, f"{what}: shape {one.shape}, expected {two.shape}")
    demand(bool(np.isfinite(one).all() and np.isfinite(two).all()), f"{what}: not finite")
    off = float(np.abs(one - two).max(initial=0.0))
    allowed = within * (1.0 + float(np.abs(two).max(initial=0.0)))
    demand(off <= allowed, f"{what}: off by {off:.3g}, allowed are {allowed:.3g}")


def same_labels(
    found: Labels,
    expected: Labels,
    *,
    what: str,
    within: float = 1e-9,
    turned: FloatArray | None = None,
) -> None:
    """Demand equal labels; `turned` is the orthogonal matrix R with position' = position R."""
    turn = np.eye(3) if turned is None else turned
    n_atoms = len(expected.forces)
    close(
        found.energy / n_atoms,
        expected.energy / n_atoms,
        within=within,
        what=f"{what}, energy/atom",
    )
    close(found.forces, expected.forces @ turn, within=within, what=f"{what}, forces")
    demand(
        (found.stress is None) == (expected.stress is None),
        f"{what}: one stress is None, one is not",
    )
    if found.stress is not None and expected.stress is not None:
        close(found.stress, turn.T @ expected.stress @ turn, within=within, what=f"{what}, stress")
