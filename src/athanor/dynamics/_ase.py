"""The engine for any ASE calculator."""

from __future__ import annotations

import contextlib
import warnings

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator, CalculatorError, PropertyNotImplementedError
from ase.constraints import FixAtoms
from ase.md.bussi import Bussi
from ase.md.md import MolecularDynamics
from ase.md.verlet import VelocityVerlet

from athanor.dynamics._contract import Leg, Watch
from athanor.dynamics._moving import (
    CHECK_EVERY,
    Guard,
    lost,
    mobile_of,
    prepared,
    snapshot_of,
    wrapped,
)
from athanor.dynamics._piston import Piston
from athanor.errors import ConfigError, MeasurementError, OracleError, StructureError


class AseEngine:
    """Velocity Verlet, BAOAB Langevin, stochastic velocity rescaling and barostats of ASE."""

    def __init__(self, calculator: Calculator) -> None:
        self._calculator = calculator

    def run(self, atoms: Atoms, leg: Leg, *, seed: int, watch: Watch | None = None) -> Atoms:
        """Run a leg; see `Engine.run`."""
        rng = np.random.default_rng(seed)
        moving = prepared(atoms, leg, rng)
        if leg.frozen is not None:
            moving.set_constraint(FixAtoms(mask=~mobile_of(moving, leg)))
        moving.calc = self._calculator
        step = 0
        # an exploding run overflows on its way to the next check, where it is found
        with np.errstate(over="ignore", invalid="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            guard = Guard(moving, leg)
            try:
                dynamics = _integrator(moving, leg, rng)
                for step in range(1, leg.steps + 1):
                    self._aim(dynamics, leg, step)
                    dynamics.step()
                    guard.check_volume(moving, step)
                    if step % CHECK_EVERY == 0 or step % leg.every == 0 or step == leg.steps:
                        guard.check(moving, step)
                    if (
                        watch is not None
                        and step % leg.every == 0
                        and self._show(moving, leg, step, watch)
                    ):
                        break
            except ValueError:
                # a cell of no volume is one of the things that ASE raises this for
                guard.check_volume(moving, step)
                raise
            except PropertyNotImplementedError as error:
                raise MeasurementError(
                    f"the calculator has no stress, which a barostat needs ({error})"
                ) from error
            except (OracleError, StructureError, CalculatorError) as error:
                raise lost(step, str(error)) from error
        moving.calc = None
        moving.set_constraint()
        return wrapped(moving)

    @staticmethod
    def _aim(dynamics: MolecularDynamics, leg: Leg, step: int) -> None:
        """Bring the thermostat to the temperature of the middle of a step."""
        if leg.ends is None or leg.ends[0] == leg.ends[1]:
            return
        target = leg.target(step)
        assert target is not None
        if isinstance(dynamics, Piston):
            dynamics.set_temperature(target)
        elif isinstance(dynamics, Bussi):
            dynamics.temp = units.kB * target
            dynamics.target_kinetic_energy = 0.5 * dynamics.temp * dynamics.ndof

    @staticmethod
    def _show(moving: Atoms, leg: Leg, step: int, watch: Watch) -> bool:
        energy = float(moving.get_potential_energy())
        virial = float("nan")
        if moving.pbc.all():
            # without a stress the snapshot has no pressure
            with contextlib.suppress(PropertyNotImplementedError):
                virial = -float(moving.get_stress()[:3].sum()) / 3
        snapshot = snapshot_of(moving, leg, step, energy=energy, virial_pressure=virial)
        return watch(snapshot)


def _integrator(moving: Atoms, leg: Leg, rng: np.random.Generator) -> MolecularDynamics:
    if leg.pressure_GPa is not None or (leg.ends is not None and leg.thermostat == "local"):
        return Piston(moving, leg, rng)
    if leg.ends is None:
        return VelocityVerlet(moving, leg.timestep_fs * units.fs)
    if moving.get_kinetic_energy() == 0:
        raise ConfigError(
            "velocities of zero cannot be rescaled to a temperature; use the local thermostat, or "
            "give a structure without momenta"
        )
    time = leg.thermostat_ps * 1000 * units.fs
    dynamics = Bussi(moving, leg.timestep_fs * units.fs, leg.ends[0], time, rng=rng)
    if leg.frozen is None and len(moving) > 1:
        # the centre of mass is at rest and stays so
        dynamics.ndof -= 3
        dynamics.target_kinetic_energy = 0.5 * dynamics.temp * dynamics.ndof
    return dynamics
