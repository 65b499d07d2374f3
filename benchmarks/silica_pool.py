"""What the distillations of silica come to: a record of each example's run.

    python benchmarks/silica_pool.py EXAMPLE.toml FOLDER [--out FILE]

Runs the example in FOLDER, or goes on with it (a finished one is only read), and writes its
certificate without the list of structures, its seconds of work by kind of task and the machine's
name. `examples/silica_pool.toml` takes most of an hour of two cores, `silica_pool_mtp.toml` less.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ani_systems import machine

from athanor.data.durable import make_folder, write_file
from athanor.distil import DistilConfig, Distillation, run


def seconds_by_kind(found: Distillation) -> dict[str, float]:
    """Seconds of work of each kind of task, over all workers."""
    spent: dict[str, float] = {}
    for record in found.state.finished_tasks.values():
        spent[record.kind] = spent.get(record.kind, 0.0) + record.seconds
    return {kind: round(value, 1) for kind, value in spent.items()}


def record_of(folder: Path) -> dict[str, object]:
    """The record of a finished distillation."""
    found = Distillation(folder)
    told = json.loads((folder / "certificate.json").read_text(encoding="utf-8"))
    del told["structures"]
    return {
        "machine": machine(),
        "elapsed_s": round(found.state.elapsed_s, 1),
        "seconds_by_kind": seconds_by_kind(found),
        "certificate": told,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("example", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    out = given.out or Path("benchmarks/results") / f"{given.example.stem}.json"
    run(DistilConfig.read(given.example), given.folder)
    make_folder(out.parent)
    write_file(out, (json.dumps(record_of(given.folder), indent=1) + "\n").encode())
    print(f"written to {out}")


if __name__ == "__main__":
    main()
