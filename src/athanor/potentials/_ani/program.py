"""From the numbers of an ANI ensemble to what evaluates it."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from athanor import _core
from athanor.potentials._ani.model import CELU_ALPHA, AevSpec, AniModel
from athanor.structure import FloatArray

Precision = Literal["float32", "float64"]

Evaluation = tuple[FloatArray, FloatArray, FloatArray, float, FloatArray, FloatArray]


class Program(Protocol):
    """What evaluates an ensemble on one structure: the kernel, or its twin."""

    @property
    def n_members(self) -> int: ...

    def evaluate(
        self,
        positions: FloatArray,
        types: NDArray[np.int32],
        cell: FloatArray,
        periodic: NDArray[np.bool_],
        *,
        forces: bool = True,
        each: bool = False,
        features: bool = False,
        threads: int = 1,
        isa: str = "auto",
        skin: _core.SkinList | None = None,
    ) -> Evaluation: ...


def aev_of(spec: AevSpec) -> _core.Aev:
    """The kernel of an environment vector."""
    return _core.Aev.make(
        n_species=len(spec.species),
        radial_cutoff=spec.radial_cutoff,
        angular_cutoff=spec.angular_cutoff,
        eta_r=spec.eta_r,
        shf_r=np.array(spec.shf_r),
        eta_a=spec.eta_a,
        zeta=spec.zeta,
        shf_a=np.array(spec.shf_a),
        shf_z=np.array(spec.shf_z),
    )


def program_of(model: AniModel, *, precision: Precision) -> Program:
    """The kernel of an ensemble; ValueError where it cannot evaluate one."""
    return _core.Ani.make(
        aev_of(model.aev),
        [list(network.weights) for network in model.networks],
        [list(network.biases) for network in model.networks],
        alpha=CELU_ALPHA,
        scale=model.scale,
        offsets=model.offsets,
        double=precision == "float64",
    )
