"""The part of the recipe that a fit needs, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SparseMethod = Literal["cur_points", "cur_covariance", "random", "cluster", "uniform"]
Compression = Literal["none", "radial", "radial_species"]


@dataclass(frozen=True, slots=True)
class GapSettings:
    """See the fields of `GapConfig`, whose names these are."""

    cutoff: float
    transition_width: float
    atom_sigma: float
    n_max: int
    l_max: int
    zeta: float
    soap_delta: float
    n_sparse: int
    sparse_method: SparseMethod
    compression: Compression
    pair: bool
    pair_cutoff: float
    pair_transition_width: float
    pair_delta: float
    pair_theta: float
    pair_n_sparse: int
    sigma_energy: float
    sigma_force: float
    sigma_virial: float
    sparse_jitter: float
    memory_GB: float | None
    time_limit: float | None

    @property
    def reach(self) -> float:
        """Å; how far atoms feel each other."""
        return max(self.cutoff, self.pair_cutoff) if self.pair else self.cutoff
