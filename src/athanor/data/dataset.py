"""A dataset: labelled frames in order, checked once, immutable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from athanor.structure import Frame, Labels, check_structure, check_trainable


@dataclass(frozen=True, slots=True)
class Dataset:
    """Labelled frames in a fixed order.

    Raises
    ------
    StructureError, LabelError : from `of`, for the first frame that cannot be trained on.
    """

    frames: tuple[Frame, ...] = ()

    @classmethod
    def of(
        cls, frames: Iterable[Frame], *, where: str = "dataset", forces_optional: bool = False
    ) -> Dataset:
        """Check every frame and keep them in the order given; forces may be absent where said."""
        kept = tuple(frames)
        for number, frame in enumerate(kept):
            name = f"{where}, frame {number}"
            check_structure(frame.atoms, where=name)
            check_trainable(
                frame.labels, len(frame.atoms), where=name, forces_optional=forces_optional
            )
        return cls(kept)

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[Frame]:
        return iter(self.frames)

    def __getitem__(self, index: int) -> Frame:
        return self.frames[index]

    @property
    def structures(self) -> list[Atoms]:
        return [frame.atoms for frame in self.frames]

    @property
    def labels(self) -> list[Labels]:
        return [frame.labels for frame in self.frames]

    @property
    def elements(self) -> frozenset[str]:
        """Chemical symbols that occur."""
        return frozenset(symbol for frame in self.frames for symbol in frame.atoms.symbols)

    @property
    def n_atoms(self) -> int:
        return sum(len(frame.atoms) for frame in self.frames)

    def subset(self, indices: Iterable[int]) -> Dataset:
        return Dataset(tuple(self.frames[i] for i in indices))

    def joined(self, other: Dataset) -> Dataset:
        return Dataset(self.frames + other.frames)

    def split(self, fraction: float, *, seed: int) -> tuple[Dataset, Dataset]:
        """Split at random into (rest, `fraction` of the frames); both keep the original order.

        With one frame, or fraction 0, the second part is empty.
        """
        n_second = min(round(fraction * len(self)), len(self) - 1) if len(self) else 0
        chosen = set(np.random.default_rng(seed).permutation(len(self))[:n_second].tolist())
        first = [i for i in range(len(self)) if i not in chosen]
        return self.subset(first), self.subset(sorted(chosen))
