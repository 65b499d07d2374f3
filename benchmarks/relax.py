"""Relaxation: optimisers compared on drawn cells, and the verb on one process and on two.

    python benchmarks/relax.py POTENTIAL.mtp [--out FILE]

POTENTIAL is a moment tensor potential of molybdenum, e.g. one that benchmarks/training.py fits.
Cells of 15-64 atoms of fcc aluminium (Lennard-Jones) and bcc molybdenum, some with a vacancy,
strained and shaken, are relaxed to 0.01 eV/Å and 0.1 GPa by ours and by ASE's optimisers on the
same landscape, with the cell fixed and free, and by ASE's FIRE on ASE's own cell filter. Times are
of the processor. What is in the output file already is not measured again.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE, FIRE2, LBFGS, BFGSLineSearch, LBFGSLineSearch
from ase.units import GPa
from ase.utils.abc import Optimizable
from threadpoolctl import threadpool_limits

from athanor.calculator import calculator
from athanor.data.dataset import Dataset
from athanor.data.formats import write_structures
from athanor.potentials import Potential
from athanor.potentials.lj import LennardJones
from athanor.potentials.mtp import MomentTensorPotential
from athanor.query.doptimality import DOptimalityConfig
from athanor.sample import _landscape
from athanor.sample._landscape import Cell, Landscape
from athanor.sample.relax import RelaxOptions, relax
from athanor.structure import Frame, Labels, bare

COUNT = 200
FMAX, SMAX = 0.01, 0.1 * GPa
STEPS = 500
LONGEST = 0.2
Case = tuple[Atoms, Potential]


def drawn(count: int, molybdenum: Potential) -> list[Case]:
    rng = np.random.default_rng(1)
    aluminium = LennardJones(frozenset({"Al"}), cutoff=6.5, epsilon=0.2, sigma=2.55)
    cases: list[Case] = []
    for number in range(count):
        symbol, a, potential = (("Al", 4.05, aluminium), ("Mo", 3.17, molybdenum))[number % 2]
        low = 1 if symbol == "Al" else 2
        atoms = bulk(symbol, cubic=True, a=a).repeat((2, 2, int(rng.integers(low, 5))))
        if rng.uniform() < 0.4:
            del atoms[int(rng.integers(len(atoms)))]
        strain = rng.normal(0, 0.03, (3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
        atoms.positions += rng.normal(0, rng.uniform(0.05, 0.3), (len(atoms), 3))
        cases.append((atoms, potential))
    return cases


class ForAse(Optimizable):
    """Our landscape for ASE's optimisers, with our criterion."""

    def __init__(self, landscape: Landscape) -> None:
        self.landscape = landscape

    def ndofs(self) -> int:
        return int(self.landscape.point.size)

    def get_x(self) -> np.ndarray:
        return self.landscape.point

    def set_x(self, x: np.ndarray) -> None:
        self.landscape.move(x)

    def get_gradient(self) -> np.ndarray:
        return self.landscape.gradient()

    def get_value(self) -> float:
        return self.landscape.value()

    def iterimages(self) -> Iterator[Atoms]:
        return iter([self.landscape.atoms])

    def converged(self, gradient: np.ndarray, fmax: float) -> bool:
        return self.landscape.fmax() < FMAX and self.landscape.smax() < SMAX


def ours(case: Case, cell: Cell) -> tuple[bool, int]:
    options = RelaxOptions(fmax=FMAX, smax=SMAX, steps=STEPS, max_step=LONGEST, cell=cell)
    atoms, potential = case
    counting = Counting(potential)
    result = relax(atoms, counting, options=options)
    return result.converged, counting.calls


class Counting:
    """A potential that counts its evaluations."""

    def __init__(self, potential: Potential) -> None:
        self.potential, self.calls = potential, 0
        self.elements, self.cutoff, self.save = potential.elements, potential.cutoff, potential.save

    def predict(self, structures: list[Atoms], *, stress: bool = True) -> list[Any]:
        self.calls += 1
        return self.potential.predict(structures, stress=stress)


def by_ase(kind: type, **keys: Any) -> Callable[[Case, Cell], tuple[bool, int]]:
    def run(case: Case, cell: Cell) -> tuple[bool, int]:
        atoms, potential = case
        counting = Counting(potential)
        landscape = Landscape(bare(atoms), lambda one: counting.predict([one])[0], cell=cell)
        try:
            found = kind(ForAse(landscape), logfile=None, **keys).run(fmax=FMAX, steps=STEPS)
        except (RuntimeError, ValueError):  # a line search that gave up
            found = False
        return bool(found), counting.calls

    return run


def with_ase_filter(case: Case, cell: Cell) -> tuple[bool, int]:
    atoms, potential = case
    counting = Counting(potential)
    moving = bare(atoms)
    moving.calc = calculator(counting)  # type: ignore[arg-type]  # it counts, and is not saved
    target = moving if cell == "fixed" else FrechetCellFilter(moving)
    return bool(FIRE(target, logfile=None, maxstep=0.1).run(fmax=FMAX, steps=STEPS)), counting.calls


OPTIMISERS: dict[str, Callable[[Case, Cell], tuple[bool, int]]] = {
    "athanor (L-BFGS-B)": ours,
    "ASE FIRE, its own cell filter": with_ase_filter,
    "ASE FIRE": by_ase(FIRE, maxstep=0.1),
    "ASE FIRE2": by_ase(FIRE2, maxstep=LONGEST),
    "ASE LBFGS": by_ase(LBFGS, maxstep=LONGEST),
    "ASE LBFGS, alpha 20": by_ase(LBFGS, maxstep=LONGEST, alpha=20.0),
    "ASE LBFGSLineSearch, alpha 20": by_ase(LBFGSLineSearch, maxstep=LONGEST, alpha=20.0),
    "ASE BFGSLineSearch": by_ase(BFGSLineSearch, maxstep=LONGEST),
}


def measured(run: Callable[[Case, Cell], tuple[bool, int]], cases: list[Case], cell: Cell) -> Any:
    counts, converged = [], 0
    with threadpool_limits(limits=1), np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ASE's cell filter warns of its logarithms
        begin = time.process_time()
        for case in cases:
            good, calls = run(case, cell)
            converged += good
            counts.append(calls)
        seconds = time.process_time() - begin
    return {
        "converged": converged,
        "of": len(cases),
        "evaluations_mean": float(np.mean(counts)),
        "evaluations_most": max(counts),
        "ms_per_structure": 1e3 * seconds / len(cases),
        "us_per_evaluation": 1e6 * seconds / sum(counts),
    }


def lengths(cases: list[Case]) -> dict[str, float]:
    """Evaluations by the length that makes a strain a coordinate."""
    found, before = {}, _landscape.LENGTH
    for length in (0.5, 1.0, 1.5, 2.0, 3.0, 5.0):
        _landscape.LENGTH = length
        found[str(length)] = measured(ours, cases, "free")["evaluations_mean"]
    _landscape.LENGTH = before
    return found


def graded(cases: list[Case]) -> dict[str, float]:
    """What grading every step adds, molybdenum: ms per structure without, with."""
    cells = [case for case in cases if case[0].symbols[0] == "Mo"]
    potential = cells[0][1]
    frames = (Frame(atoms, Labels(0.0, np.zeros((len(atoms), 3)), None)) for atoms, _ in cells)
    query = DOptimalityConfig(save=1e8, halt=1e9).fit(potential, Dataset(tuple(frames)))
    found = {}
    for name, asked in (("without", None), ("with", query)):
        begin = time.process_time()
        with threadpool_limits(limits=1):
            for atoms, _ in cells:
                relax(atoms, potential, asked, options=RelaxOptions(cell="free"))
        found[name] = 1e3 * (time.process_time() - begin) / len(cells)
    return found


def workers(cases: list[Case], potential: Path, number: int) -> dict[str, float]:
    """The verb on 1,000 of the molybdenum cells."""
    cells = [atoms for atoms, _ in cases if atoms.symbols[0] == "Mo"]
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "cells.extxyz"), Path(folder, "relaxed.extxyz")
        write_structures(source, (cells * (1000 // len(cells) + 1))[:1000])
        line = [sys.executable, "-m", "athanor.cli", "relax", str(potential), str(source)]
        line += ["--species", "Mo", "--cell", "--out", str(target), "--workers", str(number)]
        before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(line, check=True, capture_output=True)
        wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": wall, "cpu_seconds": cpu}


def jobs(potential: Path) -> Iterator[tuple[str, Callable[[], Any]]]:
    cases = drawn(COUNT, MomentTensorPotential.from_mlip(potential, ["Mo"]))
    for cell in ("fixed", "free"):
        for name, run in OPTIMISERS.items():
            yield f"{name}, cell {cell}", lambda run=run, cell=cell: measured(run, cases, cell)
    yield "evaluations by LENGTH", lambda: lengths(cases)
    yield "graded", lambda: graded(cases)
    for number in (1, 2):
        yield f"workers {number}", lambda number=number: workers(cases, potential, number)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("potential", type=Path)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/relax.json"))
    arguments = parser.parse_args()
    out: Path = arguments.out
    record: dict[str, Any] = {
        "machine": platform.processor() or platform.machine(),
        "versions": {name: version(name) for name in ("ase", "scipy", "numpy")},
        "potential": arguments.potential.name,
        "rows": {},
    }
    if out.exists():
        record = json.loads(out.read_text())
    for name, run in jobs(arguments.potential):
        if name not in record["rows"]:
            record["rows"][name] = run()
            out.parent.mkdir(parents=True, exist_ok=True)
            part = out.with_suffix(".part")
            part.write_text(json.dumps(record, indent=1) + "\n")
            part.rename(out)
        print(name, json.dumps(record["rows"][name]), flush=True)


if __name__ == "__main__":
    main()
