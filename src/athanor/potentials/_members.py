"""Fitting the members of an ensemble: their training sets, and what is kept between them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from athanor.data.dataset import Dataset
from athanor.potentials import FIT_LOG, Potential, PotentialConfig
from athanor.structure import structure_id

Resample = Literal["bootstrap", "split", "none"]


def training_sets(
    train: Dataset, valid: Dataset, *, size: int, seed: int, resample: Resample
) -> list[tuple[Dataset, Dataset]]:
    """The training and validation set of each member; every element of `train` is in every one.

    - bootstrap: the first has the whole training set, the others as many frames drawn from it with
      replacement; all are validated alike.
    - split: both sets together are cut into `size` parts at random, and each member is validated
      by one of them and trained on the rest.
    - none: all have both sets as they are.
    """
    rng = np.random.default_rng([seed, size])
    if resample == "none" or len(train) == 0:
        return [(train, valid)] * size
    if resample == "bootstrap":
        drawn = (np.sort(rng.integers(len(train), size=len(train))) for _ in range(size - 1))
        return [(train, valid), *((_complete(train, row.tolist()), valid) for row in drawn)]
    both = train.joined(valid)
    parts = np.array_split(rng.permutation(len(both)), size)
    return [_without(both, set(part.tolist())) for part in parts]


def _complete(data: Dataset, chosen: list[int]) -> Dataset:
    """The chosen frames, and the first frame of each element that they lack."""
    kept = list(chosen)
    for element in sorted(data.elements):
        if not any(element in data[index].atoms.symbols for index in kept):
            kept.append(next(i for i, frame in enumerate(data) if element in frame.atoms.symbols))
    return data.subset(kept)


def _without(data: Dataset, part: set[int]) -> tuple[Dataset, Dataset]:
    """All frames but those of `part`, and these; nothing is set apart from a single frame."""
    rest = [index for index in range(len(data)) if index not in part]
    return _complete(data, rest or sorted(part)), data.subset(sorted(part) if rest else [])


@dataclass(frozen=True)
class Workplace:
    """Where members are fitted one after the other, and found again after an interruption.

    Attributes
    ----------
    folder : the workdir of the whole fit.
    recipe : of every member.
    size : number of members.
    seed : of the whole fit; the first member has it too, so that it is the plain fit.
    """

    folder: Path
    recipe: PotentialConfig
    size: int
    seed: int

    def member(
        self, number: int, train: Dataset, valid: Dataset, *, start: Potential | None
    ) -> Potential:
        """Fit one member, or load it where the same fit was finished before."""
        seed = self._seed(number)
        inside = self.folder / f"member_{number:03d}"
        done = inside / f"done-{self._identity(train, valid, seed=seed, start=start)}"
        if done.exists():
            return self.recipe.load(done)
        inside.mkdir(parents=True, exist_ok=True)
        self.announce(f"member {number + 1} of {self.size}", number, inside=inside.name)
        fitted = self.recipe.fit(train, valid, seed=seed, workdir=inside, start=start)
        fitted.save(done)
        return fitted

    def announce(self, stage: str, step: int, *, inside: str | None = None) -> None:
        """Append to the log of the fit; `inside` is the subfolder whose own log says more."""
        self.folder.mkdir(parents=True, exist_ok=True)
        line = {"stage": stage, "step": step, "steps": self.size, "inside": inside}
        with (self.folder / FIT_LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _seed(self, number: int) -> int:
        drawn = np.random.SeedSequence([self.seed, number]).generate_state(1)
        return int(drawn[0]) if number else self.seed

    def _identity(
        self, train: Dataset, valid: Dataset, *, seed: int, start: Potential | None
    ) -> str:
        """What a finished member was made from; a start is known by what it predicts."""
        digest = hashlib.sha256(f"{self.recipe.model_dump_json()} {seed}".encode())
        for data in (train, valid):
            digest.update(f" {len(data)}".encode())
            for frame in data:
                digest.update(structure_id(frame.atoms).encode())
                digest.update(np.float64(frame.labels.energy).tobytes())
                digest.update(np.ascontiguousarray(frame.labels.forces).tobytes())
                if frame.labels.stress is not None:
                    digest.update(np.ascontiguousarray(frame.labels.stress).tobytes())
        known = [
            atoms for atoms in train.structures if start and set(atoms.symbols) <= start.elements
        ]
        if start is not None:
            digest.update(b" start")
            for labels in start.predict(known[:1]):
                digest.update(np.float64(labels.energy).tobytes() + labels.forces.tobytes())
        return digest.hexdigest()[:32]
