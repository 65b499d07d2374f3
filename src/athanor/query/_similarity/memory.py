"""What measuring the similarity of a pool takes, said before it begins."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from athanor.errors import ConfigError
from athanor.potentials._mtp.cost import free_memory
from athanor.query._similarity.coulomb import Ordering, row_length
from athanor.query._similarity.soap import n_features

if TYPE_CHECKING:
    from athanor.query.clustering import ClusteringConfig

MATRICES = 4
"""(n, n) arrays that live at once: both kernels, their sum, and distances (12) or a workspace."""
BASE = 200_000_000
"""Bytes of Python, the libraries and small arrays."""
SOAP_PER_ATOM = {"polynomial": 1e-3, "gto": 1.8e-4}
"""Seconds, two species, default sizes, in silica; as measured."""
CITYBLOCK = 4.7e-10
"""Seconds for one term of an L1 distance."""
MATRIX = 1.5e-7
"""Seconds for an element of a Coulomb matrix."""
EIGENVALUES = 4e-10
"""Seconds for the eigenvalues of a matrix, by the cube of its size."""
FLOP = 4e-11
"""Seconds for one operation of a matrix product."""


@dataclass(frozen=True, slots=True)
class SimilarityForecast:
    """What the similarity of a pool takes on one core.

    Attributes
    ----------
    bytes : of memory at the peak, in the process that clusters.
    worker_bytes : of memory in a process that makes one block of distances.
    seconds : by phase: "fingerprints", "coulomb", "partitions" (of all deltas).
    """

    bytes: int
    worker_bytes: int
    seconds: Mapping[str, float]

    def sentence(self) -> str:
        """One line for people."""
        phases = ", ".join(f"{name} {_time(took)}" for name, took in self.seconds.items())
        return (
            f"expected: {_size(self.bytes)} of memory, {_size(self.worker_bytes)} more in each "
            f"worker; on one core about {phases}"
        )


def forecast(
    n_structures: int,
    largest: int,
    config: ClusteringConfig,
    *,
    n_species: int = 1,
    memory_GB: float = 1.0,
) -> SimilarityForecast:
    """Bytes and seconds for `n_structures` of at most `largest` atoms, with `n_species` elements.

    Bytes are counted, seconds scaled from measured ones: within a factor of two or three.
    """
    n = n_structures
    features = n_features(config, n_species)
    row = row_length(largest, config.coulomb)
    spectra = spectra_bytes(config, largest, n_species)
    parts = blocks(n, largest, memory_GB, ordering=config.coulomb, spectra=spectra)
    width = max(map(len, parts), default=1)
    pairs = n * (n + 1) / 2
    matrices = 8 * MATRICES * n * n
    held = 8 * n * (features + 2 * min(config.max_clusters, n))
    size = (config.n_max / 8) ** 2 * (config.l_max + 1) / 9 * (config.cutoff / 6.0) ** 3
    product = largest**2 * pairs if config.average == "pairs" else pairs
    eigenvalues = EIGENVALUES * largest**3 if config.coulomb == "eigenvalues" else 0.0
    seconds = {
        "fingerprints": n * largest * SOAP_PER_ATOM[config.basis] * size
        + 2 * FLOP * product * features,
        "coulomb": pairs * row * CITYBLOCK
        + (len(parts) + 1) * n * (MATRIX * largest**2 + eigenvalues),
        "partitions": len(config.deltas) * (n**2 * min(config.max_clusters, n) * 4e-9 + 0.1),
    }
    kept = 2 if config.average == "pairs" else 1
    worker = 2 * width * (8 * row + spectra) + kept * 8 * width**2
    return SimilarityForecast(BASE + matrices + held, worker, seconds)


def check_memory(said: SimilarityForecast, n_structures: int) -> None:
    """Raise ConfigError when the similarities of a pool do not fit into the memory that is free."""
    free = free_memory()
    if free is None or said.bytes <= free:
        return
    fitting = int(n_structures * math.sqrt(max(0.0, (free - BASE) / said.bytes)))
    raise ConfigError(
        f"the similarities of {n_structures} structures need {_size(said.bytes)} of memory and "
        f"{_size(free)} are free: take every n-th frame, at most about {fitting}, or use a machine "
        "with more"
    )


def blocks(
    n_structures: int,
    size: int,
    memory_GB: float = 1.0,
    *,
    ordering: Ordering = "sorted",
    least: int = 1,
    spectra: int = 0,
) -> list[range]:
    """Ranges of structures such that what is held of two fits into `memory_GB`.

    Held are their Coulomb matrices, and `spectra` bytes for each structure (see `spectra_bytes`).

    There are `least` of them at least (where there are as many structures), of equal length within
    one; a task for each pair of them gives `coulomb_distances`. Of eigenvalues a single one holds
    more structures than there ever are: then the matrices are made once.
    """
    if n_structures == 0:
        return []
    room = int(memory_GB * 1e9 / (2 * (8 * row_length(size, ordering) + spectra)))
    count = max(least, math.ceil(n_structures / max(1, room)))
    count = min(count, n_structures)
    ends = [n_structures * k // count for k in range(count + 1)]
    return [range(first, last) for first, last in pairwise(ends)]


def spectra_bytes(config: ClusteringConfig, largest: int, n_species: int) -> int:
    """Bytes of a structure's power spectra by atom, 0 unless the config compares pairs of atoms."""
    return 8 * largest * n_features(config, n_species) if config.average == "pairs" else 0


def _size(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
