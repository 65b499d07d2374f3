"""Similarity and clusters: the smallest share of a pool that stands for all of it.

Shuaib et al. 2024 (J. Am. Ceram. Soc.): a hybrid of a SOAP and a Coulomb-matrix kernel, spectral
clusters of it, and a few structures of each cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from ase import Atoms
from pydantic import Field, model_validator

from athanor.data.dataset import Dataset
from athanor.errors import FitError, UnknownElementError
from athanor.potentials import Potential
from athanor.query import Grade, QueryConfig
from athanor.query._clusters.drawing import farthest_points
from athanor.query._clusters.partition import divided
from athanor.query._similarity.coulomb import Ordering
from athanor.query._similarity.extra import require_extra
from athanor.query._similarity.kernels import distance
from athanor.query._similarity.measure import Measure
from athanor.structure import FloatArray, structure_id

DELTAS = tuple(round(0.1 * step, 1) for step in range(11))
"""The scan of the paper."""
DELTA = 0.5
"""Weight of the Coulomb kernel where there is nothing to choose it by."""


@dataclass(frozen=True, slots=True)
class ClusteringQuery:
    """How unlike a structure is to all of the training set, and clusters of what is unlike.

    Attributes
    ----------
    measure : of similarity, with its parameters taken from the training set.
    config : the recipe.
    save : distance above which a structure is worth a label.
    known : ids of structures that are labelled already, which are not selected.
    """

    measure: Measure
    config: ClusteringConfig
    save: float
    known: frozenset[str] = frozenset()

    def grade(self, structures: Sequence[Atoms]) -> list[Grade]:
        """Distance (12) to the nearest training structure, 0 to sqrt 2; nothing is halted.

        There is no grade by atom: the measure is one of whole structures.
        """
        if not structures:
            return []
        nearest = distance(self.measure.to_training(structures)).min(axis=1)
        return [
            Grade(float(value), None, "save" if value > self.save else "keep") for value in nearest
        ]

    def select(
        self,
        pool: Sequence[Atoms],
        grades: Sequence[Grade],
        budget: int,
        rng: np.random.Generator,
    ) -> list[int]:
        """Structures graded above `save`, from their clusters in turn, the most central first.

        There are as many clusters as their mean distance asks for (eq. 13), at most `budget`, the
        one with the largest grade first; the further ones of a cluster are each as far as can be
        from those of it taken before. Equal structures count once; known ones are left out.
        Deterministic: `rng` is not used.
        """
        offered = self._offered(pool, grades)
        if budget <= 0 or not offered:
            return []
        kernel = self.measure.between([pool[index] for index in offered])
        clusters = divided(kernel, min(budget, self.config.max_clusters), self.config)
        values = np.array([grades[index].value for index in offered])
        order = _in_turn(distance(kernel), clusters, values)
        return [offered[k] for k in order[:budget]]

    def _offered(self, pool: Sequence[Atoms], grades: Sequence[Grade]) -> list[int]:
        met, found = set(self.known), []
        for index, (atoms, grade) in enumerate(zip(pool, grades, strict=True)):
            identity = structure_id(atoms)
            if grade.unphysical or not grade.value > self.save or identity in met:
                continue
            met.add(identity)
            found.append(index)
        return found


def _in_turn(distances: FloatArray, clusters: np.ndarray, values: FloatArray) -> list[int]:
    """All structures, one of each cluster in turn."""
    queues = []
    for cluster in range(int(clusters.max()) + 1):
        own = np.flatnonzero(clusters == cluster)
        block = distances[np.ix_(own, own)]
        central = int(block.sum(axis=1).argmin())
        # nothing is drawn, since a start is given
        rest = farthest_points(block, len(own), np.random.default_rng(0), start=[central])
        queues.append([int(own[k]) for k in (central, *rest)])
    queues.sort(key=lambda queue: -float(values[queue].max()))
    longest = max(map(len, queues))
    return [queue[turn] for turn in range(longest) for queue in queues if turn < len(queue)]


class ClusteringConfig(QueryConfig):
    """Asks for structures of every cluster that a SOAP + Coulomb-matrix similarity finds."""

    kind: Literal["clustering"] = "clustering"
    cutoff: float = Field(default=6.0, gt=1.0, le=20.0, description="Å, of SOAP environments")
    n_max: int = Field(default=8, ge=1, le=20, description="radial functions of SOAP")
    l_max: int = Field(default=8, ge=0, le=20, description="highest angular momentum of SOAP")
    sigma: float = Field(default=0.5, gt=0.05, le=3.0, description="Å, width of SOAP's Gaussians")
    basis: Literal["polynomial", "gto"] = Field(
        default="polynomial",
        description="radial functions of SOAP: polynomial is the paper's, gto several times faster",
    )
    species: tuple[str, ...] | None = Field(
        default=None, description="chemical symbols that SOAP tells apart; by default the data's"
    )
    degree: int = Field(default=4, ge=1, le=20, description="power of the SOAP kernel (eq. 3)")
    c0: float = Field(default=1.0, ge=0.0, description="offset of the SOAP kernel (eq. 3)")
    slope: float | None = Field(
        default=None,
        gt=0.0,
        description="of the SOAP kernel (eq. 3); by default 1 / mean overlap of the data's "
        "fingerprints with themselves",
    )
    average: Literal["fingerprint", "pairs"] = Field(
        default="fingerprint",
        description="of SOAP kernels over atoms, which eq. 9 takes for equal: fingerprint, the "
        "power of the mean, one matrix product; pairs, the mean of powers, n_atoms² times as much",
    )
    coulomb: Ordering = Field(
        default="eigenvalues",
        description="what makes Coulomb matrices independent of the order of atoms: eigenvalues, "
        "these are compared; sorted, entries are, rows ordered by their norm (liquids and glasses "
        "are then about as far from themselves as from each other)",
    )
    zeta: float | None = Field(
        default=None,
        gt=0.0,
        description="decay of the Coulomb kernel (eq. 6), 1 over the unit of its matrix; by "
        "default 1 / median of the data's distances",
    )
    delta: float | None = Field(
        default=None,
        ge=0.0,
        le=1.0,
        description="weight of the Coulomb kernel (eq. 11); by default the best of 0, 0.1, ... 1 "
        "where a pool is distilled, 0.5 in a campaign",
    )
    affinity: Literal["similarity", "distance"] = Field(
        default="similarity",
        description="weight of a graph's edge: similarity, or the distance (12) as the paper has",
    )
    d_tol: float = Field(
        default=1e-3,
        gt=0.0,
        description="change of the mean distance between clusters below which it has settled",
    )
    patience: int = Field(
        default=3,
        ge=1,
        description="clusters over which the change is averaged that must be below d_tol; 1 as "
        "printed",
    )
    max_clusters: int = Field(default=60, ge=2, description="most clusters that are tried")
    save: float = Field(
        default=0.0,
        ge=0.0,
        le=1.4,
        description="distance (12) to the training set above which a label is bought in a campaign",
    )

    @property
    def deltas(self) -> tuple[float, ...]:
        """The weights of eq. 11 to scan."""
        return DELTAS if self.delta is None else (self.delta,)

    @model_validator(mode="after")
    def _known(self) -> Self:
        from ase.data import atomic_numbers

        for symbol in self.species or ():
            if atomic_numbers.get(symbol, 0) == 0:
                raise ValueError(f"species: there is no element {symbol!r}; give symbols as 'Si'")
        return self

    def fit(self, potential: Potential, train: Dataset) -> ClusteringQuery:
        """Measure the training set; the potential says only which elements there may be.

        Raises
        ------
        FitError : an empty training set.
        UnknownElementError : `species` lacks an element of the potential.
        MissingExtraError : DScribe or scikit-learn is not installed.
        """
        require_extra()
        if not len(train):
            raise FitError(
                "clustering measures distances from the training set, which is empty; give start "
                "structures"
            )
        elements = sorted(potential.elements | train.elements)
        lacking = sorted(set(elements) - set(self.species or elements))
        if lacking:
            raise UnknownElementError(
                f"[query] species lacks {', '.join(lacking)}, which the potential has; add it, or "
                "leave species out"
            )
        measure = Measure.of(
            train.structures,
            self,
            species=elements,
            delta=DELTA if self.delta is None else self.delta,
        )
        known = frozenset(map(structure_id, train.structures))
        return ClusteringQuery(measure, self, self.save, known)
