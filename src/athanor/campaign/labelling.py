"""Buying a label: the task that costs money, so that nothing about it is lost or paid twice."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from athanor.campaign.harvests import read_structures
from athanor.campaign.tasks import Task
from athanor.data.durable import FULL, write_file
from athanor.data.packing import npz_bytes, pack_frames, read_npz, unpack_frames
from athanor.errors import AthanorError, FolderError, OracleError
from athanor.oracle import OracleConfig
from athanor.structure import Frame, Labels, bare, check_structure, check_trainable

LABEL = "label.npz"

ATTEMPTS = 3
"""How often a label is tried when the oracle says that another try may help."""


def buy(
    oracle: OracleConfig, task: Task, *, source: Path, part: Path, work: Path
) -> dict[str, Any]:
    """Perform a label task: its structure is number `hints["index"]` of the artefact `source`."""
    atoms = bare(read_structures(source)[task.hints["index"]])
    with _reserved(part, atoms):
        labels = _bought(oracle, atoms, work)
    frame = Frame(atoms, labels, level=task.payload["level"])
    write_file(part / LABEL, npz_bytes(pack_frames([frame])))
    return {
        "structure": task.inputs[0],
        "formula": atoms.get_chemical_formula(),
        "n_atoms": len(atoms),
        "reason": task.title,
    }


def _bought(recipe: OracleConfig, atoms: Atoms, work: Path) -> Labels:
    """Ask the oracle; whatever goes wrong but a full disk becomes an OracleError."""
    oracle = recipe.build()
    for attempt in range(1, ATTEMPTS + 1):
        scratch = work / f"attempt-{attempt}"
        scratch.mkdir()
        try:
            check_structure(atoms)
            labels = oracle.label(atoms.copy(), workdir=scratch)
            check_trainable(labels, len(atoms), where="the oracle's labels")
            return labels
        except OracleError as error:
            if attempt == ATTEMPTS or not error.retry:
                raise
        except FolderError:
            raise
        except AthanorError as error:
            raise OracleError(str(error)) from error
        except Exception as error:
            if isinstance(error, OSError) and error.errno in FULL:
                raise FolderError(f"{work}: no space left for the oracle's files") from error
            raise OracleError(f"the oracle failed with {type(error).__name__}: {error}") from error
    raise AssertionError("unreachable: the last attempt returns or raises")


@contextlib.contextmanager
def _reserved(part: Path, atoms: Atoms) -> Iterator[None]:
    """Hold twice the space of a label until it is bought, so that none is paid for and lost."""
    nothing = Labels(0.0, np.zeros((len(atoms), 3)), np.zeros((3, 3)))
    size = len(npz_bytes(pack_frames([Frame(atoms, nothing)])))
    place = part / "reserved"
    write_file(place, bytes(2 * size + 4096))
    try:
        yield
    finally:
        place.unlink()


def read_label(folder: Path) -> Frame:
    """The frame of a label artefact."""
    (frame,) = unpack_frames(read_npz(folder / LABEL))
    return frame
