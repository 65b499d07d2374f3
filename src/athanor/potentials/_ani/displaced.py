"""Structures displaced along a direction of each member's own (Smith et al. 2021, section II.A)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from athanor.potentials._ani.frames import Frames
from athanor.structure import FloatArray


def displaced_frames(
    frames: Frames, velocities: FloatArray, strains: FloatArray, step: FloatArray
) -> Frames:
    """All structures once for each member: r + step (v + r @ strain), cells likewise.

    `velocities` (n_members, n_atoms, 3), `strains` (n_members, n_frames, 3, 3), `step` (n_members,
    n_frames). Labels are those of the structures, and mean nothing.
    """
    members, sizes = len(velocities), frames.sizes
    by_atom = np.repeat(step, sizes, axis=1)[:, :, None]
    bend = step[:, :, None, None] * strains
    moved = frames.positions + by_atom * velocities
    moved += np.einsum("ax,maxy->may", frames.positions, np.repeat(bend, sizes, axis=1))
    cells = frames.cells + frames.cells @ bend
    starts = np.arange(members)[:, None] * len(frames.positions) + frames.offsets[:-1]
    return replace(
        frames,
        positions=moved.reshape(-1, 3),
        types=np.tile(frames.types, members),
        offsets=np.append(starts.ravel(), members * len(frames.positions)),
        cells=cells.reshape(-1, 3, 3),
        periodic=np.tile(frames.periodic, (members, 1)),
    )
