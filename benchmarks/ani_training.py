"""A training step of eight ANI networks on energies and forces, against torchani in the same run.

    python benchmarks/ani_training.py --torchani PYTHON [--published FOLDER] [--out FILE]

A step is 32 structures of 108 atoms of liquid aluminium, the loss eq. 1 of Smith et al. 2021 with
l0 = 0.01, for the ensemble: ours from the batch to new weights, torchani's, without an optimiser,
from the batch to the gradient by all weights. torchani is measured as its documentation trains
(member by member, forces by autograd in a graph of their own, then `loss.backward()`), the batch
at once or in parts, and in the best way found: gradients asked of the weights alone, one
environment vector for all members. Lists of neighbours are made before and do not count. Processor
seconds of steps made in turn; memory is what a step takes beyond what is held before it. Without
FOLDER (the published ANI-Al in NeuroChem's format) the weights are random. Parts that are in the
output file already are not measured again.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from ani_systems import (
    Record,
    Row,
    Took,
    Torchani,
    core_aev,
    in_turn,
    liquid,
    model_of,
    peak,
    ratio,
    took,
)
from ase import Atoms

from athanor.data.dataset import Dataset
from athanor.potentials._ani.cost import step_bytes
from athanor.potentials._ani.fit import _first, _problem, one_torch_thread
from athanor.potentials._ani.frames import Frames
from athanor.potentials._ani.model import AniModel
from athanor.potentials._ani.settings import FitSettings
from athanor.potentials._ani.shares import Shares
from athanor.potentials._ani.trainer import Trainer
from athanor.potentials._ani.weights import decays
from athanor.structure import Frame, Labels

BATCH, ATOMS = 32, 108
DISTINCT = 4
"""Liquids that are made; the others are these, shaken."""
PARTS = (1, 4, BATCH)
"""Structures that torchani takes at once."""
SETTINGS = FitSettings(resample="none", batch_size=BATCH, threads=1)
OURS = {
    "ours": SETTINGS,
    "ours, vectors made anew": replace(SETTINGS, memory=0.0),
    "ours, two displaced passes": replace(SETTINGS, route="displaced"),
    "ours, float64": replace(SETTINGS, precision="float64"),
}
DOCUMENTED = "torchani as documented"
THEIRS = {
    **{f"{DOCUMENTED}, {n} at once": (n, False, False) for n in PARTS},
    "torchani, gradients of weights alone": (1, False, True),
    "torchani, one vector for all members": (1, True, True),
}
"""Structures at once, whether the vector is shared, whether only weights get gradients."""


def batch() -> Dataset:
    """The structures of a step, with drawn labels: arithmetic does not depend on them."""
    rng = np.random.default_rng(0)
    cells = [liquid(ATOMS, seed=seed) for seed in range(DISTINCT)]
    frames = []
    for number in range(BATCH):
        atoms: Atoms = cells[number % DISTINCT].copy()
        atoms.positions += rng.normal(0, 0.05, atoms.positions.shape)
        labels = Labels(float(rng.normal(0, 1)), rng.normal(0, 0.5, (ATOMS, 3)), None)
        frames.append(Frame(atoms, labels))
    return Dataset.of(frames)


class Step:
    """Our step, repeatable: it starts from where the last one ended."""

    def __init__(self, model: AniModel, data: Dataset, settings: FitSettings) -> None:
        species = model.aev.species
        shares = Shares.of(
            data, Dataset(), size=model.n_members, seed=0, resample=settings.resample
        )
        frames = Frames.of(data, species=species, energy_only=False)
        aev = core_aev(model.aev)
        problem = _problem(aev, model.aev, frames, shares, settings, device="cpu")
        first = _first(model, model.aev, problem, settings, seed=0)
        self.trainer = Trainer(
            problem.evaluation,
            problem.task,
            settings,
            decays=decays(problem.layout, settings.weight_decay),
            seed=0,
            threads=settings.threads or 1,
        )
        self.state = self.trainer._begin(first)
        self.rows = np.arange(len(data))
        self.forecast = step_bytes(
            frames,
            settings,
            n_inputs=problem.layout.widths[0],
            n_parameters=problem.layout.size,
            threads=settings.threads or 1,
        )

    def __call__(self) -> float:
        """The mean loss before the step, eV²."""
        with one_torch_thread():
            return self.trainer.step(self.state, self.rows)


def memory_of(model: AniModel, data: Dataset, name: str) -> Row:
    """What one step takes in a process that has taken a small one before."""
    step = Step(model, data, OURS[name])
    step.rows = step.rows[:1]
    step()
    step.rows = np.arange(len(data))
    return {"peak_bytes": peak(step), "forecast_bytes": step.forecast}


class Bench:
    """Measurements on one batch; `other` makes a worker."""

    def __init__(self, model: AniModel, other: Callable[[], Torchani], *, rounds: int) -> None:
        self.model, self.other, self.rounds = model, other, rounds
        self.data = batch()
        self.worker = other()
        # one file for every worker: they share a folder
        self.worker.put(
            "batch",
            {
                "positions": np.array([frame.atoms.positions for frame in self.data]),
                "cells": np.array([frame.atoms.cell.array for frame in self.data]),
                "energies": np.array([frame.labels.energy for frame in self.data]),
                "forces": np.array([frame.labels.forces for frame in self.data]),
                "l0": np.array(SETTINGS.loss.l0),
            },
        )

    def ask(self, worker: Torchani, name: str, *, double: bool = False) -> Row:
        chunk, shared, pruned = THEIRS[name]
        return worker.ask(
            "batch",
            out="gradients",
            call="step",
            neighbours="all_pairs",
            batched=False,
            double=double,
            threads=1,
            chunk=chunk,
            shared=shared,
            pruned=pruned,
            repeats=1,
        )

    def agreement(self) -> Row:
        """Mean losses over the batch of all members together, and their relative difference."""
        ours = Step(self.model, self.data, OURS["ours, float64"])()
        self.ask(self.worker, "torchani, one vector for all members", double=True)
        losses = self.worker.get("gradients")["losses"] * self.model.scale**2
        theirs = float(losses.mean())
        return {"ours_eV2": ours, "torchani_eV2": theirs, "relative": abs(ours / theirs - 1)}

    def memory(self) -> Row:
        """Bytes of one step, each in a process of its own; ours beside the forecast."""
        found: Row = {}
        for name in OURS:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                found[name] = pool.submit(memory_of, self.model, self.data, name).result()
        for name in THEIRS:
            worker = self.other()
            found[name] = {"peak_bytes": self.ask(worker, name)["peak_bytes"]}
            worker.close()
        return found

    def speed(self) -> Row:
        calls: dict[str, Callable[[], Took]] = {
            name: partial(took, Step(self.model, self.data, settings))
            for name, settings in OURS.items()
        }
        for name in THEIRS:
            calls[name] = partial(self._theirs, name)
        found = in_turn(calls, self.rounds)
        fastest = min(
            (name for name in THEIRS if name.startswith(DOCUMENTED)),
            key=lambda name: float(found[name]["cpu_s"]),
        )
        against = {name: ratio(found[name], found["ours"]) for name in THEIRS}
        return {"documented": fastest, "times_faster": against, "seconds": found}

    def threads(self) -> Row:
        """Wall seconds of one thread over two."""
        calls: dict[str, Callable[[], Took]] = {
            str(count): partial(took, Step(self.model, self.data, replace(SETTINGS, threads=count)))
            for count in (1, 2)
        }
        found = in_turn(calls, 2 * self.rounds)
        speedup = found["1"]["wall_least_s"] / found["2"]["wall_least_s"]
        return {"speedup_of_two": speedup, "seconds": found}

    def _theirs(self, name: str) -> Took:
        found = self.ask(self.worker, name)
        return found["cpu"][0], found["wall"][0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--torchani", type=Path, required=True, help="a Python that has torchani")
    parser.add_argument("--published", type=Path, help="ANI-Al in NeuroChem's format")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/ani_training.json"))
    options = parser.parse_args()
    record = Record(
        options.out,
        rounds=options.rounds,
        structures=BATCH,
        atoms=ATOMS,
        weights="random" if options.published is None else options.published.name,
    )
    model = model_of(options.published)
    with tempfile.TemporaryDirectory() as folder:
        other = partial(Torchani, options.torchani, model, Path(folder))
        bench = Bench(model, other, rounds=options.rounds)
        record.parts["torchani"] = bench.worker.about
        record.add("agreement", bench.agreement)
        record.add("memory", bench.memory)
        record.add("speed", bench.speed)
        record.add("threads", bench.threads)
        bench.worker.close()


if __name__ == "__main__":
    main()
