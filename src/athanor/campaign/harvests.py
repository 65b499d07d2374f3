"""Structures and harvests as files in artefacts, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from athanor.data.durable import write_file
from athanor.data.packing import npz_bytes, pack_structures, read_npz, unpack_structures
from athanor.query import Grade
from athanor.sample import Harvest
from athanor.structure import FloatArray

FILE = "structures.npz"
TRACE = "trace."


@dataclass(frozen=True, slots=True)
class Candidates:
    """Structures of one artefact with their grades and the reasons they were kept for."""

    structures: list[Atoms]
    grades: list[Grade]
    reasons: list[str]


def write_drawn(folder: Path, structures: Sequence[Atoms]) -> None:
    """Write structures alone."""
    write_file(folder / FILE, npz_bytes(pack_structures(structures)))


def read_structures(folder: Path) -> list[Atoms]:
    """Read the structures of an artefact, bit for bit."""
    return unpack_structures(read_npz(folder / FILE))


def write_harvest(folder: Path, harvest: Harvest) -> None:
    """Write candidates, grades, reasons and traces."""
    arrays = pack_structures(harvest.structures)
    arrays["grade"] = np.array([grade.value for grade in harvest.grades], dtype=float)
    arrays["verdict"] = np.array([grade.verdict for grade in harvest.grades], dtype=np.str_)
    arrays["reason"] = np.array(harvest.reasons, dtype=np.str_)
    arrays["has_per_atom"] = np.array([g.per_atom is not None for g in harvest.grades], dtype=bool)
    arrays["per_atom"] = np.concatenate(
        [
            np.zeros(0),
            *(
                np.zeros(len(atoms)) if grade.per_atom is None else grade.per_atom
                for atoms, grade in zip(harvest.structures, harvest.grades, strict=True)
            ),
        ]
    )
    for name, values in harvest.trace.items():
        arrays[TRACE + name] = np.asarray(values)
    write_file(folder / FILE, npz_bytes(arrays))


def read_candidates(folder: Path) -> Candidates:
    """Read back what `write_harvest` wrote of the candidates."""
    arrays = read_npz(folder / FILE)
    first = arrays["offsets"]
    grades = [
        Grade(
            value=float(value),
            per_atom=arrays["per_atom"][first[i] : first[i + 1]] if has else None,
            verdict=verdict.item(),
        )
        for i, (value, verdict, has) in enumerate(
            zip(arrays["grade"], arrays["verdict"], arrays["has_per_atom"], strict=True)
        )
    ]
    return Candidates(unpack_structures(arrays), grades, [str(r) for r in arrays["reason"]])


def read_trace(folder: Path) -> dict[str, FloatArray]:
    """Read the traces of a sample task: name -> (n_records,)."""
    arrays = read_npz(folder / FILE)
    return {k.removeprefix(TRACE): v for k, v in arrays.items() if k.startswith(TRACE)}
