"""What the comparison says: intervals over seeds, and whether clusters beat chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from athanor.distil.folder import ArmResult, Distillation

CONFIDENCE = 0.95
FEWEST = 3
"""Seeds of each below which nothing is said about chance."""
MEASURES = ("energy_rmse", "forces_rmse")
NOTHING = "No comparison with a random choice was made."


@dataclass(frozen=True, slots=True)
class Verdict:
    """One measure of one way of choosing, over its seeds.

    Attributes
    ----------
    arm, measure : energy_rmse in eV/atom, forces_rmse in eV/Å, on the held-out structures.
    values : one per seed whose fit succeeded.
    mean, low, high : with the interval of the mean at 95 % (Student's t); None without values, low
        and high also with one.
    p : probability of a mean at least so far below that of random if there were no difference
        (Welch's t test, one-sided); None for random itself, where there are too few values, where
        not as many fits failed as of random (those that are left are then not alike), and where all
        chose the whole pool.
    reasons : why fits failed.
    failed : fits without a finite error; they are in no mean.
    """

    arm: str
    measure: str
    values: tuple[float, ...]
    mean: float | None
    low: float | None
    high: float | None
    p: float | None
    reasons: tuple[str, ...]
    failed: int = 0

    @property
    def beats_random(self) -> bool | None:
        """At 95 % confidence; None where that cannot be said."""
        return None if self.p is None else self.p < 1 - CONFIDENCE


def verdicts(results: Sequence[ArmResult], *, whole_pool: bool = False) -> tuple[Verdict, ...]:
    """Every measure of every arm, in the order of the results; `whole_pool` as in `sentence`."""
    arms = list(dict.fromkeys(one.arm for one in results))
    found = tuple(_verdict(results, arm, measure) for measure in MEASURES for arm in arms)
    return tuple(replace(one, p=None) for one in found) if whole_pool else found


def sentence_of(found: Distillation, measure: str = "energy_rmse") -> str:
    """What the comparison of a distillation says of one measure."""
    return sentence(
        found.comparison,
        measure,
        whole_pool=took_all(found),
        delta=float(found.best["delta"]) if measure == MEASURES[0] else None,
    )


def took_all(found: Distillation) -> bool:
    """Whether every structure that may be chosen was, so that all arms have the same ones."""
    if found.ground is None or not found.cycles:
        return False
    last = found.cycles[-1]
    return last.n_train + last.n_test >= len(found.ground.found["eligible"])


def sentence(
    results: Sequence[ArmResult],
    measure: str = "energy_rmse",
    *,
    whole_pool: bool = False,
    delta: float | None = None,
) -> str:
    """Whether the clustered choice beats a random one, in a sentence or two.

    `whole_pool`: all that may be chosen was, so that all arms have the same structures. `delta`:
    what the clusters were made with; at 0 they are those of the arm soap.
    """
    found = {one.arm: one for one in verdicts(results) if one.measure == measure}
    clusters, chance = found.get("clusters"), found.get("random")
    if clusters is None or chance is None:
        return NOTHING
    if whole_pool:
        return (
            "All of the pool that may be chosen was used, so every way of choosing took the same "
            "structures: there is nothing to compare."
        )
    same = " At the best δ, 0, clusters and SOAP alone are the same partition."
    more = same if delta == 0 and "soap" in found else ""
    return _against_chance(clusters, chance) + more


def _against_chance(clusters: Verdict, chance: Verdict) -> str:
    what = "energies" if clusters.measure == "energy_rmse" else "forces"
    unit = "meV/atom" if clusters.measure == "energy_rmse" else "meV/Å"
    lost = ""
    if clusters.failed or chance.failed:
        lost = f"{_lost(clusters)} to clusters and {_lost(chance)} to random choices failed"
    if clusters.mean is None or chance.mean is None:
        return f"For {what} nothing can be compared: {lost}." if lost else NOTHING
    both = f"{1e3 * clusters.mean:.3g} against {1e3 * chance.mean:.3g} {unit}"
    if clusters.failed != chance.failed:
        return f"For {what}, {both}, but {lost}, so nothing is said of which choice is better."
    lost = f"; {lost}" if lost else ""
    if clusters.p is None:
        return f"For {what}, {both}, over too few seeds to say whether clusters beat chance{lost}."
    seeds = f"{len(clusters.values)} seeds, p = {clusters.p:.2g}{lost}"
    if clusters.beats_random:
        return f"For {what}, the clustered choice beats a random one as large: {both} ({seeds})."
    return (
        f"For {what}, the clustered choice does not beat a random one as large at 95 % confidence: "
        f"{both} ({seeds})."
    )


def _lost(one: Verdict) -> str:
    return f"{one.failed} of {one.failed + len(one.values)} fits"


def edge_sentence(fields: Sequence[str]) -> str:
    """What to do about searched fields whose best value is an end of its range."""
    one = len(fields) == 1
    return (
        f"the best {', '.join(fields)} {'is' if one else 'are'} at the end of "
        f"{'its range' if one else 'their ranges'}; wider ones may do better"
    )


def _verdict(results: Sequence[ArmResult], arm: str, measure: str) -> Verdict:
    values = _values(results, arm, measure)
    mean = float(np.mean(values)) if values else None
    low = high = None
    if mean is not None and len(values) > 1:
        half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, len(values) - 1) * _spread(values))
        low, high = mean - half, mean + half
    chance = _values(results, "random", measure)
    reasons = tuple(one.reason for one in results if one.arm == arm and one.reason)
    failed = _failed(results, arm)
    fair = arm != "random" and failed == _failed(results, "random")
    p = _below(values, chance) if fair else None
    return Verdict(arm, measure, values, mean, low, high, p, reasons, failed)


def _below(values: Sequence[float], chance: Sequence[float]) -> float | None:
    if min(len(values), len(chance)) < FEWEST or (np.ptp(values) == 0 and np.ptp(chance) == 0):
        return None
    # from moments: SciPy warns of values that are nearly equal, which fits of one set may be
    both = (
        moment
        for each in (values, chance)
        for moment in (np.mean(each), np.std(each, ddof=1), len(each))
    )
    p = float(stats.ttest_ind_from_stats(*both, equal_var=False, alternative="less").pvalue)
    return p if math.isfinite(p) else None


def _values(results: Sequence[ArmResult], arm: str, measure: str) -> tuple[float, ...]:
    found = [one.errors[measure] for one in results if one.arm == arm and one.errors]
    return tuple(value for value in found if value is not None)


def _failed(results: Sequence[ArmResult], arm: str) -> int:
    # energies have labels always, so that one without a value is one that failed
    mine = [one for one in results if one.arm == arm]
    return len(mine) - len(_values(mine, arm, MEASURES[0]))


def _spread(values: Sequence[float]) -> float:
    """Standard error of the mean."""
    return float(np.std(values, ddof=1) / math.sqrt(len(values)))
