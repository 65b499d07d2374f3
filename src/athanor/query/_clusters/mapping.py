"""Structures as points of a plane."""

from __future__ import annotations

import numpy as np

from athanor.structure import FloatArray


def mds(distances: FloatArray, *, rounds: int = 0) -> FloatArray:
    """Points whose distances are like those given, (n, n) -> (n, 2): deterministic.

    Classical multidimensional scaling, the two leading eigenvectors of the doubly centred squares;
    `rounds` of SMACOF (majorised stress) may follow. Centred; of each axis the entry largest in
    size is positive, so that the picture does not flip.
    """
    n = len(distances)
    if n < 3:
        points = np.zeros((n, 2))
        if n == 2:
            points[:, 0] = np.array([1.0, -1.0]) * distances[0, 1] / 2
        return points
    points = _classical(distances)
    for _ in range(rounds):
        points = _majorised(distances, points)
    points -= points.mean(axis=0)
    largest = points[np.abs(points).argmax(axis=0), [0, 1]]
    return np.asarray(points * np.where(largest < 0, -1.0, 1.0))


def _classical(distances: FloatArray) -> FloatArray:
    from scipy.linalg import eigh
    from scipy.sparse.linalg import LinearOperator, eigsh

    n = len(distances)
    squares = np.square(distances)

    def product(x: FloatArray) -> FloatArray:
        flat = x.reshape(-1)
        image = squares @ (flat - flat.mean())
        return np.asarray(-0.5 * (image - image.mean()))

    if n <= 500:
        centred = squares - squares.mean(axis=0)
        centred = -0.5 * (centred - centred.mean(axis=1)[:, None])
        values, vectors = eigh((centred + centred.T) / 2, subset_by_index=[n - 2, n - 1])
    else:
        operator = LinearOperator((n, n), matvec=product, dtype=np.float64)
        start = np.random.default_rng(0).standard_normal(n)
        values, vectors = eigsh(operator, k=2, which="LA", v0=start)
    order = np.argsort(-values)
    return np.asarray(vectors[:, order] * np.sqrt(np.maximum(values[order], 0.0)))


def _majorised(distances: FloatArray, points: FloatArray) -> FloatArray:
    """One Guttman transform, with rows in turn so that memory stays small."""
    found = np.empty_like(points)
    for number, row in enumerate(distances):
        away = points[number] - points
        lengths = np.sqrt(np.einsum("ij,ij->i", away, away))
        ratio = np.divide(row, lengths, out=np.zeros_like(row), where=lengths > 0)
        found[number] = ratio @ away / len(distances)
    return found
