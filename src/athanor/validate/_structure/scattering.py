"""Partial structure factors of a run, summed over the wave vectors of its box."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from athanor.errors import MeasurementError
from athanor.structure import FloatArray
from athanor.validate._extra import extra
from athanor.validate._structure.blocks import Blocked, split
from athanor.validate._structure.distribution import Distribution
from athanor.validate._structure.elements import Elements, elements_of
from athanor.validate._structure.wavevectors import wave_vectors


@dataclass(frozen=True, slots=True, eq=False)
class Scattering:
    """Faber-Ziman partial structure factors of a run.

    Attributes
    ----------
    q : (n,) 1/Å, ascending.
    partial : (blocks, n_pairs, n), in the order of `elements.pairs`; at large q each goes to 1.
    density : (blocks,) atoms per Å³.
    """

    elements: Elements
    q: FloatArray
    partial: Blocked
    density: Blocked


def scattering(
    frames: Sequence[Atoms],
    *,
    q_max: float,
    width: float,
    most: int,
    seed: int = 0,
    blocks: int = 1,
    told: Callable[[float], None] = lambda share: None,
) -> Scattering:
    """S_ab(q) = 1 + (<rho_a rho_b*> / N - c_a delta_ab) / (c_a c_b), rho_a the sum of exp(i q r).

    The vectors are those of each frame's own reciprocal lattice, averaged in shells of `width` 1/Å
    (about `most` of a shell, see `wave_vectors`); `q` is their mean length, shells without any are
    left out. Raises MeasurementError where the box has none up to `q_max`, MissingExtraError where
    dynasor is not installed, and what `elements_of` raises.
    """
    elements = elements_of(frames)
    cell = np.mean([frame.cell.array for frame in frames], axis=0)
    integers = wave_vectors(cell, q_max=q_max, width=width, most=most, seed=seed)
    if not len(integers):
        raise MeasurementError(
            f"no wave vector of this box is shorter than {q_max:g} 1/Å; "
            "give a larger q_max or a larger box"
        )
    shell = _shells(integers, cell, width)
    shells, members = np.unique(shell, return_inverse=True)
    count = np.bincount(members)
    parts = split(frames, blocks)
    sums, lengths, done = [], np.zeros(len(shells)), 0
    for part in parts:
        total = np.zeros((len(elements.pairs), len(shells)))
        for frame in part:
            vectors = integers @ (2 * np.pi * np.linalg.inv(frame.cell.array).T)
            lengths += np.bincount(members, weights=np.linalg.norm(vectors, axis=1)) / count
            at_vectors = partial_at(frame, elements, vectors)
            total += np.array([np.bincount(members, weights=one) for one in at_vectors]) / count
            done += 1
            told(done / len(frames))
        sums.append(total / len(part))
    weights = np.array([len(part) for part in parts], dtype=float)
    densities = [np.mean([len(one) / one.get_volume() for one in part]) for part in parts]
    return Scattering(
        elements,
        lengths / len(frames),
        Blocked(np.array(sums), weights),
        Blocked(np.array(densities), weights),
    )


def _shells(integers: NDArray[np.intp], cell: FloatArray, width: float) -> NDArray[np.intp]:
    vectors = integers @ (2 * np.pi * np.linalg.inv(cell).T)
    shells: NDArray[np.intp] = np.floor(np.linalg.norm(vectors, axis=1) / width).astype(np.intp)
    return shells


def partial_at(atoms: Atoms, elements: Elements, vectors: FloatArray) -> FloatArray:
    """(n_pairs, n) Faber-Ziman S_ab at wave vectors (n, 3) of one box, 1/Å.

    The sums over atoms are dynasor's.
    """
    with extra("dynasor"):
        from dynasor.core.reciprocal import calc_rho_q
    rho = [
        calc_rho_q(atoms.positions[elements.index == place], vectors)
        for place in range(len(elements.names))
    ]
    c, rows = elements.fractions, []
    for a, b in elements.places:
        product = np.real(rho[a] * rho[b].conj()) / len(atoms)
        rows.append(1 + (product - (c[a] if a == b else 0)) / (c[a] * c[b]))
    return np.array(rows)


def transformed(found: Distribution, *, q: FloatArray, lorch: bool) -> Scattering:
    """S_ab(q) as the sine transform of g_ab(r), which is cut off where it ends.

    S_ab - 1 = 4 pi rho / q times the integral of r (g_ab - 1) sin(q r); with `lorch` the end comes
    smoothly (see `lorch_window`).
    """
    r, rho = found.r, float(found.density.mean)
    window = lorch_window(r, float(found.edges[-1])) if lorch else np.ones(len(r))
    # exact over a bin in which r (g - 1) is constant
    kernel = np.sin(np.outer(r, q)) * np.sinc(np.diff(found.edges)[:, None] * q / (2 * np.pi))
    factor = window * np.diff(found.edges) * r * 4 * np.pi * rho
    partial = found.partial.map(lambda g: 1 + ((g - 1) * factor) @ kernel / q)
    return Scattering(found.elements, q, partial, found.density)


def lorch_window(x: FloatArray, end: float) -> FloatArray:
    """sin(pi x / end) / (pi x / end): from 1 to 0 at the `end` of a range (Lorch 1969)."""
    window: FloatArray = np.sinc(x / end)
    return window


def reduced(q: FloatArray, total: Blocked, r: FloatArray, *, q_max: float, lorch: bool) -> Blocked:
    """G(r) = 2/pi times the integral of q (S - 1) sin(q r) from 0 to `q_max`: (blocks, n_r), Å⁻².

    Below the smallest wave vector q (S - 1) is a straight line from 0; between the given ones too.
    """
    grid = np.arange(0, q_max, np.pi / (8 * max(float(r[-1]), 1.0)))
    grid = np.append(grid, q_max)
    window = lorch_window(grid, q_max) if lorch else np.ones(len(grid))
    steps = np.gradient(grid)
    steps[[0, -1]] /= 2
    kernel = np.sin(np.outer(grid, r)) * (2 / np.pi * window * steps)[:, None]

    def at(one: FloatArray) -> FloatArray:
        ends = np.concatenate([[0.0], q]), np.concatenate([[0.0], q * (one - 1)])
        return np.asarray(np.interp(grid, *ends) @ kernel, dtype=float)

    return total.map(at)
