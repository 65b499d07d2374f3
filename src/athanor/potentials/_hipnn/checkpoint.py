"""What a fit needs to go on after a kill, in one file that is replaced whole.

The file is bound to a fingerprint of recipe, data and seed, which is in its name: a fit of
something else finds nothing here and leaves it alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from athanor.data.durable import write_file

_STATE = "state"
Arrays = dict[str, NDArray[Any]]
Numbers = dict[str, float]


class Checkpoint:
    """Arrays and a few numbers of one fit.

    Parameters
    ----------
    folder : where the file is.
    identity : the fingerprint; a file of another one is another file.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self.path = folder / f"fit-{identity[:16]}.safetensors"
        self._identity = identity

    def read(self) -> tuple[Arrays, Numbers] | None:
        """What was written last; a file that is absent or not whole counts as none."""
        try:
            arrays = load(self.path.read_bytes())
            state = json.loads(arrays.pop(_STATE).tobytes())
        except (OSError, SafetensorError, KeyError, ValueError):
            return None
        if state.pop("identity", None) != self._identity:
            return None
        return arrays, state

    def write(self, arrays: Arrays, numbers: Numbers) -> None:
        """Replace the file, durably; FolderError when that cannot be."""
        text = json.dumps({"identity": self._identity, **numbers})
        state = np.frombuffer(text.encode(), dtype=np.uint8)
        write_file(self.path, save({**arrays, _STATE: state}))
