"""Radial distribution functions of a run, by pair of elements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from athanor.structure import FloatArray
from athanor.validate._structure.blocks import Blocked, split
from athanor.validate._structure.elements import Elements, elements_of


@dataclass(frozen=True, slots=True, eq=False)
class Distribution:
    """Partial g(r) of a run.

    Attributes
    ----------
    edges : (n_bins + 1,) Å, from 0.
    partial : (blocks, n_pairs, n_bins), in the order of `elements.pairs`; far away each goes to 1.
    density : (blocks,) atoms per Å³.
    """

    elements: Elements
    edges: FloatArray
    partial: Blocked
    density: Blocked

    @property
    def r(self) -> FloatArray:
        """(n_bins,) middle of each bin, Å."""
        return (self.edges[1:] + self.edges[:-1]) / 2

    @property
    def total(self) -> Blocked:
        """(blocks, n_bins) g(r) of all atoms alike: the partials weighted with c_a c_b."""
        shares = self.elements.pair_shares
        return self.partial.map(lambda one: shares @ one)

    @property
    def reduced(self) -> Blocked:
        """(blocks, n_bins) reduced G(r) = 4 pi rho r (g - 1) of all atoms alike, Å⁻²."""
        rho = float(self.density.mean)
        return self.total.map(lambda g: 4 * np.pi * rho * self.r * (g - 1))


def distribution(
    frames: Sequence[Atoms], *, r_max: float, width: float, blocks: int = 1
) -> Distribution:
    """Count the distances up to `r_max` Å in bins of about `width` Å.

    Every periodic image is counted, so `r_max` may go beyond half the box, in a cell of any shape.
    A pair is counted against N_a N_b / V: what is left of an ideal gas of N atoms short of half the
    box is 1 - 1/N. Each frame has its own volume. Raises what `elements_of` raises.
    """
    elements = elements_of(frames)
    edges = np.linspace(0, r_max, max(1, round(r_max / width)) + 1)
    parts = split(frames, blocks)
    each = [[_partial(frame, elements, edges) for frame in part] for part in parts]
    densities = [[len(frame) / frame.get_volume() for frame in part] for part in parts]
    weights = np.array([len(part) for part in parts], dtype=float)
    return Distribution(
        elements,
        edges,
        Blocked(np.array([np.mean(part, axis=0) for part in each]), weights),
        Blocked(np.array([np.mean(part) for part in densities]), weights),
    )


def _partial(atoms: Atoms, elements: Elements, edges: FloatArray) -> FloatArray:
    """(n_pairs, n_bins) g(r) of one frame."""
    i, j, length = neighbours(atoms, float(edges[-1]), "ijd")
    bins = len(edges) - 1
    place = np.minimum((length * (bins / edges[-1])).astype(np.intp), bins - 1)
    pair = elements.table[elements.index[i], elements.index[j]]
    counted = np.bincount(pair * bins + place, minlength=bins * len(elements.pairs))
    shells = 4 / 3 * np.pi * np.diff(edges**3)
    # a pair stands once in the list: half of what is around like atoms, all around unlike ones
    expected = elements.pair_shares[:, None] * len(atoms) ** 2 / 2 / atoms.get_volume() * shells
    partial: FloatArray = counted.reshape(len(elements.pairs), bins) / expected
    return partial


def neighbours(atoms: Atoms, cutoff: float, quantities: str) -> list[NDArray[np.generic]]:
    """Every pair within `cutoff` Å once, periodic images too: arrays named as vesin names them."""
    # where torch is installed vesin imports it, which listing the kinds of properties must not
    from vesin import NeighborList

    finder = NeighborList(cutoff=cutoff, full_list=False, n_threads=1)
    found = finder.compute(
        atoms.positions, atoms.cell.array, atoms.pbc, quantities=quantities, copy=True
    )
    return [one.astype(np.intp) if one.dtype.kind == "u" else one for one in found]
