"""What makes frames a pool: more than one, each once, one level of theory, labels or an oracle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from athanor.errors import ConfigError, LabelError
from athanor.oracle import Oracle
from athanor.pool import Pool
from athanor.structure import Labels, bare, check_structure, check_trainable, structure_id

SAME_ENERGY = 1e-6
"""eV per atom; labels of one structure that differ by more are of two levels of theory."""
ANOTHER_LEVEL = 50.0
"""eV per atom between neighbours in energy: no motion of atoms explains as much."""


@dataclass(frozen=True, slots=True)
class Found:
    """A frame as it was found.

    Attributes
    ----------
    atoms, labels : the latter None where there are none.
    origin : names the frame ("frame 17 of quench.extxyz").
    level : what the file says of the level of theory of the labels, empty where it says nothing.
    """

    atoms: Atoms
    labels: Labels | None
    origin: str
    level: str = ""


def pool_of(
    found: Sequence[Found], *, groups: Sequence[str] | None, oracle: Oracle | None, name: str
) -> Pool:
    """Check frames and make them a pool.

    Parameters
    ----------
    groups : one per frame, or None.
    name : of the whole, for messages and for the level of theory where no frame names it.

    Raises
    ------
    ConfigError : none, one or equal structures; labels missing and no oracle.
    StructureError, LabelError : naming the frame; LabelError for labels of different levels too.
    """
    for frame in found:
        check_structure(frame.atoms, where=frame.origin)
        if frame.labels is not None:
            check_trainable(
                frame.labels, len(frame.atoms), where=frame.origin, forces_optional=True
            )
    if len(found) < 2:
        what = "no structure" if not found else "only one structure"
        raise ConfigError(f"[pool] {name}: found {what}; a pool to choose from needs two or more")
    level, notes = _level(found, oracle, name)
    _check_forces(found)
    _check_energies(found)
    kept = _once(found)
    if len(kept) == 1:
        raise ConfigError(
            f"[pool] {name}: all {len(found)} structures are the same; give a trajectory in which "
            "atoms move"
        )
    if len(kept) < len(found):
        notes.append(
            f"{len(found) - len(kept)} of {len(found)} structures are duplicates and count once"
        )
    return Pool(
        structures=tuple(bare(found[index].atoms) for index in kept),
        labels=tuple(found[index].labels for index in kept),
        groups=None if groups is None else tuple(groups[index] for index in kept),
        level=level,
        origins=tuple(found[index].origin for index in kept),
        notes=tuple(notes),
    )


def _level(found: Sequence[Found], oracle: Oracle | None, name: str) -> tuple[str, list[str]]:
    """The one level of theory, with notes on what is taken for granted."""
    levels: dict[str, str] = {}
    for frame in found:
        if frame.labels is not None:
            levels.setdefault(frame.level, frame.origin)
    if len(levels) > 1:
        (first, one), (second, other) = list(levels.items())[:2]
        raise LabelError(
            f"[pool] {name}: the labels are of different levels of theory: {one} has "
            f"{first or 'none named'!r}, {other} has {second or 'none named'!r}; keep the frames "
            "of one"
        )
    missing = [frame for frame in found if frame.labels is None]
    said = next(iter(levels), "")
    if not missing:
        return said or f"file:{name}", []
    if oracle is None:
        _refuse_missing(found, missing, name)
    elif len(missing) == len(found):
        return oracle.level, []
    elif said and said != oracle.level:
        raise LabelError(
            f"[pool] {name}: {len(missing)} of {len(found)} frames have no labels, and those of "
            f"the others are of the level {said!r} while [oracle] is {oracle.level!r}; give the "
            "oracle that made them, or a file with labels in all or in none"
        )
    note = f"{len(missing)} of {len(found)} structures have no labels: the oracle gives them"
    if not said:
        note += (
            "; the file does not say at which level its own are, they are taken to be of the same"
        )
    return oracle.level if oracle is not None else said, [note]


def _refuse_missing(found: Sequence[Found], missing: Sequence[Found], name: str) -> None:
    if len(missing) == len(found):
        raise ConfigError(
            f"[pool] {name}: none of {len(found)} structures has an energy; give a file with "
            "labels, or an [oracle] that makes them"
        )
    raise ConfigError(
        f"[pool] {name}: {len(missing)} of {len(found)} structures have no energy "
        f"({missing[0].origin} is the first); leave them out, or give an [oracle] that labels them"
    )


def _check_forces(found: Sequence[Found]) -> None:
    labelled = [frame for frame in found if frame.labels is not None]
    without = [frame for frame in labelled if frame.labels and not frame.labels.has_forces]
    if 0 < len(without) < len(labelled):
        raise LabelError(
            f"[pool] {len(without)} of {len(labelled)} labelled structures have no forces "
            f"({without[0].origin} is the first); leave them out"
        )


def _check_energies(found: Sequence[Found]) -> None:
    """Refuse energies of one composition that fall apart: other units, or other zeros."""
    by_formula: dict[str, list[tuple[float, str]]] = {}
    for frame in found:
        if frame.labels is not None:
            formula = frame.atoms.symbols.get_chemical_formula(empirical=True)
            per_atom = frame.labels.energy / len(frame.atoms)
            by_formula.setdefault(formula, []).append((per_atom, frame.origin))
    for formula, energies in by_formula.items():
        energies.sort()
        gaps = np.diff([energy for energy, _ in energies])
        if len(gaps) and gaps.max() > ANOTHER_LEVEL:
            below = int(gaps.argmax())
            (low, one), (high, other) = energies[below], energies[below + 1]
            raise LabelError(
                f"[pool] the energies of {formula} are of different levels of theory or units: "
                f"{one} has {low:.3f} eV/atom, {other} {high:.3f} and none is between; keep the "
                "frames of one, in eV"
            )


def _once(found: Sequence[Found]) -> list[int]:
    """Indices of the first of each structure, of a labelled one where there is one."""
    kept: dict[str, int] = {}
    for index, frame in enumerate(found):
        key = structure_id(frame.atoms)
        first = found[kept.setdefault(key, index)]
        if frame.labels is None:
            continue
        if first.labels is None:
            kept[key] = index
        elif abs(frame.labels.energy - first.labels.energy) > SAME_ENERGY * len(frame.atoms):
            raise LabelError(
                f"[pool] {first.origin} and {frame.origin} are the same structure with energies "
                f"of {first.labels.energy:.6f} and {frame.labels.energy:.6f} eV; the labels are of "
                "different levels of theory: keep the frames of one"
            )
    return sorted(kept.values())
