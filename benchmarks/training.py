"""Training of level-16 moment tensor potentials on the public mlearn sets (Zuo et al. 2020).

    python benchmarks/training.py DATA [--parts loss,refit,mo,si] [--out FILE]
    python benchmarks/training.py DATA --parts quasi_newton --level 16 --seed 0

DATA is the folder of `mlearn_mo` and `mlearn_si`, each with `training.extxyz` and `test.extxyz`.
Mo: settings of Novikov et al. 2021, Table 1 (8 Chebyshev functions, 1.9-5.2 Å, weights 1, 0.01,
0.001 of `vibrations`); Si: 1.8-5.0 Å, else the same. Parts:

    loss          fits to the whole Mo training set, as the quasi-Newton minimiser sees it
    quasi_newton  1000 BFGS iterations over all parameters at once (see quasi_newton.py)
    refit         ten Mo configurations more, from the previous potential and from nothing
    mo, si        five seeds, 10 % of the training set kept to stop the fit; the published test set
                  is seen by no fit

Seconds are processor seconds of one core: pin the process with `taskset -c 0`. What stands in the
output file is not measured again.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from quasi_newton import run as quasi_newton

from athanor.data.dataset import Dataset
from athanor.data.durable import write_file
from athanor.data.formats import read_frames
from athanor.data.metrics import errors
from athanor.potentials import Potential
from athanor.potentials.mtp import MtpConfig

MO = MtpConfig(level=16, radial_basis_size=8, min_dist=1.9, max_dist=5.2, steps=25, starts=8)
SI = MO.model_copy(update={"min_dist": 1.8, "max_dist": 5.0})
ADDED = 10
"""Configurations that a refit gets more than the fit it starts from."""
REFITS = 2

Row = dict[str, Any]


def fit(
    config: MtpConfig, train: Dataset, valid: Dataset, *, seed: int, start: Potential | None = None
) -> tuple[Potential, Row]:
    """A fit with its processor seconds, final loss per frame and steps by stage."""
    with tempfile.TemporaryDirectory() as workdir:
        begin = time.process_time()
        potential = config.fit(train, valid, seed=seed, workdir=Path(workdir), start=start)
        seconds = time.process_time() - begin
        lines = [
            json.loads(line) for line in (Path(workdir) / "fit.jsonl").read_text().splitlines()
        ]
    stages = {line["stage"]: line for line in lines if "stage" in line}
    return potential, {
        "seconds": seconds,
        "loss": stages["full"]["loss"],
        "steps": {name: line["step"] for name, line in stages.items()},
        "forecast": lines[0].get("forecast"),
    }


def measured(potential: Potential, parts: dict[str, Dataset]) -> Row:
    return {
        name: errors(potential.predict(data.structures), data.labels).as_dict()
        for name, data in parts.items()
    }


def by_seed(config: MtpConfig, parts: dict[str, Dataset], *, seed: int) -> Row:
    rest, valid = parts["training"].split(0.1, seed=seed)
    potential, row = fit(config, rest, valid, seed=seed)
    return {"seed": seed, **row, **measured(potential, parts)}


def whole(parts: dict[str, Dataset], *, level: int, seed: int) -> Row:
    config = MO.model_copy(update={"level": level})
    potential, row = fit(config, parts["training"], Dataset(), seed=seed)
    return {"level": level, "seed": seed, **row, **measured(potential, parts)}


def refit(parts: dict[str, Dataset], *, seed: int) -> Row:
    """The training set without ten configurations, then with them."""
    train = parts["training"]
    less, _ = train.split(ADDED / len(train), seed=seed)
    before, first = fit(MO, less, Dataset(), seed=seed)
    warm, again = fit(MO, train, Dataset(), seed=seed, start=before)
    cold, anew = fit(MO, train, Dataset(), seed=seed)
    return {
        "seed": seed,
        "frames": [len(less), len(train)],
        "before": first,
        "warm": {**again, **measured(warm, parts)},
        "cold": {**anew, **measured(cold, parts)},
    }


class Record:
    """The output file: rows by part, written whole after each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.parts: dict[str, list[Row]] = {}
        if path.exists():
            self.parts = json.loads(path.read_text(encoding="utf-8"))["parts"]

    def has(self, part: str, **key: int) -> bool:
        return any(all(row[k] == v for k, v in key.items()) for row in self.parts.get(part, []))

    def add(self, part: str, row: Row) -> None:
        self.parts.setdefault(part, []).append(row)
        recipes = {"mo": MO.model_dump(mode="json"), "si": SI.model_dump(mode="json")}
        machine = {"processor": platform.processor(), "python": platform.python_version()}
        record = {"recipes": recipes, "machine": machine, "parts": self.parts}
        write_file(self._path, (json.dumps(record, indent=1) + "\n").encode())
        short = {k: v for k, v in row.items() if isinstance(v, int | float)}
        print(part, json.dumps(short), flush=True)


def summary(rows: list[Row]) -> dict[str, list[float]]:
    """Mean and standard deviation over seeds of the RMS errors people quote."""
    found = {"seconds": [float(f([row["seconds"] for row in rows])) for f in (np.mean, np.std)]}
    for part in ("training", "test"):
        for quantity, kinds in rows[0][part].items():
            if not isinstance(kinds, dict):
                continue
            for kind in ("rmse", "rmse_percent"):
                values = [row[part][quantity][kind] for row in rows]
                name = f"{part} {quantity} {kind}"
                found[name] = [float(np.mean(values)), float(np.std(values))]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--parts", default="loss,refit,mo,si")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/training.json"))
    parser.add_argument("--level", type=int, default=16, help="of quasi_newton")
    parser.add_argument("--seed", type=int, default=0, help="of quasi_newton")
    parser.add_argument("--state", type=Path, default=Path("quasi_newton_state"))
    options = parser.parse_args()
    sets = {
        name: {
            part: read_frames(options.folder / f"mlearn_{name}" / f"{part}.extxyz")
            for part in ("training", "test")
        }
        for name in ("mo", "si")
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    record = Record(options.out)
    for part in options.parts.split(","):
        if part == "quasi_newton" and not record.has(part, level=options.level, seed=options.seed):
            config = MO.model_copy(update={"level": options.level})
            record.add(
                part, quasi_newton(sets["mo"], config, seed=options.seed, folder=options.state)
            )
        if part == "loss":
            for level, seed in ((8, 0), (8, 1), (16, 0), (16, 1)):
                if not record.has(part, level=level, seed=seed):
                    record.add(part, whole(sets["mo"], level=level, seed=seed))
        if part == "refit":
            for seed in range(REFITS):
                if not record.has(part, seed=seed):
                    record.add(part, refit(sets["mo"], seed=seed))
        if part in sets:
            for seed in range(options.seeds):
                if not record.has(part, seed=seed):
                    config = {"mo": MO, "si": SI}[part]
                    record.add(part, by_seed(config, sets[part], seed=seed))
            print(json.dumps(summary(record.parts[part]), indent=1))


if __name__ == "__main__":
    main()
