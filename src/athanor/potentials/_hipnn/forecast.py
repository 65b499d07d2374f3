"""What a fit will take, said before it begins: memory by counting, time by a measured step."""

from __future__ import annotations

import copy
import time

import numpy as np
import torch

from athanor.errors import FitError
from athanor.potentials._hipnn.evaluation import derivatives
from athanor.potentials._hipnn.examples import Examples
from athanor.potentials._hipnn.model import HipnnSpec
from athanor.potentials._hipnn.network import DTYPES, Network
from athanor.potentials._hipnn.settings import FitSettings
from athanor.potentials._mtp.cost import free_memory

_COPIES = 9
"""Arrays per pair and layer that live at the peak of a step, as measured."""


def forecast(spec: HipnnSpec, network: Network, examples: Examples, settings: FitSettings) -> str:
    """One line for people; steps with the first frames are made on a copy and timed."""
    numbers = list(range(min(len(examples), settings.batch_size)))
    trial = copy.deepcopy(network)
    for _ in range(2):
        # the first step of a process is far slower than all others
        begin = time.perf_counter()
        found = derivatives(trial, examples.batch(numbers), scale=1.0, fit=True)
        losses, _, _ = examples.losses(numbers, found, settings)
        torch.autograd.backward(losses.mean())
    atoms = sum(len(examples.frames[n].atoms) for n in numbers)
    per_atom = (time.perf_counter() - begin) / atoms
    seconds = per_atom * sum(len(frame.atoms) for frame in examples.frames)
    return (
        f"expected: {_size(step_bytes(spec, examples, settings.batch_size))} of memory for a step, "
        f"about {_time(seconds)} for an epoch, of which there are at most {settings.max_epochs} "
        f"({_time(seconds * settings.max_epochs)})"
    )


def step_bytes(spec: HipnnSpec, examples: Examples, batch_size: int) -> int:
    """Bytes of a step with the largest frames; neighbours are counted by their mean density."""
    pairs = np.array([_pairs(spec, examples, n) for n in range(len(examples))])
    largest = float(np.sort(pairs)[-batch_size:].sum())
    numbers = spec.n_environment + spec.width
    return int(_COPIES * DTYPES[spec.precision].itemsize * spec.interactions * largest * numbers)


def check_memory(spec: HipnnSpec, examples: Examples, batch_size: int) -> None:
    """Raise FitError when a step does not fit into the memory that is free."""
    needed, free = step_bytes(spec, examples, batch_size), free_memory()
    if free is None or needed <= free:
        return
    atoms = max(len(frame.atoms) for frame in examples.frames)
    raise FitError(
        f"a step needs {_size(needed)} of memory and {_size(free)} are free: lower batch_size "
        f"(now {batch_size}), width or sensitivities, or give structures of fewer atoms (the "
        f"largest has {atoms})"
    )


def _pairs(spec: HipnnSpec, examples: Examples, number: int) -> float:
    """About how many pairs a frame has: by the density of a periodic cell, else counted."""
    atoms = examples.frames[number].atoms
    count = len(atoms)
    if not atoms.pbc.all():
        return float(len(examples.batch([number]).first))
    return count * (4 / 3 * np.pi * spec.cutoff**3) * count / float(atoms.cell.volume)


def _size(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"


def _time(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 120 else f"{seconds / 60:.0f} min"
