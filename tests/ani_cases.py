"""Random environment vectors, networks and batches for the tests of ANI potentials."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from athanor.potentials._ani.model import AevSpec, AniModel, Network


def spec_of(
    species: Sequence[str], *, radial: float = 4.5, angular: float = 3.6, zeta: float = 9.3
) -> AevSpec:
    """Small and of odd sizes: 7 radial, 3 x 5 angular components."""
    return AevSpec(
        species=tuple(species),
        radial_cutoff=radial,
        angular_cutoff=angular,
        eta_r=5.0,
        shf_r=tuple(np.linspace(1.5, 4.2, 7)),
        eta_a=2.5,
        zeta=zeta,
        shf_a=tuple(np.linspace(1.7, 3.3, 3)),
        shf_z=tuple((np.arange(5) + 0.5) * np.pi / 5),
    )


def random_spec(rng: np.random.Generator, species: Sequence[str]) -> AevSpec:
    """Every number drawn, counts from 1 to beyond a vector's lanes, either cutoff the larger."""
    n_radial, n_shells, n_angles = (int(rng.integers(1, most)) for most in (20, 6, 12))
    return AevSpec(
        species=tuple(species),
        radial_cutoff=rng.uniform(3.2, 5.0),
        angular_cutoff=rng.uniform(3.0, 4.5),
        eta_r=rng.uniform(1, 40),
        shf_r=tuple(rng.uniform(1.0, 5.0, n_radial)),
        eta_a=rng.uniform(0.5, 8),
        zeta=rng.uniform(1.5, 70),
        shf_a=tuple(rng.uniform(1.0, 4.5, n_shells)),
        shf_z=tuple(rng.uniform(0, np.pi, n_angles)),
    )


def random_model(
    rng: np.random.Generator, spec: AevSpec, *, n_members: int = 3, n_layers: int = 2
) -> AniModel:
    """Networks of drawn sizes, other ones for each species, and offsets of a few eV."""
    networks = []
    for _ in spec.species:
        sizes = (spec.length, *rng.integers(1, 20, n_layers).tolist(), 1)
        shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
        weights = [rng.normal(size=(n_members, *s)) / s[1] ** 0.5 for s in shapes]
        biases = [rng.normal(size=(n_members, s[0])) / 5 for s in shapes]
        networks.append(
            Network(
                tuple(one.astype(np.float32) for one in weights),
                tuple(one.astype(np.float32) for one in biases),
            )
        )
    offsets = rng.normal(scale=2, size=(n_members, len(spec.species)))
    return AniModel(spec, tuple(networks), offsets, scale=float(rng.uniform(0.5, 3)))


def batch_of(batch: Sequence[Atoms], species: Sequence[str]) -> dict[str, np.ndarray]:
    """Many structures as the kernels take them."""
    order = list(species)
    return {
        "positions": np.concatenate([atoms.positions for atoms in batch]),
        "types": np.array(
            [order.index(symbol) for atoms in batch for symbol in atoms.symbols], dtype=np.int32
        ),
        "offsets": np.cumsum([0, *map(len, batch)]).astype(np.int64),
        "cells": np.stack([atoms.cell.array for atoms in batch]),
        "periodic": np.stack([atoms.pbc for atoms in batch]),
    }


def structure_of(atoms: Atoms, species: Sequence[str]) -> dict[str, np.ndarray]:
    """One structure as the kernels take it."""
    batch = batch_of([atoms], species)
    return {
        "positions": batch["positions"],
        "types": batch["types"],
        "cell": batch["cells"][0],
        "periodic": batch["periodic"][0],
    }
