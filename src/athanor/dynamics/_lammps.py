"""The engine for potentials of LAMMPS: its own integrators, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from ase import Atoms, units

from athanor.dynamics._ase import AseEngine
from athanor.dynamics._contract import Leg, Watch
from athanor.dynamics._moving import Guard, lost, mobile_of, prepared, snapshot_of, wrapped
from athanor.errors import OracleError
from athanor.oracle._lammps import Box, instance, set_up, words
from athanor.oracle.lammps import LammpsCalculator
from athanor.structure import FloatArray, bare

PER_PS = 1000 * units.fs
"""ASE's units of time in a picosecond."""
BAR_PER_GPA = 1e4
COLDEST = 10.0
"""K; the mass of the barostat of a run without a thermostat is that of at least this."""


class LammpsEngine:
    """Velocity Verlet, Langevin, stochastic velocity rescaling and the barostat of `fix nph`.

    Structures that are not periodic in all directions, and masses other than the elements', run
    in ASE with forces from LAMMPS.
    """

    def __init__(self, calculator: LammpsCalculator) -> None:
        self._calculator = calculator

    def run(self, atoms: Atoms, leg: Leg, *, seed: int, watch: Watch | None = None) -> Atoms:
        """Run a leg; see `Engine.run`."""
        rng = np.random.default_rng(seed)
        moving = prepared(atoms, leg, rng)
        usual = np.allclose(moving.get_masses(), bare(moving).get_masses(), rtol=1e-9)
        if not (moving.pbc.all() and usual):
            return AseEngine(self._calculator).run(atoms, leg, seed=seed, watch=watch)
        try:
            # what cannot be evaluated at all is told by whoever evaluates
            self._calculator.get_potential_energy(bare(moving))
            settings = self._calculator.settings
        except OracleError as error:
            raise lost(0, str(error)) from error
        with np.errstate(over="ignore", invalid="ignore"):
            return _Run(settings, moving, leg, int(rng.integers(1, 2**29))).to_end(watch)


class _Run:
    """One leg in an instance of its own."""

    def __init__(self, settings: Any, moving: Atoms, leg: Leg, seed: int) -> None:
        self._moving, self._leg = moving, leg
        self._guard = Guard(moving, leg)
        self._mobile = mobile_of(moving, leg)
        self._done = 0
        self._lammps = instance()
        try:
            self._told(self._set_up, settings, seed)
        except BaseException:
            self._lammps.close()
            raise

    def to_end(self, watch: Watch | None) -> Atoms:
        """Run, show snapshots on the way, and return the last structure."""
        leg = self._leg
        try:
            while self._done < leg.steps:
                chunk = min(leg.every, leg.steps - self._done)
                # neighbours and forces are those the chunk before has left
                again = " pre no" if self._done else ""
                line = f"run {chunk}{again} post no start 0 stop {leg.steps}"
                self._told(self._lammps.command, line)
                self._done += chunk
                self._fetch()
                self._guard.check(self._moving, self._done)
                due = self._done % leg.every == 0
                if watch is not None and due and self._show(watch):
                    break
        finally:
            self._lammps.close()
        return wrapped(self._moving)

    def _set_up(self, settings: Any, seed: int) -> None:
        moving, lammps = self._moving, self._lammps
        velocities = moving.get_velocities() * PER_PS
        back = Box.of(moving).back
        self._box = set_up(lammps, settings, moving, velocities=velocities @ back.T)
        # integer combinations of the caller's vectors that LAMMPS' cell is made of
        cell = _lower(lammps) @ self._box.back
        self._combined = np.rint(np.linalg.solve(moving.cell.array.T, cell.T).T)
        for line in (*self._grouped(), *_fixes(self._leg, moving, seed)):
            lammps.command(line)

    def _grouped(self) -> Iterator[str]:
        """Lines that name the atoms that move, and set the time step and the neighbours' upkeep."""
        yield "neigh_modify check yes"
        yield f"timestep {self._leg.timestep_fs / 1000:.17g}"
        yield f"thermo {self._leg.every}"
        if self._mobile.all():
            yield "group mobile union all"
            return
        numbers = np.flatnonzero(self._mobile) + 1
        yield "group mobile empty"
        for part in np.array_split(numbers, len(numbers) // 1000 + 1):
            yield f"group mobile id {' '.join(map(str, part.tolist()))}"

    def _fetch(self) -> None:
        """Take positions, velocities and the cell over, in the caller's frame."""
        lammps, back = self._lammps, self._box.back
        low = np.array(self._told(lammps.extract_box)[0])
        cell = np.linalg.solve(self._combined, _lower(lammps) @ back)
        self._moving.set_cell(cell)
        self._moving.positions[:] = (self._gathered("x") - low) @ back
        self._moving.set_velocities(self._gathered("v") @ back / PER_PS)

    def _gathered(self, name: str) -> FloatArray:
        found = self._told(self._lammps.gather_atoms, name, 1, 3)
        return np.array(found, dtype=np.float64).reshape(-1, 3)

    def _show(self, watch: Watch) -> bool:
        energy = float(self._told(self._lammps.get_thermo, "pe"))
        virial = float(self._told(self._lammps.extract_compute, "virial", 0, 0))
        unit = 1.0 / float(self._told(self._lammps.extract_global, "nktv2p"))
        return watch(
            snapshot_of(
                self._moving, self._leg, self._done, energy=energy, virial_pressure=unit * virial
            )
        )

    def _told(self, call: Any, *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except Exception as error:
            # plain Exception or MPIAbortException, whichever LAMMPS was built to throw
            raise lost(self._step, f"LAMMPS stopped: {words(error)}") from error

    @property
    def _step(self) -> int:
        """Where LAMMPS is, also within a chunk that it did not end."""
        return int(self._lammps.extract_global("ntimestep") or self._done)


def _lower(lammps: Any) -> FloatArray:
    """The cell as LAMMPS has it now: rows, lower-triangular."""
    low, high, xy, yz, xz = lammps.extract_box()[:5]
    x, y, z = np.subtract(high, low)
    return np.array([[x, 0.0, 0.0], [xy, y, 0.0], [xz, yz, z]])


def _fixes(leg: Leg, atoms: Atoms, seed: int) -> Iterator[str]:
    """The lines of integrator, barostat and thermostat."""
    if leg.pressure_GPa is None:
        yield "fix move mobile nve"
    else:
        pressure, time = leg.pressure_GPa * BAR_PER_GPA, leg.barostat_ps
        hottest = max(leg.ends) if leg.ends else max(atoms.get_temperature(), COLDEST)
        # without a thermostat there is none for the barostat either, or enthalpy would leak
        chain = "" if leg.ends else " pchain 0"
        yield (
            f"fix move mobile nph {leg.axes} {pressure:.17g} {pressure:.17g} {time:.17g} "
            f"ptemp {hottest:.17g} flip no{chain}"
        )
    if leg.ends is None:
        return
    course = f"{leg.ends[0]:.17g} {leg.ends[1]:.17g} {leg.thermostat_ps:.17g}"
    if leg.thermostat == "global":
        yield f"fix heat mobile temp/csvr {course} {seed}"
        if leg.frozen is not None:
            # the centre of mass of what moves is not at rest beside atoms that stay
            yield "compute_modify heat_temp extra/dof 0"
        return
    still = "yes" if leg.frozen is None and len(atoms) > 1 else "no"
    yield f"fix heat mobile langevin {course} {seed} zero {still}"
