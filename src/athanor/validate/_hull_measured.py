"""A hull as a measurement, and back, and what two hulls of one pool have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from athanor.structure import FloatArray
from athanor.validate._contract import Quantity
from athanor.validate._hull import Hull, IntArray, formula, fractions
from athanor.validate._measured import Line, Measured, Panel, Value
from athanor.validate._pool import Pool

PER_COMPOSITION = 5
"""Structures of each composition that are shown, the lowest."""


def hull_of(pool: Pool, energies: FloatArray, elements: Mapping[str, float]) -> Hull:
    """The hull of a pool with energies in eV. Raises MeasurementError without pure elements."""
    species = pool.species
    counts = [[list(atoms.symbols).count(one) for one in species] for atoms in pool.structures]
    return Hull.of(species, np.array(counts), energies, elements=elements)


def measured(
    pool: Pool, hull: Hull, *, notes: tuple[str, ...], gone: NDArray[np.bool_], evaluations: int
) -> Measured:
    """Numbers, figures and data of a hull; `gone` are the candidates that left their lattice."""
    compounds = [
        Value(_energy_name(hull, i), 1000 * float(hull.formation[i]), "meV/atom")
        for i in hull.compounds
    ]
    lowest = 1000 * float(np.nanmin(hull.formation))
    known = np.isfinite(hull.formation)
    values = (
        Value("ground states", float(len(compounds)), ""),
        Value("lowest formation energy", lowest, "meV/atom"),
        *compounds,
        Value("candidates", float(len(known)), ""),
        Value("candidates left out", float((~known).sum()), ""),
        Value("candidates that left their lattice", float(gone.sum()), ""),
    )
    return Measured(
        values=values,
        panels=_panels(hull),
        notes=(*_told(pool, hull), *notes),
        data={
            "species": list(hull.species),
            "names": list(pool.names),
            "counts": hull.counts.tolist(),
            "formation": _plain(hull.formation),
            "pure": hull.pure.tolist(),
            "evaluations": evaluations,
        },
    )


def read(found: Measured) -> Hull:
    """The hull that a measurement was made of."""
    data: dict[str, Any] = found.data
    counts = np.array(data["counts"], dtype=np.int64)
    formation = np.array([np.nan if e is None else e for e in data["formation"]])
    energies = (formation + fractions(counts) @ np.array(data["pure"])) * counts.sum(axis=1)
    elements = dict(zip(data["species"], data["pure"], strict=True))
    return Hull.of(data["species"], counts, energies, elements=elements)


def shared(mine: Hull, theirs: Hull, *, tie: float, same: bool) -> Iterator[Quantity]:
    """How many of the reference's ground states there are, and how many it does not have.

    Of the `same` candidates a ground state is there where it, or another of its composition within
    `tie` eV/atom of it, is within `tie` of the other hull; of other candidates, where its
    composition is a ground state.
    """
    known = len(theirs.compounds)
    met = sum(_has(mine, theirs, i, tie=tie, same=same) for i in theirs.compounds)
    extra = sum(not _has(theirs, mine, i, tie=tie, same=same) for i in mine.compounds)
    name = "ground states shared with the reference"
    yield Quantity(name, float(met), "", float(known), passed=met == known)
    yield Quantity("ground states the reference has not", float(extra), "", 0.0)


def _has(hull: Hull, other: Hull, state: int, *, tie: float, same: bool) -> bool:
    """Whether a hull has the ground state of the other."""
    if same:
        alike = list(_near(other, state, tie))
        return bool((hull.above[alike] <= tie).any())
    names = {formula(hull.species, hull.counts[i]) for i in hull.compounds}
    return formula(other.species, other.counts[state]) in names


def _near(hull: Hull, lowest: int, tie: float) -> set[int]:
    """Candidates of the same composition whose energies are the lowest's, within `tie`."""
    counts: IntArray = hull.counts
    same = (np.outer(counts.sum(axis=1), counts[lowest]) == counts * counts[lowest].sum()).all(1)
    return set(np.flatnonzero(same & (hull.formation <= hull.formation[lowest] + tie)).tolist())


def _energy_name(hull: Hull, index: int) -> str:
    return f"formation energy of {formula(hull.species, hull.counts[index])}"


def _told(pool: Pool, hull: Hull) -> tuple[str, ...]:
    if len(hull.species) < 2:
        return (f"There is only {hull.species[0]}: its lowest candidate is no compound.",)
    if not hull.compounds:
        return (f"No compound of {'-'.join(hull.species)} among the candidates is stable.",)
    states = [f"{formula(hull.species, hull.counts[i])} ({pool.names[i]})" for i in hull.compounds]
    return (f"Ground states: {', '.join(states)}.",)


def _panels(hull: Hull) -> dict[str, Panel]:
    """The hull of a binary, and the lowest candidates of each composition."""
    if len(hull.species) != 2:
        return {}
    x, y = fractions(hull.counts)[:, 1], 1000 * hull.formation
    axes = f"fraction of {hull.species[1]}", "formation energy, meV/atom"
    ends = np.unique([0.0, 1.0, *x[list(hull.compounds)]])
    heights = 1000 * hull.at(np.column_stack([1 - ends, ends]))
    lowest = [
        i
        for share in np.unique(x)
        for i in np.argsort(np.where(x == share, y, np.inf))[:PER_COMPOSITION].tolist()
        if x[i] == share
    ]
    return {
        "Convex hull": Panel(*axes, {"hull": Line.of(ends, heights)}, style="both"),
        "Lowest candidates": Panel(
            *axes, {"candidates": Line.of(x[lowest], y[lowest])}, style="points"
        ),
    }


def _plain(values: FloatArray) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]
