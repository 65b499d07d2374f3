"""From the numbers of an ANI ensemble to what evaluates it."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from athanor import _core
from athanor.errors import ConfigError, MissingExtraError
from athanor.potentials._ani.model import CELU_ALPHA, AevSpec, AniModel
from athanor.structure import FloatArray

Precision = Literal["float32", "float64"]
Device = Literal["cpu", "cuda", "auto"]

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


def program_of(model: AniModel, *, precision: Precision, device: Device = "cpu") -> Program:
    """What evaluates an ensemble: the kernel, or PyTorch on a CUDA device.

    Raises ValueError for what the kernel cannot evaluate; ConfigError, or MissingExtraError without
    PyTorch, where device is "cuda" and there is none.
    """
    double = precision == "float64"
    if device != "cpu" and _has_cuda(needed=device == "cuda"):
        from athanor.potentials._ani.torch_device import CUDA, TorchAni

        return TorchAni(model, device=CUDA, double=double)
    return _core.Ani.make(
        aev_of(model.aev),
        [list(network.weights) for network in model.networks],
        [list(network.biases) for network in model.networks],
        alpha=CELU_ALPHA,
        scale=model.scale,
        offsets=model.offsets,
        double=double,
    )


def _has_cuda(*, needed: bool) -> bool:
    """Whether PyTorch is there and finds a CUDA device; raises where one is needed."""
    if find_spec("torch") is None:
        if needed:
            raise MissingExtraError("torch", "ani")
        return False
    from athanor.potentials._ani import torch_device

    found = torch_device.has_cuda()
    if needed and not found:
        raise ConfigError(
            "device = 'cuda', but PyTorch finds no CUDA device here; give 'cpu', or 'auto' to use "
            "one where it is"
        )
    return found
