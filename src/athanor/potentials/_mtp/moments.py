"""Tensors of moments, component by component, and the products that make them.

A tensor is symmetric within each of its groups of indices, so a group of rank n has
(n+1)(n+2)/2 components, one per (a, b, c) with a + b + c = n.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import factorial

import numpy as np
from numpy.typing import NDArray

LongArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Tensor:
    """Moments times whole numbers, one axis per group of indices."""

    moments: LongArray
    factors: LongArray


@dataclass(frozen=True, slots=True)
class Part:
    """Indices that run together, by the groups of the left, right and resulting tensor they are in.

    Contracted indices are in a left and a right group, free ones in a group of the result and one
    other. `counted` multiplies by the number of ordered strings a component stands for.
    """

    rank: int
    left: int | None
    right: int | None
    out: int | None
    counted: bool


@dataclass(slots=True)
class MomentTable:
    """Moments, numbered as they are made; equal sums of products are made once.

    A sum is divided by the common divisor of its multipliers, so proportional sums are one moment.
    """

    n_moments: int
    _terms: list[LongArray] = field(default_factory=list)
    _made: list[int] = field(default_factory=list)
    _known: dict[bytes, int] = field(default_factory=dict)
    _components: dict[int, tuple[LongArray, LongArray]] = field(default_factory=dict)

    def contract(
        self, left: Tensor, right: Tensor, parts: Sequence[Part], ranks: Sequence[int]
    ) -> tuple[Tensor, int]:
        """Contract and symmetrise over each group (rank in `ranks`) of the result.

        Returns the tensor and how many products it takes, whether or not they were made before.
        """
        grids = self._grids([part.rank for part in parts])
        weights = np.ones(grids.shape[1], dtype=np.int64)
        exponents = []
        for part, grid in zip(parts, grids, strict=True):
            powers, strings = self.components(part.rank)
            exponents.append(powers[grid])
            if part.counted:
                weights *= strings[grid]
        i, left_factors = _pick(left, exponents, [part.left for part in parts])
        j, right_factors = _pick(right, exponents, [part.right for part in parts])
        shape = tuple(len(self.components(rank)[0]) for rank in ranks)
        sums = _flat(shape, exponents, [part.out for part in parts])
        return self._sums(shape, sums, (i, j), weights * left_factors * right_factors)

    def product(self, i: int, j: int) -> int:
        """The moment M_i * M_j."""
        return self._one(np.array([[min(i, j), max(i, j), 1]]))

    def rows(self) -> LongArray:
        """(n_products, 4) rows (i, j, multiplier, k) of all products, moment by moment."""
        if not self._terms:
            return np.zeros((0, 4), dtype=np.int64)
        numbers = np.repeat(self._made, [len(terms) for terms in self._terms])
        return np.column_stack([np.concatenate(self._terms), numbers])

    def components(self, rank: int) -> tuple[LongArray, LongArray]:
        """Exponents (n, 3), a descending, then b descending; number of ordered strings (n,)."""
        known = self._components.get(rank)
        if known is None:
            known = self._components[rank] = symmetric_components(rank)
        return known

    def _grids(self, ranks: Sequence[int]) -> LongArray:
        """Component number of every part, for all combinations: (n_parts, n_combinations)."""
        sizes = [len(self.components(rank)[0]) for rank in ranks]
        return np.indices(sizes, dtype=np.int64).reshape(len(sizes), -1)

    def _sums(
        self,
        shape: tuple[int, ...],
        sums: LongArray,
        pairs: tuple[LongArray, LongArray],
        weights: LongArray,
    ) -> tuple[Tensor, int]:
        """Make the moments sum(weights * M_i * M_j) with equal number in `sums`, none missing."""
        low, high = np.minimum(*pairs), np.maximum(*pairs)
        key = (sums * self.n_moments + low) * self.n_moments + high
        order = np.argsort(key, kind="stable")
        key = key[order]
        starts = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
        picked = order[starts]
        totals = np.add.reduceat(weights[order], starts)
        firsts = np.flatnonzero(np.diff(sums[picked], prepend=-1))
        factors = np.gcd.reduceat(totals, firsts)
        lengths = np.diff(firsts, append=len(picked))
        terms = np.stack([low[picked], high[picked], totals // np.repeat(factors, lengths)], axis=1)
        bounds = [*firsts.tolist(), len(picked)]
        moments = np.array([self._one(terms[a:b]) for a, b in pairwise(bounds)])
        different = np.unique(moments, return_index=True)[1]
        tensor = Tensor(moments.reshape(shape), factors.reshape(shape))
        return tensor, int(lengths[different].sum())

    def _one(self, terms: LongArray) -> int:
        """The moment of the ordered terms (i, j, multiplier)."""
        key = terms.tobytes()
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self.n_moments
            self._terms.append(terms)
            self._made.append(known)
            self.n_moments += 1
        return known


def symmetric_components(rank: int) -> tuple[LongArray, LongArray]:
    """Exponents (a, b, c) with a + b + c = rank, and rank! / (a! b! c!)."""
    powers = [(a, b, rank - a - b) for a in range(rank, -1, -1) for b in range(rank - a, -1, -1)]
    strings = [
        factorial(rank) // (factorial(a) * factorial(b) * factorial(c)) for a, b, c in powers
    ]
    return np.array(powers, dtype=np.int64), np.array(strings, dtype=np.int64)


def _pick(
    tensor: Tensor, exponents: Sequence[LongArray], groups: Sequence[int | None]
) -> tuple[LongArray, LongArray]:
    """Moments and factors of the components that the parts of each group add up to."""
    flat = _flat(tensor.moments.shape, exponents, groups)
    return tensor.moments.ravel()[flat], tensor.factors.ravel()[flat]


def _flat(
    shape: tuple[int, ...], exponents: Sequence[LongArray], groups: Sequence[int | None]
) -> LongArray:
    """Flat component numbers where the parts of each group are put together."""
    flat = np.zeros(len(exponents[0]) if exponents else 1, dtype=np.int64)
    for group, size in enumerate(shape):
        total = np.zeros((1, 3), dtype=np.int64)
        for powers, own in zip(exponents, groups, strict=True):
            if own == group:
                total = total + powers
        rest = total[:, 1] + total[:, 2]
        flat = flat * size + rest * (rest + 1) // 2 + total[:, 2]
    return flat
