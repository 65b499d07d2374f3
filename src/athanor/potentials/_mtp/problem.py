"""What a fit is given: its settings, and the frames as rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from athanor.data.dataset import Dataset
from athanor.potentials._mtp.model import MtpModel
from athanor.potentials._mtp.program import program_of
from athanor.potentials._mtp.rows import Block, LossWeights, blocks_of


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How to descend.

    Attributes
    ----------
    weights : the loss.
    ridge : relative penalty of the linear coefficients.
    steps : most Levenberg-Marquardt steps at the full level on the whole training set.
    tolerance : stop when two steps in a row lower the loss by less than this fraction.
    patience : stop after so many steps without a better validation loss.
    core : whether pairs below min_dist repel.
    """

    weights: LossWeights
    ridge: float
    steps: int
    tolerance: float
    patience: int
    core: bool


@dataclass(frozen=True, slots=True)
class Data:
    """Training and validation frames as rows; rows do not depend on the level of the basis."""

    train: Sequence[Block]
    valid: Sequence[Block]
    n_frames: int

    @classmethod
    def of(cls, train: Dataset, valid: Dataset, *, model: MtpModel, settings: FitSettings) -> Data:
        silent = replace(
            model,
            species_coeffs=np.zeros_like(model.species_coeffs),
            moment_coeffs=np.zeros_like(model.moment_coeffs),
        )
        offset = program_of(silent, core=settings.core)
        blocks = [
            blocks_of(part, species=model.species, weights=settings.weights, offset=offset)
            for part in (train, valid)
        ]
        return cls(blocks[0], blocks[1], len(train))

    @property
    def n_rows(self) -> int:
        """Rows of the training set."""
        return sum(len(block.labels) for block in self.train)

    def arrays(self) -> Iterator[object]:
        """Everything that tells these data from others."""
        for part in (self.train, self.valid):
            yield len(part)
            for block in part:
                yield from (block.positions, block.types, block.offsets, block.cells)
                yield from (block.periodic, block.weights, block.labels, block.offset)


def thinned(train: Dataset, *, share: float, seed: int) -> Dataset:
    """One frame at random of every 1 / share in a row: neighbours in a file are often alike."""
    every = int(1 / share) if share < 1 else 1
    rng = np.random.default_rng(seed)
    firsts = range(0, len(train), every)
    return train.subset(
        int(rng.integers(first, min(first + every, len(train)))) for first in firsts
    )
