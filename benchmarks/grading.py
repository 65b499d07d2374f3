"""What a grade costs on top of an evaluation, choosing an active set, and a pool of 100,000.

    python benchmarks/grading.py [--pool 100000] [--only cost,maxvol,pool] [--out FILE]

Cost: bcc Mo, 1,024 atoms, one thread, process CPU time, the best of several calls made in turn;
percent of energy + forces + stress. Coefficients and active rows are random: the arithmetic does
not depend on them. Pool: 8-atom cells in an extended XYZ file, graded and selected from by the
command line in processes of their own, whose largest resident memory and CPU time are noted.
What is in the output file already is not measured again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
from ase import Atoms
from evaluation import LEVELS, cell, random_potential
from threadpoolctl import threadpool_limits

from athanor.data.writer import structure_writer
from athanor.query._maxvol import ActiveSet
from athanor.query.doptimality import DOptimalQuery

SIZES = ((4_000, 120), (30_000, 150), (100_000, 300))


def in_turn(calls: dict[str, Callable[[], object]], *, seconds: float) -> dict[str, float]:
    """Least CPU seconds of each call, made one after the other for about `seconds`."""
    best = dict.fromkeys(calls, float("inf"))
    begin, rounds = time.process_time(), 0
    while rounds < 5 or time.process_time() - begin < seconds:
        for name, call in calls.items():
            start = time.process_time()
            call()
            best[name] = min(best[name], time.process_time() - start)
        rounds += 1
    return best


def cost(level: int) -> dict[str, object]:
    """Grades on top of an evaluation, by structure and by atom."""
    atoms, potential = cell("Mo", 8), random_potential("Mo", level)
    table = potential.features([atoms])[0]
    m = table.shape[1]
    rows = np.random.default_rng(0).normal(size=(m, m)) * np.abs(table).max(axis=0)
    active = ActiveSet.holding(rows, np.arange(m), m)
    whole, by_atom = (
        DOptimalQuery(potential, active, by, 1e9, 1e10) for by in ("structure", "atom")
    )
    took = in_turn(
        {
            "labels": lambda: potential.predict([atoms]),
            "labels_and_features": lambda: potential.predict_with_features([atoms]),
            "labels_and_grade": lambda: whole.evaluated([atoms]),
            "labels_and_grades_by_atom": lambda: by_atom.evaluated([atoms]),
            "grade": lambda: whole.grade([atoms]),
            "product_by_atom": lambda: active.grades(table),
        },
        seconds=4,
    )
    percent = {
        f"{name}_percent_more": 100 * (took[name] / took["labels"] - 1)
        for name in ("labels_and_features", "labels_and_grade", "labels_and_grades_by_atom")
    }
    return {
        "level": level,
        "parameters": m,
        "labels_us_per_atom": 1e6 * took["labels"] / len(atoms),
        **percent,
        "grade_alone_percent": 100 * took["grade"] / took["labels"],
        "product_by_atom_percent": 100 * took["product_by_atom"] / took["labels"],
    }


def maxvol(n: int, m: int) -> dict[str, object]:
    """Choose an active set of random rows; two kinds of them."""
    row: dict[str, object] = {"rows": n, "parameters": m}
    rng = np.random.default_rng(0)
    mixing = np.linalg.qr(rng.normal(size=(m, m)))[0] * 10 ** rng.uniform(-3, 3, m)
    for kind, rows in (
        ("normal", rng.normal(size=(n, m))),
        ("correlated", rng.normal(size=(n, m)) * np.exp(rng.normal(size=(n, 1))) @ mixing),
    ):
        start = time.process_time()
        active = ActiveSet.of(rows)
        row[f"{kind}_cpu_s"] = time.process_time() - start
        row[f"{kind}_log_volume"] = active.log_volume
    return row


def shaken(rng: np.random.Generator) -> Atoms:
    """Eight atoms of shaken and strained molybdenum, now and then far from the crystal."""
    atoms = cell("Mo", 1).repeat((2, 2, 1))
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.normal(0, 0.02, (3, 3))), scale_atoms=True)
    atoms.positions += rng.normal(0, 0.05 + 0.25 * (rng.random() < 0.02), (len(atoms), 3))
    return atoms


def pool(count: int, level: int = 16) -> dict[str, object]:
    """`athanor grade` and `athanor select` on `count` structures."""
    row: dict[str, object] = {"structures": count, "level": level}
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        random_potential("Mo", level).save(folder / "pot")
        for file, number in (("train", 400), ("pool", count)):
            with structure_writer(folder / f"{file}.extxyz") as writer:
                for _ in range(number):
                    writer.write(shaken(rng))
        row["file_MB"] = (folder / "pool.extxyz").stat().st_size / 1e6
        for verb in ("grade", "select"):
            row |= _ran(verb, folder)
    return row


RUN = """
import sys
from pathlib import Path
from athanor.cli import main
code = main(sys.argv[1:])
# not ru_maxrss, which begins with what the parent held
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
sys.exit(code)
"""


def _ran(verb: str, folder: Path) -> dict[str, object]:
    line = [verb, "pot", "train.extxyz", "pool.extxyz", "--out", f"{verb}.extxyz"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", RUN, *line],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    *said, peak = done.stdout.splitlines()
    return {
        f"{verb}_peak_MB": int(peak) / 1e3,
        f"{verb}_cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        f"{verb}_said": said,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", type=int, default=100_000)
    parser.add_argument("--only", default="cost,maxvol,pool")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/grading.json"))
    given = parser.parse_args()
    record = json.loads(given.out.read_text()) if given.out.exists() else {}
    record.setdefault("machine", platform.processor() or platform.machine())
    record.setdefault("versions", {name: version(name) for name in ("numpy", "scipy", "ase")})
    wanted: list[tuple[str, str, Callable[[], dict[str, object]]]] = []
    wanted += [("cost", str(level), partial(cost, level)) for level in LEVELS]
    wanted += [("maxvol", f"{n} x {m}", partial(maxvol, n, m)) for n, m in SIZES]
    wanted.append(("pool", str(given.pool), partial(pool, given.pool)))
    with threadpool_limits(limits=1):
        for kind, name, measure in wanted:
            table = record.setdefault(kind, {})
            if kind in given.only.split(",") and name not in table:
                table[name] = measure()
                print(kind, name, json.dumps(table[name]))
                _write(given.out, record)


def _write(out: Path, record: dict[str, object]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_suffix(".part")
    part.write_text(json.dumps(record, indent=1) + "\n")
    part.rename(out)


if __name__ == "__main__":
    main()
