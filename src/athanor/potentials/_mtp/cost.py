"""What a fit will take, said before it begins: memory by counting, time by a measured sample."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.linalg import qr

from athanor.errors import FitError
from athanor.potentials._mtp.model import MtpModel
from athanor.potentials._mtp.program import program_of
from athanor.potentials._mtp.rows import Block

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")
_WORKERS, _FREE = "ATHANOR_WORKERS", "ATHANOR_FREE_MEMORY"
"""By these a worker process knows how many there are, and what was free before they began."""
_SAMPLE_ROWS = 300
_SAMPLE_COLUMNS = 400


@dataclass(frozen=True, slots=True)
class Forecast:
    """Seconds of computing, and bytes of the rows at their peak."""

    seconds: float
    bytes: int

    def __add__(self, other: Forecast) -> Forecast:
        """One after the other."""
        return Forecast(self.seconds + other.seconds, max(self.bytes, other.bytes))

    def sentence(self) -> str:
        """One line for people."""
        seconds = self.seconds
        time = f"{seconds:.2g} s" if seconds < 120 else f"{seconds / 60:.0f} min"
        return f"expected: about {time} of computing, {_size(self.bytes)} of memory for the rows"


def width(model: MtpModel) -> int:
    """Columns of [linear, radial, target]."""
    return len(model.species_coeffs) + len(model.moment_coeffs) + model.radial.size + 1


def largest_block(blocks: Sequence[Block], columns: int) -> int:
    """Bytes at the peak of a pass: the rows of a block below a factor, a copy of them, a mask."""
    rows = max(len(block.labels) for block in blocks)
    return 8 * columns * (2 * rows + 3 * columns) + columns * (rows + columns)


def check_memory(blocks: Sequence[Block], columns: int) -> None:
    """Raise FitError when a single block of rows does not fit into the memory that is free."""
    needed, free = largest_block(blocks, columns), free_memory()
    if free is None or needed <= free:
        return
    atoms = max(int(np.diff(block.offsets).max()) for block in blocks)
    raise FitError(
        f"the rows of a block need {_size(needed)} of memory and {_size(free)} are free: "
        f"lower `level` (now {columns} columns), or give structures of fewer atoms (the largest "
        f"has {atoms})"
    )


def forecast(
    model: MtpModel, blocks: Sequence[Block], *, passes: float, threads: int, core: bool
) -> Forecast:
    """What so many traversals take; measured on a small part of the first block, so not exact."""
    columns = width(model)
    sample = _first_frames(blocks[0])
    ones = replace(model, moment_coeffs=np.ones_like(model.moment_coeffs))
    program = program_of(ones, core=core)
    begin = time.perf_counter()
    sample.design(program, radial=True, threads=1)
    per_row = (time.perf_counter() - begin) / len(sample.labels) / threads
    n_rows = sum(len(block.labels) for block in blocks)
    folded = sum((len(block.labels) + columns) * columns**2 for block in blocks)
    seconds = per_row * n_rows + folded * _qr_seconds(columns)
    return Forecast(passes * seconds, largest_block(blocks, columns))


def _first_frames(block: Block) -> Block:
    """The first frames of a block, together at least some hundred rows if there are so many."""
    rows = np.cumsum(7 + 3 * np.diff(block.offsets))
    n_frames = min(int(np.searchsorted(rows, _SAMPLE_ROWS)) + 1, len(rows))
    n_atoms, n_rows = int(block.offsets[n_frames]), int(rows[n_frames - 1])
    return Block(
        positions=block.positions[:n_atoms],
        types=block.types[:n_atoms],
        offsets=block.offsets[: n_frames + 1],
        cells=block.cells[:n_frames],
        periodic=block.periodic[:n_frames],
        weights=block.weights[:n_frames],
        labels=block.labels[:n_rows],
        offset=block.offset[:n_rows],
    )


def _qr_seconds(columns: int) -> float:
    """Per row and column squared, of a factor about as wide."""
    n = min(columns, _SAMPLE_COLUMNS)
    matrix = np.random.default_rng(0).normal(size=(3 * n, n))
    begin = time.perf_counter()
    qr(matrix, mode="r", check_finite=False)
    return (time.perf_counter() - begin) / (3 * n * n**2)


def free_memory() -> int | None:
    """Bytes this process may still take; None where the system does not say."""
    limits = [_available(), _left_in_group()]
    return min((limit for limit in limits if limit is not None), default=None)


@dataclass(frozen=True, slots=True)
class Share:
    """Bytes that this process may take beside the others of `workers` processes."""

    bytes: int
    workers: int

    def sentence(self) -> str:
        """For the end of an error: what there is."""
        if self.workers == 1:
            return f"{_size(self.bytes)} are free"
        return f"{_size(self.bytes)} are free for each of {self.workers} workers"


def share_of_memory() -> Share | None:
    """What each of the worker processes may take; None where the system does not say.

    Workers that begin at once all see the same free memory, and together they may not take more
    than that. What the others took since does not lower the share, unless it is gone.
    """
    free = free_memory()
    if free is None:
        return None
    workers = int(os.environ.get(_WORKERS, "1"))
    before = int(os.environ.get(_FREE, "0"))
    return Share(min(free, max(free, before) // workers), workers)


def environment_of_workers(count: int) -> dict[str, str]:
    """What tells so many processes, which begin now, to share the memory; for their environment."""
    return {_WORKERS: str(count), _FREE: str(free_memory() or 0)}


def _available() -> int | None:
    try:
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    except (OSError, ValueError, IndexError):
        pass
    return None


def _left_in_group() -> int | None:
    """What a container or a batch job leaves; its limit is "max" where there is none."""
    try:
        limit = int((_CGROUP / "memory.max").read_text())
        return max(0, limit - int((_CGROUP / "memory.current").read_text()))
    except (OSError, ValueError):
        return None


def _size(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"
