"""Langevin dynamics with a barostat on chosen axes, on top of ASE's."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.md.langevinbaoab import LangevinBAOAB

from athanor.dynamics._contract import Axes, Leg
from athanor.structure import FloatArray

MOVING: dict[Axes, tuple[float, float, float]] = {"aniso": (1.0, 1.0, 1.0), "z": (0.0, 0.0, 1.0)}
COLDEST = 10.0
"""K; the mass of the barostat of a run without a thermostat is that of at least this."""


class Piston(LangevinBAOAB):
    """BAOAB of Leimkuhler and Matthews (2013) with the barostat of Quigley and Probert (2004).

    ASE's moves the volume or all nine components of the cell. Here the strain of a cell along x, y
    and z is confined to some of the three, for NPT and (without a thermostat) NPH alike. The mass
    of the barostat is that of Martyna, Tobias and Klein (1994), not ASE's fit to aluminium.
    """

    p_eps: Any
    force_eps: Any

    def __init__(self, atoms: Atoms, leg: Leg, rng: np.random.Generator) -> None:
        self._confined = None
        if leg.pressure_GPa is not None and leg.axes != "iso":
            self._confined = np.diag(MOVING[leg.axes])
        options: dict[str, Any] = {}
        ends = leg.ends
        if ends is not None:
            time = 1000 * units.fs
            options |= {"temperature_K": ends[0], "T_tau": leg.thermostat_ps * time, "rng": rng}
        if leg.pressure_GPa is not None:
            options |= self._barostat(atoms, leg)
        with warnings.catch_warnings():
            # that constraints are not tested: tests/unit/test_dynamics_ase.py does
            warnings.filterwarnings("ignore", message=".*LangevinBAOAB has not been tested.*")
            super().__init__(atoms, leg.timestep_fs * units.fs, **options)

    def _barostat(self, atoms: Atoms, leg: Leg) -> dict[str, Any]:
        assert leg.pressure_GPa is not None
        time = leg.barostat_ps * 1000 * units.fs
        free = atoms.get_number_of_degrees_of_freedom()
        hottest = max(leg.ends) if leg.ends else max(atoms.get_temperature(), COLDEST)
        mass = (free + 3) * units.kB * hottest * time**2
        return {
            "externalstress": -leg.pressure_GPa * units.GPa,
            "hydrostatic": leg.axes == "iso",
            "P_tau": time,
            "P_mass": mass if leg.axes == "iso" else mass / 3,
        }

    def _update_accel(self) -> None:
        if self.externalstress is not None:
            # some calculators evaluate again for a stress they were not asked for with the forces
            self.atoms.get_stress()
        super()._update_accel()

    def _update_force_eps(self) -> None:
        super()._update_force_eps()
        if self._confined is not None:
            self.force_eps = self.force_eps * self._confined

    def _barostat_BAOAB_OU(self) -> None:
        super()._barostat_BAOAB_OU()
        if self._confined is not None:
            self.p_eps = self.p_eps * self._confined

    def _barostat_BAOAB_OU_gamma_mod(self) -> FloatArray | float:
        if self._confined is None:
            return float(super()._barostat_BAOAB_OU_gamma_mod())
        # ASE 3.29 adds the trace to every component instead of the diagonal alone
        trace = np.trace(self.p_eps) / self.Ndof * np.eye(3)
        return np.asarray((self.p_eps + trace) / self.barostat_mass)
