"""What a HIP-NN potential consists of, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from athanor.structure import FloatArray

Precision = Literal["float32", "float64"]
TensorOrder = Literal[0, 1, 2]

Weights = Mapping[str, NDArray[Any]]
"""Parameters by the names that hippynn's modules give them."""


@dataclass(frozen=True, slots=True)
class HipnnSpec:
    """Architecture (Lubbers et al. 2018, doi 10.1063/1.5011181; tensor sensitivities: Chigaev et
    al. 2023, doi 10.1063/5.0142127).

    Attributes
    ----------
    species : chemical symbols in the order of the species indices.
    cutoff : Å, of the pairs of one interaction layer (hippynn: dist_hard_max).
    soft_min, soft_max : Å, where the first and the last sensitivity have their peaks at first.
    width : features of each atom (n_features).
    sensitivities : distance functions of each interaction layer (n_sensitivities).
    interactions : interaction layers; through them an atom feels `interactions * cutoff` far.
    atom_layers : on-site layers after each of them (n_atom_layers).
    tensor_order : 0 for HIP-NN, 1 and 2 for HIP-NN-TS with vectors, and with quadrupoles.
    cusp_reg : with tensors: their norms are sqrt(|t|² + cusp_reg).
    precision : of the networks; positions, energies and offsets are float64 always.
    """

    species: tuple[str, ...]
    cutoff: float
    soft_min: float
    soft_max: float
    width: int
    sensitivities: int
    interactions: int
    atom_layers: int
    tensor_order: TensorOrder
    cusp_reg: float
    precision: Precision

    @property
    def n_environment(self) -> int:
        """Numbers per pair and feature that an interaction layer sums over neighbours."""
        return self.sensitivities * (self.tensor_order + 1) ** 2


@dataclass(frozen=True, slots=True, eq=False)
class HipnnModel:
    """A fitted network: E = sum_i (scale * network_i + offsets[species_i]), eV.

    Attributes
    ----------
    spec : architecture.
    weights : every parameter, in the precision of the spec.
    offsets : (n_species,) eV.
    scale : eV of one unit of the network's output.
    """

    spec: HipnnSpec
    weights: Weights
    offsets: FloatArray
    scale: float
