"""Energy-volume curves of lattices and of any crystal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

import numpy as np
from ase.calculators.calculator import Calculator
from ase.units import GPa
from pydantic import AfterValidator, Field, model_validator

from athanor.errors import AthanorError, MeasurementError
from athanor.structure import FloatArray
from athanor.validate._alone import AloneConfig, Tell, silent
from athanor.validate._contract import PropertyResult, Quantity
from athanor.validate._crystal import read_crystal
from athanor.validate._family import (
    Equation,
    Family,
    Minimum,
    Stiffness,
    scaled,
    scanned,
    settled,
    stiffness,
)
from athanor.validate._lattice import Lattice, check_element, family, lattice_constant
from athanor.validate._measured import Line, Measured, Panel, Value

PANEL = "energy and volume"
ROUGH = 0.02
"""Misfit of an equation of state above which its parameters mean little."""


class EquationOfState(AloneConfig):
    """Lattice constants, bulk moduli and the order of crystals, each by its energy-volume curve.

    For each of the `lattices` of `element`, and each of the structure `files`, the energy minimum
    nearest to the usual volume is searched (for files: to their own volume). The curve is drawn
    about it; bulk modulus and its pressure derivative are those of an equation of state through
    nine points within `fit_range`. Differences of energy are from the first that is named.

    Beside a reference, what is lowest for the reference is judged: it must be lowest here too, with
    the same lattice constant (of a file: the cube root of the volume) within the tolerance.

    Values: 'fcc lattice constant' (Å; of a file 'NAME volume', Å³ per atom), 'fcc bulk modulus'
    (GPa), 'fcc pressure derivative', 'bcc energy above fcc' (meV/atom).
    """

    kind: Literal["eos"] = "eos"
    element: Annotated[str, AfterValidator(check_element)] | None = None
    lattices: tuple[Lattice, ...] = Field(
        default=("fcc", "hcp", "bcc", "sc"), description="of `element`; hcp with ideal c/a"
    )
    files: tuple[Path, ...] = Field(
        default=(), description="crystals that ASE reads, scaled to each volume"
    )
    relax: bool = Field(
        default=False,
        description="relax atoms and the shape of the cell at each volume (some ten times dearer)",
    )
    volume_range: float = Field(
        default=0.12, gt=0, lt=0.5, description="half width, as a part of the equilibrium volume"
    )
    points: int = Field(default=13, ge=5, description="volumes of each curve")
    volume_guess: float | None = Field(
        default=None, gt=0, description="Å³ per atom, where the scan for the minimum is centred"
    )
    equation: Equation = "birch-murnaghan"
    fit_range: float = Field(default=0.04, gt=0, le=0.3, description="half width, as volume_range")
    lattice_constant_tolerance: float = Field(default=0.005, gt=0, description="relative")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.element is None and not self.files:
            raise ValueError("give an element, or files of structures, or both")
        if self.element is not None and not self.lattices:
            raise ValueError("lattices = [] leaves nothing of the element: name one at least")
        names = [*self._names]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"the file name {twice[0]!r} is there twice: rename one")
        return self

    @property
    def title(self) -> str:
        what = [f"{self.element} lattices"] if self.element else []
        return f"Energy and volume of {', '.join([*what, *(file.stem for file in self.files)])}"

    @property
    def _names(self) -> Iterator[str]:
        if self.element is not None:
            yield from dict.fromkeys(self.lattices)
        yield from (file.stem for file in self.files)

    @property
    def _files(self) -> dict[str, Path]:
        return {file.stem: file for file in self.files}

    def alone(
        self, calculator: Calculator, *, seed: int, workdir: Path, tell: Tell = silent
    ) -> Measured:
        """Measure; nothing is drawn."""
        return self._measured(calculator, {}, tell)

    def member(
        self, calculator: Calculator, *, whole: Measured, seed: int, workdir: Path
    ) -> Measured:
        """Measure one member of an ensemble, on the volumes of the ensemble's own curves."""
        panel = whole.panels.get(PANEL)
        lines = {} if panel is None else panel.lines
        return self._measured(
            calculator, {n: np.array(line.x) for n, line in lines.items()}, silent
        )

    def _measured(
        self, calculator: Calculator, grids: Mapping[str, FloatArray], tell: Tell
    ) -> Measured:
        found: dict[str, _Found] = {}
        failures: list[str] = []
        names = [*self._names]
        for number, name in enumerate(names):
            tell(number / len(names), name)
            try:
                found[name] = self._found(name, calculator, grids.get(name))
            except AthanorError as error:
                failures.append(str(error))
        failures += [one.failure for one in found.values() if one.failure]
        return Measured(
            values=tuple(self._values(found)),
            panels=_panels(found),
            notes=tuple(self._notes(found)),
            failures=tuple(failures),
            data={
                name: {
                    "volume": one.minimum.volume,
                    "energy": one.minimum.energy,
                    "floor": float(np.nanmin([one.minimum.energy, *one.energies])),
                }
                for name, one in found.items()
            },
        )

    def _found(self, name: str, calculator: Calculator, volumes: FloatArray | None) -> _Found:
        crystals = self._family(name)
        named = name not in self._files
        scan = scanned(crystals, calculator, guess=self.volume_guess if named else None)
        if scan.minimum is None:
            hint = "give another volume_guess" if named else "scale it"
            raise MeasurementError(f"{scan.no_minimum(name)}; {hint} or leave it out")
        minimum = scan.minimum
        if self.relax:
            crystals, minimum = settled(crystals, minimum, calculator, name=name)
        if volumes is None:
            reach = np.linspace(1 - self.volume_range, 1 + self.volume_range, self.points)
            volumes = minimum.volume * reach
        energies = crystals.energies(volumes, calculator)
        try:
            stiff = stiffness(
                crystals, minimum, calculator, equation=self.equation, width=self.fit_range
            )
        except AthanorError as error:
            return _Found(minimum, volumes, energies, None, str(error))
        return _Found(minimum, volumes, energies, stiff)

    def _family(self, name: str) -> Family:
        if name not in self._files:
            assert self.element is not None
            return family(self.element, cast(Lattice, name))
        atoms = read_crystal(self._files[name])
        own = atoms.get_volume() / len(atoms)
        return Family(name, at=partial(scaled, atoms), guess=own)

    def _values(self, found: Mapping[str, _Found]) -> Iterator[Value]:
        base = found.get(next(self._names))
        for name, one in found.items():
            yield from self._size(name, one.minimum.volume)
            if one.stiffness is not None:
                yield Value(f"{name} bulk modulus", one.stiffness.modulus / GPa, "GPa")
                yield Value(f"{name} pressure derivative", one.stiffness.derivative, "")
            if base is not None and one is not base:
                above = 1000 * (one.minimum.energy - base.minimum.energy)
                yield Value(f"{name} energy above {next(self._names)}", above, "meV/atom")

    def _notes(self, found: Mapping[str, _Found]) -> Iterator[str]:
        for name, one in found.items():
            if one.stiffness is not None and one.stiffness.misfit > ROUGH:
                yield (
                    f"{name}: no smooth curve within {100 * self.fit_range:.0f} % of the minimum "
                    f"(the fit leaves {100 * one.stiffness.misfit:.0f} % of its range), so that "
                    "bulk modulus and pressure derivative mean little"
                )

    def _size(self, name: str, volume: float) -> Iterator[Value]:
        if name not in self._files and (name != "hcp" or not self.relax):
            length = lattice_constant(cast(Lattice, name), volume)
            yield Value(f"{name} lattice constant", length, "Å")
        else:
            yield Value(f"{name} volume", volume, "Å³/atom")

    def joined(self, mine: Measured, theirs: Measured | None) -> PropertyResult:
        """Beside the reference: its lowest crystal must be ours, with the same lattice constant."""
        result = super().joined(mine, theirs)
        known = {} if theirs is None else theirs.data
        if not known:
            return result
        lowest = min(known, key=lambda name: known[name]["energy"])
        quantities = [self._size_judged(one, lowest) for one in result.quantities]
        if len(known) > 1 and len(mine.data) > 1 and lowest in mine.data:
            quantities.insert(0, _margin(lowest, mine.data, known))
        return replace(result, quantities=tuple(quantities))

    def _size_judged(self, one: Quantity, lowest: str) -> Quantity:
        if one.reference is None or one.passed is not None:
            return one
        power = {f"{lowest} lattice constant": 1.0, f"{lowest} volume": 1 / 3}.get(one.name)
        if power is None:
            return one
        off = abs((one.value / one.reference) ** power - 1)
        return replace(one, passed=off <= self.lattice_constant_tolerance)


@dataclass(frozen=True, slots=True)
class _Found:
    """What one crystal gave: volumes in Å³ and energies in eV per atom."""

    minimum: Minimum
    volumes: FloatArray
    energies: FloatArray
    stiffness: Stiffness | None
    failure: str | None = None


def _panels(found: Mapping[str, _Found]) -> dict[str, Panel]:
    """Energies in meV per atom, from the lowest minimum of this very subject."""
    if not found:
        return {}
    zero = min(one.minimum.energy for one in found.values())
    lines = {
        name: Line.of(one.volumes, 1000 * (one.energies - zero)) for name, one in found.items()
    }
    return {PANEL: Panel("volume, Å³ per atom", "energy, meV per atom", lines)}


def _margin(lowest: str, mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> Quantity:
    """By how much the reference's lowest crystal lies below the next, for both, in meV/atom.

    A crystal counts with the lowest energy of its whole curve, which may be at its end.
    """

    def below(known: Mapping[str, Any]) -> float:
        others = [one["floor"] for name, one in known.items() if name != lowest]
        return 1000 * float(min(others) - known[lowest]["energy"])

    value = below(mine)
    name = f"{lowest} below every other lattice by"
    return Quantity(name, value, "meV/atom", below(theirs), passed=value > 0)
