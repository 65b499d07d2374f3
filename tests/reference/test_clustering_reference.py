"""Clusters of real first-principles frames: silicon of Zuo et al. (2020)."""

from __future__ import annotations

import numpy as np
import pytest
from ase.io import read

from athanor.query._clusters.partition import Partition, partition
from athanor.query._similarity.coulomb import coulomb_distances
from athanor.query._similarity.kernels import coulomb_kernel, hybrid, soap_kernel
from athanor.query._similarity.soap import fingerprints
from athanor.query.clustering import ClusteringConfig


@pytest.fixture(scope="module")
def silicon(reference):
    frames = read(reference / "data" / "mlearn_si" / "training.extxyz", "::3")
    energies = np.array([atoms.get_potential_energy() / len(atoms) for atoms in frames])
    return frames, energies, [atoms.info["group"] for atoms in frames]


@pytest.fixture(scope="module")
def found(silicon) -> dict[str, Partition]:
    frames, energies, groups = silicon
    made = {}
    for affinity in ("similarity", "distance"):
        config = ClusteringConfig(basis="gto", n_max=4, l_max=4, affinity=affinity)
        rows = fingerprints(frames, config, species=["Si"])
        apart = coulomb_distances(frames, frames, size=96, ordering=config.coulomb)
        kernel = hybrid(soap_kernel(rows, config), coulomb_kernel(apart), 0.5)
        made[affinity] = partition(kernel, energies, config, groups=groups)
    return made


def test_structures_of_a_cluster_have_like_energies(silicon, found) -> None:
    """Sizes from 12 to 96 atoms, surfaces and liquids in one set."""
    _, energies, _ = silicon
    clusters = found["similarity"]
    assert clusters.energy_spread_by_structure < 0.25 * energies.std()
    assert clusters.separation > 1.5
    assert clusters.ari > 0.1


def test_the_distance_as_an_affinity_puts_unlike_structures_together(silicon, found) -> None:
    """As printed, the distance is fed to the clustering; this is why it is not the default."""
    _, energies, _ = silicon
    assert found["distance"].separation < 1.0
    assert found["distance"].energy_spread_by_structure > 0.5 * energies.std()
