"""Wave vectors that fit into a periodic box."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from athanor.structure import FloatArray


def wave_vectors(
    cell: FloatArray, *, q_max: float, width: float, most: int, seed: int
) -> NDArray[np.intp]:
    """Integers (n, 3), one of each h and -h, of the vectors h (2 pi cell⁻¹) no longer than `q_max`.

    Each shell of `width` 1/Å that holds more than `most` of them is thinned by lot to about so many
    (the same for a seed), so that the number grows with q and not with its cube.

    Parameters
    ----------
    cell : (3, 3) rows are the vectors of the box, Å.
    """
    generator = np.random.default_rng(seed)
    reciprocal = 2 * np.pi * np.linalg.inv(cell).T
    # |h_i| = |q . a_i| / 2 pi
    reach = np.floor(q_max * np.linalg.norm(cell, axis=1) / (2 * np.pi)).astype(int)
    k, last = (np.arange(-n, n + 1) for n in reach[1:])
    plane = np.stack(np.meshgrid(k, last, indexing="ij"), axis=-1).reshape(-1, 2)
    density = abs(np.linalg.det(cell)) / (2 * np.pi) ** 3
    kept = []
    # plane by plane, for the whole of a large box does not fit into memory
    for h in range(reach[0] + 1):
        found = plane
        if h == 0:
            found = plane[(plane[:, 0] > 0) | ((plane[:, 0] == 0) & (plane[:, 1] > 0))]
        whole = np.column_stack([np.full(len(found), h), found])
        length = np.linalg.norm(whole @ reciprocal, axis=1)
        inside = length <= q_max
        expected = 2 * np.pi * length**2 * width * density
        drawn = generator.random(len(found)) * expected < most
        kept.append(whole[inside & drawn])
    return np.concatenate(kept).astype(np.intp)
