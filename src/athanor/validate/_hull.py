"""The convex hull of energies over compositions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from athanor.errors import MeasurementError
from athanor.structure import FloatArray

IntArray = NDArray[np.int64]
FLAT = 1e-9
"""eV per atom: what the arithmetic of a hull leaves of nothing."""
STEEP = 1e-8
"""Of a normal of length 1: facets that are steeper are walls."""


@dataclass(frozen=True, slots=True)
class Hull:
    """Formation energies of structures and the hull below them.

    Attributes
    ----------
    species : the k elements.
    counts : (n, k) atoms of each element in each structure.
    formation : (n,) eV per atom, from the lowest structures of the pure elements; NaN where the
        energy is not known.
    pure : (k,) eV per atom, of those.
    above : (n,) eV per atom above the hull.
    corners : the lowest structure of each composition where the hull has a corner, pure elements
        included where there is a structure, by composition.
    planes : (m, k) of the facets: the height over fractions x is the largest of x @ plane.
    """

    species: tuple[str, ...]
    counts: IntArray
    formation: FloatArray
    pure: FloatArray
    above: FloatArray
    corners: tuple[int, ...]
    planes: FloatArray

    @classmethod
    def of(
        cls,
        species: Sequence[str],
        counts: IntArray,
        energies: FloatArray,
        *,
        elements: Mapping[str, float] | None = None,
    ) -> Self:
        """The hull of structures with `energies` (n,) in eV, NaN where there is none.

        `elements` are energies of pure ones in eV per atom, for those without a structure or with
        none so low. Raises MeasurementError where there is neither.
        """
        counts = np.asarray(counts, dtype=np.int64)
        per_atom = np.asarray(energies, float) / counts.sum(axis=1)
        pure = _pure(species, counts, per_atom, elements or {})
        shares = fractions(counts)
        formation = per_atom - shares @ pure
        lowest = _lowest(counts, formation)
        low = lowest[formation[lowest] < FLAT]
        planes, ends = _facets(shares[low], np.minimum(formation[low], 0.0))
        corners = sorted(low[ends].tolist(), key=lambda i: tuple(shares[i, ::-1].tolist()))
        above = formation - height(planes, shares)
        above[np.abs(above) < FLAT] = 0.0
        return cls(tuple(species), counts, formation, pure, above, tuple(corners), planes)

    @property
    def compounds(self) -> tuple[int, ...]:
        """The corners that are no pure elements: the ground states."""
        return tuple(i for i in self.corners if np.count_nonzero(self.counts[i]) > 1)

    def at(self, shares: FloatArray) -> FloatArray:
        """Height of the hull (m,) over fractions (m, k), eV per atom, at most 0."""
        return height(self.planes, shares)


def fractions(counts: IntArray) -> FloatArray:
    """Share of each element, (n, k)."""
    shares: FloatArray = counts / counts.sum(axis=1, keepdims=True)
    return shares


def height(planes: FloatArray, shares: FloatArray) -> FloatArray:
    """A convex function is the largest of its tangents."""
    found: FloatArray = (shares @ planes.T).max(axis=1)
    return found


def formula(species: Sequence[str], counts: IntArray) -> str:
    """The reduced formula: AgPd3."""
    divisor = int(np.gcd.reduce(counts))
    return "".join(
        symbol + (str(number // divisor) if number > divisor else "")
        for symbol, number in zip(species, counts.tolist(), strict=True)
        if number
    )


def _pure(
    species: Sequence[str], counts: IntArray, per_atom: FloatArray, given: Mapping[str, float]
) -> FloatArray:
    """The lowest energy of each element (k,), eV per atom."""
    found = []
    for k, symbol in enumerate(species):
        alone = (counts[:, k] == counts.sum(axis=1)) & np.isfinite(per_atom)
        known = [*per_atom[alone].tolist(), *(given[one] for one in given if one == symbol)]
        if not known:
            raise MeasurementError(
                f"no candidate of pure {symbol} has an energy, from which formation energies "
                "count; add its crystal to the candidates"
            )
        found.append(min(known))
    return np.array(found)


def _lowest(counts: IntArray, formation: FloatArray) -> IntArray:
    """The lowest structure of every composition, the first of equal ones."""
    reduced = counts // np.gcd.reduce(counts, axis=1)[:, None]
    known = np.flatnonzero(np.isfinite(formation))
    order = known[np.argsort(formation[known], kind="stable")]
    _, first = np.unique(reduced[order], axis=0, return_index=True)
    return np.asarray(order[first], dtype=np.int64)


def _facets(shares: FloatArray, formation: FloatArray) -> tuple[FloatArray, list[int]]:
    """The facets of the lower hull as planes (m, k), and which points are their corners.

    `formation` is at most 0. Pure elements are at 0 whether they are among the points or not.
    """
    k = shares.shape[1]
    if k == 1:
        return np.zeros((1, 1)), [0][: len(shares)]
    # scipy's geometry takes long to import
    from scipy.spatial import ConvexHull

    mixed = np.flatnonzero((shares.max(axis=1) < 1.0) & (formation < -FLAT))
    # a point above all makes a solid of what may be flat
    top = np.append(np.full(k - 1, 1 / k), 1.0 - 2 * formation.min(initial=0.0))
    ends = np.column_stack([np.eye(k)[:, 1:], np.zeros(k)])
    points = np.vstack([np.column_stack([shares[mixed, 1:], formation[mixed]]), ends, top])
    hull = ConvexHull(points)
    # walls are no part of it: what stands on the simplex of a few of the elements
    below = hull.equations[:, -2] < -STEEP
    normals = hull.equations[below]
    # z = slopes @ x[1:] + first, as one product with all fractions, whose sum is 1
    slopes = -normals[:, :-2] / normals[:, [-2]]
    first = -normals[:, [-1]] / normals[:, [-2]]
    met = np.unique(hull.simplices[below])
    corners = [*mixed[met[met < len(mixed)]], *np.flatnonzero(shares.max(axis=1) == 1.0)]
    return np.hstack([first, slopes + first]), [int(one) for one in corners]
