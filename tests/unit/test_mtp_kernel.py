"""The C++ kernel against its NumPy twin, on random cells, for every instruction set."""

from __future__ import annotations

import numpy as np
import pytest
import vesin
from ase import Atoms

from athanor import _core
from athanor.potentials._mtp import twin
from athanor.potentials._mtp.basis import basis
from athanor.potentials._mtp.model import MtpModel
from athanor.potentials._mtp.program import program_of

ISAS = _core.instruction_sets()
VOIGT = ((0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1))


def random_model(rng: np.random.Generator, *, level: int, species: tuple[str, ...]) -> MtpModel:
    tables = basis(level)
    n = len(species)
    return MtpModel(
        species=species,
        tables=tables,
        min_dist=rng.uniform(1.0, 1.5),
        max_dist=rng.uniform(3.5, 4.5),
        scaling=rng.uniform(0.05, 0.2),
        radial=rng.normal(size=(n, n, tables.n_radial, rng.integers(2, 9))),
        species_coeffs=rng.normal(size=n),
        moment_coeffs=0.1 * rng.normal(size=len(tables.mapping)),
    )


def random_atoms(rng: np.random.Generator, species: tuple[str, ...]) -> Atoms:
    """Ordered enough to have no atoms closer than 1.5 Å, disordered enough to have no symmetry."""
    n = int(rng.integers(1, 4))
    grid = np.stack(np.meshgrid(*[np.arange(n)] * 3), axis=-1).reshape(-1, 3) / n
    cell = 2.6 * n * np.eye(3) + rng.uniform(-0.3, 0.3, (3, 3))
    cell[2] *= rng.choice([-1, 1])
    positions = (grid + rng.integers(-2, 3, grid.shape)) @ cell + rng.uniform(-0.3, 0.3, grid.shape)
    symbols = rng.choice(species, len(grid))
    return Atoms(symbols, positions=positions, cell=cell, pbc=rng.choice([True, True, False], 3))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("seed", range(6))
def test_kernel_equals_twin(isa: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    species = ("Al", "Ni", "Mo")[: rng.integers(1, 4)]
    model = random_model(rng, level=int(rng.choice([2, 6, 10, 14])), species=species)
    atoms = random_atoms(rng, species)
    types = np.array([species.index(s) for s in atoms.symbols], dtype=np.int32)
    program = program_of(model, core=False)
    energy, forces, virial, _, _, features = program.evaluate(
        atoms.positions, types, atoms.cell.array, atoms.pbc, features=True, isa=isa
    )
    expected = twin.predict(model, atoms)
    scale = max(1.0, float(np.abs(expected.forces).max()))
    assert energy == pytest.approx(expected.energy, rel=1e-11, abs=1e-10)
    np.testing.assert_allclose(forces, expected.forces, atol=1e-11 * scale)
    if expected.stress is not None:
        np.testing.assert_allclose(virial / atoms.cell.volume, expected.stress, atol=1e-11 * scale)
    wanted = twin.features(model, atoms)
    np.testing.assert_allclose(features, wanted, atol=1e-11 * max(1.0, np.abs(wanted).max()))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("seed", range(4))
def test_design_equals_twin(isa: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    species = ("Al", "Ni")[: rng.integers(1, 3)]
    model = random_model(rng, level=int(rng.choice([6, 10])), species=species)
    atoms = random_atoms(rng, species)
    types = np.array([species.index(s) for s in atoms.symbols], dtype=np.int32)
    program = program_of(model, core=False)
    energy, forces, virial = program.design(
        atoms.positions, types, atoms.cell.array, atoms.pbc, isa=isa
    )
    wanted = twin.design(model, atoms)
    for got, want in zip(
        (energy, forces, virial), (wanted.energy, wanted.forces, wanted.virial[VOIGT]), strict=True
    ):
        np.testing.assert_allclose(got, want, atol=1e-10 * max(1.0, float(np.abs(want).max())))
    linear = program.design(
        atoms.positions, types, atoms.cell.array, atoms.pbc, radial=False, isa=isa
    )
    np.testing.assert_allclose(
        linear[1],
        forces[..., model.radial.size :],
        atol=1e-12 * max(1.0, float(np.abs(forces).max())),
    )


@pytest.mark.parametrize("seed", range(3))
def test_design_with_core_is_the_slope_of_the_prediction(seed: int) -> None:
    """Below min_dist radial functions are straight lines; their derivatives by c stay exact."""
    rng = np.random.default_rng(seed)
    model = random_model(rng, level=8, species=("Al", "Ni"))
    atoms = random_atoms(rng, model.species)
    model = MtpModel(**{**{n: getattr(model, n) for n in model.__slots__}, "min_dist": 2.5})
    types = np.array([model.species.index(s) for s in atoms.symbols], dtype=np.int32)
    arguments = (atoms.positions, types, atoms.cell.array, atoms.pbc)
    rows = program_of(model, core=True).design(*arguments)
    step = 1e-4
    for k in rng.choice(model.radial.size, 6, replace=False):
        sides = []
        for sign in (1, -1):
            radial = model.radial.copy()
            radial.flat[k] += sign * step
            moved = MtpModel(
                **{**{n: getattr(model, n) for n in model.__slots__}, "radial": radial}
            )
            sides.append(program_of(moved, core=True).evaluate(*arguments))
        slope = (sides[0][1] - sides[1][1]) / (2 * step)
        # the energy is a polynomial of degree four in c: differences are good to step squared
        np.testing.assert_allclose(
            slope, rows[1][..., k], rtol=1e-4, atol=1e-5 * (1 + np.abs(rows[1]).max())
        )


@pytest.mark.parametrize("seed", range(8))
def test_neighbours_equal_vesin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    atoms = random_atoms(rng, ("Al",))
    cutoff = rng.uniform(2.0, 6.0)
    i, j, vectors = _core.all_pairs(atoms.positions, atoms.cell.array, atoms.pbc, cutoff)
    wanted = vesin.NeighborList(cutoff=cutoff, full_list=True).compute(
        points=atoms.positions, box=atoms.cell.array, periodic=atoms.pbc, quantities="ijD"
    )
    assert len(i) == len(wanted[0])
    ours = np.column_stack([i, j, vectors])
    theirs = np.column_stack(wanted)
    order = [np.lexsort(np.round(table, 6).T[::-1]) for table in (ours, theirs)]
    np.testing.assert_allclose(ours[order[0]], theirs[order[1]], atol=1e-8)


def test_kernel_refuses_wrong_arrays() -> None:
    program = program_of(
        random_model(np.random.default_rng(0), level=4, species=("Al",)), core=False
    )
    good = (np.zeros((1, 3)), np.zeros(1, np.int32), np.eye(3) * 9, np.ones(3, bool))
    program.evaluate(*good)
    for number, bad in enumerate(
        [np.zeros((1, 2)), np.zeros(2, np.int32), np.eye(2), np.ones(2, bool)]
    ):
        arguments = [*good[:number], bad, *good[number + 1 :]]
        with pytest.raises((TypeError, ValueError)):
            program.evaluate(*arguments)
    with pytest.raises(ValueError, match="species index"):
        program.evaluate(good[0], np.ones(1, np.int32), *good[2:])
    with pytest.raises(ValueError, match="isa"):
        program.evaluate(*good, isa="neon")
