"""How far the members of an ensemble disagree, as keys of the structures that a verb writes."""

from __future__ import annotations

from collections.abc import Sequence

from ase import Atoms

from athanor.potentials import HasMembers, Potential
from athanor.structure import Labels

Info = dict[str, float]


def labels_and_spreads(
    potential: Potential, structures: Sequence[Atoms], *, stress: bool = True
) -> list[tuple[Labels, Info]]:
    """Labels of each structure with energy_spread, force_spread_max and force_spread_mean.

    The info is empty for a potential that is no ensemble. Members are evaluated once.
    """
    if not isinstance(potential, HasMembers) or len(potential.members) < 2:
        return [(labels, {}) for labels in potential.predict(structures, stress=stress)]
    # scipy takes long to import, and `athanor --help` does without
    from athanor.potentials.ensemble import Spread, mean

    found = []
    for atoms in structures:
        (each,) = potential.predict_each([atoms], stress=stress)
        found.append((mean(each), Spread.of(each).info()))
    return found


def spreads(potential: Potential, structures: Sequence[Atoms]) -> list[Info]:
    """The info of `labels_and_spreads`; nothing is evaluated where there is no ensemble."""
    if not isinstance(potential, HasMembers):
        return [{} for _ in structures]
    return [info for _, info in labels_and_spreads(potential, structures, stress=False)]
