"""The convex hull of Ag-Pd, learnt and by the oracle itself, and how many labels each took.

    python benchmarks/hull.py FOLDER [--campaign FILE] [--out FILE]

Runs the campaign of examples/silver_palladium.toml, relaxes all its candidates with the learnt
potential and with the oracle, counting the oracle's evaluations, and compares the two hulls. All is
kept in FOLDER: the same line goes on where it was stopped. The record and a picture beside it are
written at the end. Half an hour on one core.
"""

from __future__ import annotations

import argparse
import json
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from threadpoolctl import threadpool_limits

from athanor.calculator import calculator
from athanor.campaign import Campaign, CampaignConfig, Progress, run
from athanor.data.durable import make_folder, write_file
from athanor.sample.enumeration import EnumerationStart
from athanor.sample.relax import RelaxOptions
from athanor.validate import Measured, silent
from athanor.validate._hull import Hull, fractions
from athanor.validate._hull_measured import read
from athanor.validate._pool import rested
from athanor.validate.hull import ConvexHull


def tell(progress: Progress) -> None:
    print(f"{progress.elapsed_s:7.0f} s  {progress.phase} {progress.detail}", flush=True)


def measured(name: str, recipe: ConvexHull, calc: Any, folder: Path) -> Measured:
    """Relax all candidates; what is there already is read."""
    kept = folder / f"{name}.json"
    if not kept.exists():
        found = recipe.attempt(
            calc,
            seed=0,
            workdir=folder / name,
            tell=lambda share, words: print(f"{name}: {100 * share:5.1f} %  {words}", flush=True),
        )
        if found.failures:
            raise SystemExit(f"{name}: {'; '.join(found.failures)}")
        write_file(kept, json.dumps(found.plain()).encode())
    return Measured.read(json.loads(kept.read_bytes()))


def states(hull: Hull, names: list[str], other: Hull) -> list[dict[str, Any]]:
    """The ground states of one hull, with what the other says of the same candidates."""
    return [
        {
            "candidate": names[i],
            "fractions": fractions(hull.counts)[i].tolist(),
            "formation_meV": 1000 * float(hull.formation[i]),
            "formation_meV_by_the_other": 1000 * float(other.formation[i]),
            "above_hull_meV_by_the_other": 1000 * float(other.above[i]),
        }
        for i in hull.compounds
    ]


def at_rest(recipe: ConvexHull, found: Measured, oracle: Any, folder: Path) -> np.ndarray:
    """Learnt energy minus the oracle's of the very structures the learnt one relaxed to, meV/atom.

    Two potentials may lead one start into two basins; this is the error of the energies alone.
    """
    assert recipe.enumeration is not None
    options = RelaxOptions()  # nothing is relaxed: all is there
    relaxed = rested(
        recipe.enumeration.listed(), oracle, options=options, workdir=folder, tell=silent
    )
    off = []
    for one in relaxed:
        atoms = one.atoms
        atoms.calc = oracle
        off.append(1000 * (one.energy - atoms.get_potential_energy()) / len(atoms))
    return np.array(off)[np.isfinite(off)]


def record(
    recipe: ConvexHull, mine: Measured, theirs: Measured, campaign: Campaign, off: np.ndarray
) -> Any:
    learnt, true = read(mine), read(theirs)
    both = np.isfinite(learnt.formation) & np.isfinite(true.formation)
    apart = 1000 * np.abs(learnt.formation - true.formation)[both]
    names = list(theirs.data["names"])
    labels = len(campaign.purchases)
    ended = campaign.state.ended
    assert ended is not None
    evaluations = int(theirs.data["evaluations"])
    return {
        "machine": platform.processor() or platform.machine(),
        "recipe": recipe.model_dump(mode="json"),
        "candidates": len(names),
        "labels": labels,
        "oracle_evaluations_of_relaxing_all": evaluations,
        "share_of_labels_percent": 100 * labels / evaluations,
        "cycles": ended.cycle,
        "stopped_by": ended.stopped_by,
        "potential_evaluations": mine.data["evaluations"],
        "compared": [asdict(one) for one in recipe.compared(mine, theirs)],
        "ground_states_of_the_oracle": states(true, names, learnt),
        "ground_states_learnt": states(learnt, names, true),
        "formation_energy_difference_meV": {
            "candidates": len(apart),
            "median": float(np.median(apart)),
            "within_2_meV_percent": 100 * float(np.mean(apart < 2)),
            "largest": float(apart.max()),
        },
        "energy_difference_at_the_learnt_minima_meV": {
            "candidates": len(off),
            "rmse": float(np.sqrt(np.mean(off**2))),
            "largest": float(np.abs(off).max()),
        },
        "pure_eV": {"oracle": true.pure.tolist(), "learnt": learnt.pure.tolist()},
        "values": {"oracle": _values(theirs), "learnt": _values(mine)},
        "notes": {"oracle": list(theirs.notes), "learnt": list(mine.notes)},
    }


def _values(found: Measured) -> dict[str, float]:
    return {one.name: one.value for one in found.values}


def picture(learnt: Hull, true: Hull, path: Path) -> None:
    """Fig. 9 of Novikov et al.: formation energies and both hulls."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (axes, apart) = pyplot.subplots(
        2, 1, figsize=(7, 7), sharex=True, height_ratios=(3, 1), layout="constrained"
    )
    x = fractions(true.counts)[:, 1]
    axes.plot(x, 1000 * true.formation, ".", color="0.75", ms=3, label="candidates (oracle)")
    for hull, style, name in ((true, "o-", "oracle"), (learnt, "x--", "learnt")):
        ends = list(hull.corners)
        axes.plot(x[ends], 1000 * hull.formation[ends], style, label=f"hull, {name}")
    axes.set(ylabel="formation energy, meV/atom", ylim=(1150 * true.formation.min(), 40))
    axes.legend()
    apart.plot(x, 1000 * (learnt.formation - true.formation), ".", ms=3)
    apart.set(xlabel=f"fraction of {true.species[1]}", ylabel="learnt - oracle,\nmeV/atom")
    apart.set_ylim(-4, 4)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--campaign", type=Path, default=Path("examples/silver_palladium.toml"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/hull.json"))
    given = parser.parse_args()
    make_folder(given.folder)
    config = CampaignConfig.read(given.campaign)
    assert isinstance(config.start, EnumerationStart)
    recipe = ConvexHull(enumeration=config.start, fmax=0.005, smax_GPa=0.05, min_distance=1.5)
    with threadpool_limits(limits=1):
        oracle = config.oracle.build().calculator(workdir=given.folder)
        theirs = measured("oracle", recipe, oracle, given.folder)
        run(config, given.folder / "campaign", progress=tell)
        campaign = Campaign(given.folder / "campaign")
        mine = measured("learnt", recipe, calculator(campaign.load_potential()), given.folder)
        off = at_rest(recipe, mine, oracle, given.folder / "learnt")
    found = record(recipe, mine, theirs, campaign, off)
    write_file(given.out, (json.dumps(found, indent=1) + "\n").encode())
    picture(read(mine), read(theirs), given.out.with_suffix(".png"))
    print(json.dumps({key: found[key] for key in ("labels", "compared")}, indent=1))


if __name__ == "__main__":
    main()
