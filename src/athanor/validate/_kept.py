"""A calculator that keeps what was dear, so that a measurement which is killed goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from athanor.data.durable import write_file
from athanor.structure import structure_id

DEAR = 1.0
"""Seconds from which on an evaluation is worth a file."""
KINDS = ("energy", "free_energy", "forces", "stress")


class Kept(Calculator):
    """Gives what `inner` gives; evaluations of a second or more are kept in `folder`.

    Static measurements draw nothing: done again, they ask for the same structures to the last bit,
    and find all that was evaluated before they were killed. `folder` is for one calculator.
    """

    def __init__(self, inner: Calculator, folder: Path) -> None:
        super().__init__()
        self.implemented_properties = list(inner.implemented_properties)
        self._inner, self._folder = inner, folder

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Read or evaluate; raises what the inner calculator raises."""
        super().calculate(atoms, list(properties), list(system_changes))
        path = self._folder / f"evaluation-{structure_id(self.atoms)}.json"
        known = _read(path, len(self.atoms))
        if known is None or not set(properties) <= set(known):
            began = time.monotonic()
            for name in properties:
                self._inner.get_property(name, self.atoms)
            found = self._inner.results
            known = {name: found[name] for name in KINDS if name in found}
            if time.monotonic() - began >= DEAR:
                write_file(path, json.dumps(known, default=np.ndarray.tolist).encode())
        self.results = known


def _read(path: Path, n_atoms: int) -> dict[str, Any] | None:
    """What a file holds; None where there is none or it is damaged."""
    try:
        data = json.loads(path.read_bytes())
        found = {name: np.array(data[name], float) for name in KINDS if name in data}
    except (OSError, ValueError, TypeError):
        return None
    shapes = {"energy": (), "free_energy": (), "forces": (n_atoms, 3), "stress": (6,)}
    if any(value.shape != shapes[name] for name, value in found.items()):
        return None
    return {name: float(one) if one.shape == () else one for name, one in found.items()}
