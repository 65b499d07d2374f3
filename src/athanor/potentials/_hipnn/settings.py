"""How a HIP-NN is fitted: the numbers of a recipe that the training needs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FitSettings:
    """Loss and descent.

    The loss of a structure of M atoms is (E^ - E)² + (l0 / M) sum_j |f^_j - f_j|² +
    stress_weight |V (s^ - s)|², eV² (Smith et al. 2021, eq. 1, and a term for the stress); with
    `per_atom` energy and virial V s are divided by M first.

    Attributes
    ----------
    l0 : Å².
    per_atom : whether energies and virials count per atom.
    stress_weight : of the squared virial; 0 leaves stress out.
    batch_size : structures per step.
    learning_rate : of AdamW in the beginning.
    max_epochs : passes over the training set at most.
    patience, decay, final_rate : the rate is multiplied by `decay` after `patience` epochs without
        a better validation loss; the fit ends when it is below `final_rate`.
    cooldown : share of `max_epochs` at the end in which the rate falls to zero besides.
    average : decay per step of the running mean of the weights, which is what is validated and
        kept; 0 keeps the weights themselves.
    weight_decay : of AdamW, on what hippynn names as subject to regularisation.
    threads : of torch; bits depend on it.
    """

    l0: float
    per_atom: bool
    stress_weight: float
    batch_size: int
    learning_rate: float
    max_epochs: int
    patience: int
    decay: float
    final_rate: float
    cooldown: float
    average: float
    weight_decay: float
    threads: int
