"""Structures and frames as flat arrays, and back: what the npz files of the store hold.

Ragged data are stored flat with offsets, so that nothing needs pickle.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from athanor.errors import FormatError
from athanor.structure import Frame, Labels

Arrays = dict[str, NDArray[Any]]


def pack_structures(structures: Sequence[Atoms]) -> Arrays:
    """offsets (n+1,), numbers (N,), positions (N, 3), cells (n, 3, 3), pbc (n, 3)."""
    sizes = [len(atoms) for atoms in structures]
    n = len(structures)
    return {
        "offsets": np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        "numbers": _joined([atoms.numbers for atoms in structures], (0,)).astype(np.int64),
        "positions": _joined([atoms.positions for atoms in structures], (0, 3)),
        "cells": np.array([atoms.cell.array for atoms in structures], dtype=float).reshape(n, 3, 3),
        "pbc": np.array([atoms.pbc for atoms in structures], dtype=bool).reshape(n, 3),
    }


def unpack_structures(arrays: Mapping[str, NDArray[Any]]) -> list[Atoms]:
    """Rebuild what `pack_structures` packed, bit for bit."""
    offsets = arrays["offsets"]
    return [
        Atoms(
            numbers=arrays["numbers"][first:last],
            positions=arrays["positions"][first:last],
            cell=cell,
            pbc=pbc,
        )
        for first, last, cell, pbc in zip(
            offsets[:-1], offsets[1:], arrays["cells"], arrays["pbc"], strict=True
        )
    ]


def pack_frames(frames: Sequence[Frame]) -> Arrays:
    """Geometry and labels as arrays; a frame without stress has has_stress False."""
    stresses = [frame.labels.stress for frame in frames]
    nothing = np.zeros((3, 3))
    return {
        **pack_structures([frame.atoms for frame in frames]),
        "energy": np.array([frame.labels.energy for frame in frames], dtype=float),
        "forces": _joined([frame.labels.forces for frame in frames], (0, 3)),
        "stress": np.array([nothing if s is None else s for s in stresses]).reshape(-1, 3, 3),
        "has_stress": np.array([s is not None for s in stresses], dtype=bool),
        "level": np.array([frame.level for frame in frames], dtype=np.str_),
        "origin": np.array([frame.origin for frame in frames], dtype=np.str_),
    }


def unpack_frames(arrays: Mapping[str, NDArray[Any]]) -> list[Frame]:
    """Rebuild what `pack_frames` packed, bit for bit."""
    offsets = arrays["offsets"]
    return [
        Frame(
            atoms=atoms,
            labels=Labels(
                energy=float(arrays["energy"][i]),
                forces=arrays["forces"][offsets[i] : offsets[i + 1]].copy(),
                stress=arrays["stress"][i].copy() if arrays["has_stress"][i] else None,
            ),
            level=str(arrays["level"][i]),
            origin=str(arrays["origin"][i]),
        )
        for i, atoms in enumerate(unpack_structures(arrays))
    ]


def npz_bytes(arrays: Arrays) -> bytes:
    """The arrays as the bytes of an npz file: equal arrays give equal bytes (no time stamps)."""
    buffer = io.BytesIO()
    # as np.savez writes it, which only in recent versions can be told not to pickle
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=False)
    return buffer.getvalue()


def read_npz(path: Path, data: bytes | None = None) -> Arrays:
    """Read every array of an npz file (or of its bytes); FormatError when it is not whole."""
    try:
        source = io.BytesIO(path.read_bytes() if data is None else data)
        with np.load(source, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise FormatError(path, None, f"not a whole npz file of athanor's ({error})") from None


def _joined(parts: Sequence[NDArray[Any]], empty: tuple[int, ...]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(empty)
