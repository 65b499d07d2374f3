"""Fitting a HIP-NN: epochs of steps on energies and forces, stopped by the validation set."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch

from athanor.data.dataset import Dataset
from athanor.data.durable import make_folder
from athanor.data.packing import pack_frames
from athanor.errors import FitError
from athanor.potentials._checkpoint import Checkpoint
from athanor.potentials._hipnn.descent import Descent, Plateau, cooled, numbers_of, part
from athanor.potentials._hipnn.evaluation import derivatives
from athanor.potentials._hipnn.examples import Examples, energy_offsets, output_scale
from athanor.potentials._hipnn.forecast import check_memory, forecast
from athanor.potentials._hipnn.log import FitLog
from athanor.potentials._hipnn.model import HipnnModel, HipnnSpec, Weights
from athanor.potentials._hipnn.network import Network, get_weights, new_network, put_weights
from athanor.potentials._hipnn.session import torch_threads
from athanor.potentials._hipnn.settings import FitSettings
from athanor.structure import FloatArray


def fit_model(
    spec: HipnnSpec,
    train: Dataset,
    valid: Dataset,
    *,
    settings: FitSettings,
    seed: int,
    start: HipnnModel | None,
    workdir: Path,
) -> HipnnModel:
    """Fit to `train`; the weights with the least loss on `valid` (or else on `train`) are kept.

    Parameters
    ----------
    start : a model of the same spec whose weights, offsets and scale are begun with.
    workdir : progress is appended to its log, and what is reached is kept there after every epoch:
        the same call goes on from it and ends with the bits of one that was never interrupted.

    Raises FitError (empty training set, loss not finite, too little memory), LabelError (a frame
    without finite energy and forces), StructureError.
    """
    if len(train) == 0:
        raise FitError("the training set is empty; label at least one structure")
    make_folder(workdir)
    offsets = energy_offsets(train, spec.species) if start is None else start.offsets
    scale = output_scale(train, spec.species, offsets) if start is None else start.scale
    blank = HipnnModel(spec, {} if start is None else start.weights, offsets, scale)
    learned = Examples.of(train, spec, offsets, where="training")
    judged = Examples.of(valid, spec, offsets, where="validation") if len(valid) else learned
    identity = _identity(blank, train, valid, settings, seed)
    check_memory(spec, learned, settings.batch_size)
    with torch_threads(settings.threads), torch.enable_grad():
        network = new_network(spec, seed=seed)
        if start is not None:
            put_weights(network, start.weights)
        fit = Fit(network, blank, learned, judged, settings, seed)
        return fit.run(Checkpoint(workdir, identity), FitLog(workdir, epochs=settings.max_epochs))


def _identity(
    blank: HipnnModel, train: Dataset, valid: Dataset, settings: FitSettings, seed: int
) -> str:
    """Fingerprint of all that decides about the result."""
    digest = hashlib.sha256(repr((blank.spec, blank.scale, settings, seed)).encode())
    parts = [blank.weights, {"offsets": blank.offsets}]
    parts += [pack_frames(data.frames) for data in (train, valid)]
    for arrays in parts:
        for name, array in arrays.items():
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Errors:
    """Over a set: mean loss (eV²), root mean squares of energy (eV/atom) and forces (eV/Å)."""

    loss: float
    energy: float
    force: float


class Fit:
    """One fit on its way; see `fit_model`."""

    def __init__(
        self,
        network: Network,
        blank: HipnnModel,
        learned: Examples,
        judged: Examples,
        settings: FitSettings,
        seed: int,
    ) -> None:
        self._blank = blank
        self._learned, self._judged = learned, judged
        self._settings, self._seed = settings, seed
        self._descent = Descent(network, settings)
        self._plateau = Plateau(settings.learning_rate)
        self._best: Weights = get_weights(network)
        self._epoch = 0

    def run(self, checkpoint: Checkpoint, log: FitLog) -> HipnnModel:
        """Go on until the rate is too low or the epochs are over."""
        settings = self._settings
        log.forecast(forecast(self._blank.spec, self._descent.network, self._learned, settings))
        if not self._restore(checkpoint):
            self._plateau.best = self._errors(self._judged, checkpoint).loss
            self._keep(checkpoint)
        while self._epoch < settings.max_epochs and self._plateau.rate >= settings.final_rate:
            loss = self._pass(checkpoint)
            errors = self._errors(self._judged, checkpoint)
            self._epoch += 1
            if self._plateau.see(errors.loss, settings):
                self._best = get_weights(self._descent.mean)
            self._keep(checkpoint)
            log.epoch(
                self._epoch,
                loss=loss,
                valid_loss=errors.loss,
                energy_rmse=errors.energy,
                force_rmse=errors.force,
                rate=self._plateau.rate,
            )
        model = self._blank
        return HipnnModel(model.spec, self._best, model.offsets, model.scale)

    def _pass(self, checkpoint: Checkpoint) -> float:
        """One epoch; returns the mean loss on the way."""
        order = np.random.default_rng([self._seed, self._epoch]).permutation(len(self._learned))
        batches = _batches(order.tolist(), self._settings.batch_size)
        total = 0.0
        for number, numbers in enumerate(batches):
            found = derivatives(
                self._descent.network,
                self._learned.batch(numbers),
                scale=self._blank.scale,
                fit=True,
            )
            losses, _, _ = self._learned.losses(numbers, found, self._settings)
            if not bool(torch.isfinite(losses).all()):
                self._fail(checkpoint)
            epoch = self._epoch + number / len(batches)
            self._descent.step(losses.mean(), self._plateau.rate * cooled(epoch, self._settings))
            total += float(losses.sum().detach())
        return total / len(order)

    def _errors(self, examples: Examples, checkpoint: Checkpoint) -> Errors:
        """Of the mean weights."""
        sums = np.zeros(3)
        for numbers in _batches(list(range(len(examples))), self._settings.batch_size):
            row = self._row(self._descent.mean, examples, numbers)
            if not np.isfinite(row).all():
                self._fail(checkpoint)
            sums += row.sum(axis=1)
        loss, energy, force = (sums / len(examples)).tolist()
        return Errors(loss, math.sqrt(energy), math.sqrt(force))

    def _row(self, network: Network, examples: Examples, numbers: list[int]) -> FloatArray:
        """(3, n_frames): losses, squared energy errors per atom, squared force errors."""
        found = derivatives(network, examples.batch(numbers), scale=self._blank.scale)
        losses, energies, forces = examples.losses(numbers, found, self._settings)
        rows: FloatArray = torch.stack([losses, energies**2, forces]).detach().numpy()
        return rows

    def _fail(self, checkpoint: Checkpoint) -> NoReturn:
        """Raise FitError naming the training frame that the best weights are worst at."""
        put_weights(self._descent.mean, self._best)
        numbers = list(range(len(self._learned)))
        batches = _batches(numbers, self._settings.batch_size)
        rows = [self._row(self._descent.mean, self._learned, batch)[0] for batch in batches]
        worst = int(np.argmax(np.nan_to_num(np.concatenate(rows), nan=np.inf)))
        raise FitError(
            f"the loss is not finite in epoch {self._epoch + 1}; the largest residual before was "
            f"at {self._learned.name(worst)}, and the best weights so far are kept in "
            f"{checkpoint.path}; look at that frame, or lower learning_rate "
            f"(now {self._settings.learning_rate:g})"
        )

    def _keep(self, checkpoint: Checkpoint) -> None:
        best = {f"best/{name}": array for name, array in self._best.items()}
        numbers = numbers_of(self._plateau, epoch=self._epoch, steps=self._descent.steps)
        checkpoint.write({**self._descent.arrays(), **best}, numbers)

    def _restore(self, checkpoint: Checkpoint) -> bool:
        """Take over what is kept, if there is anything."""
        kept = checkpoint.read()
        if kept is None:
            return False
        arrays, numbers = kept
        self._descent.restore(arrays, int(numbers["steps"]))
        self._best = part(arrays, "best")
        self._epoch = int(numbers["epoch"])
        self._plateau = Plateau(numbers["rate"], numbers["best"], numbers["waited"])
        return True


def _batches(order: list[int], size: int) -> list[list[int]]:
    return [order[at : at + size] for at in range(0, len(order), size)]
