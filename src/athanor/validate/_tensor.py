"""Elastic tensors: Voigt matrices, what symmetry leaves of them, moduli of polycrystals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from athanor.structure import FloatArray

PAIRS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
"""Voigt's order."""
UPPER = tuple((i, j) for i in range(6) for j in range(i, 6))
FIRST, SECOND = np.array(PAIRS).T
MANDEL = np.sqrt([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])
"""Factors that turn a Voigt matrix into one whose eigenvalues rotations do not change."""
SMALL = 1e-6


def voigt(tensor: FloatArray) -> FloatArray:
    """(6, 6) matrix C_IJ of a (3, 3, 3, 3) tensor, symmetrised in ij, kl and IJ."""
    whole = tensor + tensor.swapaxes(0, 1)
    whole = whole + whole.swapaxes(2, 3)
    matrix = whole[FIRST[:, None], SECOND[:, None], FIRST, SECOND] / 4
    return np.asarray((matrix + matrix.T) / 2)


def rotated(matrix: FloatArray, rotation: FloatArray) -> FloatArray:
    """The Voigt matrix in another frame: `rotation` (..., 3, 3) @ vector is the vector there."""
    turn = _bond(rotation)
    return np.asarray(turn @ matrix @ turn.swapaxes(-1, -2))


def _bond(r: FloatArray) -> FloatArray:
    """(..., 6, 6): what a rotation (..., 3, 3) does to stresses in Voigt's order (Bond 1943)."""
    i, j, k, m = FIRST[:, None], SECOND[:, None], FIRST, SECOND
    shears = r[..., i, m] * r[..., j, k]
    return np.asarray(r[..., i, k] * r[..., j, m] + np.where(k == m, 0.0, shears))


def averaged(matrix: FloatArray, rotations: FloatArray) -> FloatArray:
    """The Voigt matrix averaged over a point group (n, 3, 3)."""
    return np.asarray(rotated(matrix, rotations).mean(axis=0))


def independent(rotations: FloatArray) -> tuple[tuple[int, int], ...]:
    """Indices (I, J) of the constants that the others follow from, for a point group (n, 3, 3).

    The first that are linearly independent in the order C11, C12, ..., C16, C22, ..., C66, zeros
    left out: C11, C12, C44 of cubic, C11, C12, C13, C33, C44 of hexagonal crystals.
    """
    # column k: what is left of the k-th constant of 21, were the others zero
    basis = []
    for i, j in UPPER:
        one = np.zeros((6, 6))
        one[i, j] = one[j, i] = 1.0
        left = averaged(one, rotations)
        basis.append([left[place] for place in UPPER])
    space = np.array(basis)  # rows span the invariant tensors, columns are the constants
    chosen: list[int] = []
    for column in range(len(UPPER)):
        if np.linalg.matrix_rank(space[:, [*chosen, column]], tol=SMALL) > len(chosen):
            chosen.append(column)
    return tuple(UPPER[column] for column in chosen)


def eigenvalues(matrix: FloatArray) -> FloatArray:
    """(6,) ascending; all positive for a stable crystal (Born; Mouhat and Coudert 2014)."""
    return np.asarray(np.linalg.eigvalsh(matrix * MANDEL[:, None] * MANDEL))


@dataclass(frozen=True, slots=True)
class Moduli:
    """Bulk and shear modulus of a polycrystal, in the unit of the tensor (Hill 1952)."""

    bulk: float
    shear: float

    @property
    def young(self) -> float:
        return 9 * self.bulk * self.shear / (3 * self.bulk + self.shear)

    @property
    def poisson(self) -> float:
        return (3 * self.bulk - 2 * self.shear) / (2 * (3 * self.bulk + self.shear))


def voigt_moduli(c: FloatArray) -> Moduli:
    """Of equal strain everywhere (Voigt 1928); `c` is (6, 6)."""
    trace, rest = float(np.trace(c[:3, :3])), float(c[0, 1] + c[0, 2] + c[1, 2])
    shears = float(np.trace(c[3:, 3:]))
    return Moduli((trace + 2 * rest) / 9, (trace - rest + 3 * shears) / 15)


def reuss_moduli(c: FloatArray) -> Moduli:
    """Of equal stress everywhere (Reuss 1929); `c` is (6, 6) and positive definite."""
    s = np.linalg.inv(c)
    trace, rest = float(np.trace(s[:3, :3])), float(s[0, 1] + s[0, 2] + s[1, 2])
    shears = float(np.trace(s[3:, 3:]))
    return Moduli(1 / (trace + 2 * rest), 15 / (4 * trace - 4 * rest + 3 * shears))


def young_along(c: FloatArray, directions: FloatArray) -> FloatArray:
    """(n,) Young's moduli along unit vectors (n, 3): 1 / (s_ijkl n_i n_j n_k n_l)."""
    n = directions
    strain = n[:, FIRST] * n[:, SECOND]
    # a stress n n in Voigt's order; shears of the compliance carry their own factors of two
    return np.asarray(1 / np.einsum("ni,ij,nj->n", strain, np.linalg.inv(c), strain))
