"""Level-16 moment tensor potentials of molybdenum on the public mlearn set, several seeds.

    python benchmarks/molybdenum.py REFERENCE [--seeds 5] [--out FILE]

REFERENCE is the folder that holds `training.extxyz` and `test.extxyz` of mlearn molybdenum (Zuo et
al. 2020). Settings are those of Novikov et al. 2021, Table 1: level 16, 8 Chebyshev functions,
1.9-5.2 Å, weights 1, 0.01, 0.001 of `vibrations`. The published test set is the validation set of
the paper: no fit sees it. A seed that is in the output file already is not fitted again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from athanor.data.formats import read_frames
from athanor.data.metrics import errors
from athanor.potentials.mtp import MtpConfig

CONFIG = MtpConfig(level=16, radial_basis_size=8, min_dist=1.9, max_dist=5.2, steps=25, starts=3)


def fit_once(folder: Path, seed: int) -> dict[str, object]:
    train = read_frames(folder / "training.extxyz")
    test = read_frames(folder / "test.extxyz")
    rest, valid = train.split(0.1, seed=seed)
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as workdir:
        potential = CONFIG.fit(rest, valid, seed=seed, workdir=Path(workdir))
    row: dict[str, object] = {"seed": seed, "seconds": time.perf_counter() - begin}
    for name, data in (("training", train), ("test", test)):
        table = errors(potential.predict(data.structures), data.labels)
        row[name] = table.as_dict()
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/molybdenum.json"))
    arguments = parser.parse_args()
    out: Path = arguments.out
    record = (
        json.loads(out.read_text())
        if out.exists()
        else {"recipe": CONFIG.model_dump(mode="json"), "rows": []}
    )
    for seed in range(arguments.seeds):
        if any(row["seed"] == seed for row in record["rows"]):
            continue
        record["rows"].append(fit_once(arguments.folder, seed))
        out.parent.mkdir(parents=True, exist_ok=True)
        part = out.with_suffix(".part")
        part.write_text(json.dumps(record, indent=1) + "\n")
        part.rename(out)
        print(json.dumps(record["rows"][-1]))
    print(json.dumps(summary(record["rows"]), indent=1))


def summary(rows: list[dict[str, dict[str, dict[str, float]]]]) -> dict[str, list[float]]:
    """Mean and standard deviation over seeds of the RMS errors people quote."""
    found = {}
    for part in ("training", "test"):
        for quantity in rows[0][part]:
            values = rows[0][part][quantity]
            if not isinstance(values, dict):
                continue
            for key in ("rmse", "rmse_percent"):
                numbers = [row[part][quantity][key] for row in rows]
                found[f"{part} {quantity} {key}"] = [
                    float(np.mean(numbers)),
                    float(np.std(numbers)),
                ]
    return found


if __name__ == "__main__":
    main()
