"""Spectral clusters: one eigendecomposition serves every number of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from athanor.errors import StructureError
from athanor.structure import FloatArray

IntArray = NDArray[np.int64]

DENSE = 1500
"""Up to so many structures all of the matrix is decomposed, beyond it only what is needed."""
LOOSE = 0.1
"""Largest eigenvalue of the Laplacian that tells of one part more: about its normalised cut."""
ROUNDS = 100
"""Most rounds of moving structures to the nearest centre."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """Leading eigenvectors of the normalised affinity D^-1/2 W D^-1/2, those of its Laplacian.

    Attributes
    ----------
    vectors : (n, k), orthonormal, the largest eigenvalue of the affinity first.
    values : (k,) eigenvalues of the Laplacian, rising from 0.
    roots : (n,) square roots of the degrees.
    """

    vectors: FloatArray
    values: FloatArray
    roots: FloatArray

    @property
    def parts(self) -> int:
        """How many nearly unconnected parts the graph has, 1 at least."""
        return max(1, int((self.values < LOOSE).sum()))

    def maps(self, number: int) -> FloatArray:
        """(n, number) coordinates in which structures of one cluster are near each other."""
        return self.vectors[:, :number] / self.roots[:, None]


def embed(affinity: FloatArray, count: int) -> Embedding:
    """The `count` leading eigenvectors of an affinity, (n, n), symmetric, not negative.

    What a structure has in common with itself does not count (the diagonal is taken as 0), as is
    usual for graphs; nor does this need a copy of the matrix where n is large.
    """
    degrees = affinity.sum(axis=1) - np.diag(affinity)
    alone = degrees <= 0
    degrees[alone] = 1.0
    if not np.isfinite(degrees).all():
        raise StructureError("a similarity is not finite; leave out the structure it belongs to")
    roots = np.sqrt(degrees)
    count = min(count, len(affinity))
    # a structure that is like no other is a part of its own
    own = alone.astype(np.float64)
    if len(affinity) <= DENSE or count > len(affinity) // 4:
        values, vectors = _dense(affinity, roots, own, count)
    else:
        values, vectors = _iterative(affinity, roots, own, count)
    order = np.argsort(-values, kind="stable")
    return Embedding(np.ascontiguousarray(vectors[:, order]), 1.0 - values[order], roots)


def assign(embedding: Embedding, number: int) -> IntArray:
    """Clusters of all structures, (n,), at most `number` of them: deterministic.

    Pivoted QR of the eigenvectors finds one typical structure for each cluster (Damle, Minden and
    Ying 2019); from the means of its clusters, k-means goes downhill.
    """
    from scipy.linalg import qr, svd

    maps = embedding.maps(number)
    pivots = qr(maps.T, mode="r", pivoting=True)[1][:number]
    left, _, right = svd(maps[pivots].T)
    found = np.abs(maps @ (left @ right)).argmax(axis=1)
    return settled(maps, _means(maps, found, number))


def assign_from(embedding: Embedding, number: int, rng: np.random.Generator) -> IntArray:
    """The same from a random start (k-means++), to see how much the start decides."""
    maps = embedding.maps(number)
    chosen = [int(rng.integers(len(maps)))]
    nearest = np.sum((maps - maps[chosen]) ** 2, axis=1)
    while len(chosen) < number:
        total = np.cumsum(nearest)
        pick = int(np.searchsorted(total, rng.random() * total[-1])) if total[-1] > 0 else 0
        chosen.append(min(pick, len(maps) - 1))
        nearest = np.minimum(nearest, np.sum((maps - maps[chosen[-1]]) ** 2, axis=1))
    return settled(maps, maps[chosen])


def settled(maps: FloatArray, centres: FloatArray) -> IntArray:
    """K-means from given centres: numbers of clusters in the order of their first members."""
    found = np.full(len(maps), -1)
    for _ in range(ROUNDS):
        nearest = _squares(maps, centres).argmin(axis=1)
        if np.array_equal(nearest, found):
            break
        found = nearest
        centres = _means(maps, found, len(centres))
    return renumbered(found)


def renumbered(clusters: IntArray) -> IntArray:
    """The same clusters, numbered from 0 in the order of their first members."""
    _, firsts, inverse = np.unique(clusters, return_index=True, return_inverse=True)
    rank = np.empty(len(firsts), dtype=np.int64)
    rank[np.argsort(firsts)] = np.arange(len(firsts))
    return np.asarray(rank[inverse], dtype=np.int64)


def members(clusters: IntArray, number: int) -> Any:
    """(number, n) sparse matrix, 1 where a structure belongs to a cluster."""
    from scipy.sparse import csr_array

    n = len(clusters)
    order = np.argsort(clusters, kind="stable")
    ends = np.concatenate([[0], np.cumsum(np.bincount(clusters, minlength=number))])
    return csr_array((np.ones(n), order, ends), shape=(number, n))


def _means(maps: FloatArray, clusters: IntArray, number: int) -> FloatArray:
    """Centres of clusters, (number, k); of an empty one, infinitely far."""
    # of so few columns a dense product costs less than setting up a sparse one
    own = (clusters == np.arange(number)[:, None]).astype(np.float64)
    counts = np.bincount(clusters, minlength=number)
    sums = own @ maps
    return np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], np.inf)


def _squares(maps: FloatArray, centres: FloatArray) -> FloatArray:
    """Squared distances from centres, (n, k), less a term that all centres share; inf is far."""
    empty = np.isinf(centres[:, 0])
    known = np.where(empty[:, None], 0.0, centres)
    found = maps @ (-2.0 * known.T)
    found += np.where(empty, np.inf, np.einsum("ij,ij->i", known, known))
    return np.asarray(found)


def _dense(
    affinity: FloatArray, roots: FloatArray, own: FloatArray, count: int
) -> tuple[FloatArray, FloatArray]:
    """Eigenvalues and vectors of the scaled affinity with `own` on its diagonal."""
    from scipy.linalg import eigh

    scaled = affinity / roots[:, None]
    scaled /= roots
    np.fill_diagonal(scaled, own)
    n = len(scaled)
    values, vectors = eigh(scaled, subset_by_index=[n - count, n - 1], overwrite_a=True)
    return values, vectors


def _iterative(
    affinity: FloatArray, roots: FloatArray, own: FloatArray, count: int
) -> tuple[FloatArray, FloatArray]:
    """The same by products with the matrix as it is."""
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

    # what the product has too much of
    surplus = np.diag(affinity) / roots**2 - own

    def product(x: FloatArray) -> FloatArray:
        flat = x.reshape(-1)
        return (affinity @ (flat / roots)) / roots - surplus * flat

    n = len(affinity)
    operator = LinearOperator((n, n), matvec=product, dtype=np.float64)
    # a start that is no eigenvector, and the same each time
    start = np.random.default_rng(0).standard_normal(n)
    try:
        values, vectors = eigsh(operator, k=count, which="LA", v0=start, tol=1e-8)
    except ArpackNoConvergence:
        return _dense(affinity, roots, own, count)
    return values, vectors
