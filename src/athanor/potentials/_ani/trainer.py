"""The descent of all members: epochs of steps, a validation after each, and checkpoints."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from athanor.data.packing import Arrays
from athanor.errors import FitError
from athanor.potentials._ani.bases import Bases, Diverged
from athanor.potentials._ani.cost import measured
from athanor.potentials._ani.evaluation import Evaluation
from athanor.potentials._ani.frames import Frames
from athanor.potentials._ani.lanes import in_lanes
from athanor.potentials._ani.log import FitLog
from athanor.potentials._ani.loss import Errors
from athanor.potentials._ani.schedule import Plateau, tempered
from athanor.potentials._ani.settings import FitSettings
from athanor.potentials._ani.shares import Shares
from athanor.potentials._ani.state import State
from athanor.potentials._checkpoint import Checkpoint, Numbers
from athanor.structure import FloatArray

_SECONDS_BETWEEN_CHECKPOINTS = 10.0

Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What is trained on.

    Attributes
    ----------
    frames : training and validation frames.
    inputs : (n_atoms, n_in) their standardised environment vectors; None to make them when needed.
    shares : who sees what.
    """

    frames: Frames
    inputs: Tensor | None
    shares: Shares


class Trainer:
    """Trains all members together.

    Parameters
    ----------
    evaluation : of losses and gradients.
    task : the data.
    settings : how to descend.
    decays : (n_parameters,) weight decay of each parameter.
    seed : decides the order of structures.
    threads : of the evaluation; they do not change bits.
    """

    def __init__(
        self,
        evaluation: Evaluation,
        task: Task,
        settings: FitSettings,
        *,
        decays: Tensor,
        seed: int,
        threads: int,
    ) -> None:
        self._evaluation, self._task, self._settings = evaluation, task, settings
        self._decays = decays.to(evaluation.device, evaluation.dtype)
        self._seed, self._threads = seed, threads
        self._trained = task.shares.trained()
        self._validated = task.shares.validated()
        self._n_batches = -(-len(self._trained) // settings.batch_size)
        self._steps = self._n_batches * settings.max_epochs

    def run(self, first: Tensor, *, log: FitLog, checkpoint: Checkpoint) -> Tensor:
        """(n_members, n_parameters): each member's best parameters.

        Goes on from the checkpoint, where there is one, to the bits of a run without interruption.
        Raises FitError where a loss or a step is not finite; the checkpoint then is that of the
        last epoch.
        """
        state = self._begin(first)
        found = checkpoint.read()
        if found is not None:
            state.restore(*found)
            log.resume(found[1]["seconds"])
        kept, written = state.packed(), time.monotonic()
        while state.epoch < self._settings.max_epochs and state.plateau.running.any():
            try:
                if state.epoch == 0:
                    state.plateau.best = self._judged(state)
                self._epoch(state, log)
            except FitError:
                self._write(checkpoint, kept, log)
                raise
            kept = state.packed()
            if time.monotonic() - written >= _SECONDS_BETWEEN_CHECKPOINTS:
                self._write(checkpoint, kept, log)
                written = time.monotonic()
        self._write(checkpoint, kept, log)
        return state.best

    def epoch_seconds(self, first: Tensor) -> float:
        """What an epoch takes, by one step on structures of all sizes."""
        state = self._begin(first)
        order = np.random.default_rng([self._seed, 3]).permutation(self._trained)
        batch = order[: self._settings.batch_size]
        sizes = self._task.frames.sizes
        # a validation has no products with right-hand sides but one, and no way back
        checked = self._task.shares.valid.sum(axis=1).max() / 2
        seconds = measured(lambda: self._gradient(state, batch))
        atoms = sizes[order].sum() + checked * sizes.mean()
        return float(seconds * atoms / sizes[batch].sum())

    def _begin(self, first: Tensor) -> State:
        settings = self._settings
        plateau = Plateau.begin(
            len(first),
            rate=settings.learning_rate,
            patience=settings.patience,
            decay=settings.decay,
            final_rate=settings.final_rate,
        )
        flat = first.to(self._evaluation.device, self._evaluation.dtype)
        layout = self._evaluation.layout
        bases = Bases(layout, len(flat), flat) if settings.optimizer == "soap" else None
        return State.begin(flat, plateau, bases=bases)

    def _judged(self, state: State) -> FloatArray:
        """(n_members,) losses that are to be improved: no epoch counts as good by being first."""
        losses = self.validation(state)
        if np.isinf(losses).any():
            # a wrong label to train on spoils the scale of all predictions
            chosen = np.arange(len(self._task.frames))
            raise FitError(
                "the validation loss is not finite before the first step; "
                f"{self._worst(state, chosen)}: check its labels"
            )
        return np.where(np.isnan(losses), np.inf, losses)

    def _write(self, checkpoint: Checkpoint, kept: tuple[Arrays, Numbers], log: FitLog) -> None:
        arrays, numbers = kept
        checkpoint.write(arrays, {**numbers, "seconds": log.seconds})

    def _epoch(self, state: State, log: FitLog) -> None:
        begin = time.monotonic()
        order = np.random.default_rng([self._seed, state.epoch, 2]).permutation(self._trained)
        total = 0.0
        for batch in np.array_split(order, self._n_batches):
            total += self.step(state, batch)
        seconds = time.monotonic() - begin
        state.epoch += 1
        losses = self.validation(state)
        better = state.plateau.see(losses)
        mask = torch.from_numpy(better)
        state.best[mask] = state.descent.mean[mask]
        n_atoms = int(self._task.frames.sizes[order].sum())
        finite = np.isfinite(losses)
        log.epoch(
            state.epoch,
            self._settings.max_epochs,
            loss=total / self._n_batches,
            valid_loss=float(losses[finite].mean()) if finite.any() else None,
            rate=float(state.plateau.rates.max()),
            running=int(state.plateau.running.sum()),
            atoms_per_s=round(n_atoms / max(seconds, 1e-9)),
        )

    def step(self, state: State, batch: Rows) -> float:
        """One step on the structures `batch`; returns their mean loss."""
        gradient, losses = self._gradient(state, batch)
        if not (np.isfinite(losses).all() and bool(torch.isfinite(gradient).all())):
            raise self._failure(state)
        settings = self._settings
        rates = np.where(state.plateau.running, state.plateau.rates, 0.0)
        rates = rates * tempered(state.descent.steps, self._steps, settings.cooldown)
        try:
            state.descent.step(
                gradient,
                torch.from_numpy(rates[:, None]).to(gradient),
                decays=self._decays,
                average=settings.average,
            )
        except Diverged:
            raise self._failure(state) from None
        return float(losses.mean())

    def _gradient(self, state: State, batch: Rows) -> tuple[Tensor, FloatArray]:
        """That of the mean loss of a batch, and the losses (n_members, n_frames) times shares."""
        shares = self._task.shares.train
        exact = self._settings.route == "exact"
        evaluation = self._evaluation
        evaluate = evaluation.gradient if exact else evaluation.displaced_gradient

        def work(piece: Rows) -> tuple[Tensor, FloatArray]:
            frames, inputs = self._piece(piece)
            parts = shares[:, piece] / len(batch)
            gradient, found = evaluate(state.descent.flat, frames, inputs, shares=parts)
            return gradient, found.losses

        results = in_lanes(work, list(self._task.frames.pieces(batch)), threads=self._threads)
        gradient = results[0][0]
        for other, _ in results[1:]:
            gradient += other
        with np.errstate(over="ignore", invalid="ignore"):  # found by whoever asked for them
            return gradient, shares[:, batch] * np.concatenate([one for _, one in results], axis=1)

    def validation(self, state: State) -> FloatArray:
        """(n_members,) mean losses of the running means on each member's own validation set; NaN
        for a member that has none."""
        count = self._task.shares.valid.sum(axis=1)
        total = np.where(count > 0, 0.0, np.nan)
        for members, chosen in self._validated:
            found = self._evaluated(state.descent.mean, chosen, members=members)
            weights = self._task.shares.valid[np.ix_(members, chosen)]
            with np.errstate(over="ignore", invalid="ignore"):
                total[members] += (weights * found).sum(axis=1)
        # whose losses overflow has a worse one than any
        means: FloatArray = np.where((count > 0) & np.isnan(total), np.inf, total)
        means /= np.maximum(count, 1)
        return means

    def _evaluated(self, flat: Tensor, chosen: Rows, *, members: Rows) -> FloatArray:
        """(n_members, n_frames) losses of some members on some frames."""

        def work(piece: Rows) -> FloatArray:
            frames, inputs = self._piece(piece)
            return self._evaluation.losses(flat, frames, inputs, members=members).losses

        pieces = list(self._task.frames.pieces(chosen))
        return np.concatenate(in_lanes(work, pieces, threads=self._threads), axis=1)

    def _piece(self, piece: Rows) -> tuple[Frames, Tensor]:
        frames = self._task.frames.take(piece)
        if self._task.inputs is None:
            return frames, self._evaluation.inputs(frames)
        return frames, self._task.inputs[torch.from_numpy(self._task.frames.rows(piece))]

    def _failure(self, state: State) -> FitError:
        """What to say of a step that cannot be made."""
        return FitError(
            f"the loss is not finite in epoch {state.epoch + 1}; "
            f"{self._worst(state, self._trained)}: check its labels, or lower learning_rate; "
            "the last good weights are in the checkpoint of the working folder"
        )

    def _worst(self, state: State, chosen: Rows) -> str:
        """The frame that is off most where the others are off least: by the best weights, by the
        first, or by none at all. Weights on their way to infinity say nothing of labels."""

        def off(flat: Tensor) -> Errors:
            pieces = [
                self._evaluation.errors(flat, *self._piece(piece))
                for piece in self._task.frames.pieces(chosen)
            ]
            return Errors.joined(pieces)

        tried = [off(flat) for flat in (state.best, state.first, torch.zeros_like(state.first))]
        typical = [np.median(np.nan_to_num(one.roots, nan=np.inf)) for one in tried]
        found = tried[int(np.argmin(typical))]
        roots = np.nan_to_num(found.roots, nan=np.inf, posinf=np.inf).max(axis=0)
        number = int(np.argmax(roots))
        energy, force, virial = (
            float(part[:, number].max()) for part in (found.energies, found.forces, found.virials)
        )
        stress = f", {virial:.3g} eV/atom of virial" if self._settings.loss.stress_weight else ""
        return (
            f"{self._task.frames.origins[chosen[number]]} had the largest residual "
            f"({energy:.3g} eV/atom, {force:.3g} eV/Å{stress})"
        )
