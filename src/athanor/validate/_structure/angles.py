"""Angles between the bonds of an atom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms

from athanor.structure import FloatArray
from athanor.validate._structure.blocks import Blocked, split
from athanor.validate._structure.bonds import limits_of
from athanor.validate._structure.distribution import neighbours
from athanor.validate._structure.elements import Elements, Pair

ANGLE_BINS = 90
DEGREES = np.arange(ANGLE_BINS) * (180 / ANGLE_BINS) + 90 / ANGLE_BINS
"""Middle of each bin."""


def bond_angles(
    frames: Sequence[Atoms],
    elements: Elements,
    cutoffs: Mapping[Pair, float],
    *,
    blocks: int = 1,
) -> Blocked:
    """Angles between two bonds of an atom: (blocks, n_elements, 90) density per degree.

    Rows by the element in the corner, whatever it is bonded to; zero where none has two bonds.
    """
    parts = split(frames, blocks)
    each = [np.sum([_angles(one, elements, cutoffs) for one in part], axis=0) for part in parts]
    counted = np.array(each)
    density = counted / np.maximum(counted.sum(axis=2, keepdims=True), 1) * ANGLE_BINS / 180
    return Blocked(density, np.array([len(part) for part in parts], dtype=float))


def _angles(atoms: Atoms, elements: Elements, cutoffs: Mapping[Pair, float]) -> FloatArray:
    """(n_elements, 90) number of angles of one frame."""
    i, j, length, vector = neighbours(atoms, max(cutoffs.values()), "ijdD")
    kept = length < limits_of(elements, cutoffs)[elements.index[i], elements.index[j]]
    corner = np.concatenate([i[kept], j[kept]])
    toward = np.concatenate([vector[kept], -vector[kept]])
    order = np.argsort(corner, kind="stable")
    corner, toward = corner[order], toward[order] / np.linalg.norm(toward[order], axis=1)[:, None]
    # each bond beside every later one of the same atom
    last = np.searchsorted(corner, corner, side="right")
    later = last - np.arange(len(corner)) - 1
    first = np.repeat(np.arange(len(corner)), later)
    started = np.repeat(np.cumsum(later) - later, later)
    second = first + 1 + np.arange(len(first)) - started
    cosines = np.einsum("ij,ij->i", toward[first], toward[second])
    degrees = np.degrees(np.arccos(np.clip(cosines, -1, 1)))
    place = np.minimum((degrees * (ANGLE_BINS / 180)).astype(np.intp), ANGLE_BINS - 1)
    row = elements.index[corner[first]]
    size = ANGLE_BINS * len(elements.names)
    counted = np.bincount(row * ANGLE_BINS + place, minlength=size)
    return counted.reshape(-1, ANGLE_BINS).astype(float)
