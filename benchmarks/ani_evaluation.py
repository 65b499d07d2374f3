"""Eight ANI networks, energy + forces + virial, against torchani in the same run.

    python benchmarks/ani_evaluation.py --torchani PYTHON [--published FOLDER] [--out FILE]

PYTHON belongs to an environment with torchani (and torch); FOLDER is the published ANI-Al in
NeuroChem's format, without it the networks are random and of the same sizes. Measured is a cell of
1,000 atoms of liquid aluminium: processor seconds of calls made in turn, ours and torchani's, so
that both meet the same machine; the ratio is taken round by round. Besides: which of torchani's
neighbour lists and ensembles is the fastest (that one is compared with), two threads, the cost by
the number of atoms, cells of a campaign's size, and the arithmetic against the peak of BLAS.
torchani's compiled cell list is measured where its environment has it (`ani build-extensions`).
"Pages kept" is torchani with glibc told to keep freed memory, which it does not by itself: half of
torchani's processor time goes into getting pages from the system.
Parts that are in the output file already are not measured again.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from ani_systems import (
    Record,
    Row,
    Took,
    Torchani,
    core_ani,
    counted,
    in_turn,
    liquid,
    model_of,
    ratio,
    took,
)
from ase import Atoms
from threadpoolctl import threadpool_limits

from athanor import _core
from athanor.data.dataset import Dataset
from athanor.potentials import SKIN
from athanor.potentials._ani.model import AniModel
from athanor.potentials.ani import AniPotential
from athanor.query.committee import CommitteeConfig

EXPECTED = {"pairs": 73_800, "triples": 323_000}
SIZES = {
    100: (100, (1, 1, 1)),
    250: (250, (1, 1, 1)),
    500: (500, (1, 1, 1)),
    1_000: (1_000, (1, 1, 1)),
    2_000: (1_000, (2, 1, 1)),
    4_000: (1_000, (2, 2, 1)),
    8_000: (1_000, (2, 2, 2)),
    20_000: (1_000, (5, 2, 2)),
}
"""Atoms of the liquid and how often it is repeated."""
LISTS = ("all_pairs", "cell_list", "adaptive", "verlet_cell_list", "fast_cell_list")
KEPT = ("verlet_cell_list",)
"""Lists that know the last call's; compared with ours that does."""


class Ours:
    """The core on one structure."""

    def __init__(self, model: AniModel, atoms: Atoms, *, double: bool = False) -> None:
        self.core = core_ani(model, double=double)
        self.geometry = (
            atoms.positions,
            np.zeros(len(atoms), np.int32),
            atoms.cell.array,
            atoms.pbc,
        )

    def __call__(
        self, *, each: bool = False, threads: int = 1, skin: _core.SkinList | None = None
    ) -> Row:
        energies, forces, strain, *_ = self.core.evaluate(
            *self.geometry, each=each, threads=threads, skin=skin
        )
        return {"energies": energies, "forces": forces, "strain": strain[0]}


class Theirs:
    """torchani on the system of that name."""

    def __init__(self, worker: Torchani, system: str) -> None:
        self.worker, self.system = worker, system

    def __call__(
        self,
        *,
        neighbours: str,
        batched: bool = True,
        double: bool = False,
        each: bool = False,
        threads: int = 1,
        out: str | None = None,
    ) -> Took:
        found = self.worker.ask(
            self.system,
            out=out,
            call="evaluate",
            neighbours=neighbours,
            batched=batched and not each,  # the batched ensemble gives only the mean
            double=double,
            each=each,
            stress=True,
            threads=threads,
            repeats=1,
        )
        return found["cpu"][0], found["wall"][0]


class Bench:
    """The measurements, in the order in which later ones need the former."""

    def __init__(
        self, model: AniModel, worker: Torchani, keeping: Torchani, *, rounds: int
    ) -> None:
        self.model, self.worker, self.keeping, self.rounds = model, worker, keeping, rounds
        self.cells = {size: liquid(size) for size in (100, 250, 500, 1_000)}
        self.atoms = self.cells[1_000]
        self.ours = Ours(model, self.atoms)
        self.theirs = self.other(self.atoms, "liquid")

    def other(self, atoms: Atoms, name: str) -> Theirs:
        self.worker.put(name, {"positions": atoms.positions, "cell": atoms.cell.array})
        return Theirs(self.worker, name)

    def system(self) -> Row:
        found = counted(self.atoms, self.model.aev)
        for name, count in EXPECTED.items():
            if abs(found[name] / count - 1) > 0.03:
                raise SystemExit(f"the liquid has {found[name]} {name}, not about {count}")
        return {"atoms": len(self.atoms), **found}

    def agreement(self) -> Row:
        """Largest differences, eV/atom, eV/Å, eV/atom: energies, forces and virial."""
        found = {}
        for double in (False, True):
            self.theirs(neighbours="cell_list", each=True, double=double, out="members")
            self.theirs(neighbours="cell_list", double=double, out="mean")
            their, mean = self.worker.get("members"), self.worker.get("mean")
            own = Ours(self.model, self.atoms, double=double)
            our, whole = own(each=True), own()
            n = len(self.atoms)
            found["float64" if double else "float32"] = {
                "energy_eV_per_atom": float(abs(our["energies"] - their["energies"]).max() / n),
                "forces_eV_per_A": float(abs(our["forces"] - their["forces"]).max()),
                "mean_forces_eV_per_A": float(abs(whole["forces"] - mean["forces"]).max()),
                "virial_eV_per_atom": float(abs(whole["strain"] - mean["strain"]).max() / n),
            }
        return found

    def lists(self) -> Row:
        """torchani's neighbour lists, with its batched ensemble and member by member."""
        known = [
            name for name in LISTS if "fast" not in name or self.worker.about["fast_cell_list"]
        ]
        calls: dict[str, Callable[[], Took]] = {
            name: partial(self.theirs, neighbours=name) for name in known
        }
        calls["cell_list, member by member"] = partial(
            self.theirs, neighbours="cell_list", batched=False
        )
        return in_turn(calls, max(3, self.rounds // 5))

    def speed(self, lists: Row) -> Row:
        """Ours and the fastest of theirs in turn."""
        fastest = min(
            (name for name in lists if name in LISTS and name not in KEPT),
            key=lambda name: float(lists[name]["cpu_s"]),
        )
        ours, double = self.ours, Ours(self.model, self.atoms, double=True)
        kept = _core.SkinList(SKIN)
        calls: dict[str, Callable[[], Took]] = {
            "ours": partial(took, ours),
            "torchani": partial(self.theirs, neighbours=fastest),
            "torchani, pages kept": partial(Theirs(self.keeping, "liquid"), neighbours=fastest),
            "ours, kept list": partial(took, partial(ours, skin=kept)),
            "torchani, kept list": partial(self.theirs, neighbours=KEPT[0]),
            "ours, float64": partial(took, double),
            "torchani, float64": partial(self.theirs, neighbours=fastest, double=True),
            "ours, each member's forces": partial(took, partial(ours, each=True)),
            "torchani, each member's forces": partial(self.theirs, neighbours=fastest, each=True),
        }
        found = in_turn(calls, self.rounds)
        pairs = [name for name in found if name.startswith("ours")]
        faster = {
            name: ratio(found[name.replace("ours", "torchani")], found[name]) for name in pairs
        }
        faster["ours, torchani's pages kept"] = ratio(found["torchani, pages kept"], found["ours"])
        return {"neighbours": fastest, "times_faster": faster, "seconds": found}

    def threads(self, lists: Row) -> Row:
        """Wall seconds of one thread over two."""
        name = min((n for n in lists if n in LISTS), key=lambda n: float(lists[n]["cpu_s"]))
        calls: dict[str, Callable[[], Took]] = {}
        for count in (1, 2):
            calls[f"ours {count}"] = partial(took, partial(self.ours, threads=count))
            calls[f"torchani {count}"] = partial(self.theirs, neighbours=name, threads=count)
        found = in_turn(calls, self.rounds)
        speedup = {
            who: found[f"{who} 1"]["wall_least_s"] / found[f"{who} 2"]["wall_least_s"]
            for who in ("ours", "torchani")
        }
        return {"speedup_of_two": speedup, "seconds": found}

    def scaling(self, lists: Row) -> list[Row]:
        """Processor microseconds per atom by the number of atoms; torchani's up to 4,000."""
        rows = []
        for size, (base, repeats) in SIZES.items():
            atoms = self.cells[base].repeat(repeats)
            atoms.rattle(0.05, seed=size)
            own, double = Ours(self.model, atoms), Ours(self.model, atoms, double=True)
            calls: dict[str, Callable[[], Took]] = {
                "ours": partial(took, own),
                "ours, float64": partial(took, double),
            }
            if size <= 4_000:
                # the cell list needs three cutoffs an edge
                name = "cell_list" if atoms.cell.lengths().min() > 21 else "all_pairs"
                calls["torchani"] = partial(self.other(atoms, f"n{size}"), neighbours=name)
            found = in_turn(calls, max(3, self.rounds * 100 // size))
            micro = {name: 1e6 * row["cpu_s"] / size for name, row in found.items()}
            rows.append({"atoms": size, "us_per_atom": micro})
        return rows

    def campaign(self) -> Row:
        """A cell of 100 atoms: what a step of dynamics and a check of the committee take, ms."""
        own = Ours(self.model, self.cells[100])
        skin = _core.SkinList(SKIN)
        potential, atoms = AniPotential(self.model), self.cells[100]
        query = CommitteeConfig().fit(potential, Dataset())
        calls: dict[str, Callable[[], Took]] = {
            "mean, ms": partial(took, own),
            "mean, kept list, ms": partial(took, partial(own, skin=skin)),
            "each member's forces, ms": partial(took, partial(own, each=True)),
            "potential.predict, ms": partial(took, partial(potential.predict, [atoms])),
            "committee, labels and grade, ms": partial(took, partial(query.evaluated, [atoms])),
        }
        found = in_turn(calls, 10 * self.rounds)
        return {name: 1e3 * row["cpu_s"] for name, row in found.items()}

    def floor(self, system: Row, speed: Row) -> Row:
        """The arithmetic that the formulae need, and the share of the processor's peak reached.

        Counted are multiplications and additions in which a number per atom, pair or triple has a
        part: networks forward and backward to their inputs; 64 products per triple forward and
        2 x 64 backward (the row of adjoints times angular values and their slopes); 32 radial
        functions per pair, as many backward. An exponential counts 12, a power 24, a cosine 12.
        """
        widths = [w.shape[2] for w in self.model.networks[0].weights] + [1]
        products = sum(a * b for a, b in itertools.pairwise(widths))
        spec = self.model.aev
        n_a, n_z, n_r = len(spec.shf_a), len(spec.shf_z), spec.n_radial
        flops = {
            "networks": 2 * 2 * products * self.model.n_members * system["atoms"],
            "triples": system["triples"] * (6 * n_a * n_z + 12 * n_a + 24 * n_z + 40),
            "pairs": system["pairs"] * (n_r * (12 + 2 + 4) + 12),
        }
        total = sum(flops.values())
        peak = sgemm_peak()
        seconds = speed["seconds"]["ours"]["cpu_s"]
        return {
            "Mflop": {name: count / 1e6 for name, count in flops.items()},
            "peak_Gflop_per_s": peak / 1e9,
            "floor_s": total / peak,
            "ours_s": seconds,
            "share_of_peak": total / peak / seconds,
        }


def sgemm_peak() -> float:
    """Single-precision floating-point operations per second of one core, by BLAS."""
    a = np.random.default_rng(0).normal(size=(2000, 2000)).astype(np.float32)
    with threadpool_limits(limits=1):
        best = min(took(lambda: a @ a)[0] for _ in range(8))
    return float(2 * len(a) ** 3 / best)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--torchani", type=Path, required=True, help="a Python that has torchani")
    parser.add_argument("--published", type=Path, help="ANI-Al in NeuroChem's format")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/ani_evaluation.json"))
    options = parser.parse_args()
    record = Record(
        options.out,
        rounds=options.rounds,
        weights="random" if options.published is None else options.published.name,
    )
    with tempfile.TemporaryDirectory() as folder:
        model = model_of(options.published)
        worker = Torchani(options.torchani, model, Path(folder))
        keeping = Torchani(options.torchani, model, Path(folder), keep_pages=True)
        record.parts["torchani"] = worker.about
        bench = Bench(model, worker, keeping, rounds=options.rounds)
        parts = record.parts
        record.add("system", bench.system)
        record.add("agreement", bench.agreement)
        record.add("lists", bench.lists)
        record.add("speed", lambda: bench.speed(parts["lists"]))
        record.add("threads", lambda: bench.threads(parts["lists"]))
        record.add("scaling", lambda: bench.scaling(parts["lists"]))
        record.add("campaign", bench.campaign)
        record.add("floor", lambda: bench.floor(parts["system"], parts["speed"]))
        worker.close()
        keeping.close()


if __name__ == "__main__":
    main()
