"""Molecular dynamics of any ASE calculator, in ASE or in LAMMPS; what measures need not know which.

A run is a chain of legs, each a constant-energy, -temperature or -pressure piece or a ramp.
"""

from __future__ import annotations

from ase.calculators.calculator import Calculator

from athanor.dynamics._contract import Axes, Engine, Leg, Snapshot, Watch
from athanor.dynamics.blocks import Mean, mean_of

__all__ = ["Axes", "Engine", "Leg", "Mean", "Snapshot", "Watch", "engine_of", "mean_of"]


def engine_of(calculator: Calculator) -> Engine:
    """The fastest engine there is for a calculator: LAMMPS for its own potentials, else ASE."""
    from athanor.dynamics._ase import AseEngine
    from athanor.dynamics._lammps import LammpsEngine
    from athanor.oracle.lammps import LammpsCalculator

    if isinstance(calculator, LammpsCalculator):
        return LammpsEngine(calculator)
    return AseEngine(calculator)
