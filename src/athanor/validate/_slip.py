"""Close-packed layers of an fcc crystal that slip over each other, and how they move apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from scipy.optimize import minimize

from athanor.errors import MeasurementError
from athanor.structure import FloatArray

MJ_PER_M2 = 16021.766
"""One eV/Å²."""
GRADIENT = 2e-4
"""eV/Å of a layer spacing."""
ENOUGH = 1e-2
"""The same where searches end in the noise of single precision; energies are good to 3e-5 eV."""
STEPS = 300
SEARCHES = 3
"""One that ends in noise is begun anew from where it came to."""
NARROWEST, WIDEST = 0.6, 1.8
"""Spacings of layers over the crystal's; beyond, it is no stacking of layers any more."""


@dataclass(frozen=True, slots=True)
class Stack:
    """Layers {111} of one atom each, periodic in all directions; no surface anywhere.

    x is along <110>, y along the <112> in which a layer slips over a bridge into a stacking fault.

    Attributes
    ----------
    symbol : the element. a : lattice constant of fcc, Å. layers : how many.
    """

    symbol: str
    a: float
    layers: int

    @property
    def side(self) -> float:
        """Distance of nearest neighbours, Å: the period along x."""
        return float(self.a / np.sqrt(2))

    @property
    def partial(self) -> float:
        """Length of the partial slip a/6 <112>, Å."""
        return float(self.a / np.sqrt(6))

    @property
    def area(self) -> float:
        """Å² of a layer's cell."""
        return float(np.sqrt(3) / 2 * self.side**2)

    @property
    def spacings(self) -> FloatArray:
        """(layers,) Å between layers of the perfect crystal."""
        return np.full(self.layers, self.a / np.sqrt(3))

    def atoms(self, slips: FloatArray, spacings: FloatArray) -> Atoms:
        """The stack.

        Parameters
        ----------
        slips : (k, 2) Å; row j is by how much layers from j on slip along x and y over those below
            (for row 0 those below are the upper end of the periodic stack).
        spacings : (layers,) Å; entry j is the height of layer j over the one below.
        """
        steps = np.zeros((self.layers, 2))
        steps[:, 1] = self.partial
        steps[: len(slips)] += slips
        positions = np.zeros((self.layers, 3))
        positions[1:, :2] = np.cumsum(steps[1:], axis=0)
        positions[1:, 2] = np.cumsum(spacings[1:])
        first = np.array([self.side, 0.0, 0.0])
        second = np.array([self.side / 2, np.sqrt(3) / 2 * self.side, 0.0])
        upward = np.array([*steps.sum(axis=0), spacings.sum()])
        # the same lattice with the least tilt
        upward -= np.round(upward[1] / second[1]) * second
        upward -= np.round(upward[0] / first[0]) * first
        return Atoms(
            [self.symbol] * self.layers,
            positions=positions,
            cell=[first, second, upward],
            pbc=True,
        )


@dataclass(frozen=True, slots=True)
class Slipping:
    """Energies of a stack by one calculator."""

    stack: Stack
    calculator: Calculator

    def energy(self, slips: FloatArray) -> float:
        """eV with the crystal's own spacings."""
        atoms = self.stack.atoms(slips, self.stack.spacings)
        atoms.calc = self.calculator
        return float(atoms.get_potential_energy())

    def relaxed(self, slips: FloatArray, start: FloatArray) -> tuple[float, FloatArray]:
        """Lowest energy, eV, as the layers move along their normal alone; and the spacings, Å.

        The height of the cell follows, so that there is no stress along the normal. `start` are
        spacings to start from. Raises MeasurementError where the layers come apart.
        """
        low, high = (factor * self.stack.spacings[0] for factor in (NARROWEST, WIDEST))
        place, left = np.clip(start, low, high), np.inf
        for _ in range(SEARCHES):
            found = minimize(
                lambda spacings: self._slope(slips, spacings),
                place,
                jac=True,
                method="L-BFGS-B",
                bounds=[(low, high)] * self.stack.layers,
                options={"gtol": GRADIENT, "ftol": 0.0, "maxiter": STEPS},
            )
            place, left = found.x, float(np.abs(found.jac).max())
            if left < GRADIENT:
                break
        spacings = np.asarray(found.x)
        if spacings.min() <= low * 1.001 or spacings.max() >= high * 0.999:
            raise MeasurementError("the layers come apart or fall together while they relax")
        if not left < ENOUGH:
            raise MeasurementError(f"the layers did not relax, {left:.2g} eV/Å are left on one")
        return float(found.fun), spacings

    def _slope(self, slips: FloatArray, spacings: FloatArray) -> tuple[float, FloatArray]:
        """Energy and its derivatives by the spacings."""
        atoms = self.stack.atoms(slips, spacings)
        atoms.calc = self.calculator
        energy = float(atoms.get_potential_energy())
        forces = atoms.get_forces()[:, 2]
        virial = atoms.get_volume() * atoms.get_stress()[2]
        # stretching moves atoms and the cell's top together; the top alone is what remains
        top = (virial + forces @ atoms.positions[:, 2]) / spacings.sum()
        above = np.cumsum(forces[::-1])[::-1]
        slope = top - above
        slope[0] = top
        return energy, slope
