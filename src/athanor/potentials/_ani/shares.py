"""How often each member sees each structure: resampling as weights, so that geometry is shared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from athanor.data.dataset import Dataset
from athanor.potentials._members import Resample, training_sets
from athanor.structure import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Shares:
    """Multiplicities of the frames of `both` in the sets of each member.

    Attributes
    ----------
    both : training and validation frames together.
    train, valid : (n_members, n_frames).
    """

    both: Dataset
    train: FloatArray
    valid: FloatArray

    @classmethod
    def of(
        cls, train: Dataset, valid: Dataset, *, size: int, seed: int, resample: Resample
    ) -> Shares:
        """What `training_sets` gives each member, as multiplicities."""
        both = train.joined(valid)
        # frames are the same objects in every set; one that is there twice counts twice
        number = {id(frame): k for k, frame in enumerate(both)}
        sets = training_sets(train, valid, size=size, seed=seed, resample=resample)
        tables = np.zeros((2, size, len(both)))
        for member, pair in enumerate(sets):
            for table, part in zip(tables, pair, strict=True):
                np.add.at(table[member], [number[id(frame)] for frame in part], 1.0)
        return cls(both, tables[0], tables[1])

    def trained(self) -> NDArray[np.intp]:
        """Frames that any member is trained on."""
        return np.flatnonzero(self.train.any(axis=0))

    def validated(self) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """(members, frames) for each group of frames that the same members are validated by."""
        frames = np.flatnonzero(self.valid.any(axis=0))
        if not len(frames):
            return []
        patterns, group = np.unique(self.valid[:, frames] > 0, axis=1, return_inverse=True)
        return [
            (np.flatnonzero(patterns[:, k]), frames[group.ravel() == k])
            for k in range(patterns.shape[1])
        ]
