"""Surface energies of a crystal by slabs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from math import gcd
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from ase import Atoms
from ase.build import surface
from ase.calculators.calculator import Calculator
from ase.geometry import find_mic
from pydantic import AfterValidator, Field

from athanor.errors import MeasurementError
from athanor.structure import bare
from athanor.validate._alone import AloneConfig, Tell, silent
from athanor.validate._crystal import OfCrystal
from athanor.validate._kept import Kept
from athanor.validate._measured import Line, Measured, Panel, Value
from athanor.validate._neb import energies_of
from athanor.validate._relaxing import relaxed

J_PER_M2 = 16.021766
"""One eV/Å²."""
FMAX = 5e-4
"""eV/Å; energies of slabs are then good to 1e-4 J/m² even where atoms are soft."""
SAME = 0.02
"""Å; atoms so near in height are one layer."""
FAR = 1.0
"""Å; an atom that moved further while relaxing belongs to another surface than was cut."""
EDGES = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
USUAL: dict[str, tuple[tuple[int, ...], ...]] = {
    "fcc": ((1, 1, 1), (1, 0, 0), (1, 1, 0)),
    "bcc": ((1, 1, 0), (1, 0, 0), (1, 1, 1)),
    "sc": ((1, 0, 0), (1, 1, 0), (1, 1, 1)),
    "diamond": ((1, 1, 1), (1, 0, 0), (1, 1, 0)),
    "hcp": ((0, 0, 0, 1), (1, 0, -1, 0)),
}


def check_miller(given: tuple[int, ...]) -> tuple[int, ...]:
    """Return three Miller or four Miller-Bravais indices; ValueError for anything else."""
    words = " ".join(map(str, given))
    if len(given) not in (3, 4) or not any(given):
        raise ValueError(f"({words}) is no plane: give three indices, or four for hcp, not all 0")
    if len(given) == 4 and sum(given[:3]) != 0:
        raise ValueError(f"({words}) is no plane: the third of four indices is -(h + k)")
    if gcd(*given) != 1:
        raise ValueError(f"({words}) has a common factor; divide by {gcd(*given)}")
    return given


Plane = Annotated[tuple[int, ...], AfterValidator(check_miller)]


class Surface(OfCrystal, AloneConfig):
    """Energy of planes cut through a crystal, J/m²: (E(slab) - N E(bulk)/N) / 2 A.

    Slabs have two surfaces and the crystal's own periods; all their atoms are relaxed. Indices
    refer to the cube of cubic lattices, to the hexagonal cell of hcp (three or four indices), or
    to the cell in the `file`. Between which layers it is cut is what costs least unrelaxed. Where
    the two sides differ, as in compounds, it is their mean.
    """

    kind: Literal["surface"] = "surface"
    planes: tuple[Plane, ...] = Field(
        default=(), description="Miller indices; the lattice's closest planes if not given"
    )
    thickness: float = Field(default=14.0, gt=0, description="least thickness of a slab, Å")
    vacuum: float = Field(default=15.0, gt=0, description="between slabs, Å")

    @property
    def title(self) -> str:
        """Its name for people."""
        return f"Surfaces of {self.crystal_name}"

    def alone(
        self, calculator: Calculator, *, seed: int, workdir: Path, tell: Tell = silent
    ) -> Measured:
        """Measure; nothing is drawn. MeasurementError where there is no such crystal."""
        tell(0.0, "the crystal")
        calculator = Kept(calculator, workdir)
        crystal = self.crystal(calculator, cubic=self.lattice != "hcp")
        per_atom = float(energies_of([crystal], calculator)[0]) / len(crystal)
        values: list[Value] = []
        notes: list[str] = []
        failures: list[str] = []
        planes = list(dict.fromkeys(self.planes or USUAL.get(self.lattice or "", EDGES)))
        for number, plane in enumerate(planes):
            tell((number + 0.5) / (len(planes) + 1), f"the surface {_name(plane)}")
            slab = self._cut(crystal, plane, calculator)
            area = 2 * float(np.linalg.norm(np.cross(slab.cell[0], slab.cell[1])))
            cut = float(energies_of([slab], calculator)[0]) - len(slab) * per_atom
            values.append(_value(f"unrelaxed surface energy {_name(plane)}", cut / area))
            try:
                settled = relaxed(slab, calculator, name=_name(plane), cell=False, fmax=FMAX)
            except MeasurementError as error:
                failures.append(f"Surface {error}.")
                continue
            energy = float(energies_of([settled], calculator)[0]) - len(slab) * per_atom
            values.append(_value(f"surface energy {_name(plane)}", energy / area))
            notes += _notes(plane, slab, settled, energy)
        return Measured(
            values=tuple(values),
            panels=_panels(planes, values),
            notes=tuple(notes),
            failures=tuple(failures),
        )

    def _cut(self, crystal: Atoms, plane: Sequence[int], calculator: Calculator) -> Atoms:
        """The slab of lowest energy among those that begin at different layers."""
        slabs = list(self._slabs(crystal, plane))
        return slabs[int(np.argmin(energies_of(slabs, calculator)))]

    def _slabs(self, crystal: Atoms, plane: Sequence[int]) -> Iterator[Atoms]:
        """Slabs of whole cells, at least `thickness` thick, along z; one for each layer's gap."""
        indices = (plane[0], plane[1], plane[-1])
        across = np.asarray(crystal.cell.reciprocal()).T @ np.array(indices)
        period = 1 / float(np.linalg.norm(across))
        normal = across * period
        layers = max(1, int(np.ceil(self.thickness / period - 1e-6)))
        heights = np.sort((crystal.positions @ normal + SAME) % period)
        heights = heights[np.diff(heights, prepend=heights[-1] - period) > 2 * SAME]
        for low, high in itertools.pairwise([*heights, heights[0] + period]):
            moved = bare(crystal)
            moved.positions -= (low + high) / 2 * normal
            yield bare(surface(moved, indices, layers, vacuum=self.vacuum / 2, periodic=True))


def _name(plane: Sequence[int]) -> str:
    """(111); with spaces where an index is negative or has two digits."""
    plain = all(0 <= index <= 9 for index in plane)
    return "(" + ("" if plain else " ").join(map(str, plane)) + ")"


def _value(name: str, energy: float) -> Value:
    return Value(name, J_PER_M2 * float(energy), "J/m²")


def _notes(plane: Sequence[int], slab: Atoms, settled: Atoms, energy: float) -> Iterator[str]:
    moved, _ = find_mic(settled.positions - slab.positions, slab.cell, slab.pbc)
    # the slab as a whole may drift
    farthest = float(np.linalg.norm(moved - moved.mean(axis=0), axis=1).max())
    if farthest > FAR:
        yield (
            f"The surface {_name(plane)} became another one while relaxing: an atom moved by "
            f"{farthest:.1f} Å."
        )
    if energy <= 0:
        yield f"The crystal gains energy where it is cut along {_name(plane)}."


def _panels(planes: Sequence[Sequence[int]], values: Sequence[Value]) -> dict[str, Panel]:
    found = {value.name: value.value for value in values}
    lines = {}
    for word, prefix in (("relaxed", ""), ("unrelaxed", "unrelaxed ")):
        y = [found.get(f"{prefix}surface energy {_name(plane)}", np.nan) for plane in planes]
        lines[word] = Line.of(range(len(planes)), y)
    ticks = tuple((float(number), _name(plane)) for number, plane in enumerate(planes))
    panel = Panel("surface", "energy, J/m²", lines, style="points", ticks=ticks)
    return {"Surface energies": panel}
