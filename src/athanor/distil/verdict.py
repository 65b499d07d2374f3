"""What the comparison says: intervals over seeds, and whether clusters beat chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from athanor.distil.folder import ArmResult

CONFIDENCE = 0.95
FEWEST = 3
"""Seeds of each below which nothing is said about chance."""
MEASURES = ("energy_rmse", "forces_rmse")


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
        (Welch's t test, one-sided); None for random itself, and where there are too few values.
    reasons : why fits failed.
    """

    arm: str
    measure: str
    values: tuple[float, ...]
    mean: float | None
    low: float | None
    high: float | None
    p: float | None
    reasons: tuple[str, ...]

    @property
    def beats_random(self) -> bool | None:
        """At 95 % confidence; None where that cannot be said."""
        return None if self.p is None else self.p < 1 - CONFIDENCE


def verdicts(results: Sequence[ArmResult]) -> tuple[Verdict, ...]:
    """Every measure of every arm, in the order of the results."""
    arms = list(dict.fromkeys(one.arm for one in results))
    return tuple(_verdict(results, arm, measure) for measure in MEASURES for arm in arms)


def sentence(results: Sequence[ArmResult], measure: str = "energy_rmse") -> str:
    """Whether the clustered choice beats a random one, in one sentence."""
    found = {one.arm: one for one in verdicts(results) if one.measure == measure}
    clusters, chance = found.get("clusters"), found.get("random")
    if clusters is None or chance is None or clusters.mean is None or chance.mean is None:
        return "No comparison with a random choice was made."
    unit, scale = ("meV/atom", 1e3) if measure == "energy_rmse" else ("meV/Å", 1e3)
    what = "energies" if measure == "energy_rmse" else "forces"
    both = f"{scale * clusters.mean:.3g} against {scale * chance.mean:.3g} {unit}"
    if clusters.p is None:
        return f"For {what}, {both}, over too few seeds to say whether clusters beat chance."
    seeds = f"{len(clusters.values)} seeds, p = {clusters.p:.2g}"
    if clusters.beats_random:
        return f"For {what}, the clustered choice beats a random one as large: {both} ({seeds})."
    return (
        f"For {what}, the clustered choice does not beat a random one as large at 95 % confidence: "
        f"{both} ({seeds})."
    )


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
        half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, len(values) - 1) * stats.sem(values))
        low, high = mean - half, mean + half
    chance = _values(results, "random", measure)
    reasons = tuple(one.reason for one in results if one.arm == arm and one.reason)
    p = None if arm == "random" else _below(values, chance)
    return Verdict(arm, measure, values, mean, low, high, p, reasons)


def _below(values: Sequence[float], chance: Sequence[float]) -> float | None:
    if min(len(values), len(chance)) < FEWEST or (np.ptp(values) == 0 and np.ptp(chance) == 0):
        return None
    p = float(stats.ttest_ind(values, chance, equal_var=False, alternative="less").pvalue)
    return p if math.isfinite(p) else None


def _values(results: Sequence[ArmResult], arm: str, measure: str) -> tuple[float, ...]:
    found = [one.errors[measure] for one in results if one.arm == arm and one.errors]
    return tuple(value for value in found if value is not None)
