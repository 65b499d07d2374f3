"""What a fit will take, said before it begins: memory by counting, time by a measured piece."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from athanor.potentials._ani.frames import Frames
from athanor.potentials._ani.settings import FitSettings

_TABLES = 5
"""Tables of activations and of vectors that a piece holds at once, at most."""
_STATES = 16
"""Times the parameters: means, bases, the best so far, and a copy of all that."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """Seconds of one epoch, how many epochs at most, bytes of vectors kept and of a step, and how
    many members have no validation set."""

    seconds: float
    epochs: int
    kept: int
    step: int
    unvalidated: int

    def sentence(self) -> str:
        """One line for people."""
        total = self.seconds * self.epochs
        time_ = f"{total:.2g} s" if total < 120 else f"{total / 60:.0f} min"
        kept = f"{size(self.kept)} for environment vectors" if self.kept else "none kept"
        return (
            f"expected: at most {time_} ({self.epochs} epochs of {self.seconds:.2g} s), "
            f"{size(self.step)} of memory for a step and {kept}{self._ends()}"
        )

    def _ends(self) -> str:
        if not self.unvalidated:
            return ""
        return f"; {self.unvalidated} networks have no validation set and learn to the last epoch"


def kept_bytes(frames: Frames, n_inputs: int, itemsize: int) -> int:
    """Bytes of the environment vectors of all atoms."""
    return len(frames.positions) * n_inputs * itemsize


def step_bytes(
    frames: Frames, settings: FitSettings, *, n_inputs: int, n_parameters: int, threads: int
) -> int:
    """Bytes that a step holds: tables of a piece for each thread, gradients of all pieces."""
    itemsize = 4 if settings.precision == "float32" else 8
    pieces = list(frames.pieces(np.arange(len(frames))))
    atoms = max(int(frames.sizes[piece].sum()) for piece in pieces)
    widths = n_inputs + sum(settings.layers)
    tables = _TABLES * settings.size * atoms * widths * itemsize
    per_batch = -(-settings.batch_size * len(pieces) // len(frames)) + 1
    gradients = per_batch * settings.size * n_parameters * itemsize
    return threads * tables + gradients + _STATES * settings.size * n_parameters * itemsize


def measured(work: Callable[[], object]) -> float:
    """Seconds of a piece of work, the second time that it is done."""
    work()
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def size(n_bytes: float) -> str:
    """For people."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{max(n_bytes / 1e6, 0.1):.3g} MB"
