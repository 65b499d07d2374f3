"""Fitting an ensemble of ANI networks on energies, forces and stress."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from athanor.data.dataset import Dataset
from athanor.data.durable import make_folder
from athanor.errors import ConfigError, FitError
from athanor.potentials._ani.cost import Forecast, kept_bytes, step_bytes
from athanor.potentials._ani.evaluation import Aev, Evaluation, Standard
from athanor.potentials._ani.frames import Frames
from athanor.potentials._ani.lanes import available
from athanor.potentials._ani.log import FitLog
from athanor.potentials._ani.model import AevSpec, AniModel
from athanor.potentials._ani.networks import Layout
from athanor.potentials._ani.offsets import beyond_reason, energy_offsets, output_scale
from athanor.potentials._ani.program import Device, aev_of
from athanor.potentials._ani.settings import FitSettings
from athanor.potentials._ani.shares import Shares
from athanor.potentials._ani.standard import surveyed
from athanor.potentials._ani.trainer import Task, Trainer
from athanor.potentials._ani.weights import decays, drawn, folded, unfolded
from athanor.potentials._checkpoint import Checkpoint, fingerprint
from athanor.structure import FloatArray


def fit_ensemble(
    train: Dataset,
    valid: Dataset,
    *,
    spec: AevSpec,
    make_aev: Callable[[AevSpec], Any] = aev_of,
    settings: FitSettings,
    seed: int,
    workdir: Path,
    start: AniModel | None = None,
) -> AniModel:
    """Fit all members at once.

    Parameters
    ----------
    train, valid : the frames; where no validation set is left to a member, it is trained to the end
        of the schedule, and the running mean of its weights is kept.
    spec : environment vectors; its species are all that occur.
    make_aev : the kernel of a specification.
    workdir : progress is appended to its log, and what is reached is kept there: the same call goes
        on from it and ends with the bits of one that was never interrupted.
    start : an ensemble of the same vectors, layers and size whose weights are gone on from.

    Raises FitError (an empty training set, labels that are not finite or beyond reason, no stress
    where it is to be learned, a loss that is not finite) and
    ConfigError (CUDA where there is none). Deterministic; bits do not depend on threads.
    """
    if len(train) == 0:
        raise FitError("the training set is empty; label at least one structure")
    device = device_of(settings.device)
    make_folder(workdir)
    if start is not None and alike(start, spec, settings):
        settings = replace(
            settings, max_epochs=settings.refit_epochs or -(-settings.max_epochs // 2)
        )
    else:
        start = None
    shares = Shares.of(train, valid, size=settings.size, seed=seed, resample=settings.resample)
    frames = Frames.of(shares.both, species=spec.species, energy_only=settings.energy_only)
    _check(frames, shares, settings, n_species=len(spec.species))
    with one_torch_thread():
        problem = _problem(make_aev(spec), spec, frames, shares, settings, device=device)
        first = _first(start, spec, problem, settings, seed=seed)
        identity = _identity(spec, settings, device, frames, shares, first, seed=seed)
        best = _trained(
            problem,
            first,
            settings,
            seed=seed,
            log=FitLog(workdir),
            at=Checkpoint(workdir, identity),
        )
    return folded(
        best, problem.layout, problem.evaluation.standard, aev=spec, offsets=problem.offsets
    )


def _check(frames: Frames, shares: Shares, settings: FitSettings, *, n_species: int) -> None:
    """Raise FitError for labels that no fit can be made to."""
    weight = settings.loss.stress_weight
    if weight and not frames.has_stress[shares.trained()].any():
        raise FitError(
            f"stress_weight = {weight:g}, but no frame of the training set has a stress; "
            "set it to 0, or label stress"
        )
    found = beyond_reason(frames, n_species)
    if found is not None:
        number, off, rest = found
        raise FitError(
            f"the energy of {frames.origins[number]} is {off:.3g} eV/atom away from what all other "
            f"frames say of its composition, who are off by {rest:.2g}: correct it, or leave the "
            "frame out"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """What is trained: the data relative to `offsets`, and what evaluates the networks on them."""

    evaluation: Evaluation
    task: Task
    layout: Layout
    offsets: FloatArray
    threads: int


def _problem(
    aev: Aev,
    spec: AevSpec,
    frames: Frames,
    shares: Shares,
    settings: FitSettings,
    *,
    device: str,
) -> Problem:
    n_species, threads = len(spec.species), settings.threads or available()
    layout = Layout(n_species, (spec.length, *settings.layers, 1))
    trained = frames.take(shares.trained())
    offsets = energy_offsets(trained, n_species)
    double = settings.precision == "float64"
    seen = surveyed(
        aev,
        frames,
        shares.train.sum(axis=0),
        keep=kept_bytes(frames, spec.length, 8 if double else 4) <= settings.memory,
        double=double,
        threads=threads,
    )
    evaluation = Evaluation(
        aev,
        layout,
        Standard(seen.shift, seen.stretch, output_scale(trained, offsets)),
        weights=settings.loss,
        dtype=torch.float64 if double else torch.float32,
        device=device,
    )
    relative = replace(frames, energies=frames.energies - frames.counts(n_species) @ offsets)
    inputs = None if seen.values is None else evaluation.standardised(seen.values)
    return Problem(evaluation, Task(relative, inputs, shares), layout, offsets, threads)


def _first(
    start: AniModel | None, spec: AevSpec, problem: Problem, settings: FitSettings, *, seed: int
) -> Tensor:
    """Where to begin: at a start of the same shape, else at random."""
    if start is None:
        return drawn(problem.layout, settings.size, seed=seed)
    return unfolded(start, problem.layout, problem.evaluation.standard, problem.offsets)


def alike(start: AniModel, spec: AevSpec, settings: FitSettings) -> bool:
    """Whether the weights of one mean the same in the other."""
    hidden = tuple(weight.shape[1] for weight in start.networks[0].weights[:-1])
    return start.aev == spec and hidden == settings.layers and start.n_members == settings.size


def _trained(
    problem: Problem,
    first: Tensor,
    settings: FitSettings,
    *,
    seed: int,
    log: FitLog,
    at: Checkpoint,
) -> Tensor:
    """The best parameters of each member; what that takes is said first."""
    trainer = Trainer(
        problem.evaluation,
        problem.task,
        settings,
        decays=decays(problem.layout, settings.weight_decay),
        seed=seed,
        threads=problem.threads,
    )
    log.forecast(_forecast(problem, trainer, first, settings).sentence())
    return trainer.run(first, log=log, checkpoint=at)


def _forecast(problem: Problem, trainer: Trainer, first: Tensor, settings: FitSettings) -> Forecast:
    frames, layout = problem.task.frames, problem.layout
    kept = problem.task.inputs
    return Forecast(
        seconds=trainer.epoch_seconds(first),
        epochs=settings.max_epochs,
        kept=0 if kept is None else kept.numel() * kept.element_size(),
        unvalidated=int((problem.task.shares.valid.sum(axis=1) == 0).sum()),
        step=step_bytes(
            frames,
            settings,
            n_inputs=layout.widths[0],
            n_parameters=layout.size,
            threads=problem.threads,
        ),
    )


def _identity(
    spec: AevSpec,
    settings: FitSettings,
    device: str,
    frames: Frames,
    shares: Shares,
    first: Tensor,
    *,
    seed: int,
) -> str:
    """Fingerprint of all that decides about the result."""
    decisive = replace(settings, threads=None, memory=0.0, device="cpu")
    data = [getattr(frames, field.name) for field in fields(frames) if field.name != "origins"]
    tables = [first.numpy(), shares.train, shares.valid]
    return fingerprint([spec, decisive, device, seed, *tables, *data])


def device_of(device: Device) -> str:
    """ "cpu" or "cuda"; ConfigError where CUDA is asked for and there is none."""
    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        raise ConfigError(
            "potential: device = 'cuda', but PyTorch finds no CUDA device here; give 'cpu', or "
            "'auto' to use one where it is"
        )
    return "cuda" if there and device != "cpu" else "cpu"


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Torch on one thread inside: pieces run side by side instead, which changes no bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
