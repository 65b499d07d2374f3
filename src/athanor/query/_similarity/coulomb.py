"""Coulomb matrices (eq. 5) with minimum-image distances, and how far they are from each other."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

import numpy as np
from ase import Atoms
from ase.geometry import complete_cell, minkowski_reduce
from numpy.typing import NDArray

from athanor.errors import StructureError
from athanor.structure import FloatArray, check_structure

Ordering = Literal["sorted", "eigenvalues"]

TIE = 1e-9
"""Norms of rows nearer than this, relative, are equal: their atoms keep the order they have."""


def coulomb_distances(
    first: Sequence[Atoms],
    second: Sequence[Atoms],
    *,
    size: int,
    ordering: Ordering = "sorted",
    names: tuple[Sequence[str], Sequence[str]] | None = None,
) -> FloatArray:
    """Sum over i, j of |M_ij(A) - M_ij(B)| (the exponent of eq. 10), (n, m).

    M is eq. 5, padded with zeros to `size` atoms. Its matrices are made here and forgotten.
    Equal structures are at exactly 0.

    ordering "sorted": rows and columns by the norm of the row, the largest first. Where norms are
    equal (atoms that a symmetry maps onto each other), the atoms' order in the file decides, so
    that permuting the atoms of a perfect crystal may change the matrix; moving, rotating and
    wrapping do not. "eigenvalues": of M, the largest absolute value first, compared one by one
    (then the sum is over eigenvalues); they never depend on the order of atoms, and know less.

    names: what errors call the structures, first and second; by default they are numbered.

    Raises StructureError for coincident atoms, and for what no potential could evaluate.
    """
    from scipy.spatial.distance import cdist, pdist, squareform

    mine, others = (None, None) if names is None else names
    rows = coulomb_rows(first, size=size, ordering=ordering, names=mine)
    if second is first:
        return np.asarray(squareform(pdist(rows, "cityblock")))
    columns = coulomb_rows(second, size=size, ordering=ordering, names=others)
    return np.asarray(cdist(rows, columns, "cityblock"))


def coulomb_rows(
    structures: Sequence[Atoms],
    *,
    size: int,
    ordering: Ordering = "sorted",
    names: Sequence[str] | None = None,
) -> FloatArray:
    """What the L1 distance is taken of, one row per structure.

    For "sorted" the lower triangle row by row, (n, size (size + 1) / 2), entries off the diagonal
    doubled since they occur twice; for "eigenvalues" (n, size). A smaller structure's row begins
    as it would alone, and ends in zeros. Errors call structures by `names`, else by number.
    """
    largest = max(map(len, structures), default=0)
    if largest > size:
        raise StructureError(
            f"a structure of {largest} atoms does not fit into Coulomb matrices of {size}; give "
            "the size of the largest structure"
        )
    rows = np.zeros((len(structures), row_length(size, ordering)))
    called = names_of(structures, names)
    for number, (atoms, name) in enumerate(zip(structures, called, strict=True)):
        matrix = coulomb_matrix(atoms, where=name)
        row = _eigenvalues(matrix) if ordering == "eigenvalues" else _triangle(_sorted(matrix))
        rows[number, : len(row)] = row
    return rows


def names_of(structures: Sequence[Atoms], names: Sequence[str] | None) -> Sequence[str]:
    """What errors call structures: as given, or numbered from 0."""
    return [f"structure {number}" for number in range(len(structures))] if names is None else names


def row_length(size: int, ordering: Ordering) -> int:
    """Numbers in a row of `coulomb_rows`."""
    return size if ordering == "eigenvalues" else size * (size + 1) // 2


def coulomb_matrix(atoms: Atoms, *, where: str = "structure") -> FloatArray:
    """Eq. 5 in the order of the atoms, (n_atoms, n_atoms), with minimum-image distances in Å."""
    check_structure(atoms, where=where)
    charges = atoms.numbers.astype(np.float64)
    first, second = np.tril_indices(len(atoms), -1)
    lengths = minimum_image(atoms, atoms.positions[first] - atoms.positions[second])
    if len(lengths) and lengths.min() < 1e-6:
        nearest = int(lengths.argmin())
        raise StructureError(
            f"{where}: atoms {second[nearest]} and {first[nearest]} are at the same place; leave "
            "one of them out"
        )
    matrix = np.diag(0.5 * charges**2.4)
    matrix[first, second] = charges[first] * charges[second] / lengths
    matrix[second, first] = matrix[first, second]
    return matrix


def minimum_image(atoms: Atoms, vectors: FloatArray) -> FloatArray:
    """Lengths of the shortest periodic images of (n, 3) vectors between atoms, (n,) in Å."""
    pbc = atoms.pbc
    if not pbc.any():
        return _norms(vectors)
    cell = atoms.cell.array.copy()
    cell[~pbc] = 0.0
    cell, _ = minkowski_reduce(complete_cell(cell), pbc=pbc)
    fractions = np.linalg.solve(cell.T, vectors.T).T
    vectors = vectors - np.where(pbc, np.rint(fractions), 0.0) @ cell
    lengths = _norms(vectors)
    overlaps = np.abs(cell @ cell.T - np.diag(np.sum(cell**2, axis=1)))
    if overlaps.max() < 1e-12 * np.abs(cell).max() ** 2:
        return np.asarray(lengths)
    # within half of the shortest lattice vector no other image can be nearer
    far = np.flatnonzero(lengths > 0.5 * _norms(cell[pbc]).min())
    best = lengths[far]
    for shift in itertools.product(*((-1, 0, 1) if along else (0,) for along in pbc)):
        np.minimum(best, _norms(vectors[far] + np.array(shift, np.float64) @ cell), out=best)
    lengths[far] = best
    return np.asarray(lengths)


def _sorted(matrix: FloatArray) -> FloatArray:
    """Rows and columns by the norm of the row, the largest first; ties keep their order."""
    norms = _norms(matrix)
    order = np.argsort(-norms, kind="stable")
    falls = -np.diff(norms[order]) > TIE * norms[order[0]]
    rank: NDArray[np.int64] = np.zeros(len(order), dtype=np.int64)
    rank[order] = np.concatenate([[0], np.cumsum(falls)])
    order = np.argsort(rank, kind="stable")
    return np.asarray(matrix[np.ix_(order, order)])


def _triangle(matrix: FloatArray) -> FloatArray:
    """The lower triangle row by row, entries off the diagonal doubled."""
    doubled = 2.0 * matrix
    np.fill_diagonal(doubled, np.diag(matrix))
    return np.asarray(doubled[np.tril_indices(len(matrix))])


def _eigenvalues(matrix: FloatArray) -> FloatArray:
    values = np.linalg.eigvalsh(matrix)
    return np.asarray(values[np.argsort(-np.abs(values), kind="stable")])


def _norms(vectors: FloatArray) -> FloatArray:
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", vectors, vectors)))
