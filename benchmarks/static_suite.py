"""The static suite of a metal (examples/metal.toml), timed.

    python benchmarks/static_suite.py POTENTIAL WORKING_FOLDER [--species Al] [--out FILE]

POTENTIAL is one of aluminium; a campaign's folder will do. Measured in a new folder below
WORKING_FOLDER with as many processes as the suite file says, without a reference. The record holds
the elapsed time, the processor time of everything, and that of each property.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from ani_systems import machine

from athanor.data.durable import write_file
from athanor.suite import Subject, SuiteConfig, run

SUITE = Path(__file__).resolve().parents[1] / "examples" / "metal.toml"
RESULTS = Path(__file__).parent / "results" / "static_suite.json"


def processor() -> float:
    """Seconds of this process and of its workers that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def timed(potential: str, place: Path, species: tuple[str, ...] | None) -> dict[str, Any]:
    """Measure the suite in a new folder; seconds and what was measured."""
    config = SuiteConfig.read(SUITE).on(Subject.open(potential, species=species))
    place.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=place)) / "suite"
    begun, used = time.monotonic(), processor()
    found = run(config, folder)
    elapsed, used = time.monotonic() - begun, processor() - used
    return {
        "machine": machine(),
        "workers": config.campaign.workers,
        "elapsed_s": elapsed,
        "processor_s": used,
        "seconds": {one["kind"]: sum(one["seconds"].values()) for one in found["properties"]},
        "failures": found["failures"],
        "values": {
            one["kind"]: {
                quantity["name"]: [quantity["value"], quantity["unit"]]
                for quantities in one["quantities"].values()
                for quantity in quantities
            }
            for one in found["properties"]
        },
    }


def main() -> None:
    """Measure, print and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("potential")
    parser.add_argument("place", type=Path)
    parser.add_argument("--species", type=lambda text: tuple(text.split(",")))
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    record = timed(given.potential, given.place, given.species)
    write_file(given.out, (json.dumps(record, indent=1) + "\n").encode())
    print(json.dumps({key: record[key] for key in ("elapsed_s", "processor_s", "seconds")}))


if __name__ == "__main__":
    main()
