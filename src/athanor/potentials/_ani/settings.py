"""How an ANI ensemble is fitted: the numbers of a recipe that the training needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from athanor.potentials._ani.program import Device, Precision
from athanor.potentials._members import Resample

Route = Literal["exact", "displaced"]


@dataclass(frozen=True, slots=True)
class LossWeights:
    """Eq. 1 of Smith et al. 2021 and its options.

    The loss of a structure of M atoms is (E^ - E)² + (l0 / M) sum_j |f^_j - f_j|² +
    stress_weight |V (s^ - s)|², eV²; with `per_atom` energy and virial V s are divided by M first.

    Attributes
    ----------
    l0 : Å².
    per_atom : whether energies (and virials) count per atom.
    stress_weight : of the squared virial; 0 leaves stress out.
    """

    l0: float = 0.01
    per_atom: bool = False
    stress_weight: float = 0.0


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How to descend.

    Attributes
    ----------
    size : members.
    layers : hidden units of each hidden layer.
    loss : what is minimised.
    resample : how the training sets of the members differ.
    energy_only : train frames whose forces are not finite on their energies; otherwise they are
        refused.
    optimizer : AdamW in the bases of SOAP (see `bases.py`), or by parameter.
    batch_size : structures per step.
    learning_rate : of AdamW in the beginning.
    max_epochs : passes over the training set at most.
    refit_epochs : the same for a fit that goes on from a start; None for half as many.
    patience, decay, final_rate : a member's rate is multiplied by `decay` after `patience` epochs
        without a better validation loss; the member ends when its rate is below `final_rate`.
    cooldown : share of `max_epochs` at the end in which all rates fall to zero besides.
    average : decay per step of the running mean of the weights, which is what is validated and
        kept; 0 keeps the weights themselves.
    weight_decay : of AdamW.
    precision : of the networks; energies and offsets are float64 always.
    route : to the gradient of the force term: exact, or the paper's two displaced passes.
    device : where the networks are evaluated; "auto" is CUDA where there is one.
    memory : bytes of environment vectors that are kept rather than made anew in every step.
    threads : None for as many as this process may use; bits do not depend on it.
    """

    size: int = 8
    layers: tuple[int, ...] = (96, 96, 64)
    loss: LossWeights = LossWeights()
    resample: Resample = "bootstrap"
    energy_only: bool = False
    optimizer: Literal["adamw", "soap"] = "soap"
    batch_size: int = 4
    learning_rate: float = 5e-3
    max_epochs: int = 200
    refit_epochs: int | None = None
    patience: int = 25
    decay: float = 0.5
    final_rate: float = 1e-5
    cooldown: float = 0.4
    average: float = 0.99
    weight_decay: float = 1e-4
    precision: Precision = "float32"
    route: Route = "exact"
    device: Device = "cpu"
    memory: float = 2e9
    threads: int | None = None
