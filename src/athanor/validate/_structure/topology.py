"""Coordination numbers, l-fold fractions and bond angles as values and panels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms

from athanor.errors import ConfigError
from athanor.structure import FloatArray
from athanor.validate import Line, Panel, Value
from athanor.validate._structure.angles import DEGREES, bond_angles
from athanor.validate._structure.blocks import Blocked, error_of, number
from athanor.validate._structure.bonds import coordination
from athanor.validate._structure.elements import Elements, Pair
from athanor.validate._structure.findings import Findings

SHARE = 1.0
"""Percent of an element's atoms; l-fold fractions below it are given only where asked for."""


def find_coordination(
    into: Findings,
    frames: Sequence[Atoms],
    elements: Elements,
    cutoffs: Mapping[Pair, float],
    *,
    folds: Mapping[str, Sequence[int]],
    blocks: int,
) -> None:
    """Add coordination numbers and l-fold fractions, in percent of the element's atoms.

    Given are the fractions of `folds` and all of at least 1 %. Raises ConfigError for an element in
    `folds` that is not there.
    """
    found = coordination(frames, elements, cutoffs, blocks=blocks)
    foreign = sorted(set(folds) - set(elements.names))
    if foreign:
        raise ConfigError(
            f"folds names {', '.join(foreign)}; the elements are {', '.join(elements.names)}"
        )
    lines = {}
    for place, name in enumerate(elements.names):
        partners = [other for pair in cutoffs for other in _partners(name, pair)]
        if not partners:
            continue
        into.values.append(_value(f"{name} coordination", found.numbers, (place,), ""))
        for other in sorted(partners) if len(partners) > 1 else []:
            at = (place, elements.names.index(other))
            into.values.append(_value(f"{other} around {name}", found.by_pair, at, ""))
        percent = found.shares.map(lambda one: 100 * one)
        into.values += _folds(name, place, percent, folds.get(name, ()))
        lines[name] = _fold_line(percent, place)
    into.panels["l-fold fractions"] = Panel("bonds of an atom", "% of atoms", lines, "both")
    bonded = ", ".join(f"{'-'.join(pair)} {length:.2f} Å" for pair, length in cutoffs.items())
    into.notes.append(f"Longest bonds: {bonded}.")


def _partners(name: str, pair: Pair) -> list[str]:
    if name not in pair:
        return []
    return [pair[1] if pair[0] == name else pair[0]]


def _value(name: str, values: Blocked, at: tuple[int, ...], unit: str) -> Value:
    mean, error = number(values.at(*at))
    return Value(name, mean, unit, error)


def _folds(name: str, place: int, percent: Blocked, wanted: Sequence[int]) -> list[Value]:
    mean = percent.mean[place]
    chosen = sorted({*np.flatnonzero(mean >= SHARE).tolist(), *wanted})
    none = Blocked(np.zeros(len(percent.each)), percent.weights)
    found = []
    for fold in chosen:
        value, error = number(percent.at(place, fold) if fold < len(mean) else none)
        found.append(Value(f"{name} {fold}-fold", value, "%", error))
    return found


def _fold_line(percent: Blocked, place: int) -> Line:
    """From one below the lowest number of bonds that occurs to one above the highest."""
    mean, error = percent.mean[place], percent.error
    there = np.flatnonzero(mean > 0)
    shown = slice(max(0, int(there[0]) - 1), int(there[-1]) + 2)
    bars = None if error is None else error[place, shown]
    return Line.of(np.arange(len(mean), dtype=float)[shown], mean[shown], bars)


def find_angles(
    into: Findings,
    frames: Sequence[Atoms],
    elements: Elements,
    cutoffs: Mapping[Pair, float],
    *,
    blocks: int,
) -> None:
    """Add the bond angles at each element: mean, standard deviation and distribution."""
    found = bond_angles(frames, elements, cutoffs, blocks=blocks)
    lines = {}
    for place, name in enumerate(elements.names):
        if not found.mean[place].any():
            continue
        density = found.at(place)
        for word, moment in (("mean angle at", _mean), ("spread of angles at", _spread)):
            error = error_of(density.map(moment))
            into.values.append(Value(f"{word} {name}", moment(density.mean), "°", error))
        lines[name] = Line.of(DEGREES, density.mean, density.error)
    into.panels["Bond angles"] = Panel("angle, °", "density, 1/°", lines)


def _mean(density: FloatArray) -> float:
    return float(np.average(DEGREES, weights=density)) if density.any() else np.nan


def _spread(density: FloatArray) -> float:
    if not density.any():
        return np.nan
    return float(np.sqrt(np.average((DEGREES - _mean(density)) ** 2, weights=density)))
