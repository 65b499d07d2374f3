"""Algebra of elastic tensors: rotations, what symmetry leaves, moduli of polycrystals."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from athanor.structure import FloatArray
from athanor.validate._tensor import (
    PAIRS,
    UPPER,
    averaged,
    eigenvalues,
    independent,
    reuss_moduli,
    rotated,
    voigt,
    voigt_moduli,
    young_along,
)


def any_tensor(rng: np.random.Generator) -> FloatArray:
    """A positive definite Voigt matrix without symmetry, GPa."""
    root = rng.normal(size=(6, 6))
    return 100 * (root @ root.T + np.eye(6))


def tensor_of(matrix: FloatArray) -> FloatArray:
    """(3, 3, 3, 3) tensor of a Voigt matrix (6, 6)."""
    place = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])
    return matrix[place[:, :, None, None], place[None, None, :, :]]


def any_rotation(rng: np.random.Generator) -> FloatArray:
    q = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return q * np.sign(np.linalg.det(q))


def turn(axis: int, angle: float) -> FloatArray:
    """Rotation by degrees about a Cartesian axis."""
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    found = np.eye(3)
    found[i, i] = found[j, j] = c
    found[i, j], found[j, i] = -s, s
    return found


def group(*generators: FloatArray) -> FloatArray:
    """The closure of some rotations, (n, 3, 3)."""
    members = [np.eye(3)]
    grown = True
    while grown:
        grown = False
        for one, other in product(tuple(members), generators):
            made = one @ other
            if not any(np.allclose(made, known) for known in members):
                members.append(made)
                grown = True
    return np.array(members)


DIAGONAL = np.array([[0, 0, 1.0], [1, 0, 0], [0, 1, 0]])
"""Three-fold rotation about the diagonal of a cube."""
GROUPS = {
    "triclinic": (),
    "monoclinic": (turn(1, 180),),
    "orthorhombic": (turn(0, 180), turn(2, 180)),
    "tetragonal of low symmetry": (turn(2, 90),),
    "tetragonal": (turn(2, 90), turn(0, 180)),
    "trigonal of low symmetry": (turn(2, 120),),
    "trigonal": (turn(2, 120), turn(0, 180)),
    "hexagonal": (turn(2, 60),),
    "cubic": (turn(2, 180), DIAGONAL),
}
CONSTANTS = {
    "triclinic": {f"{i + 1}{j + 1}" for i, j in UPPER},
    # with the two-fold axis along y, as spglib has it
    "monoclinic": {"11", "12", "13", "15", "22", "23", "25", "33", "35", "44", "46", "55", "66"},
    "orthorhombic": {"11", "12", "13", "22", "23", "33", "44", "55", "66"},
    "tetragonal of low symmetry": {"11", "12", "13", "16", "33", "44", "66"},
    "tetragonal": {"11", "12", "13", "33", "44", "66"},
    "trigonal of low symmetry": {"11", "12", "13", "14", "15", "33", "44"},
    "trigonal": {"11", "12", "13", "14", "33", "44"},
    "hexagonal": {"11", "12", "13", "33", "44"},
    "cubic": {"11", "12", "44"},
}


@pytest.mark.parametrize("name", GROUPS)
def test_independent_constants_are_those_of_the_textbook(name: str) -> None:
    # Nye, Physical Properties of Crystals, table 9
    found = independent(group(*GROUPS[name]))
    assert {f"{i + 1}{j + 1}" for i, j in found} == CONSTANTS[name]


@pytest.mark.parametrize("name", GROUPS)
def test_an_average_is_invariant_and_nothing_else_changes_it(name: str) -> None:
    rng = np.random.default_rng(1)
    rotations = group(*GROUPS[name])
    found = averaged(any_tensor(rng), rotations)
    for rotation in rotations:
        np.testing.assert_allclose(rotated(found, rotation), found, atol=1e-9)
    np.testing.assert_allclose(averaged(found, rotations), found, atol=1e-9)
    # all constants follow from the independent ones: as many as the invariants have dimensions
    flat = [
        averaged(any_tensor(rng), rotations)[tuple(zip(*UPPER, strict=True))] for _ in range(25)
    ]
    assert np.linalg.matrix_rank(flat, tol=1e-6) == len(independent(rotations))


def test_voigt_matrices_and_tensors_are_the_same_thing() -> None:
    matrix = any_tensor(np.random.default_rng(2))
    tensor = tensor_of(matrix)
    assert tensor[1, 2, 0, 0] == tensor[2, 1, 0, 0] == tensor[0, 0, 1, 2] == matrix[3, 0]
    np.testing.assert_allclose(voigt(tensor), matrix)
    for number, pair in enumerate(PAIRS):
        assert tensor[(*pair, *pair)] == matrix[number, number]


def test_a_rotation_turns_all_four_indices_and_keeps_the_energy_of_a_strain() -> None:
    rng = np.random.default_rng(3)
    matrix, turned = any_tensor(rng), any_rotation(rng)
    by_index = np.einsum("ai,bj,ck,dl,ijkl", *[turned] * 4, tensor_of(matrix))
    np.testing.assert_allclose(voigt(by_index), rotated(matrix, turned))
    strain = rng.normal(size=(3, 3))
    strain = strain + strain.T
    there = turned @ strain @ turned.T
    energy = np.einsum("ij,ijkl,kl", strain, tensor_of(matrix), strain)
    other = np.einsum("ij,ijkl,kl", there, tensor_of(rotated(matrix, turned)), there)
    assert other == pytest.approx(energy)


def test_moduli_and_eigenvalues_do_not_depend_on_the_frame() -> None:
    rng = np.random.default_rng(4)
    matrix = any_tensor(rng)
    other = rotated(matrix, any_rotation(rng))
    np.testing.assert_allclose(eigenvalues(other), eigenvalues(matrix))
    for moduli in (voigt_moduli, reuss_moduli):
        assert moduli(other).bulk == pytest.approx(moduli(matrix).bulk)
        assert moduli(other).shear == pytest.approx(moduli(matrix).shear)
    assert voigt_moduli(matrix).bulk > reuss_moduli(matrix).bulk
    assert voigt_moduli(matrix).shear > reuss_moduli(matrix).shear


def cubic(c11: float, c12: float, c44: float) -> FloatArray:
    matrix = np.diag([c11 - c12] * 3 + [c44] * 3)
    matrix[:3, :3] += c12
    return matrix


def test_cubic_moduli_are_those_of_the_textbook() -> None:
    rng = np.random.default_rng(5)
    c12, c44 = rng.uniform(20, 200, 2)
    c11 = c12 + rng.uniform(10, 200)
    matrix = cubic(c11, c12, c44)
    for moduli in (voigt_moduli(matrix), reuss_moduli(matrix)):
        assert moduli.bulk == pytest.approx((c11 + 2 * c12) / 3)
    assert voigt_moduli(matrix).shear == pytest.approx((c11 - c12 + 3 * c44) / 5)
    reuss = 5 * (c11 - c12) * c44 / (4 * c44 + 3 * (c11 - c12))
    assert reuss_moduli(matrix).shear == pytest.approx(reuss)
    expected = sorted([c11 - c12] * 2 + [2 * c44] * 3 + [c11 + 2 * c12])
    np.testing.assert_allclose(eigenvalues(matrix), expected)


def test_an_isotropic_body_has_its_two_moduli_whatever_the_average() -> None:
    rng = np.random.default_rng(6)
    young, poisson = rng.uniform(50, 300), rng.uniform(0.1, 0.4)
    lame = young * poisson / ((1 + poisson) * (1 - 2 * poisson))
    shear = young / (2 * (1 + poisson))
    matrix = cubic(lame + 2 * shear, lame, shear)
    for moduli in (voigt_moduli(matrix), reuss_moduli(matrix)):
        assert moduli.shear == pytest.approx(shear)
        assert moduli.young == pytest.approx(young)
        assert moduli.poisson == pytest.approx(poisson)
    directions = rng.normal(size=(20, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    np.testing.assert_allclose(young_along(matrix, directions), young)


def test_youngs_modulus_along_a_direction_is_what_pulling_there_gives() -> None:
    rng = np.random.default_rng(7)
    matrix = any_tensor(rng)
    turned = any_rotation(rng)
    # in a frame with the direction along x, 1/E is the first compliance
    compliance = np.linalg.inv(rotated(matrix, turned))
    assert young_along(matrix, turned[:1])[0] == pytest.approx(1 / compliance[0, 0])
