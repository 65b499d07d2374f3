"""The report of a distillation as one HTML page that opens offline."""

from __future__ import annotations

import json
from typing import Any

from markupsafe import Markup

from athanor.distil.verdict import Verdict
from athanor.report import figures
from athanor.report.distilled import fit_figures, pool_figures
from athanor.report.distilled.content import ArmStory, Content
from athanor.report.page import duration, milli, number, template, usage

LONG = 25
"""Chosen structures beyond which their table is folded."""
LONGEST = 2000
"""Rows of that table; the files that are handed over have all of them."""
BADGES = {"reached": "tolerance met", "limit": "stopped by a limit", "unfinished": "unfinished"}


def render(content: Content) -> str:
    """Return the page; every text of the user's is escaped, nothing is linked from outside."""
    trials = [(turn, trial) for turn in content.rounds for trial in turn.trials]
    return template("distilled.html.j2").render(
        c=content,
        badge=BADGES[content.state],
        tiles=_tiles(content),
        figures={name: Markup(svg) for name, svg in _figures(content).items()},
        arms=[_arm(one) for one in content.arms],
        lost=[(turn.cycle, _point(t.point), t.reason) for turn, t in trials if t.score is None],
        cycles=[(one, _point(one.trials[one.best].point)) for one in content.cycles],
        choices=content.choices[:LONGEST],
        folded=len(content.choices) > LONG,
        judge={
            "test": "the cycle's own test structures",
            "held_out": "held-out structures",
            "both": "both the cycle's own test structures and held-out ones",
        }[content.judged_on],
        point=[(name, _plain(value)) for name, value in content.point.items()],
        usage=usage(
            content.potential,
            content.elements,
            # not every element makes a crystal by its name alone
            structures=f"{content.folder}/selected.extxyz",
        ),
        total_seconds=_total(content),
    )


def _tiles(content: Content) -> list[tuple[str, str, str]]:
    """The numbers at the top: (value, what it is, a remark)."""
    tiles = []
    last, pool = content.last, content.pool
    if pool is not None:
        used = 0 if last is None else last.n_train + last.n_test
        share = "none yet" if last is None else f"{100 * last.fraction:.3g} % of the pool"
        tiles.append((f"{number(used)}/{number(pool.n)}", "structures used", share))
    if content.errors is not None:
        errors, on = content.errors
        energy, force = errors["energy_rmse"], errors["forces_rmse"]
        met = energy is not None and energy <= content.tolerance
        bound = f"tolerance {1000 * content.tolerance:g} {'met' if met else 'missed'}"
        tiles.append((milli(energy), "energy RMSE, meV/atom", f"{on}; {bound}"))
        tiles.append((number(force), "force RMSE, eV/Å", on))
    if content.clusters is not None:
        ari = content.clusters.ari
        remark = f"at δ = {content.clusters.delta:g}"
        remark += "" if ari is None else f", ARI {ari:.2f}"
        tiles.append((number(content.clusters.n_clusters), "clusters", remark))
    if content.rounds:
        trials = [trial for turn in content.rounds for trial in turn.trials]
        failed = sum(bool(trial.reason) for trial in trials)
        tiles.append((number(len(trials)), "trials", f"{failed} failed"))
    if content.elapsed is not None:
        tiles.append((duration(content.elapsed), "elapsed", ""))
    return tiles


def _figures(content: Content) -> dict[str, str]:
    drawn: dict[str, str] = {}
    pool, clusters = content.pool, content.clusters
    if content.cycles:
        whole = next((one for one in content.arms if one.paper == "MLIP(2)"), None)
        drawn["learning"] = fit_figures.learning_curve(
            content.cycles,
            tolerance=content.tolerance,
            whole=None if whole is None else (whole.energy, whole.forces),
        )
    if pool is not None:
        drawn["trajectory"] = pool_figures.trajectory(pool, clusters)
    if pool is not None and clusters is not None:
        drawn["maps"] = pool_figures.maps(pool, clusters)
        if clusters.convergence.numbers:
            drawn["convergence"] = pool_figures.convergence(clusters.convergence)
    if len(content.scan) > 1:
        best = None if clusters is None else clusters.delta
        drawn["scan"] = pool_figures.scan(content.scan, best=best)
    if content.arms:
        drawn["comparison"] = fit_figures.comparison(content.arms, tolerance=content.tolerance)
    if content.dimensions and content.rounds:
        drawn["search"] = fit_figures.search(content.rounds)
        drawn["fields"] = fit_figures.fields(content.rounds, content.dimensions)
    if content.parity is not None:
        drawn["parity"] = figures.parity(content.parity.panels, name="parity")
    if any(content.seconds):
        drawn["time"] = figures.time_spent(content.seconds)
    return drawn


def _arm(one: ArmStory) -> dict[str, Any]:
    """A row of the comparison's table."""
    return {
        "name": one.name,
        "paper": one.paper,
        "n_train": " or ".join(map(number, one.n_train)),
        "seeds": len(one.energy.values),
        "failed": one.seeds - len(one.energy.values),
        "energy": interval(one.energy, 1000.0),
        "forces": interval(one.forces, 1.0),
        "p_energy": probability(one.energy.p),
        "p_forces": probability(one.forces.p),
        "reasons": tuple(dict.fromkeys(one.energy.reasons)),
    }


def interval(one: Verdict, factor: float) -> str:
    """Mean and half of its interval, to as many places as the mean has."""
    if one.mean is None:
        return "–"
    mean = factor * one.mean
    if one.high is None:
        return number(mean)
    places = max(0, len(f"{mean:#.4g}".partition(".")[2]))
    return f"{mean:.{places}f} ± {factor * (one.high - one.mean):.{places}f}"


def probability(p: float | None) -> str:
    """A p value for people."""
    if p is None:
        return "–"
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def _point(point: Any) -> str:
    return ", ".join(f"{name} = {_plain(value)}" for name, value in point.items()) or "as written"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _total(content: Content) -> dict[str, float]:
    total: dict[str, float] = {}
    for table in content.seconds:
        for name, seconds in table.items():
            total[name] = total.get(name, 0.0) + seconds
    return total
