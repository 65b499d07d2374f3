"""The full delta scan against refitting scikit-learn's SpectralClustering for every number.

    python benchmarks/delta_scan.py [--structures N] [--most M] [--out FILE]

1,245 frames of a copper-gold melt that is quenched through plateaus at 3000, 2000, 1400, 800 and
300 K (ASE's EMT, 32 atoms; made here, about a minute) have their SOAP and Coulomb kernels mixed
with delta = 0, 0.1 ... 1. Ours is `partition`: one eigendecomposition, the clusters and the mean
distance (eq. 13) for 2 to M = 60 of them, five random starts for the uncertainty. The other is
SpectralClustering(k, affinity="precomputed", random_state=0).fit for each of these numbers, the
fits alone, without eq. 13. Both are processor seconds of one thread, in turn delta by delta.

Of every partition of both are kept: the normalised cut (lower is better) and the mean distance
between clusters (13, higher is better). The cut of random partitions into clusters of the same
sizes is its scale: on a similarity that is nearly the same for all pairs any partition into k has
about k - 1. Parts that are in the output file are not measured again.
"""

from __future__ import annotations

import argparse
import functools
import time
import warnings
from pathlib import Path

import numpy as np
from ani_systems import Record
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.md.langevin import Langevin
from threadpoolctl import threadpool_limits

from athanor.query._clusters.convergence import mean_distance
from athanor.query._clusters.partition import partition
from athanor.query._clusters.spectral import IntArray, assign, embed, members
from athanor.query._similarity.coulomb import coulomb_distances
from athanor.query._similarity.kernels import coulomb_kernel, distance, hybrid, soap_kernel
from athanor.query._similarity.soap import fingerprints, species_of
from athanor.query.clustering import DELTAS, ClusteringConfig
from athanor.structure import FloatArray

PLATEAUS = (3000, 2000, 1400, 800, 300)
"""Temperatures, K."""
EVERY = 10
"""Steps of 5 fs between frames."""
ROUNDS = 3
"""Times that ours is measured; the median counts."""
DRAWS = 3
"""Random partitions for each number of clusters; their mean counts."""
Row = dict[str, object]


def quenched(count: int) -> tuple[list[Atoms], list[float], list[str]]:
    """Frames, their energies per atom and their plateaus, in the order of time."""
    rng = np.random.default_rng(0)
    atoms = bulk("Cu", "fcc", a=3.9, cubic=True) * (2, 2, 2)
    atoms.numbers[rng.permutation(32)[:16]] = 79
    atoms.calc = EMT()
    frames, energies, plateaus = [], [], []
    for number, kelvin in enumerate(PLATEAUS):
        dynamics = Langevin(
            atoms, 5 * units.fs, temperature_K=kelvin, friction=0.02 / units.fs, rng=rng
        )
        dynamics.run(300)
        for _ in range((count + number) // len(PLATEAUS)):
            dynamics.run(EVERY)
            frames.append(atoms.copy())
            energies.append(atoms.get_potential_energy() / len(atoms))
            plateaus.append(f"{kelvin} K")
    return frames, energies, plateaus


class Pool:
    """The kernels of the frames, made when first asked for."""

    def __init__(self, count: int, config: ClusteringConfig) -> None:
        self.config = config
        self._count = count

    @functools.cached_property
    def frames(self) -> tuple[list[Atoms], list[float], list[str]]:
        return quenched(self._count)

    @functools.cached_property
    def kernels(self) -> tuple[FloatArray, FloatArray]:
        frames = self.frames[0]
        rows = fingerprints(frames, self.config, species=species_of(frames))
        apart = coulomb_distances(frames, frames, size=32, ordering=self.config.coulomb)
        return soap_kernel(rows, self.config), coulomb_kernel(apart)

    def kernel(self, delta: float) -> FloatArray:
        return hybrid(*self.kernels, delta)


def normalised_cut(kernel: FloatArray, clusters: IntArray) -> float:
    """Sum over clusters of what leaves one over all that begins in it."""
    number = int(clusters.max()) + 1
    own = members(clusters, number)
    graph = kernel - np.diag(np.diag(kernel))
    between = np.asarray((own @ graph) @ own.T)
    return float((1.0 - np.diag(between) / between.sum(axis=1)).sum())


def ours(pool: Pool, delta: float) -> Row:
    """`partition`, timed; then its partitions judged."""
    soap, coulomb = pool.kernels
    _, energies, plateaus = pool.frames
    took = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        found = partition(hybrid(soap, coulomb, delta), energies, pool.config, groups=plateaus)
        took.append(time.process_time() - begin)
    kernel = pool.kernel(delta)
    embedding = embed(kernel, pool.config.max_clusters)
    row = judged(kernel, [assign(embedding, int(number)) for number in found.numbers])
    return row | {
        "seconds": round(float(np.median(took)), 3),
        "n_clusters": found.n_clusters,
        "range": found.range,
        "uncertainty": found.uncertainty,
        "energy_spread": found.energy_spread,
        "energy_spread_by_structure": found.energy_spread_by_structure,
        "ari": found.ari,
    }


def refitted(pool: Pool, delta: float) -> Row:
    """scikit-learn for every number, timed; then its partitions judged."""
    from sklearn.cluster import SpectralClustering

    kernel = pool.kernel(delta)
    labels, took = [], 0.0
    for number in range(2, pool.config.max_clusters + 1):
        model = SpectralClustering(number, affinity="precomputed", random_state=0)
        begin = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            labels.append(model.fit(kernel).labels_.astype(np.int64))
        took += time.process_time() - begin
    return judged(kernel, labels) | {"seconds": round(took, 3)}


def judged(kernel: FloatArray, labels: list[IntArray]) -> Row:
    """Both objectives for every number of clusters."""
    apart = distance(kernel)
    return {
        "normalised_cut": [round(normalised_cut(kernel, found), 6) for found in labels],
        "mean_distance": [round(mean_distance(apart, found), 6) for found in labels],
    }


def chance(pool: Pool, delta: float) -> Row:
    """The normalised cut of random partitions into clusters as large as ours."""
    kernel, rng = pool.kernel(delta), np.random.default_rng(0)
    embedding = embed(kernel, pool.config.max_clusters)
    cuts = []
    for number in range(2, pool.config.max_clusters + 1):
        found = assign(embedding, number)
        drawn = [normalised_cut(kernel, rng.permutation(found)) for _ in range(DRAWS)]
        cuts.append(round(float(np.mean(drawn)), 6))
    return {"normalised_cut": cuts}


def below_chance(parts: Row) -> Row:
    """How far the cuts of both lie below that of random partitions of the same sizes, percent."""
    sides = {
        side: np.array([parts[f"{side} {delta:g}"]["normalised_cut"] for delta in DELTAS])
        for side in ("ours", "refitted", "random")
    }
    ours_gain, refitted_gain = (sides["random"] - sides[side] for side in ("ours", "refitted"))
    gains = ours_gain.sum(axis=1) / refitted_gain.sum(axis=1)
    return {
        "random_mean": round(float(sides["random"].mean()), 5),
        "ours_percent": round(float(100 * (ours_gain / sides["random"]).mean()), 4),
        "refitted_percent": round(float(100 * (refitted_gain / sides["random"]).mean()), 4),
        "ours_gain_over_refitted_gain": round(float(ours_gain.sum() / refitted_gain.sum()), 4),
        "the_same_by_delta": [round(float(one), 4) for one in gains],
        "ours_below_random": round(float((ours_gain > 0).mean()), 3),
    }


def summary(parts: Row) -> Row:
    """How many times faster, and how the objectives compare."""
    pairs = [(parts[f"ours {delta:g}"], parts[f"refitted {delta:g}"]) for delta in DELTAS]
    seconds = [sum(row["seconds"] for row in side) for side in zip(*pairs, strict=True)]
    found: Row = {
        "ours_seconds": round(seconds[0], 2),
        "refitted_seconds": round(seconds[1], 2),
        "times_faster": round(seconds[1] / seconds[0], 1),
        "times_faster_by_delta": [round(b["seconds"] / a["seconds"], 1) for a, b in pairs],
    }
    for name, sign in (("normalised_cut", 1), ("mean_distance", -1)):
        mine, theirs = (np.array([row[name] for row in side]) for side in zip(*pairs, strict=True))
        found[name] = {
            "ours_mean": round(float(mine.mean()), 5),
            "refitted_mean": round(float(theirs.mean()), 5),
            "ratio_of_means": round(float(mine.mean() / theirs.mean()), 5),
            "ours_as_good_or_better": round(float((sign * (mine - theirs) <= 1e-6).mean()), 3),
            "worst_ratio": round(
                float((mine / theirs).max() if sign > 0 else (mine / theirs).min()), 4
            ),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--structures", type=int, default=1245)
    parser.add_argument("--most", type=int, default=60)
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results" / "delta_scan.json"
    )
    chosen = parser.parse_args()
    config = ClusteringConfig(max_clusters=chosen.most)
    record = Record(chosen.out, structures=chosen.structures, most=chosen.most)
    pool = Pool(chosen.structures, config)
    with threadpool_limits(1):
        for delta in DELTAS:
            record.add(f"ours {delta:g}", functools.partial(ours, pool, delta))
            record.add(f"refitted {delta:g}", functools.partial(refitted, pool, delta))
        record.add("summary", functools.partial(summary, record.parts))
        for delta in DELTAS:
            record.add(f"random {delta:g}", functools.partial(chance, pool, delta))
        record.add("below chance", functools.partial(below_chance, record.parts))


if __name__ == "__main__":
    main()
