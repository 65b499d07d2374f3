"""Checks that labels depend on the physical structure alone, not on how it is written down."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from ase import Atoms

from athanor.structure import FloatArray
from athanor.testing import structures
from athanor.testing._subject import Subject, close, demand, name, same_labels


def check_rotation(subject: Subject) -> None:
    """Rotated structure: equal energy, rotated forces and stress."""
    rng = subject.rng()
    for atoms in subject.zoo(rng):
        _check_turned(subject, atoms, structures.rotation(rng), "rotated")


def check_reflection(subject: Subject) -> None:
    """Mirrored structure: equal energy, mirrored forces and stress."""
    rng = subject.rng()
    for atoms in subject.zoo(rng):
        _check_turned(subject, atoms, -structures.rotation(rng), "mirrored")


def check_translation(subject: Subject) -> None:
    """Moving the whole structure changes nothing, even out of the box."""
    rng = subject.rng()
    for atoms in subject.zoo(rng):
        moved = atoms.copy()
        moved.positions += rng.uniform(-20, 20, 3)
        what = f"{name(atoms)}, translated"
        same_labels(subject.one(moved), subject.one(atoms), what=what)


def check_permutation(subject: Subject) -> None:
    """Renumbering atoms renumbers forces and changes nothing else."""
    rng = subject.rng()
    for atoms in subject.zoo(rng):
        order = rng.permutation(len(atoms))
        expected = subject.one(atoms)
        expected = replace(expected, forces=expected.forces[order])
        same_labels(subject.one(atoms[order]), expected, what=f"{name(atoms)}, atoms renumbered")


def check_lattice_translation(subject: Subject) -> None:
    """Replacing atoms by periodic images, near or far outside the box, changes nothing."""
    rng = subject.rng()
    for atoms in subject.zoo(rng):
        moved = atoms.copy()
        hops = rng.integers(-4, 5, (len(atoms), 3)) * atoms.pbc
        moved.positions += hops @ atoms.cell.array
        what = f"{name(atoms)}, atoms replaced by images outside the box"
        same_labels(subject.one(moved), subject.one(atoms), what=what)


def check_choice_of_cell(subject: Subject) -> None:
    """Other cell vectors of the same lattice, of either handedness, change nothing."""
    rng = subject.rng()
    for atoms in subject.zoo(rng):
        other = atoms.copy()
        other.set_cell(_unimodular(atoms, rng) @ atoms.cell.array, scale_atoms=False)
        what = f"{name(atoms)}, other cell vectors of the same lattice"
        same_labels(subject.one(other), subject.one(atoms), what=what)


def check_open_directions(subject: Subject) -> None:
    """Cell vectors along directions that are not periodic do not matter, nor does their absence."""
    rng = subject.rng()
    for atoms in subject.zoo(rng):
        if atoms.pbc.all():
            continue
        for vectors in (np.zeros((3, 3)), rng.uniform(-9, 9, (3, 3))):
            other = atoms.copy()
            other.set_cell(np.where(atoms.pbc[:, None], atoms.cell.array, vectors))
            what = f"{name(atoms)}, other cell vectors along open directions"
            same_labels(subject.one(other), subject.one(atoms), what=what)


def check_supercell(subject: Subject) -> None:
    """A supercell has the energy of its parts, and the forces and stress of each."""
    rng = subject.rng()
    for atoms in subject.zoo(rng):
        times = np.where(atoms.pbc, rng.permutation([1, 2, 3]), 1)
        _check_repeated(subject, atoms, times)


def check_small_cells(subject: Subject) -> None:
    """A cell far smaller than the cutoff equals its supercell larger than the cutoff, by parts."""
    rng = subject.rng()
    for _ in range(3):
        atoms = structures.tiny(subject.elements, rng, spacing=subject.spacing)
        heights = 1 / np.linalg.norm(np.linalg.inv(atoms.cell.array), axis=0)
        _check_repeated(subject, atoms, np.ceil(subject.potential.cutoff / heights).astype(int))


def check_left_handed(subject: Subject) -> None:
    """A left-handed cell has the labels of the same lattice in right-handed vectors."""
    rng = subject.rng()
    for _ in range(3):
        atoms = structures.left_handed(subject.elements, rng, spacing=subject.spacing)
        right = atoms.copy()
        right.set_cell(atoms.cell.array[[1, 0, 2]], scale_atoms=False)
        what = f"{name(atoms)}, left-handed cell"
        same_labels(subject.one(atoms), subject.one(right), what=what)


def check_isolated_atom(subject: Subject) -> None:
    """An atom alone feels no force and has one energy, in vacuum and in a large periodic box."""
    for element in subject.elements:
        atoms = structures.isolated(element)
        alone = subject.one(atoms)
        close(alone.forces, np.zeros((1, 3)), within=1e-12, what=f"force on a lone {element}")
        demand(alone.stress is None, f"stress of a lone {element} is not None")
        atoms.set_cell(2.5 * subject.potential.cutoff * np.eye(3))
        atoms.pbc = True
        boxed = subject.one(atoms)
        close(boxed.energy, alone.energy, within=1e-12, what=f"energy of {element} in a large box")
        demand(boxed.stress is not None, f"stress of {element} in a periodic box is None")
        close(boxed.stress, np.zeros((3, 3)), within=1e-12, what=f"stress of {element} in a box")


def check_separate_parts(subject: Subject) -> None:
    """Two clusters farther apart than the cutoff have the energies and forces of each alone."""
    rng = subject.rng()
    one, two = (
        structures.open_along([0, 1, 2], subject.elements, rng, spacing=subject.spacing)
        for _ in range(2)
    )
    direction = structures.unit_vector(rng)
    overlap = (one.positions @ direction).max() - (two.positions @ direction).min()
    two.positions += (overlap + 1.001 * subject.potential.cutoff) * direction
    both, first, second = subject.potential.predict([one + two, one, two])
    expected = replace(
        first,
        energy=first.energy + second.energy,
        forces=np.concatenate([first.forces, second.forces]),
    )
    same_labels(both, expected, what="two clusters beyond the cutoff")


def _check_turned(subject: Subject, atoms: Atoms, turn: FloatArray, how: str) -> None:
    turned = atoms.copy()
    turned.set_cell(atoms.cell.array @ turn, scale_atoms=False)
    turned.positions = atoms.positions @ turn
    what = f"{name(atoms)}, {how}"
    same_labels(subject.one(turned), subject.one(atoms), what=what, turned=turn)


def _check_repeated(subject: Subject, atoms: Atoms, times: FloatArray) -> None:
    count = int(np.prod(times))
    small, large = subject.one(atoms), subject.one(atoms.repeat(tuple(int(t) for t in times)))
    expected = replace(small, energy=count * small.energy, forces=np.tile(small.forces, (count, 1)))
    same_labels(large, expected, what=f"{name(atoms)}, repeated {times.tolist()}")


def _unimodular(atoms: Atoms, rng: np.random.Generator) -> FloatArray:
    """An integer matrix of determinant +-1 that mixes only periodic vectors."""
    matrix = np.eye(3)
    periodic = np.flatnonzero(atoms.pbc)
    for _ in range(4):
        if len(periodic) < 2:
            break
        one, two = rng.choice(periodic, 2, replace=False)
        matrix[one] += rng.choice([-1, 1]) * matrix[two]
    order = np.arange(3)
    order[periodic] = rng.permutation(periodic)
    return matrix[order] * np.where(atoms.pbc, rng.choice([-1, 1], 3), 1)[:, None]
