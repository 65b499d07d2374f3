"""Bonds: how long they may be, how many each atom has, and the angles between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from athanor.errors import MeasurementError
from athanor.structure import FloatArray
from athanor.validate._structure.blocks import Blocked, split
from athanor.validate._structure.distribution import Distribution, neighbours
from athanor.validate._structure.elements import Elements, Pair
from athanor.validate._structure.peaks import peaks_of

SMOOTH = 0.06
"""Å; standard deviation of the Gaussian that takes the noise from g(r) before peaks are sought."""
FLAT = 0.002
"""Of the first peak's height: places of a valley so near its lowest are as low."""
NEAREST = 1.15
"""Two elements are bonded where their first peak is at most so many times further than the nearest
first peak of the one of them that has the longer: sqrt(4/3) of CsCl's second shell is beyond."""


@dataclass(frozen=True, slots=True)
class Shell:
    """First peak and first minimum behind it of a g(r): Å, height."""

    peak: float
    height: float
    minimum: float | None


def first_shell(r: FloatArray, g: FloatArray) -> Shell | None:
    """First peak of g(r) (n_bins,) and the lowest place between it and the second one.

    Where the valley is flat (a solid, a glass), its middle. The minimum is None where no valley is
    seen, the whole None where there is no peak.
    """
    peaks = peaks_of(r, g, smooth=SMOOTH)
    if not len(peaks.places):
        return None
    first = int(peaks.places[0])
    several = len(peaks.places) > 1
    last = int(peaks.places[1]) if several else int(np.searchsorted(r, 2 * r[first]))
    valley = peaks.smooth[first : min(last + 1, len(r))]
    lowest, near = float(valley.min()), FLAT * float(peaks.smooth[first])
    flat = np.flatnonzero(valley <= lowest + near)
    # an end behind which nothing rises again is a valley only where nothing is left
    seen = several or flat[-1] < len(valley) - 1 or lowest <= near
    return Shell(*peaks.vertex(0), float(r[first + flat].mean()) if seen else None)


def shells_of(found: Distribution) -> dict[Pair, Shell]:
    """The first shell of each pair that has one."""
    mean = found.partial.mean
    shells = {
        pair: first_shell(found.r, g) for pair, g in zip(found.elements.pairs, mean, strict=True)
    }
    return {pair: shell for pair, shell in shells.items() if shell is not None}


def bond_cutoffs(found: Distribution, given: Mapping[str, float | None]) -> dict[Pair, float]:
    """Longest bond of each bonded pair, Å.

    `given` maps names like 'Si-O' to a length or, for the first minimum of the partial g(r), None;
    empty, those pairs are bonded whose first peak is among the nearest of their elements. Raises
    MeasurementError where a g(r) has no first minimum, InputError for a pair that is not there.
    """
    shells = shells_of(found)
    lengths = {found.elements.pair(name): length for name, length in given.items()}
    if not lengths:
        lengths = dict.fromkeys(_bonded(shells, found.elements))
    return {pair: _cutoff(pair, length, shells.get(pair)) for pair, length in lengths.items()}


def _cutoff(pair: Pair, given: float | None, shell: Shell | None) -> float:
    length = given if given is not None else None if shell is None else shell.minimum
    if length is None:
        name = "-".join(pair)
        raise MeasurementError(
            f"g(r) of {name} has no minimum behind a first peak; give the length of a bond "
            f'(bonds = {{"{name}" = 2.0}}), a longer r_max or more frames'
        )
    return length


def _bonded(shells: Mapping[Pair, Shell], elements: Elements) -> list[Pair]:
    """Pairs whose first peak is one of the nearest."""
    if not shells:
        raise MeasurementError("no g(r) has a peak, so there are no bonds to count; give bonds")
    nearest = {
        name: min((shell.peak for pair, shell in shells.items() if name in pair), default=np.inf)
        for name in elements.names
    }
    return [
        pair
        for pair, shell in shells.items()
        if shell.peak <= NEAREST * max(nearest[name] for name in pair)
    ]


@dataclass(frozen=True, slots=True, eq=False)
class Coordination:
    """How many bonds the atoms have.

    Attributes
    ----------
    by_pair : (blocks, n_elements, n_elements) mean number of b bonded to an atom a.
    shares : (blocks, n_elements, most + 1) share of the atoms a with 0, 1, 2, ... bonds of any
        kind; each row adds up to 1.
    """

    elements: Elements
    by_pair: Blocked
    shares: Blocked

    @property
    def numbers(self) -> Blocked:
        """(blocks, n_elements) mean number of bonds of each element."""
        return self.by_pair.map(lambda one: one.sum(axis=1))


def coordination(
    frames: Sequence[Atoms],
    elements: Elements,
    cutoffs: Mapping[Pair, float],
    *,
    blocks: int = 1,
) -> Coordination:
    """Count the bonds of each atom; images of the same atom count each by itself."""
    parts = split(frames, blocks)
    counts = [[_bonds_to(frame, elements, cutoffs) for frame in part] for part in parts]
    most = max(int(one.sum(axis=1).max()) for part in counts for one in part)
    weights = np.array([len(part) for part in parts], dtype=float)
    means, shares = [], []
    for part in counts:
        stacked = np.stack(part)  # (frames, n_atoms, n_elements)
        means.append(_by_element(stacked.mean(axis=0), elements))
        folds = np.stack([(stacked.sum(axis=2) == fold).mean(axis=0) for fold in range(most + 1)])
        shares.append(_by_element(folds.T, elements))
    return Coordination(
        elements, Blocked(np.array(means), weights), Blocked(np.array(shares), weights)
    )


def _by_element(values: FloatArray, elements: Elements) -> FloatArray:
    """Mean of (n_atoms, k) over the atoms of each element: (n_elements, k)."""
    return np.stack(
        [values[elements.index == place].mean(axis=0) for place in range(len(elements.names))]
    )


def _bonds_to(
    atoms: Atoms, elements: Elements, cutoffs: Mapping[Pair, float]
) -> NDArray[np.float64]:
    """(n_atoms, n_elements) bonds of each atom to each element."""
    i, j, length = neighbours(atoms, max(cutoffs.values()), "ijd")
    kept = length < limits_of(elements, cutoffs)[elements.index[i], elements.index[j]]
    i, j = i[kept], j[kept]
    species = len(elements.names)
    # each bond is one of both its atoms
    places = np.concatenate([i * species + elements.index[j], j * species + elements.index[i]])
    counted = np.bincount(places, minlength=len(atoms) * species)
    return counted.reshape(len(atoms), species).astype(float)


def limits_of(elements: Elements, cutoffs: Mapping[Pair, float]) -> FloatArray:
    """(n_elements, n_elements) longest bond, 0 where there is none."""
    limits = np.zeros((len(elements.names),) * 2)
    for (a, b), length in cutoffs.items():
        place, other = elements.names.index(a), elements.names.index(b)
        limits[place, other] = limits[other, place] = length
    return limits
