"""Finished parts of a measurement in its folder: what a killed run goes on from."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from athanor.data.durable import make_folder, write_file
from athanor.data.packing import npz_bytes, pack_structures, read_npz, unpack_structures
from athanor.errors import FormatError


@dataclass(frozen=True, slots=True)
class Part:
    """Plain data and structures (with momenta) of one finished part."""

    data: dict[str, Any]
    structures: tuple[Atoms, ...] = field(default=())


def kept(folder: Path, name: str, make: Callable[[], Part]) -> Part:
    """The part of that name; made and written where it is not there or not whole."""
    path = folder / f"{name}.npz"
    try:
        return _read(path)
    except (FormatError, KeyError, ValueError):
        part = make()
    make_folder(folder)
    structures = list(part.structures)
    momenta = [atoms.get_momenta() for atoms in structures]
    arrays = pack_structures(structures) | {
        "momenta": np.concatenate(momenta) if momenta else np.zeros((0, 3)),
        "data": np.array(json.dumps(part.data)),
    }
    write_file(path, npz_bytes(arrays))
    # what goes on is what a later run would read
    return _read(path)


def _read(path: Path) -> Part:
    arrays = read_npz(path)
    structures = unpack_structures(arrays)
    ends = np.cumsum([0, *map(len, structures)])
    for atoms, first, last in zip(structures, ends[:-1], ends[1:], strict=True):
        atoms.set_momenta(arrays["momenta"][first:last])
    return Part(json.loads(str(arrays["data"])), tuple(structures))
