"""Several starts, one after the other, as one run of a sampler."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from athanor.errors import StructureError
from athanor.potentials import Potential
from athanor.query import Query
from athanor.sample import Harvest, SamplerConfig, Stop


def run_each(
    sampler: SamplerConfig,
    starts: Sequence[Atoms],
    potential: Potential,
    query: Query,
    *,
    rng: np.random.Generator,
    workdir: Path,
) -> Harvest:
    """Run from every start and join what was brought home; a single start is run as ever.

    Of several, one that the sampler refuses (StructureError) counts as one halted at once; raised
    is only what the last refusal said where every start was refused. The trace has one record per
    start: its number, the steps done and the highest grade.
    """

    def run(start: Atoms) -> Harvest:
        seed = int(rng.integers(2**31))
        return sampler.run(start, potential, query, seed=seed, workdir=workdir)

    if len(starts) == 1:
        return run(starts[0])
    runs: list[tuple[int, Harvest]] = []
    refused: StructureError | None = None
    for number, start in enumerate(starts):
        try:
            runs.append((number, run(start)))
        except StructureError as error:
            refused = error
    if refused is not None and not runs:
        raise refused
    return joined(runs, starts=len(starts))


def joined(runs: Sequence[tuple[int, Harvest]], *, starts: int) -> Harvest:
    """One harvest of many, each with the number of its start; its steps are starts.

    A run that came to its end by itself, however few steps it took, is one that went well.
    """
    each = [run for _, run in runs]
    halted: list[Stop] = [run.stopped_by for run in each if run.stopped_by != "completed"]
    # what was refused has atoms too near, or no volume
    halted += ["distance"] * (starts - len(runs))
    rows = [_row(number, run) for number, run in runs]
    return Harvest(
        structures=tuple(atoms for run in each for atoms in run.structures),
        grades=tuple(grade for run in each for grade in run.grades),
        reasons=tuple(
            f"{reason}, from start {number + 1}" for number, run in runs for reason in run.reasons
        ),
        steps=starts - len(halted),
        planned=starts,
        stopped_by=max(set(halted), key=halted.count) if halted else "completed",
        trace={name: np.array([row[name] for row in rows]) for name in rows[0]} if rows else {},
    )


def _row(number: int, run: Harvest) -> dict[str, float]:
    # a run halted at its very first structure has recorded nothing
    grades = run.trace.get("grade", np.zeros(0))
    found = [*grades.tolist(), *(grade.value for grade in run.grades)]
    return {"start": float(number), "steps": float(run.steps), "grade": max(found, default=0.0)}
