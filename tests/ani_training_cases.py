"""Small structures with random labels, and members with random weights, for training tests."""

from __future__ import annotations

import numpy as np
import torch
from ase.build import bulk

from athanor.data.dataset import Dataset
from athanor.potentials._ani.evaluation import Evaluation, Standard
from athanor.potentials._ani.frames import Frames
from athanor.potentials._ani.model import AevSpec
from athanor.potentials._ani.networks import Layout
from athanor.potentials._ani.settings import LossWeights
from athanor.potentials._ani.twin import TwinAev
from athanor.structure import Frame, Labels

MEMBERS = 3


def spec_of(*species: str) -> AevSpec:
    return AevSpec(
        species=species,
        radial_cutoff=4.6,
        angular_cutoff=3.5,
        eta_r=8.0,
        shf_r=(1.3, 2.0, 2.7, 3.4),
        eta_a=4.0,
        zeta=8.0,
        shf_a=(1.4, 2.4),
        shf_z=(0.4, 1.6),
    )


def frames_of(species: tuple[str, ...], *, seed: int, count: int = 3) -> Dataset:
    """Small cells with random labels, one of them without stress."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        atoms = bulk("Al", a=rng.uniform(3.8, 4.1), cubic=True)
        atoms.rattle(0.2, rng=rng)
        atoms.set_cell(atoms.cell.array + rng.normal(size=(3, 3)) * 0.1, scale_atoms=True)
        atoms.symbols = [species[k % len(species)] for k in range(number, number + len(atoms))]
        stress = rng.normal(size=(3, 3)) * 0.1
        labels = Labels(
            float(rng.normal()),
            rng.normal(size=(len(atoms), 3)),
            None if number == 1 else stress + stress.T,
        )
        found.append(Frame(atoms, labels, origin=f"file {number}"))
    return Dataset(tuple(found))


class Case:
    """Random members on a few random structures, in float64 through the twin."""

    def __init__(self, species: tuple[str, ...], *, seed: int, weights: LossWeights) -> None:
        rng = np.random.default_rng(seed)
        spec = spec_of(*species)
        self.frames = Frames.of(
            frames_of(species, seed=seed), species=spec.species, energy_only=False
        )
        self.layout = Layout(len(species), (spec.length, 6, 5, 4, 1))
        flat = rng.normal(size=(MEMBERS, self.layout.size)) * 0.4
        self.flat = torch.from_numpy(flat)
        self.standard = Standard(
            rng.normal(size=spec.length) * 0.1, rng.uniform(0.5, 2.0, size=spec.length), 0.37
        )
        self.shares = rng.integers(1, 4, size=(MEMBERS, len(self.frames))).astype(float)
        self.shares[0, 0], self.shares[1, 1] = 2.0, 0.0
        self.spec, self.weights = spec, weights
        self.evaluation = self.evaluated(torch.float64)
        self.inputs = self.evaluation.inputs(self.frames)

    def evaluated(self, dtype: torch.dtype) -> Evaluation:
        return Evaluation(
            TwinAev(self.spec), self.layout, self.standard, weights=self.weights, dtype=dtype
        )

    def total(self, flat: torch.Tensor) -> np.ndarray:
        """(n_members,) the loss that is minimised."""
        found = self.evaluation.losses(flat, self.frames, self.inputs, members=np.arange(MEMBERS))
        return (self.shares * found.losses).sum(axis=1)
