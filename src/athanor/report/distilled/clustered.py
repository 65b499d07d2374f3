"""Similarity and clusters of a distillation, for the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from athanor.distil import Distillation
from athanor.query.clustering import ClusteringConfig
from athanor.report.distilled.content import ClusterStory, Convergence, ScanPoint


def scan_of(found: Distillation) -> tuple[ScanPoint, ...]:
    """Every delta whose clusters by the query's affinity are there, also before all are."""
    records = found.state.finished_tasks.values()
    told = [one.summary for one in records if one.kind == "partition"]
    mine = found.config.query.affinity
    points = [_scan_point(summary) for summary in told if summary["affinity"] == mine]
    return tuple(sorted(points, key=lambda one: one.delta))


def _scan_point(told: Mapping[str, Any]) -> ScanPoint:
    low, high = told["range"]
    return ScanPoint(
        delta=told["delta"],
        n_clusters=told["n_clusters"],
        range=(low, high),
        spread=told["energy_spread"],
        spread_by_structure=told["energy_spread_by_structure"],
        ari=told["ari"],
    )


def clusters_of(found: Distillation) -> ClusterStory | None:
    """The clusters that are drawn from; None before they are known."""
    if found.ground is None:
        return None
    best, query = found.best, found.config.query
    chosen = {one.index for one in found.selected().choices} if found.cycles else set()
    indices = found.pool.eligible
    return ClusterStory(
        delta=best["delta"],
        n_clusters=best["n_clusters"],
        ari=best["ari"],
        indices=indices,
        clusters=found.clusters() + 1,
        points=found.points(),
        chosen=np.array([int(i) in chosen for i in indices], dtype=bool),
        convergence=_convergence(best, query),
        similarity=_similarity(found, query),
        other=_other(found.other_best),
    )


def _other(part: Mapping[str, Any]) -> str:
    """What the graph's other edges would have given, in one sentence."""
    spread, ari = part["energy_spread_by_structure"], part["ari"]
    told = [f"{part['n_clusters']} clusters at δ = {part['delta']:g}"]
    if spread is not None:
        told.append(f"energy spread {1000 * spread:.3g} meV/atom by structure")
    if ari is not None:
        told.append(f"adjusted Rand index {ari:.2f}")
    return f"With the {part['affinity']} as the weight of an edge: {', '.join(told)}."


def _convergence(best: Mapping[str, Any], query: ClusteringConfig) -> Convergence:
    low, high = best["range"]
    return Convergence(
        numbers=tuple(best["numbers"]),
        means=tuple(best["mean_distances"]),
        uncertainty=best["uncertainty"],
        range=(low, high),
        d_tol=query.d_tol,
        patience=query.patience,
        chosen=best["n_clusters"],
        converged=best["converged"],
        note=best["note"],
    )


def _similarity(found: Distillation, query: ClusteringConfig) -> tuple[tuple[str, str], ...]:
    """Parameters as they were used, with those that came from the data."""
    told = found.similarity
    soap, coulomb = told["soap"], told["coulomb"]

    def taken(given: float | None) -> str:
        return "" if given is not None else ", from the data"

    best = "the best of the scan" if query.delta is None else "as written"
    return (
        (
            "SOAP",
            f"{query.basis} basis, cutoff {query.cutoff:g} Å, n_max {query.n_max}, l_max "
            f"{query.l_max}, sigma {query.sigma:g} Å, averaged over {_average(query)}",
        ),
        ("SOAP kernel (eq. 3)", f"degree {query.degree}, c0 {query.c0:g}"),
        ("slope (eq. 3)", f"{told['slope']:.4g}{taken(query.slope)}"),
        ("SOAP similarity", f"{soap['least']:.4f} at least, {soap['median']:.4f} in the median"),
        ("Coulomb matrix", f"compared by {query.coulomb}"),
        ("zeta (eq. 6)", f"{told['zeta']:.4g}{taken(query.zeta)}"),
        (
            "Coulomb similarity",
            f"{coulomb['least']:.4f} at least, {coulomb['median']:.4f} in the median",
        ),
        ("delta (eq. 11)", f"{found.best['delta']:g}, {best}"),
        ("graph", f"edges by {query.affinity}"),
        (
            "number of clusters (eq. 13)",
            f"d_tol {query.d_tol:g}, patience {query.patience}, at most {query.max_clusters}",
        ),
    )


def _average(query: ClusteringConfig) -> str:
    return "fingerprints" if query.average == "fingerprint" else "pairs of atoms"
