"""Environment vectors and networks in plain NumPy: the readable twin of the C++ kernels.

Formulae are in `model.py`. Derivatives go through pair vectors v = r_j - r_i (any image of j): what
a pair or triple adds to an environment vector depends on v_ij, or on v_ij and v_ik, alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from athanor.potentials._ani.model import AevSpec
from athanor.potentials._ani.neighbours import Ints, couples, near_pairs
from athanor.structure import FloatArray

SHRINK = 0.95
"""theta = acos(SHRINK cos): no singularity at collinear triples."""
_CHUNK = 20_000
"""Triples at once, so that tables stay in a few tens of megabytes."""

Real = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True)
class Surroundings:
    """Ordered pairs (i, j), with images, and unordered triples (i; j, k) of many structures.

    Attributes
    ----------
    types : (n_atoms,) species indices.
    structure : (n_pairs,) the structure of each pair.
    i, j : (n_pairs,) atoms, sorted by i.
    vectors : (n_pairs, 3) r_j - r_i, Å.
    first, second : (n_triples,) the pairs of each triple, both of the same i and nearer than the
        angular cutoff.
    """

    types: Ints
    structure: Ints
    i: Ints
    j: Ints
    vectors: FloatArray
    first: Ints
    second: Ints

    @cached_property
    def distances(self) -> FloatArray:
        lengths: FloatArray = np.sqrt((self.vectors**2).sum(axis=1))
        return lengths

    @cached_property
    def units(self) -> FloatArray:
        units: FloatArray = self.vectors / self.distances[:, None]
        return units


@dataclass(frozen=True, slots=True)
class _Triples:
    """A chunk of triples: factors of their terms and the slopes of these.

    A term is `edge` ring[a] turn[z]; ring_slope is the derivative by either distance, turn_slope
    that by x = SHRINK cos theta, edge_slopes those of `edge` by the two distances.
    """

    first: Ints
    second: Ints
    row: Ints
    edge: FloatArray
    edge_slopes: FloatArray
    ring: FloatArray
    ring_slope: FloatArray
    turn: FloatArray
    turn_slope: FloatArray
    x_slopes: FloatArray


class TwinAev:
    """The environment vectors of a specification, with the methods of `_core.Aev`.

    Works in float64 throughout; `threads` and `isa` are ignored, `double` decides only how values
    are rounded in the end. Raises `_core.StructureFault` as the kernel does.
    """

    def __init__(self, spec: AevSpec) -> None:
        self.spec = spec

    @property
    def length(self) -> int:
        return self.spec.length

    def values(
        self,
        positions: FloatArray,
        types: NDArray[np.int32],
        offsets: NDArray[np.int64],
        cells: FloatArray,
        periodic: NDArray[np.bool_],
        *,
        threads: int = 1,
        double: bool = False,
        isa: str = "auto",
    ) -> Real:
        """(n_atoms, length) environment vectors."""
        around = self.surroundings(positions, types, offsets, cells, periodic)
        n_atoms = len(around.types)
        radial, _ = self._radial_terms(around)
        table = _summed(radial, self._radial_rows(around), n_atoms * len(self.spec.species))
        angular = np.zeros((n_atoms * self._n_blocks, self._block))
        for part in self._triples(around):
            terms = part.edge[:, None, None] * part.ring[:, :, None] * part.turn[:, None, :]
            angular += _summed(terms.reshape(-1, self._block), part.row, len(angular))
        joined = _joined(table, angular, n_atoms)
        return joined if double else joined.astype(np.float32)

    def vjp(
        self,
        positions: FloatArray,
        types: NDArray[np.int32],
        offsets: NDArray[np.int64],
        cells: FloatArray,
        periodic: NDArray[np.bool_],
        adjoints: Real,
        *,
        threads: int = 1,
        isa: str = "auto",
    ) -> tuple[FloatArray, FloatArray]:
        """Gradients of sum(adjoints * values) by positions and by the strain of each structure.

        (n_rhs, n_atoms, 3) and (n_rhs, n_structures, 3, 3) from adjoints (n_rhs, n_atoms, length).
        """
        around = self.surroundings(positions, types, offsets, cells, periodic)
        gradient = np.empty((len(adjoints), len(around.types), 3))
        strain = np.empty((len(adjoints), len(cells), 3, 3))
        for number, adjoint in enumerate(adjoints):
            pull = self._pulls(around, adjoint.astype(np.float64))
            gradient[number] = _summed(pull, around.j, len(around.types))
            gradient[number] -= _summed(pull, around.i, len(around.types))
            both = (around.vectors[:, :, None] * pull[:, None, :]).reshape(-1, 9)
            strain[number] = _summed(both, around.structure, len(cells)).reshape(-1, 3, 3)
        return gradient, strain

    def jvp(
        self,
        positions: FloatArray,
        types: NDArray[np.int32],
        offsets: NDArray[np.int64],
        cells: FloatArray,
        periodic: NDArray[np.bool_],
        velocities: FloatArray,
        strains: FloatArray,
        *,
        threads: int = 1,
        double: bool = False,
        isa: str = "auto",
    ) -> Real:
        """(n_rhs, n_atoms, length): change of values for v_ij' = v_j - v_i + v_ij @ strain.

        From velocities (n_rhs, n_atoms, 3) and strains (n_rhs, n_structures, 3, 3).
        """
        around = self.surroundings(positions, types, offsets, cells, periodic)
        changed = np.empty((len(velocities), len(around.types), self.length))
        for number, (velocity, strain) in enumerate(zip(velocities, strains, strict=True)):
            change = velocity[around.j] - velocity[around.i]
            change += np.einsum("px,pxy->py", around.vectors, strain[around.structure])
            changed[number] = self._changes(around, change)
        return changed if double else changed.astype(np.float32)

    def surroundings(
        self,
        positions: FloatArray,
        types: NDArray[np.int32],
        offsets: NDArray[np.int64],
        cells: FloatArray,
        periodic: NDArray[np.bool_],
    ) -> Surroundings:
        """Pairs within the larger cutoff and triples within the angular one."""
        found = []
        for number, (start, stop) in enumerate(pairwise(offsets.tolist())):
            i, j, vectors = near_pairs(
                positions[start:stop], cells[number], periodic[number], cutoff=self.spec.cutoff
            )
            found.append((np.full(len(i), number), i + start, j + start, vectors))
        structure, i, j = (np.concatenate([row[k] for row in found]) for k in range(3))
        vectors = np.concatenate([row[3] for row in found]).reshape(-1, 3)
        near = np.flatnonzero((vectors**2).sum(axis=1) < self.spec.angular_cutoff**2)
        first, second = couples(i[near])
        return Surroundings(
            types.astype(np.intp), structure, i, j, vectors, near[first], near[second]
        )

    @property
    def _block(self) -> int:
        return len(self.spec.shf_a) * len(self.spec.shf_z)

    @property
    def _n_blocks(self) -> int:
        n = len(self.spec.species)
        return n * (n + 1) // 2

    def _radial_rows(self, around: Surroundings) -> Ints:
        rows: Ints = around.i * len(self.spec.species) + around.types[around.j]
        return rows

    def _radial_terms(self, around: Surroundings) -> tuple[FloatArray, FloatArray]:
        """(n_pairs, n_shf_r) what each pair adds, and its derivative by the distance."""
        r = around.distances
        away = r[:, None] - np.array(self.spec.shf_r)
        bell = 0.25 * np.exp(-self.spec.eta_r * away**2)
        edge, edge_slope = _edge(r, self.spec.radial_cutoff)
        slope = bell * (edge_slope[:, None] - 2 * self.spec.eta_r * away * edge[:, None])
        return bell * edge[:, None], slope

    def _triples(self, around: Surroundings) -> Iterator[_Triples]:
        for start in range(0, len(around.first), _CHUNK):
            part = slice(start, start + _CHUNK)
            yield self._chunk(around, around.first[part], around.second[part])

    def _chunk(self, around: Surroundings, first: Ints, second: Ints) -> _Triples:
        spec, n = self.spec, len(self.spec.species)
        kinds = np.sort([around.types[around.j[first]], around.types[around.j[second]]], axis=0)
        # pairs of species (0,0), (0,1), ..., (1,1), ... one after the other
        block = kinds[0] * n - kinds[0] * (kinds[0] - 1) // 2 + kinds[1] - kinds[0]
        r = around.distances[np.stack([first, second])]
        edges, slopes = _edge(r, spec.angular_cutoff)
        away = 0.5 * (r[0] + r[1])[:, None] - np.array(spec.shf_a)
        ring = np.exp(-spec.eta_a * away**2)
        u, w = around.units[first], around.units[second]
        cosine = np.clip((u * w).sum(axis=1), -1.0, 1.0)
        turn, turn_slope = self._turns(SHRINK * cosine)
        x_slopes = SHRINK * np.stack(
            [(w - cosine[:, None] * u) / r[0, :, None], (u - cosine[:, None] * w) / r[1, :, None]]
        )
        return _Triples(
            first=first,
            second=second,
            row=around.i[first] * self._n_blocks + block,
            edge=2 * edges[0] * edges[1],
            edge_slopes=2 * slopes * edges[::-1],
            ring=ring,
            ring_slope=-spec.eta_a * away * ring,
            turn=turn,
            turn_slope=turn_slope,
            x_slopes=x_slopes,
        )

    def _turns(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(n_triples, n_shf_z) ((1 + cos(acos x - shf_z)) / 2)^zeta and its derivative by x."""
        shift = np.array(self.spec.shf_z)
        sine = np.sqrt(1 - x**2)
        base = 0.5 * (1 + x[:, None] * np.cos(shift) + sine[:, None] * np.sin(shift))
        base = np.maximum(base, 0.0)
        slope = 0.5 * (np.cos(shift) - (x / sine)[:, None] * np.sin(shift))
        zeta = self.spec.zeta
        turn = base**zeta
        # zeta >= 1: its slope is finite where the base vanishes
        return turn, zeta * base ** (zeta - 1) * slope

    def _pulls(self, around: Surroundings, adjoint: FloatArray) -> FloatArray:
        """(n_pairs, 3) gradient of sum(adjoint * values) by each pair vector."""
        n_radial = self.spec.n_radial
        radial = adjoint[:, :n_radial].reshape(-1, len(self.spec.shf_r))
        _, slope = self._radial_terms(around)
        along = (radial[self._radial_rows(around)] * slope).sum(axis=1)
        pulls: FloatArray = along[:, None] * around.units
        angular = adjoint[:, n_radial:].reshape(-1, len(self.spec.shf_a), len(self.spec.shf_z))
        for part in self._triples(around):
            for pairs, pull in self._triple_pulls(around, part, angular[part.row]):
                pulls += _summed(pull, pairs, len(pulls))
        return pulls

    def _triple_pulls(
        self, around: Surroundings, part: _Triples, weight: FloatArray
    ) -> Iterator[tuple[Ints, FloatArray]]:
        """Gradients by the first and the second pair vector; weight (n_triples, a, z)."""
        turned = np.einsum("taz,tz->ta", weight, part.turn)
        level = (turned * part.ring).sum(axis=1)
        ring = part.edge * (turned * part.ring_slope).sum(axis=1)
        by_x = part.edge * np.einsum("taz,ta,tz->t", weight, part.ring, part.turn_slope)
        for side, pairs in enumerate((part.first, part.second)):
            along = part.edge_slopes[side] * level + ring
            pull = along[:, None] * around.units[pairs] + by_x[:, None] * part.x_slopes[side]
            yield pairs, pull

    def _changes(self, around: Surroundings, change: FloatArray) -> FloatArray:
        """(n_atoms, length) change of the values when pair vectors change by `change`."""
        n_atoms = len(around.types)
        stretch = (change * around.units).sum(axis=1)
        _, slope = self._radial_terms(around)
        rows = self._radial_rows(around)
        table = _summed(slope * stretch[:, None], rows, n_atoms * len(self.spec.species))
        angular = np.zeros((n_atoms * self._n_blocks, self._block))
        for part in self._triples(around):
            both = np.stack([part.first, part.second])
            r_change = stretch[both]
            x_change = (part.x_slopes * change[both]).sum(axis=(0, 2))
            edge_change = (part.edge_slopes * r_change).sum(axis=0)
            ring_change = part.ring_slope * r_change.sum(axis=0)[:, None]
            sides = edge_change[:, None] * part.ring + part.edge[:, None] * ring_change
            terms = sides[:, :, None] * part.turn[:, None, :]
            ring = (part.edge * x_change)[:, None] * part.ring
            terms += ring[:, :, None] * part.turn_slope[:, None, :]
            angular += _summed(terms.reshape(-1, self._block), part.row, len(angular))
        return _joined(table, angular, n_atoms)


def _joined(radial: FloatArray, angular: FloatArray, n_atoms: int) -> FloatArray:
    """(n_atoms, length): radial components, then angular ones."""
    both = radial.reshape(n_atoms, -1), angular.reshape(n_atoms, -1)
    joined: FloatArray = np.concatenate(both, axis=1)
    return joined


def _edge(r: FloatArray, cutoff: float) -> tuple[FloatArray, FloatArray]:
    """The cosine cutoff and its derivative; both vanish at and beyond the cutoff."""
    angle = np.pi / cutoff * np.minimum(r, cutoff)
    value: FloatArray = 0.5 * np.cos(angle) + 0.5
    return value, -0.5 * np.pi / cutoff * np.sin(angle)


def _summed(rows: FloatArray, place: Ints, count: int) -> FloatArray:
    """(count, n): the sum of the rows that belong to each place."""
    sums = csr_array((np.ones(len(place)), (place, np.arange(len(place)))), (count, len(place)))
    total: FloatArray = sums @ rows
    return total
