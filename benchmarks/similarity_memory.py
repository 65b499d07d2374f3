"""Memory at the peak of a pool's similarity and of one partition of it.

    python benchmarks/similarity_memory.py [--structures N] [--out FILE]

Artefacts as the tasks before leave them are drawn at random: fingerprints of N = 10,000 structures
with 1,224 features in chunks, and the distances of all pairs of blocks. From these files a process
puts both kernels together, and another clusters their mixture at delta = 0.5, as two tasks of a
distillation do. Kept are the largest resident sizes of both and their processor seconds, beside
what `athanor.query._similarity.memory.forecast` says. Memory does not depend on what is drawn.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ani_systems import Record
from threadpoolctl import threadpool_limits

from athanor.data.durable import write_file
from athanor.data.packing import npz_bytes
from athanor.distil import kernels
from athanor.distil.pooled import BLOCKS, CHUNK
from athanor.query._clusters.partition import partition
from athanor.query._similarity.memory import blocks, forecast
from athanor.query.clustering import ClusteringConfig

FEATURES = 1224
ATOMS = 192
PHASES = ("assemble", "partition")


def ranges_of(count: int, config: ClusteringConfig) -> list[list[int]]:
    """Blocks as a distillation cuts them."""
    ranges = blocks(count, ATOMS, ordering=config.coulomb, least=BLOCKS)
    return [[one.start, one.stop] for one in ranges]


def pairs_of(ranges: list[list[int]]) -> Iterator[tuple[int, int]]:
    return ((a, b) for a in range(len(ranges)) for b in range(a + 1))


def write_artefacts(folder: Path, count: int, config: ClusteringConfig) -> None:
    """Fingerprints around ten means, and the distances of points around ten others."""
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 10, count)
    means = rng.random((10, FEATURES))
    for first in range(0, count, CHUNK):
        own = groups[first : first + CHUNK]
        rows = means[own] + 0.05 * rng.random((len(own), FEATURES))
        part = folder / f"describe-{first}"
        part.mkdir()
        write_file(part / kernels.FINGERPRINTS, npz_bytes({"rows": rows}))
    points = rng.random(10)[groups] + 0.02 * rng.random(count)
    ranges = ranges_of(count, config)
    for a, b in pairs_of(ranges):
        apart = np.abs(points[slice(*ranges[a]), None] - points[slice(*ranges[b])])
        part = folder / f"distances-{a}-{b}"
        part.mkdir()
        write_file(part / kernels.DISTANCES, npz_bytes({"coulomb": apart}))
    write_file(folder / "energies.npz", npz_bytes({"energies": points}))


def perform(phase: str, folder: Path, count: int) -> dict[str, float]:
    """One task in this process: its peak in GB, and its processor seconds."""
    config = ClusteringConfig()
    begin = time.process_time()
    with threadpool_limits(limits=1):
        if phase == "assemble":
            described = [folder / f"describe-{first}" for first in range(0, count, CHUNK)]
            ranges = ranges_of(count, config)
            apart = [(a, b, folder / f"distances-{a}-{b}") for a, b in pairs_of(ranges)]
            kernels.assemble(folder, described, apart, ranges, config)
        else:
            energies = np.load(folder / "energies.npz")["energies"]
            partition(kernels.mixed(folder, 0.5), energies, config)
    # kilobytes on Linux
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6 * 1.024
    return {"peak_GB": round(peak, 2), "seconds": round(time.process_time() - begin, 1)}


def in_own_process(phase: str, folder: Path, count: int) -> dict[str, float]:
    """The same in a process of its own, whose peak is that of nothing else."""
    command = [sys.executable, __file__, "--structures", str(count)]
    ended = subprocess.run(
        [*command, "--phase", phase, "--folder", str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return dict(json.loads(ended.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    default = Path(__file__).parent / "results" / "similarity_memory.json"
    parser.add_argument("--structures", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=default)
    parser.add_argument("--phase", choices=PHASES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    count = given.structures
    if given.phase is not None:
        print(json.dumps(perform(given.phase, given.folder, count)))
        return
    config = ClusteringConfig()
    record = Record(given.out, structures=count, features=FEATURES, atoms=ATOMS)
    said = forecast(count, ATOMS, config, n_species=2)
    record.add("forecast", lambda: {"peak_GB": round(said.bytes / 1e9, 2)})
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        write_artefacts(folder, count, config)
        for phase in PHASES:
            record.add(phase, lambda phase=phase: in_own_process(phase, folder, count))


if __name__ == "__main__":
    main()
