"""Random structures of every shape a potential must cope with, drawn from a given generator."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from ase import Atoms

from athanor.structure import FloatArray

SPACING = 2.8
"""Distance of nearest atoms before they are displaced, Å."""
# primitive vectors of sc, bcc and fcc whose nearest lattice points are 1 apart
_LATTICES = (
    np.eye(3),
    np.array([[-1.0, 1, 1], [1, -1, 1], [1, 1, -1]]) / np.sqrt(3),
    np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]]) / np.sqrt(2),
)


def dense(
    elements: Iterable[str],
    rng: np.random.Generator,
    *,
    repeats: tuple[int, int, int] = (2, 1, 2),
    spacing: float = SPACING,
) -> Atoms:
    """A triclinic, fully periodic crystal, strained, rotated and displaced at random.

    Of a random cubic lattice; no two atoms are nearer than about 0.7 `spacing`. Elements are drawn
    atom by atom; every one of them occurs when there are enough atoms.
    """
    lattice = spacing * _LATTICES[rng.integers(len(_LATTICES))]
    strain = np.eye(3) + rng.uniform(-0.05, 0.05, (3, 3))
    cell = lattice @ strain @ rotation(rng)
    grid = np.stack(np.meshgrid(*map(np.arange, repeats), indexing="ij"), axis=-1).reshape(-1, 3)
    displaced = grid @ cell + rng.uniform(-0.06, 0.06, grid.shape) * spacing
    return Atoms(
        _symbols(sorted(elements), len(grid), rng),
        positions=displaced,
        cell=np.array(repeats)[:, None] * cell,
        pbc=True,
    )


def left_handed(
    elements: Iterable[str], rng: np.random.Generator, *, spacing: float = SPACING
) -> Atoms:
    """As `dense`, with cell vectors whose triple product is negative."""
    atoms = dense(elements, rng, repeats=(1, 2, 2), spacing=spacing)
    cell = atoms.cell.array
    if np.linalg.det(cell) > 0:
        atoms.set_cell(cell[[1, 0, 2]], scale_atoms=False)
    return atoms


def open_along(
    axes: Iterable[int],
    elements: Iterable[str],
    rng: np.random.Generator,
    *,
    spacing: float = SPACING,
) -> Atoms:
    """As `dense`, not periodic along `axes`: one axis makes a slab, two a wire, three a cluster.

    The cell vectors along the open axes are kept (a cell may have them, and they must not matter).
    """
    atoms = dense(elements, rng, repeats=(2, 2, 2), spacing=spacing)
    atoms.pbc[list(axes)] = False
    return atoms


def tiny(elements: Iterable[str], rng: np.random.Generator, *, spacing: float = SPACING) -> Atoms:
    """One atom in a cell as small as the distance of neighbours."""
    return dense(elements, rng, repeats=(1, 1, 1), spacing=spacing)


def isolated(element: str) -> Atoms:
    """One atom in empty space, without a cell."""
    return Atoms([element], positions=[[0.0, 0.0, 0.0]], pbc=False)


def dimer(first: str, second: str, distance: float, direction: FloatArray) -> Atoms:
    """Two atoms `distance` Å apart along a unit vector, without a cell."""
    return Atoms([first, second], positions=[np.zeros(3), distance * direction], pbc=False)


def zoo(
    elements: Iterable[str], rng: np.random.Generator, *, spacing: float = SPACING
) -> list[Atoms]:
    """One of each: two dense cells, left-handed, tiny, slab, wire, cluster."""
    elements = sorted(elements)
    return [
        dense(elements, rng, spacing=spacing),
        dense(elements, rng, repeats=(1, 3, 1), spacing=spacing),
        left_handed(elements, rng, spacing=spacing),
        tiny(elements, rng, spacing=spacing),
        open_along([int(rng.integers(3))], elements, rng, spacing=spacing),
        open_along([0, 2], elements, rng, spacing=spacing),
        open_along([0, 1, 2], elements, rng, spacing=spacing),
    ]


def rotation(rng: np.random.Generator) -> FloatArray:
    """A uniformly drawn proper rotation, (3, 3)."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return np.asarray(q * np.sign(np.linalg.det(q)))


def unit_vector(rng: np.random.Generator) -> FloatArray:
    """A uniformly drawn direction, (3,)."""
    vector = rng.normal(size=3)
    return vector / np.linalg.norm(vector)


def _symbols(elements: list[str], count: int, rng: np.random.Generator) -> list[str]:
    """Every element once as far as there are places, the rest drawn, all shuffled."""
    drawn = rng.choice(elements, max(count - len(elements), 0)).tolist()
    symbols = [*rng.permutation(elements).tolist(), *drawn][:count]
    return [symbols[k] for k in rng.permutation(count)]
