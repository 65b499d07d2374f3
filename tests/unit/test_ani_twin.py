"""The NumPy twin of the environment vectors: derivatives, symmetries, batches, order of species."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ani_cases import batch_of, spec_of
from ase import Atoms

from athanor import _core
from athanor.potentials._ani.model import AevSpec
from athanor.potentials._ani.twin import TwinAev
from athanor.testing import structures


def by_loops(spec: AevSpec, atoms: Atoms, centre: int) -> np.ndarray:
    """The environment vector of one atom by loops over images, as the formula is written."""
    heights = 1 / np.linalg.norm(np.linalg.pinv(atoms.cell.array), axis=0)
    reach = [
        int(np.ceil(2 * spec.cutoff / h)) if p else 0
        for h, p in zip(heights, atoms.pbc, strict=True)
    ]
    near = []
    for other in range(len(atoms)):
        for hop in itertools.product(*(range(-n, n + 1) for n in reach)):
            vector = atoms.positions[other] - atoms.positions[centre] + hop @ atoms.cell.array
            r = np.linalg.norm(vector)
            if 1e-9 < r < spec.cutoff:
                near.append((spec.species.index(atoms.symbols[other]), vector, r))

    def edge(r: float, cutoff: float) -> float:
        return 0.5 * np.cos(np.pi * r / cutoff) + 0.5 if r < cutoff else 0.0

    n = len(spec.species)
    radial = np.zeros((n, len(spec.shf_r)))
    for kind, _, r in near:
        bell = np.exp(-spec.eta_r * (r - np.array(spec.shf_r)) ** 2)
        radial[kind] += 0.25 * bell * edge(r, spec.radial_cutoff)
    blocks = list(itertools.combinations_with_replacement(range(n), 2))
    angular = np.zeros((len(blocks), len(spec.shf_a), len(spec.shf_z)))
    for (s, v, r), (t, w, q) in itertools.combinations(near, 2):
        theta = np.arccos(0.95 * (v @ w) / (r * q))
        for a, z in np.ndindex(angular.shape[1:]):
            angular[blocks.index((min(s, t), max(s, t))), a, z] += (
                2
                * ((1 + np.cos(theta - spec.shf_z[z])) / 2) ** spec.zeta
                * np.exp(-spec.eta_a * ((r + q) / 2 - spec.shf_a[a]) ** 2)
                * edge(r, spec.angular_cutoff)
                * edge(q, spec.angular_cutoff)
            )
    return np.concatenate([radial.ravel(), angular.ravel()])


SPECIES = [("Al",), ("Al", "Ni"), ("Cu", "Al", "Ni")]


@pytest.mark.parametrize("species", SPECIES)
@pytest.mark.parametrize("cutoffs", [(4.5, 3.6), (3.5, 4.2)])
def test_the_twin_equals_the_formula_by_loops(species, cutoffs) -> None:
    rng = np.random.default_rng(len(species))
    spec = spec_of(species, radial=cutoffs[0], angular=cutoffs[1])
    for atoms in (structures.tiny(species, rng), structures.open_along([1], species, rng)):
        found = TwinAev(spec).values(**batch_of([atoms], species), double=True)
        assert found.shape == (len(atoms), spec.length)
        for centre in (0, len(atoms) - 1):
            expected = by_loops(spec, atoms, centre)
            assert np.abs(expected).max() > 0.1
            np.testing.assert_allclose(found[centre], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("species", SPECIES)
def test_products_are_the_numerical_derivatives(species) -> None:
    rng = np.random.default_rng(7)
    spec = spec_of(species)
    aev = TwinAev(spec)
    batch = batch_of(structures.zoo(species, rng), species)
    n_atoms, n_structures = len(batch["types"]), len(batch["cells"])
    velocity = rng.normal(size=(2, n_atoms, 3))
    strain = 0.1 * rng.normal(size=(2, n_structures, 3, 3))
    owner = np.repeat(np.arange(n_structures), np.diff(batch["offsets"]))

    def moved(number: int, step: float) -> np.ndarray:
        """Values where pair vectors are r + step (v_j - v_i + r strain)."""
        turn = np.eye(3) + step * strain[number]
        at = np.einsum("nx,nxy->ny", batch["positions"], turn[owner]) + step * velocity[number]
        return aev.values(**{**batch, "positions": at, "cells": batch["cells"] @ turn}, double=True)

    changes = aev.jvp(**batch, velocities=velocity, strains=strain, double=True)
    for number, found in enumerate(changes):
        h = 1e-4
        numerical = sum(
            w * moved(number, s * h) for w, s in zip((1, -8, 8, -1), (-2, -1, 1, 2), strict=True)
        ) / (12 * h)
        assert np.abs(numerical).max() > 0.1
        np.testing.assert_allclose(found, numerical, rtol=0, atol=1e-7)

    adjoints = rng.normal(size=(3, n_atoms, spec.length))
    gradient, by_strain = aev.vjp(**batch, adjoints=adjoints)
    assert gradient.shape == (3, n_atoms, 3)
    assert by_strain.shape == (3, n_structures, 3, 3)
    left = np.einsum("rnl,vnl->rv", adjoints, changes)
    right = np.einsum("rnx,vnx->rv", gradient, velocity)
    right += np.einsum("rsxy,vsxy->rv", by_strain, strain)
    np.testing.assert_allclose(right, left, rtol=1e-11, atol=1e-9)


def test_a_batch_is_its_structures_one_by_one() -> None:
    species = ("Al", "Ni")
    rng = np.random.default_rng(3)
    aev = TwinAev(spec_of(species))
    zoo = structures.zoo(species, rng)
    together = aev.values(**batch_of(zoo, species), double=True)
    alone = [aev.values(**batch_of([atoms], species), double=True) for atoms in zoo]
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=0, atol=1e-13)


def test_float32_values_are_the_rounded_ones() -> None:
    species = ("Al",)
    batch = batch_of([structures.dense(species, np.random.default_rng(1))], species)
    aev = TwinAev(spec_of(species))
    values = aev.values(**batch)
    assert values.dtype == np.float32
    assert (values == aev.values(**batch, double=True).astype(np.float32)).all()


def test_an_atom_alone_has_no_environment_and_no_derivatives() -> None:
    aev = TwinAev(spec_of(("Al",)))
    batch = batch_of([structures.isolated("Al")], ("Al",))
    assert not aev.values(**batch).any()
    gradient, strain = aev.vjp(**batch, adjoints=np.ones((2, 1, aev.length)))
    assert not gradient.any()
    assert not strain.any()
    change = aev.jvp(**batch, velocities=np.ones((2, 1, 3)), strains=np.ones((2, 1, 3, 3)))
    assert change.shape == (2, 1, aev.length)
    assert not change.any()


@pytest.mark.parametrize("angle", [0.0, np.pi])
def test_collinear_triples_have_no_singularity(angle) -> None:
    species = ("Al",)
    turn = np.array([np.cos(angle), np.sin(angle), 0.0])
    atoms = Atoms("Al3", positions=[np.zeros(3), [1.9, 0, 0], 3.1 * turn])
    aev = TwinAev(spec_of(species))
    batch = batch_of([atoms], species)
    gradient, _ = aev.vjp(**batch, adjoints=np.ones((1, 3, aev.length)))
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0.01


def test_coincident_atoms_are_refused() -> None:
    atoms = Atoms("Al2", positions=np.zeros((2, 3)))
    with pytest.raises(_core.StructureFault):
        TwinAev(spec_of(("Al",))).values(**batch_of([atoms], ("Al",)))
