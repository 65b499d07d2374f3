"""The comparison of ways of choosing, for the report."""

from __future__ import annotations

from athanor.distil import Distillation
from athanor.distil.verdict import sentence_of, took_all, verdicts
from athanor.report.distilled.content import ArmStory
from athanor.report.distilled.standing import where

NAMES = {
    "clusters": ("clusters at the best δ", "MLIP(0)"),
    "soap": ("clusters by SOAP alone, δ = 0", "MLIP(1)"),
    "everything": ("the whole pool", "MLIP(2)"),
    "farthest": ("farthest points", ""),
    "random": ("random", ""),
}
"""What people call the arms, and what the paper does."""


def arms_of(found: Distillation) -> tuple[ArmStory, ...]:
    """Every way of choosing that was compared, in order; empty before all fits are done."""
    results = found.comparison
    told = {(one.arm, one.measure): one for one in verdicts(results, whole_pool=took_all(found))}
    stories = []
    for arm in dict.fromkeys(one.arm for one in results):
        name, paper = NAMES.get(arm, (arm, ""))
        mine = [one for one in results if one.arm == arm]
        stories.append(
            ArmStory(
                name=name,
                paper=paper,
                n_train=tuple(sorted({one.n_train for one in mine})),
                seeds=len(mine),
                energy=told[arm, "energy_rmse"],
                forces=told[arm, "forces_rmse"],
            )
        )
    return tuple(stories)


def sentences_of(found: Distillation) -> tuple[str, ...]:
    """What came out of the comparison, or why there is none."""
    if found.comparison:
        forces = any(one.errors and one.errors["forces_rmse"] for one in found.comparison)
        more = (sentence_of(found, "forces_rmse"),) if forces and not took_all(found) else ()
        return (sentence_of(found), *more)
    if found.config.compare is None:
        return ("No comparison was asked for; a section [compare] makes one.",)
    told = None if found.ground is None else found.ground.found
    if told is not None and (told["unlabelled"] or not told["held_out"]):
        return (
            "There is no comparison: it needs labels of the whole pool and held-out structures.",
        )
    at = where(found)
    if at is not None and at[0] == "comparing ways of choosing":
        return (f"The comparison goes on: {at[1]} of {at[2]} tasks of this step are done.",)
    return ("The comparison comes after the last cycle.",)
