"""Which atoms are crystal and which are liquid, by bond order calibrated on the two pure phases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from athanor.errors import MeasurementError
from athanor.structure import FloatArray
from athanor.validate._extra import extra

DEGREES = (4, 6)
NEIGHBOURS = (6, 8, 12, 14, 16)
LEAST_SEPARATION = 4.0
"""Distance of the two phases' means over their mean spread; fcc against its melt has about 10."""
STRANGE = 2.5
"""Standard deviations of one atom by which the crystal's order may move before it is another."""
REMOTE, FEWEST_DEEP = 2.5, 40
"""Mean distances of atoms that what is deep in a crystal is from its interfaces, and how many
atoms are needed there to recognise it."""


@dataclass(frozen=True, slots=True)
class Order:
    """What tells crystal from liquid.

    Attributes
    ----------
    degree, neighbours : of the bond order parameter averaged over the nearest neighbours.
    solid, liquid : its mean in the pure phases.
    threshold : an atom above it counts as crystal (below it where `solid` is the smaller).
    """

    degree: int
    neighbours: int
    solid: float
    liquid: float
    threshold: float

    @classmethod
    def calibrated(cls, solid: Sequence[Atoms], liquid: Sequence[Atoms]) -> Self:
        """Choose what separates snapshots of the pure phases best.

        Averaged Steinhardt parameters (Lechner and Dellago, J. Chem. Phys. 129, 114707, 2008) of
        degree 4 and 6 over 6 to 16 neighbours are tried, so that it works for any simple crystal.
        Raises MeasurementError where none separates them.
        """
        found = []
        for degree in DEGREES:
            for neighbours in NEIGHBOURS:
                a = np.concatenate([bond_order(one, degree, neighbours) for one in solid])
                b = np.concatenate([bond_order(one, degree, neighbours) for one in liquid])
                wide = float(np.hypot(a.std(), b.std()) / np.sqrt(2))
                found.append((abs(a.mean() - b.mean()) / max(wide, 1e-12), degree, neighbours))
        best, degree, neighbours = max(found)
        if best < LEAST_SEPARATION:
            raise MeasurementError(
                "bond order does not tell the crystal from the liquid (their means are "
                f"{best:.1f} spreads apart, {LEAST_SEPARATION:g} are needed), so no interface "
                "can be followed"
            )
        a = np.concatenate([bond_order(one, degree, neighbours) for one in solid])
        b = np.concatenate([bond_order(one, degree, neighbours) for one in liquid])
        # as far from one as from the other, each in its own spread
        share = a.std() / (a.std() + b.std())
        threshold = float(a.mean() + share * (b.mean() - a.mean()))
        return cls(degree, neighbours, float(a.mean()), float(b.mean()), threshold)

    def solid_atoms(self, atoms: Atoms) -> NDArray[np.bool_]:
        """(n,) whether each atom counts as crystal."""
        values = bond_order(atoms, self.degree, self.neighbours)
        return np.asarray((values > self.threshold) == (self.solid > self.liquid))

    def solid_fraction(self, atoms: Atoms) -> float:
        """Share of the atoms that count as crystal."""
        return float(self.solid_atoms(atoms).mean())

    def plain(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Which crystal it is: medians of the averaged q4 and q6 deep in it, linear in temperature.

    Attributes
    ----------
    temperature : K, where it is `values`; `slopes` per K.
    spread : standard deviation of one atom.
    """

    temperature: float
    values: tuple[float, ...]
    slopes: tuple[float, ...]
    spread: tuple[float, ...]

    @classmethod
    def of(cls, one: Sequence[Atoms], other: Sequence[Atoms], at: tuple[float, float]) -> Self:
        """From snapshots of the pure crystal at two temperatures."""
        first, second = (
            np.concatenate([_prints(atoms) for atoms in each]) for each in (one, other)
        )
        values = np.median(first, axis=0)
        slopes = (np.median(second, axis=0) - values) / (at[1] - at[0])
        spread = first.std(axis=0)
        return cls(at[0], tuple(values.tolist()), tuple(slopes.tolist()), tuple(spread.tolist()))

    def is_another(self, atoms: Atoms, solid: NDArray[np.bool_], temperature: float) -> bool:
        """Whether the crystal along z of a box, the atoms `solid`, is another one.

        Only its inner half is looked at: order near an interface is not that of the crystal. A
        crystal that is thin says nothing.
        """
        inner = deep(atoms, solid)
        away = solid.mean() / 4 * atoms.cell.lengths()[2]
        spacing = (atoms.get_volume() / len(atoms)) ** (1 / 3)
        if away < REMOTE * spacing or inner.sum() < FEWEST_DEEP:
            return False
        expected = np.add(self.values, np.multiply(self.slopes, temperature - self.temperature))
        moved = np.abs(np.median(_prints(atoms)[inner], axis=0) - expected)
        return bool((moved > STRANGE * np.array(self.spread)).any())

    def plain(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    @classmethod
    def read(cls, data: dict[str, Any]) -> Self:
        """The inverse of `plain`."""
        lists = {name: tuple(data[name]) for name in ("values", "slopes", "spread")}
        return cls(temperature=float(data["temperature"]), **lists)


def deep(atoms: Atoms, solid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(n,) the atoms of a crystalline slab across z that are in its inner half."""
    if not solid.any():
        return solid
    angles = 2 * np.pi * atoms.get_scaled_positions()[:, 2]
    centre = np.angle(np.exp(1j * angles[solid]).sum())
    away = np.abs(np.angle(np.exp(1j * (angles - centre)))) / (2 * np.pi)
    return np.asarray(solid & (away < solid.mean() / 4))


def _prints(atoms: Atoms) -> FloatArray:
    return np.stack([bond_order(atoms, degree, 12) for degree in DEGREES], axis=1)


def bond_order(atoms: Atoms, degree: int, neighbours: int) -> FloatArray:
    """(n,) averaged Steinhardt parameter of each atom over its nearest neighbours, by freud."""
    with extra("freud"):
        import freud
    with freud.parallel.NumThreads(1):  # sums in one order: equal structures give equal bits
        box = freud.box.Box.from_matrix(np.asarray(atoms.cell).T)
        parameter = freud.order.Steinhardt(degree, average=True)
        # its box is centred on the origin
        points = box.wrap(atoms.positions)
        parameter.compute((box, points), neighbors={"num_neighbors": neighbours})
        return np.array(parameter.particle_order, dtype=np.float64)
