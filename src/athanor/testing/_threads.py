"""The check of a potential that evaluates a structure on several threads."""

from __future__ import annotations

from athanor.potentials import Threads, following
from athanor.testing._subject import Subject, name, same_labels


def check_threads(subject: Subject) -> None:
    """Two threads, and more than there are atoms, change nothing but rounding."""
    if not isinstance(subject.potential, Threads):
        return
    rng = subject.rng()
    for count in (2, 300):
        potential = following(subject.potential.with_threads(count))
        for atoms in subject.zoo(rng):
            found = potential.predict([atoms])[0]
            same_labels(found, subject.one(atoms), what=f"{name(atoms)}, on {count} threads")
