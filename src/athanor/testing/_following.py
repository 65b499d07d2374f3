"""The check of a potential that remembers the last structure."""

from __future__ import annotations

from athanor.potentials import Follows, following
from athanor.testing._subject import Subject, name, same_labels

_STEPS = 8
_STEP = 0.06
"""Å: small enough that something is remembered, large enough that it must be forgotten."""


def check_following(subject: Subject) -> None:
    """Following a structure that moves, one that is deformed, and another, changes nothing."""
    if not isinstance(subject.potential, Follows):
        return
    rng = subject.rng()
    potential = following(subject.potential)
    for atoms in subject.zoo(rng):
        for step in range(_STEPS):
            atoms.positions += rng.normal(scale=_STEP, size=atoms.positions.shape)
            if step == _STEPS // 2:
                atoms.set_cell(atoms.cell.array * 1.01, scale_atoms=True)
            found = potential.predict([atoms])[0]
            what = f"{name(atoms)}, followed for {step + 1} steps"
            same_labels(found, subject.one(atoms), what=what)
