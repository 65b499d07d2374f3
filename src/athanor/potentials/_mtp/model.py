"""The numbers that make a moment tensor potential (Novikov et al. 2021, eqs 1-6)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from athanor.structure import FloatArray

IntArray = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class IndexTables:
    """The basis as tables, in the meaning of the MLIP 1.1.0 format.

    Attributes
    ----------
    basic : (n_basic, 4), rows (mu, a, b, c): moment sum_j f_mu(r_j) x^a y^b z^c / r^(a+b+c);
        basic moments are numbered 0 .. n_basic - 1.
    times : (n_times, 4), rows (i, j, multiplier, k): M_k += multiplier * M_i * M_j, in this order;
        a moment is complete before it is used.
    mapping : (n_scalars,) the moments that are the scalar basis functions B.
    n_moments : number of all moments, basic and products.
    """

    basic: IntArray
    times: IntArray
    mapping: IntArray
    n_moments: int

    @property
    def n_radial(self) -> int:
        """Number of radial functions f_mu that the basic moments use."""
        return int(self.basic[:, 0].max()) + 1


@dataclass(frozen=True, slots=True)
class MtpModel:
    """A moment tensor potential with all its coefficients.

    Attributes
    ----------
    species : chemical symbols by species index.
    tables : the basis.
    min_dist, max_dist : ends of the Chebyshev interval, Å; max_dist is the cutoff.
    scaling : multiplies every radial basis value.
    radial : (n_species, n_species, n_radial, n_chebyshev), central species first, independent.
    species_coeffs : (n_species,) eV.
    moment_coeffs : (n_scalars,) eV.
    name : free text kept in the file.
    """

    species: tuple[str, ...]
    tables: IndexTables
    min_dist: float
    max_dist: float
    scaling: float
    radial: FloatArray
    species_coeffs: FloatArray
    moment_coeffs: FloatArray
    name: str = ""
