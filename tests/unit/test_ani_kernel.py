"""The C++ kernels of ANI against their NumPy twin, on random cells, for every instruction set."""

from __future__ import annotations

import numpy as np
import pytest
from ani_cases import batch_of, random_model, random_spec, spec_of, structure_of
from ase import Atoms

from athanor import _core
from athanor.potentials._ani.program import aev_of, program_of
from athanor.potentials._ani.twin import TwinAev
from athanor.potentials._ani.twin_networks import TwinAni
from athanor.testing import structures

ISAS = _core.instruction_sets()
SPECIES = ("Al", "Ni", "Mo", "Cu")
KINDS = {np.float64: 1e-11, np.float32: 2e-5}


def close(found: np.ndarray, expected: np.ndarray, *, within: float) -> None:
    """Off by at most `within` times the largest entry (at least 1)."""
    assert found.shape == expected.shape
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    assert float(np.abs(found - expected).max(initial=0.0)) <= within * scale


@pytest.mark.parametrize("kind", KINDS, ids=["double", "single"])
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("seed", range(5))
def test_environment_vectors_equal_the_twins(seed: int, isa: str, kind: type) -> None:
    rng = np.random.default_rng(seed)
    species = SPECIES[: seed % 4 + 1]
    spec = random_spec(rng, species)
    batch = batch_of(structures.zoo(species, rng), species)
    n_rhs, n_atoms = int(rng.integers(1, 5)), len(batch["types"])
    adjoints = rng.normal(size=(n_rhs, n_atoms, spec.length)).astype(kind)
    motion = {
        "velocities": rng.normal(size=(n_rhs, n_atoms, 3)),
        "strains": 0.1 * rng.normal(size=(n_rhs, len(batch["cells"]), 3, 3)),
    }
    kernel, twin, within = aev_of(spec), TwinAev(spec), KINDS[kind]
    double = kind is np.float64

    values = kernel.values(**batch, double=double, isa=isa)
    assert values.dtype == kind
    close(values, twin.values(**batch, double=True), within=within)
    for found, expected in zip(
        kernel.vjp(**batch, adjoints=adjoints, isa=isa),
        twin.vjp(**batch, adjoints=adjoints),
        strict=True,
    ):
        assert found.dtype == np.float64
        close(found, expected, within=within)
    change = kernel.jvp(**batch, **motion, double=double, isa=isa)
    assert change.dtype == kind
    close(change, twin.jvp(**batch, **motion, double=True), within=within)


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("seed", range(5))
def test_ensembles_equal_the_twins(seed: int, isa: str, precision: str) -> None:
    rng = np.random.default_rng(100 + seed)
    species = SPECIES[: seed % 3 + 1]
    model = random_model(
        rng, random_spec(rng, species), n_members=1 + 2 * seed, n_layers=seed % 3 + 1
    )
    within = {"float64": 1e-11, "float32": 3e-5}[precision]
    kernel, twin = program_of(model, precision=precision), TwinAni(model)
    assert kernel.n_members == twin.n_members == model.n_members
    for atoms in structures.zoo(species, rng):
        one = structure_of(atoms, species)
        for each, features, forces in (
            (True, True, True),
            (False, False, True),
            (True, True, False),
        ):
            asked = {"each": each, "features": features, "forces": forces}
            found = kernel.evaluate(**one, **asked, isa=isa)
            expected = twin.evaluate(**one, **asked)
            assert found[3] == pytest.approx(expected[3], rel=1e-12)
            for left, right in zip(found, expected, strict=True):
                close(np.asarray(left), np.asarray(right), within=within)


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_threads_and_skin_change_nothing_beyond_rounding(precision: str) -> None:
    rng = np.random.default_rng(8)
    species = ("Al", "Ni")
    program = program_of(random_model(rng, spec_of(species)), precision=precision)
    atoms = structures.dense(species, rng, repeats=(3, 4, 5))
    one = structure_of(atoms, species)
    expected = program.evaluate(**one, each=True, features=True)
    skin = _core.SkinList(0.4)
    for options in ({"threads": 2}, {"skin": skin}, {"skin": skin, "threads": 3}):
        found = program.evaluate(**one, each=True, features=True, **options)
        for left, right in zip(found, expected, strict=True):
            close(np.asarray(left), np.asarray(right), within=1e-6)
    assert skin.builds == 1


def test_coincident_atoms_are_a_fault_of_the_structure() -> None:
    species = ("Al",)
    model = random_model(np.random.default_rng(0), spec_of(species))
    one = structure_of(Atoms("Al2", positions=[[0, 0, 0], [0, 0, 1e-5]]), species)
    for program in (program_of(model, precision="float64"), TwinAni(model)):
        with pytest.raises(_core.StructureFault, match="coincide"):
            program.evaluate(**one)


@pytest.mark.parametrize("zeta", [1.0, 69.4, 300.0])
def test_neighbours_far_from_every_shell_give_no_nan(zeta: float) -> None:
    """Exponentials that underflow and bases near zero stay numbers, forward and backward."""
    species = ("Al",)
    model = random_model(np.random.default_rng(2), spec_of(species, zeta=zeta))
    turn = np.array([np.cos(1e-4), np.sin(1e-4), 0])
    atoms = Atoms("Al4", positions=[[0, 0, 0], [0.3, 0, 0], -0.9 * turn, [0, 3.59, 0]])
    one = structure_of(atoms, species)
    expected = TwinAni(model).evaluate(**one, each=True)
    for precision, within in (("float64", 1e-10), ("float32", 1e-4)):
        for isa in ISAS:
            found = program_of(model, precision=precision).evaluate(**one, each=True, isa=isa)
            for left, right in zip(found, expected, strict=True):
                assert np.isfinite(left).all()
                close(np.asarray(left), np.asarray(right), within=within)
