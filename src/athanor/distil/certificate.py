"""The certificate: what was chosen and why, and what is known of the potential made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from athanor.distil.folder import Cycle, Distillation
from athanor.distil.held_out import about, errors_by_group, judge_of
from athanor.distil.verdict import took_all, verdicts

VERSION = 1
CLUSTERS = (
    "affinity",
    "delta",
    "n_clusters",
    "energy_spread",
    "energy_spread_by_structure",
    "ari",
    "converged",
    "sizes",
)


def certificate(found: Distillation, *, stopped_by: str) -> dict[str, Any]:
    """Plain JSON data.

    Errors are RMSE, MAE and maximum: energies in eV/atom, forces in eV/Å, stresses in eV/Å³; for
    each group of the pool, RMSE. `about` says what they measure.
    """
    last = found.cycles[-1]
    pool = found.passed.ground.found if found.passed.ground else {}
    best = found.best
    return {
        "version": VERSION,
        "name": found.state.name,
        "stopped_by": stopped_by,
        "tolerance_meV_per_atom": found.config.stop.energy_rmse_meV,
        "judged_on": judge_of(found),
        "about": about(found),
        "pool": {key: pool[key] for key in ("n", "atoms", "species", "level", "groups", "notes")}
        | {"held_out": len(pool["held_out"]), "eligible": len(pool["eligible"])},
        "similarity": dict(found.similarity),
        "clusters": _clusters(best),
        "clusters_by_the_other_affinity": _clusters(found.other_best),
        "chosen": {"train": last.n_train, "test": last.n_test, "fraction_of_pool": last.fraction},
        "hyperparameters": last.trials[last.best].point,
        "at_the_end_of_its_range": list(found.at_edge),
        "errors": {
            "test": dict(last.test),
            "held_out": dict(last.held_out or {}) or None,
            "held_out_by_group": errors_by_group(found),
        },
        "learning_curve": [_point(cycle) for cycle in found.cycles],
        "comparison": [
            asdict(one) for one in verdicts(found.comparison, whole_pool=took_all(found))
        ],
        "structures": [asdict(one) for one in found.selected().choices],
    }


def _point(cycle: Cycle) -> dict[str, Any]:
    """A point of the learning curve."""
    held_out = None if cycle.held_out is None else dict(cycle.held_out)
    return {
        "cycle": cycle.number,
        "train": cycle.n_train,
        "test": cycle.n_test,
        "fraction_of_pool": cycle.fraction,
        "trials": len(cycle.trials),
        "errors": {"test": dict(cycle.test), "held_out": held_out},
    }


def _clusters(part: Mapping[str, Any]) -> dict[str, Any]:
    """What is told of a partition."""
    return {key: part[key] for key in CLUSTERS}
