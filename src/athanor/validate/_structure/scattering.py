"""Partial structure factors of a run, summed over the wave vectors of its box."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from athanor.errors import MeasurementError
from athanor.structure import FloatArray
from athanor.validate._extra import extra
from athanor.validate._structure.blocks import Blocked, split
from athanor.validate._structure.elements import Elements, elements_of
from athanor.validate._structure.wavevectors import wave_vectors


@dataclass(frozen=True, slots=True, eq=False)
class Scattering:
    """Faber-Ziman partial structure factors of a run.

    Attributes
    ----------
    q : (n,) 1/Å, ascending.
    partial : (blocks, n_pairs, n), in the order of `elements.pairs`; at large q each goes to 1.
    density : (blocks,) atoms per Å³.
    """

    elements: Elements
    q: FloatArray
    partial: Blocked
    density: Blocked


def scattering(
    frames: Sequence[Atoms],
    *,
    q_max: float,
    width: float,
    most: int,
    seed: int = 0,
    blocks: int = 1,
    told: Callable[[float], None] = lambda share: None,
) -> Scattering:
    """S_ab(q) = 1 + (<rho_a rho_b*> / N - c_a delta_ab) / (c_a c_b), rho_a the sum of exp(i q r).

    The vectors are those of each frame's own reciprocal lattice, averaged in shells of `width` 1/Å
    (about `most` of a shell, see `wave_vectors`); `q` is their mean length, shells without any are
    left out. Raises MeasurementError where the box has none up to `q_max`, MissingExtraError where
    dynasor is not installed, and what `elements_of` raises.
    """
    elements = elements_of(frames)
    shells = _Shells.of(frames, q_max=q_max, width=width, most=most, seed=seed)
    parts = split(frames, blocks)
    each, lengths, done = [], np.zeros(len(shells.count)), 0
    for part in parts:
        total = np.zeros((len(elements.pairs), len(shells.count)))
        for frame in part:
            vectors = shells.integers @ (2 * np.pi * np.linalg.inv(frame.cell.array).T)
            lengths += shells.mean(np.linalg.norm(vectors, axis=1))
            total += [shells.mean(one) for one in partial_at(frame, elements, vectors)]
            done += 1
            told(done / len(frames))
        each.append(total / len(part))
    weights = np.array([len(part) for part in parts], dtype=float)
    densities = [np.mean([len(one) / one.get_volume() for one in part]) for part in parts]
    return Scattering(
        elements,
        lengths / len(frames),
        Blocked(np.array(each), weights),
        Blocked(np.array(densities), weights),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Shells:
    """Wave vectors sorted by their length in the mean box.

    Attributes
    ----------
    integers : (n, 3). member : (n,) shell of each. count : (n_shells,) vectors in each.
    """

    integers: NDArray[np.intp]
    member: NDArray[np.intp]
    count: NDArray[np.intp]

    @classmethod
    def of(
        cls, frames: Sequence[Atoms], *, q_max: float, width: float, most: int, seed: int
    ) -> Self:
        cell = np.mean([frame.cell.array for frame in frames], axis=0)
        integers = wave_vectors(cell, q_max=q_max, width=width, most=most, seed=seed)
        if not len(integers):
            raise MeasurementError(
                f"no wave vector of this box is shorter than {q_max:g} 1/Å; "
                "give a larger q_max or a larger box"
            )
        vectors = integers @ (2 * np.pi * np.linalg.inv(cell).T)
        shell = np.floor(np.linalg.norm(vectors, axis=1) / width)
        _, member = np.unique(shell, return_inverse=True)
        return cls(integers, member, np.bincount(member))

    def mean(self, values: FloatArray) -> FloatArray:
        """Mean of (n,) values over each shell."""
        return np.bincount(self.member, weights=values) / self.count


def partial_at(atoms: Atoms, elements: Elements, vectors: FloatArray) -> FloatArray:
    """(n_pairs, n) Faber-Ziman S_ab at wave vectors (n, 3) of one box, 1/Å.

    The sums over atoms are dynasor's.
    """
    with extra("dynasor"):
        from dynasor.core.reciprocal import calc_rho_q
    rho = [
        calc_rho_q(atoms.positions[elements.index == place], vectors)
        for place in range(len(elements.names))
    ]
    c, rows = elements.fractions, []
    for a, b in elements.places:
        product = np.real(rho[a] * rho[b].conj()) / len(atoms)
        rows.append(1 + (product - (c[a] if a == b else 0)) / (c[a] * c[b]))
    return np.array(rows)
