"""A relaxation that has ended, as it is told and as it is kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import GPa
from numpy.typing import NDArray

from athanor.data.packing import (
    Arrays,
    pack_frames,
    pack_structures,
    unpack_frames,
    unpack_structures,
)
from athanor.errors import FormatError
from athanor.sample.relax import RelaxOptions, RelaxResult
from athanor.structure import Frame, Labels, bare

Info = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ended:
    """A relaxation that has ended, well or not.

    Attributes
    ----------
    index : number of the structure in its file.
    atoms : where it ended; as it was given, where nothing could be evaluated.
    labels : of it; None where nothing could be evaluated.
    info : what is told of it, under the names it is written with.
    candidates : structures worth a label on the way, with what is told of them.
    path : every step of one that was halted or failed, with what is told of it.
    """

    index: int
    atoms: Atoms
    labels: Labels | None
    info: Info
    candidates: tuple[tuple[Atoms, Info], ...] = ()
    path: tuple[tuple[Frame, Info], ...] = ()

    @classmethod
    def failed(cls, index: int, atoms: Atoms, error: str) -> Ended:
        """A structure that could not be evaluated at all."""
        info = {"source": index, "converged": False, "steps": 0, "stopped_by": "failed"}
        return cls(index, bare(atoms), None, {**info, "error": error})

    @classmethod
    def of(cls, index: int, result: RelaxResult, *, options: RelaxOptions) -> Ended:
        """The result of structure `index`; of the way only what was halted is kept."""
        harvest = result.harvest
        candidates = [
            (atoms, {"source": index, "step": step, "grade": grade.value, "reason": reason})
            for atoms, step, grade, reason in zip(
                harvest.structures,
                result.candidate_steps,
                harvest.grades,
                harvest.reasons,
                strict=True,
            )
        ]
        path = []
        if result.stopped_by in ("grade", "min_dist", "failed"):
            for step in result.path:
                told: Info = {"source": index, "step": step.step}
                if step.grade is not None:
                    told["grade"] = step.grade
                path.append((Frame(step.atoms, step.labels), told))
        finite = bool(np.isfinite(result.labels.energy))
        return cls(
            index,
            result.atoms,
            result.labels if finite else None,
            {"source": index, **_told(result, options)},
            tuple(candidates),
            tuple(path),
        )


def _told(result: RelaxResult, options: RelaxOptions) -> Info:
    info: Info = {
        "converged": result.converged,
        "steps": result.harvest.steps,
        "stopped_by": result.stopped_by,
        "fmax": result.fmax,
    }
    labels, n = result.labels, len(result.atoms)
    info["energy_per_atom"] = labels.energy / n
    if labels.stress is not None:
        volume = float(result.atoms.get_volume())
        info["enthalpy_per_atom"] = (labels.energy + options.pressure * volume) / n
        info["pressure_GPa"] = -float(np.trace(labels.stress)) / 3 / GPa
        info["volume"] = volume
        if options.cell != "fixed":
            info["smax_GPa"] = result.smax / GPa
    met = [*(g.value for g in result.harvest.grades)]
    met += [step.grade for step in result.path if step.grade is not None]
    if met:
        info["grade"] = float(max(met))
    if result.error:
        info["error"] = result.error
    return info


def packed(ended: Sequence[Ended]) -> Arrays:
    """As arrays for one npz file."""
    empty = [Labels(0.0, np.zeros((len(one.atoms), 3)), None) for one in ended]
    final = [
        Frame(one.atoms, one.labels or nothing) for one, nothing in zip(ended, empty, strict=True)
    ]
    header = [
        {
            "index": one.index,
            "labelled": one.labels is not None,
            "info": one.info,
            "candidates": [info for _, info in one.candidates],
            "path": [info for _, info in one.path],
        }
        for one in ended
    ]
    parts = {
        "final": pack_frames(final),
        "candidates": pack_structures([atoms for one in ended for atoms, _ in one.candidates]),
        "path": pack_frames([frame for one in ended for frame, _ in one.path]),
    }
    arrays = {f"{part}_{name}": array for part, of in parts.items() for name, array in of.items()}
    text = json.dumps(header).encode()
    return {"header": np.frombuffer(text, dtype=np.uint8), **arrays}


def unpacked(arrays: Mapping[str, NDArray[Any]], path: Path) -> list[Ended]:
    """What `packed` packed, bit for bit; FormatError when something is missing."""
    try:
        header = json.loads(arrays["header"].tobytes())
        final = unpack_frames(_part(arrays, "final"))
        candidates = iter(unpack_structures(_part(arrays, "candidates")))
        frames = iter(unpack_frames(_part(arrays, "path")))
        return [
            Ended(
                told["index"],
                frame.atoms,
                frame.labels if told["labelled"] else None,
                told["info"],
                tuple((next(candidates), info) for info in told["candidates"]),
                tuple((next(frames), info) for info in told["path"]),
            )
            for told, frame in zip(header, final, strict=True)
        ]
    except (KeyError, ValueError, StopIteration, RuntimeError) as error:
        raise FormatError(path, None, f"not a file of relaxations ({error!r})") from None


def _part(arrays: Mapping[str, NDArray[Any]], name: str) -> Arrays:
    start = f"{name}_"
    return {key[len(start) :]: array for key, array in arrays.items() if key.startswith(start)}
