"""What the held-out structures say of a potential, and what they cannot say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from athanor.campaign.parity import Parity
from athanor.distil.folder import Distillation
from athanor.structure import FloatArray, Frame

Judge = Literal["test", "held_out", "both"]
GroupErrors = dict[str, float | None]
"""frames; energy_rmse, eV/atom; forces_rmse, eV/Å; None where not finite or without labels."""


def judge_of(found: Distillation) -> Judge:
    """The structures whose energy RMSE is held against the tolerance."""
    ground = found.ground
    apart = ground is None or bool(ground.found["held_out"])
    return found.config.stop.judged_on if apart else "test"


def about(found: Distillation) -> str:
    """What the errors that are told measure."""
    if found.ground is not None and not found.ground.found["held_out"]:
        return (
            "Nothing was held out: the errors are on test structures, which choose the "
            "hyperparameters and decide when to stop, and so are too small."
        )
    judge = judge_of(found)
    decide = (
        "they do not decide when to stop"
        if judge == "test"
        else f'they also decide when to stop (judged_on = "{judge}"), which favours them slightly'
    )
    return (
        "Held-out structures are drawn from the same trajectory as the chosen ones, so their "
        "errors measure interpolation within it, not what comes of other conditions; "
        f"{decide}."
    )


def errors_by_group(found: Distillation) -> dict[str, GroupErrors] | None:
    """Errors of the latest best potential on the held-out structures of each group of the pool.

    None where the pool has no groups, nothing is held out or nothing is fitted yet.
    """
    parity = found.parity()
    if parity is None or found.pool.groups is None:
        return None
    test = found.passed.turns[-1].held_out
    numbers = [] if test is None else test.payload["frames"]
    frames = [found.pool.frames[i] for i in numbers]
    return by_group(frames, [found.pool.groups[i] for i in numbers], parity)


def by_group(
    frames: Sequence[Frame], groups: Sequence[str], parity: Parity
) -> dict[str, GroupErrors]:
    """Errors of each group, in the order in which groups come.

    Mean squares are over frames of the mean over the components of each, as
    `athanor.data.metrics` has them: weighted by frames they give that of the whole.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        energies = np.square(parity.energy_predicted - parity.energy)
        forces = _of_frames(frames, parity)
    found: dict[str, GroupErrors] = {}
    for name in dict.fromkeys(groups):
        mine = np.array([group == name for group in groups])
        known = forces[mine & ~np.isnan(forces)]
        found[name] = {
            "frames": int(mine.sum()),
            "energy_rmse": _root(energies[mine]),
            "forces_rmse": _root(known) if len(known) else None,
        }
    return found


def _of_frames(frames: Sequence[Frame], parity: Parity) -> FloatArray:
    """(n,) mean square of each frame's forces; NaN without labels, inf where not finite."""
    labelled = np.array([frame.labels.has_forces for frame in frames])
    sizes = np.array([3 * len(frame.atoms) for frame in frames])[labelled]
    # artefacts of older versions have NaN where there is no label
    known = ~np.isnan(parity.forces)
    square = np.square(parity.forces_predicted[known] - parity.forces[known])
    total = np.bincount(np.repeat(np.arange(len(sizes)), sizes), square, minlength=len(sizes))
    found = np.full(len(frames), np.nan)
    found[labelled] = np.nan_to_num(total / sizes, nan=np.inf, posinf=np.inf)
    return found


def _root(squares: FloatArray) -> float | None:
    value = float(np.sqrt(np.mean(squares)))
    return value if np.isfinite(value) else None
