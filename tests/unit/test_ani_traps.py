"""Errors that other implementations of ANI make, each shown not to be made here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ani_cases import batch_of, random_model, spec_of
from ase import Atoms

from athanor import _core
from athanor.potentials._ani.model import AniModel
from athanor.potentials._ani.program import aev_of
from athanor.potentials.ani import AniPotential
from athanor.structure import Labels
from athanor.testing import structures

SPECIES = ("Al", "Ni")


def potential_of(seed: int, *, precision: Any = "float64", n_members: int = 3) -> AniPotential:
    rng = np.random.default_rng(seed)
    model = random_model(rng, spec_of(SPECIES), n_members=n_members)
    return AniPotential(model, precision=precision)


def same(found: Labels, expected: Labels, *, within: float = 1e-10) -> None:
    assert found.energy == pytest.approx(expected.energy, abs=within * len(expected.forces))
    np.testing.assert_allclose(found.forces, expected.forces, rtol=0, atol=within)
    assert (found.stress is None) == (expected.stress is None)
    if found.stress is not None:
        np.testing.assert_allclose(found.stress, expected.stress, rtol=0, atol=within)


@pytest.mark.parametrize("seed", range(4))
def test_stress_of_atoms_outside_the_box(seed: int) -> None:
    rng = np.random.default_rng(seed)
    potential = potential_of(seed)
    atoms = structures.dense(SPECIES, rng)
    moved = atoms.copy()
    moved.positions += rng.integers(-6, 7, (len(atoms), 3)) @ atoms.cell.array
    expected = potential.predict([atoms])[0]
    assert expected.stress is not None
    assert np.abs(expected.stress).max() > 1e-3
    same(potential.predict([moved])[0], expected)
    for one, two in zip(
        potential.predict_each([moved])[0], potential.predict_each([atoms])[0], strict=True
    ):
        same(one, two)


@pytest.mark.parametrize("seed", range(4))
def test_batched_periodic_input_keeps_the_neighbours_of_every_structure(seed: int) -> None:
    rng = np.random.default_rng(seed)
    potential = potential_of(seed)
    batch = [structures.dense(SPECIES, rng) for _ in range(3)]
    for found, atoms in zip(potential.predict(batch), batch, strict=True):
        same(found, potential.predict([atoms])[0])
    # the kernel that takes a whole batch at once
    aev = aev_of(potential.model.aev)
    together = aev.values(**batch_of(batch, SPECIES), double=True)
    adjoints = rng.normal(size=(1, *together.shape))
    gradient, strain = aev.vjp(**batch_of(batch, SPECIES), adjoints=adjoints)
    start = 0
    for number, atoms in enumerate(batch):
        alone, mine = batch_of([atoms], SPECIES), slice(start, start + len(atoms))
        np.testing.assert_allclose(together[mine], aev.values(**alone, double=True), atol=1e-12)
        assert np.abs(together[mine]).max() > 0.1
        expected = aev.vjp(**alone, adjoints=np.ascontiguousarray(adjoints[:, mine]))
        np.testing.assert_allclose(gradient[:, mine], expected[0], atol=1e-11)
        np.testing.assert_allclose(strain[:, number], expected[1][:, 0], atol=1e-11)
        start += len(atoms)


@pytest.mark.parametrize("seed", range(4))
def test_cells_thinner_than_the_cutoff(seed: int) -> None:
    """One atom, whose own images are its neighbours, is its supercell cut into pieces."""
    rng = np.random.default_rng(seed)
    potential = potential_of(seed)
    atoms = structures.tiny(SPECIES, rng)
    heights = 1 / np.linalg.norm(np.linalg.inv(atoms.cell.array), axis=0)
    assert heights.max() < potential.cutoff
    times = np.ceil(2.1 * potential.cutoff / heights).astype(int)
    large = atoms.repeat(tuple(times))
    one, many = potential.predict([atoms, large])
    count = len(large)
    expected = replace(one, energy=count * one.energy, forces=np.tile(one.forces, (count, 1)))
    same(many, expected)
    assert one.stress is not None
    assert np.abs(one.stress).max() > 1e-3


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_a_large_offset_costs_no_digits(precision: str) -> None:
    """The isolated atoms of an all-electron code have energies of -6,600 eV, of heavier -40,000."""
    potential = potential_of(4, precision=precision)
    model = potential.model
    zero = AniModel(model.aev, model.networks, 0 * model.offsets, model.scale)
    offsets = np.array([[-6600.123456789, -41000.987654321]] * 3)
    heavy = AniModel(model.aev, model.networks, offsets, model.scale)
    light, shifted = (AniPotential(one, precision=precision) for one in (zero, heavy))
    for atoms in structures.zoo(SPECIES, np.random.default_rng(4)):
        atoms = atoms.repeat(tuple(np.where(atoms.pbc, 3, 1)))
        own = sum(offsets[0, SPECIES.index(symbol)] for symbol in atoms.symbols)
        found, expected = shifted.predict([atoms])[0], light.predict([atoms])[0]
        # float32 holds such a sum to 0.06 eV at best
        assert found.energy - own == pytest.approx(expected.energy, abs=1e-9 * len(atoms))
        assert found.forces.tobytes() == expected.forces.tobytes()
        each = shifted.predict_each([atoms])[0]
        for labels, bare in zip(each, light.predict_each([atoms])[0], strict=True):
            assert labels.energy - own == pytest.approx(bare.energy, abs=1e-9 * len(atoms))


@pytest.mark.parametrize("seed", range(4))
def test_a_left_handed_cell_keeps_the_sign_of_the_stress(seed: int) -> None:
    rng = np.random.default_rng(seed)
    potential = potential_of(seed)
    left = structures.left_handed(SPECIES, rng)
    right = left.copy()
    right.set_cell(left.cell.array[[1, 0, 2]], scale_atoms=False)
    assert np.linalg.det(left.cell.array) < 0 < np.linalg.det(right.cell.array)
    found, expected = potential.predict([left, right])
    assert expected.stress is not None
    assert np.abs(expected.stress).max() > 1e-3
    same(found, expected)
    # and that sign is the energy's: blown up by a little, it gains V trace(stress) strain
    step = 1e-4
    larger, smaller = left.copy(), left.copy()
    larger.set_cell(left.cell.array * (1 + step), scale_atoms=True)
    smaller.set_cell(left.cell.array * (1 - step), scale_atoms=True)
    up, down = potential.predict([larger, smaller])
    assert found.stress is not None
    slope = (up.energy - down.energy) / (2 * step)
    assert np.trace(found.stress) * left.cell.volume == pytest.approx(slope, rel=1e-4, abs=1e-5)


class Counted:
    """A program that counts how often it is asked."""

    def __init__(self, program: Any) -> None:
        self.program, self.calls = program, 0

    def evaluate(self, *arguments: Any, **options: Any) -> Any:
        self.calls += 1
        return self.program.evaluate(*arguments, **options)


def test_eight_networks_are_one_evaluation() -> None:
    """By one program of the core that holds them all, and so one set of environment vectors."""
    potential = potential_of(5, n_members=8)
    assert type(potential._program) is _core.Ani
    assert potential._program.n_members == 8
    counted = Counted(potential._program)
    potential._program = counted  # type: ignore[assignment]  # a spy
    atoms: Atoms = structures.dense(SPECIES, np.random.default_rng(5))
    (each,) = potential.predict_each([atoms])
    assert counted.calls == 1
    assert len({labels.energy for labels in each}) == 8
    potential.predict([atoms])
    potential.predict_with_features([atoms])
    assert counted.calls == 3


@pytest.mark.parametrize("seed", range(2))
def test_forces_and_stress_of_every_member_are_its_energys_derivatives(seed: int) -> None:
    rng = np.random.default_rng(seed)
    potential = potential_of(seed)
    atoms = structures.dense(SPECIES, rng)
    step = 1e-4
    push = rng.normal(size=atoms.positions.shape)
    shear = rng.normal(size=(3, 3))
    shear = 0.5 * (shear + shear.T)
    moved = []
    for sign in (1, -1):
        one, two = atoms.copy(), atoms.copy()
        one.positions += sign * step * push
        two.set_cell(atoms.cell.array @ (np.eye(3) + sign * step * shear), scale_atoms=True)
        moved += [one, two]
    table = potential.predict_each([atoms, *moved])
    energies = np.array([[labels.energy for labels in row] for row in table])
    by_push = (energies[1] - energies[3]) / (2 * step)
    by_shear = (energies[2] - energies[4]) / (2 * step)
    for number, labels in enumerate(table[0]):
        assert labels.stress is not None
        assert -(labels.forces * push).sum() == pytest.approx(by_push[number], rel=1e-5, abs=1e-5)
        work = atoms.cell.volume * (labels.stress * shear).sum()
        assert work == pytest.approx(by_shear[number], rel=1e-5, abs=1e-5)
