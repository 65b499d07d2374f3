"""Which crystal each atom is in, by adaptive common neighbour analysis."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from athanor.structure import FloatArray

KINDS = ("other", "fcc", "hcp", "bcc")
"""What `crystal_kinds` numbers."""
CLOSE, OPEN = 12, 14
"""Neighbours of an atom in close-packed crystals and in bcc."""
REACH = 1.7
"""Of the cube root of the volume of an atom: 14 neighbours of a bcc atom are within 1.26."""
WIDER, MOST_TRIES = 1.4, 5
MIDWAY = (1 + np.sqrt(2)) / 2
"""Between first and second neighbours of fcc, and second and third of bcc."""

Bools = NDArray[np.bool_]


def crystal_fractions(atoms: Atoms) -> dict[str, float]:
    """Fraction of atoms of each of `KINDS`; they add up to 1."""
    counts = np.bincount(crystal_kinds(atoms), minlength=len(KINDS)) / max(1, len(atoms))
    return dict(zip(KINDS, counts.tolist(), strict=True))


def crystal_kinds(atoms: Atoms) -> NDArray[np.intp]:
    """(n,) numbers into `KINDS`.

    Each atom has a cutoff from the distances of its own 12 (or, for bcc, 14) nearest neighbours, so
    that neither density nor element matter (Stukowski, Modelling Simul. Mater. Sci. Eng. 20,
    045021, 2012); pairs are told apart by the bonds among their common neighbours (Honeycutt and
    Andersen, J. Phys. Chem. 91, 4950, 1987).
    """
    vectors = _nearest(atoms)
    lengths = np.linalg.norm(vectors, axis=2)
    kinds = np.zeros(len(atoms), dtype=np.intp)
    whole = np.isfinite(lengths)
    close = np.flatnonzero(whole[:, :CLOSE].all(axis=1))
    kinds[close] = _close_packed(vectors[close, :CLOSE], lengths[close, :CLOSE])
    rest = np.flatnonzero(whole.all(axis=1) & (kinds == 0))
    kinds[rest] = np.where(_bcc(vectors[rest], lengths[rest]), KINDS.index("bcc"), 0)
    return kinds


def _close_packed(vectors: FloatArray, lengths: FloatArray) -> NDArray[np.intp]:
    bonded = _bonds(vectors, MIDWAY * lengths.mean(axis=1))
    common, bonds, most = _signatures(bonded)
    pairs = (common == 4) & (bonds == 2)
    straight, bent = (pairs & (most == 1)).sum(axis=1), (pairs & (most == 2)).sum(axis=1)
    fcc, hcp = straight == CLOSE, (straight == 6) & (bent == 6)
    kinds: NDArray[np.intp] = fcc * KINDS.index("fcc") + hcp * KINDS.index("hcp")
    return kinds


def _bcc(vectors: FloatArray, lengths: FloatArray) -> Bools:
    # both shells of bcc give the lattice constant
    constant = (lengths[:, :8].sum(axis=1) * 2 / np.sqrt(3) + lengths[:, 8:].sum(axis=1)) / OPEN
    bonded = _bonds(vectors, MIDWAY * constant)
    common, bonds, most = _signatures(bonded)
    # as many bonds as atoms, none with more than two: a ring, or for six atoms two triangles
    six = (common == 6) & (bonds == 6) & (most == 2)
    four = (common == 4) & (bonds == 4) & (most == 2)
    found: Bools = (six.sum(axis=1) == 8) & (four.sum(axis=1) == 6)
    found[found] = ~(six[found] & _triangles(bonded[found])).any(axis=1)
    return found


def _bonds(vectors: FloatArray, cutoffs: FloatArray) -> Bools:
    """(n, k, k) whether two neighbours of an atom are bonded."""
    between = vectors[:, :, None, :] - vectors[:, None, :, :]
    bonded: Bools = (between**2).sum(axis=3) < cutoffs[:, None, None] ** 2
    bonded &= ~np.eye(vectors.shape[1], dtype=bool)
    return bonded


def _signatures(bonded: Bools) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """(n, k) common neighbours of an atom and its neighbour, bonds among them, most of one."""
    links = bonded.astype(np.intp)
    # of a common neighbour, bonds to the others
    degrees = links * (links @ links)
    return links.sum(axis=2), degrees.sum(axis=2) // 2, degrees.max(axis=2, initial=0)


def _triangles(bonded: Bools) -> Bools:
    """(n, k) whether three common neighbours of an atom and its neighbour are bonded in a ring."""
    among = bonded[:, :, :, None] & bonded[:, :, None, :] & bonded[:, None, :, :]
    links = among.astype(np.intp)
    return np.asarray((links * (links @ links)).any(axis=(2, 3)))


def _nearest(atoms: Atoms) -> FloatArray:
    """(n, 14, 3) vectors to the nearest neighbours in order; infinite where there are fewer."""
    from vesin import NeighborList

    nearest = np.full((len(atoms), OPEN, 3), np.inf)
    if len(atoms) == 0:
        return nearest
    cutoff = REACH * _spacing(atoms)
    for _ in range(MOST_TRIES):
        finder = NeighborList(cutoff=cutoff, full_list=True, n_threads=1)
        first, vectors, lengths = finder.compute(
            atoms.positions, atoms.cell.array, atoms.pbc, quantities="iDd"
        )
        if np.bincount(first, minlength=len(atoms)).min() >= OPEN:
            break
        cutoff *= WIDER
    order = np.lexsort((lengths, first))
    first, vectors = first[order].astype(np.intp), vectors[order]
    starts = np.searchsorted(first, np.arange(len(atoms)))
    rank = np.arange(len(first)) - starts[first]
    kept = rank < OPEN
    nearest[first[kept], rank[kept]] = vectors[kept]
    return nearest


def _spacing(atoms: Atoms) -> float:
    """Cube root of the volume of an atom, Å; of the box around them where it is not periodic."""
    if atoms.pbc.all():
        volume = abs(atoms.get_volume())
    else:
        volume = float(np.prod(np.ptp(atoms.positions, axis=0) + 2.0))
    return float((volume / len(atoms)) ** (1 / 3))
