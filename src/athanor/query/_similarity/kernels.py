"""From fingerprints and L1 distances to one similarity of structures (eqs 3, 6-12)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from athanor.errors import StructureError
from athanor.structure import FloatArray

if TYPE_CHECKING:
    from athanor.query.clustering import ClusteringConfig


def slope_of(self_overlaps: FloatArray) -> float:
    """The slope of eq. 3 from the data: 1 / mean of the fingerprints' overlap with themselves."""
    mean = float(np.mean(self_overlaps)) if len(self_overlaps) else 0.0
    return 1.0 / mean if mean > 0 else 1.0


def soap_kernel(
    fingerprints: FloatArray,
    config: ClusteringConfig,
    *,
    slope: float | None = None,
    names: Sequence[str] | None = None,
) -> FloatArray:
    """Normalised SOAP similarity of all structures, the power of the mean (eqs 9, right, and 7).

    Parameters
    ----------
    fingerprints : (n, n_features), mean power spectra.
    slope : of eq. 3; by default the config's, or `slope_of` the data.
    names : what errors call the structures; by default they are numbered.

    Returns
    -------
    (n, n), symmetric, the diagonal and equal structures exactly 1.
    """
    _check(fingerprints, "a SOAP fingerprint")
    slope = slope or config.slope or slope_of(np.einsum("ij,ij->i", fingerprints, fingerprints))
    kernel = fingerprints @ fingerprints.T
    _powered(kernel, config, slope)
    return unified(normalised(kernel, names), first_equal(fingerprints))


def soap_similarities(
    first: FloatArray, second: FloatArray, config: ClusteringConfig, *, slope: float
) -> FloatArray:
    """The same between two sets of fingerprints, (n, m)."""
    kernel = first @ second.T
    _powered(kernel, config, slope)
    selves = []
    for rows in (first, second):
        own = np.einsum("ij,ij->i", rows, rows)
        _powered(own, config, slope)
        selves.append(np.sqrt(own))
    kernel /= selves[0][:, None]
    kernel /= selves[1]
    return np.minimum(kernel, 1.0, out=kernel)


def pair_kernel(
    first: Sequence[FloatArray],
    second: Sequence[FloatArray],
    config: ClusteringConfig,
    *,
    slope: float,
) -> FloatArray:
    """Mean of powers over all pairs of atoms (eq. 9, left), not normalised, (n, m).

    Parameters
    ----------
    first, second : power spectra of the atoms of each structure, (n_atoms, n_features) each.
    slope : of eq. 3; for atoms, `slope_of` the overlaps of atoms with themselves.
    """
    found = np.empty((len(first), len(second)))
    for row, mine in enumerate(first):
        for column, others in enumerate(second):
            block = mine @ others.T
            _powered(block, config, slope)
            found[row, column] = block.mean()
    return found


def normalised(kernel: FloatArray, names: Sequence[str] | None = None) -> FloatArray:
    """Eq. 7, in place: divided by the roots of the diagonal, at most 1, on the diagonal exactly."""
    root = np.sqrt(np.diag(kernel))
    if not (np.isfinite(root) & (root > 0)).all():
        number = int(np.flatnonzero(~(np.isfinite(root) & (root > 0)))[0])
        name = f"structure {number}" if names is None else names[number]
        raise StructureError(
            f"{name}: its similarity with itself is {kernel[number, number]:.3g}, which must be "
            "above 0; leave the structure out"
        )
    for number, row in enumerate(kernel):
        row /= root[number] * root  # a product that commutes keeps the matrix symmetric bit by bit
    np.minimum(kernel, 1.0, out=kernel)
    np.fill_diagonal(kernel, 1.0)
    return kernel


def first_equal(rows: FloatArray) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """(n,) for each row the number of the first one with equal bits."""
    met: dict[bytes, int] = {}
    return np.array([met.setdefault(row.tobytes(), k) for k, row in enumerate(rows)], np.int64)


def unified(kernel: FloatArray, firsts: np.ndarray[tuple[int], np.dtype[np.int64]]) -> FloatArray:
    """In place: equal structures get equal rows, and exactly 1 with each other.

    A matrix product rounds an entry by its place, so that equal rows alone do not give that.
    """
    for number in np.flatnonzero(firsts != np.arange(len(firsts))):
        kernel[number] = kernel[firsts[number]]
    for number in np.flatnonzero(firsts != np.arange(len(firsts))):
        kernel[:, number] = kernel[:, firsts[number]]
    return kernel


def zeta_of(distances: FloatArray) -> float:
    """Zeta of eq. 10 from the data: 1 / median of the distances between different structures."""
    apart = np.concatenate([row[number + 1 :] for number, row in enumerate(distances)] or [[]])
    apart = apart[apart > 0]
    return 1.0 / float(np.median(apart)) if len(apart) else 1.0


def coulomb_kernel(distances: FloatArray, zeta: float | None = None) -> FloatArray:
    """Normalised Coulomb similarity (eqs 10 and 7), (n, n), of L1 distances.

    The factor 1 / (N_A N_B) of eq. 10 cancels in eq. 7. Without `zeta` it is `zeta_of` the data.
    """
    _check(distances, "a distance of Coulomb matrices")
    kernel = distances * -(zeta_of(distances) if zeta is None else zeta)
    return np.exp(kernel, out=kernel)


def hybrid(soap: FloatArray, coulomb: FloatArray, delta: float) -> FloatArray:
    """Eq. 11: (1 - delta) soap + delta coulomb, exactly 1 where both are."""
    if delta == 0.0:
        return soap.copy()
    if delta == 1.0:
        return coulomb.copy()
    kernel = coulomb - soap
    kernel *= delta
    kernel += soap
    return kernel


def distance(kernel: FloatArray) -> FloatArray:
    """Eq. 12: sqrt(2 - 2 K), between 0 and sqrt 2."""
    found = kernel * -2.0
    found += 2.0
    np.maximum(found, 0.0, out=found)
    return np.sqrt(found, out=found)


def _powered(overlaps: FloatArray, config: ClusteringConfig, slope: float) -> None:
    """(slope * overlap + c0) ** degree, eq. 3, in place."""
    overlaps *= slope
    overlaps += config.c0
    if config.degree == 4:
        np.square(overlaps, out=overlaps)
        np.square(overlaps, out=overlaps)
    else:
        np.power(overlaps, config.degree, out=overlaps)


def _check(rows: FloatArray, what: str) -> None:
    if not np.isfinite(rows).all():
        number = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
        raise StructureError(f"structure {number}: {what} is not finite; leave the structure out")
