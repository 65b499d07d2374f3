"""Similarity to a training set, whose parameters come from it (eq. 11)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms

from athanor.query._similarity.coulomb import coulomb_rows, row_length
from athanor.query._similarity.kernels import (
    coulomb_kernel,
    first_equal,
    hybrid,
    normalised,
    pair_kernel,
    slope_of,
    soap_kernel,
    soap_similarities,
    unified,
    zeta_of,
)
from athanor.query._similarity.soap import atom_fingerprints, fingerprints
from athanor.structure import FloatArray, bare, structure_id

if TYPE_CHECKING:
    from athanor.query.clustering import ClusteringConfig

CHUNK_BYTES = 2**27
"""Coulomb matrices that are held at once."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A similarity with fixed parameters, and the structures it compares with.

    Attributes
    ----------
    config : the recipe.
    species : elements that fingerprints tell apart.
    delta, slope, zeta : of eqs 11, 3 and 10.
    training : geometries compared with.
    spectra : fingerprints of them: (n, n_features), or for "pairs" one array per structure.
    """

    config: ClusteringConfig
    species: tuple[str, ...]
    delta: float
    slope: float
    zeta: float
    training: tuple[Atoms, ...]
    spectra: FloatArray | tuple[FloatArray, ...]

    @classmethod
    def of(
        cls,
        training: Sequence[Atoms],
        config: ClusteringConfig,
        *,
        species: Sequence[str],
        delta: float,
    ) -> Measure:
        """With slope and zeta from the training set, where the config leaves them open."""
        spectra = _spectra(training, config, species)
        rows = np.concatenate(spectra) if isinstance(spectra, tuple) else spectra
        slope = config.slope or slope_of(np.einsum("ij,ij->i", rows, rows))
        zeta = config.zeta or _zeta(training, config)
        kept = tuple(map(bare, training))
        return cls(config, tuple(species), delta, slope, zeta, kept, spectra)

    def to_training(self, structures: Sequence[Atoms]) -> FloatArray:
        """Similarity of structures to the training set, (n, n_training); equal ones exactly 1."""
        spectra = _spectra(structures, self.config, self.species)
        soap = self._soap(spectra)
        coulomb = np.exp(-self.zeta * _l1(structures, self.training, self.config))
        found = hybrid(soap, coulomb, self.delta)
        known = {structure_id(atoms): number for number, atoms in enumerate(self.training)}
        for number, atoms in enumerate(structures):
            if (same := known.get(structure_id(atoms))) is not None:
                found[number, same] = 1.0
        return found

    def between(self, structures: Sequence[Atoms]) -> FloatArray:
        """Similarity of structures to each other, (n, n)."""
        spectra = _spectra(structures, self.config, self.species)
        if isinstance(spectra, tuple):
            soap = normalised(pair_kernel(spectra, spectra, self.config, slope=self.slope))
            firsts = first_equal(np.array([rows.sum(axis=0) for rows in spectra]))
            soap = unified(soap, firsts)
        else:
            soap = soap_kernel(spectra, self.config, slope=self.slope)
        coulomb = coulomb_kernel(_l1(structures, structures, self.config), self.zeta)
        return hybrid(soap, coulomb, self.delta)

    def _soap(self, spectra: FloatArray | tuple[FloatArray, ...]) -> FloatArray:
        if isinstance(spectra, tuple):
            assert isinstance(self.spectra, tuple), "made by the same config"
            raw = pair_kernel(spectra, self.spectra, self.config, slope=self.slope)
            own, theirs = (
                np.sqrt([pair_kernel([a], [a], self.config, slope=self.slope)[0, 0] for a in side])
                for side in (spectra, self.spectra)
            )
            return np.minimum(raw / own[:, None] / theirs, 1.0)
        return soap_similarities(spectra, np.asarray(self.spectra), self.config, slope=self.slope)


def _spectra(
    structures: Sequence[Atoms], config: ClusteringConfig, species: Sequence[str]
) -> FloatArray | tuple[FloatArray, ...]:
    if config.average == "pairs":
        return tuple(atom_fingerprints(structures, config, species=species))
    return fingerprints(structures, config, species=species)


def _zeta(training: Sequence[Atoms], config: ClusteringConfig) -> float:
    """`zeta_of` the training set; of one structure, 1 / what its matrix differs from none by."""
    distances = _l1(training, training, config)
    if distances.max() > 0:
        return zeta_of(distances)
    rows = coulomb_rows(training[:1], size=len(training[0]), ordering=config.coulomb)
    return 1.0 / float(np.abs(rows).sum())


def _l1(first: Sequence[Atoms], second: Sequence[Atoms], config: ClusteringConfig) -> FloatArray:
    """`coulomb_distances` of any number of structures, a block of their matrices at a time."""
    from scipy.spatial.distance import cdist

    size = max(map(len, (*first, *second)))
    step = max(1, CHUNK_BYTES // (8 * row_length(size, config.coulomb)))
    found = np.empty((len(first), len(second)))
    for top in range(0, len(first), step):
        rows = coulomb_rows(first[top : top + step], size=size, ordering=config.coulomb)
        for left in range(0, len(second), step):
            others = coulomb_rows(second[left : left + step], size=size, ordering=config.coulomb)
            found[top : top + step, left : left + step] = cdist(rows, others, "cityblock")
    return found
