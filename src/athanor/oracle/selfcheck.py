"""Are an oracle's forces and stress the derivatives of its energy? Asked before it is paid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms

from athanor.errors import OracleError
from athanor.oracle import Oracle
from athanor.structure import FloatArray, bare, check_structure

RATTLE = 0.08
COMPRESSION = 0.97
"""The copy that is checked is displaced (Å) and compressed, so that nothing is zero by symmetry."""

STEP = 0.01
STRAIN = 0.003
TOLERANCE = 0.05
NOTHING = 1e-7
"""Differences of energy (eV) below which there is nothing to compare."""

FORCE_UNITS = {
    27.211386: "hartree/Å",
    13.605693: "rydberg/Å",
    51.422067: "hartree/bohr",
    25.711034: "rydberg/bohr",
    0.529177: "eV/bohr converted the wrong way round",
    1.889726: "eV/bohr",
    0.0433641: "kcal/mol/Å",
    0.0103643: "kJ/mol/Å",
}
STRESS_UNITS = {
    0.00624151: "GPa",
    0.000624151: "kbar",
    183.6315: "hartree/bohr³",
    91.8158: "rydberg/bohr³",
}
"""How many eV/Å or eV/Å³ one of a wrong unit is."""


def selfcheck(oracle: Oracle, atoms: Atoms, *, workdir: Path, seed: int = 0) -> None:
    """Compare forces and stress with central differences of the energy, in units and sign.

    A displaced and compressed copy of `atoms` is labelled once, then twice for each of two
    collective displacements and, when it is periodic in all directions, of two strains: 9 labels,
    or 5. A difference of more than 5 % is an error; an oracle whose forces are that noisy is not
    fit to train on either.

    Raises
    ------
    OracleError : one sentence that says what is wrong and, where a ratio betrays it, which unit
        was taken for eV/Å or eV/Å³; or the oracle's own failure.
    StructureError : `atoms` is no structure.
    """
    check_structure(atoms)
    rng = np.random.default_rng(seed)
    probe = bare(atoms)
    if probe.pbc.any():
        probe.set_cell(probe.cell.array * COMPRESSION ** (1 / 3), scale_atoms=True)
    probe.positions += RATTLE * rng.uniform(-1, 1, probe.positions.shape)
    labels = oracle.label(probe, workdir=workdir)
    _check_forces(oracle, probe, labels.forces, workdir, rng)
    if labels.stress is not None:
        _check_stress(oracle, probe, labels.stress, workdir, rng)


def _check_forces(
    oracle: Oracle, probe: Atoms, forces: FloatArray, workdir: Path, rng: np.random.Generator
) -> None:
    if np.abs(forces).max() < NOTHING and len(probe) == 1:
        return  # one atom has no forces to speak of
    measured, given = [], []
    for _ in range(2):
        direction = _along(forces, rng)
        energies = []
        for sign in (1, -1):
            moved = probe.copy()
            moved.positions += sign * STEP * direction
            energies.append(oracle.label(moved, workdir=workdir).energy)
        measured.append((energies[0] - energies[1]) / (2 * STEP))
        given.append(-float((forces * direction).sum()))
    _compare(
        np.array(measured), np.array(given), "forces are not -dE/dx", FORCE_UNITS, "eV/Å", NOTHING
    )


def _check_stress(
    oracle: Oracle, probe: Atoms, stress: FloatArray, workdir: Path, rng: np.random.Generator
) -> None:
    if not np.allclose(stress, stress.T, rtol=1e-3, atol=1e-6):
        raise OracleError("the stress is not symmetric: its components are in the wrong order")
    volume = probe.get_volume()
    measured, given = [], []
    for _ in range(2):
        noise = rng.standard_normal((3, 3))
        strain = _along(stress, rng, noise + noise.T)
        energies = []
        for sign in (1, -1):
            moved = probe.copy()
            deformed = probe.cell.array @ (np.eye(3) + sign * STRAIN * strain)
            moved.set_cell(deformed, scale_atoms=True)
            energies.append(oracle.label(moved, workdir=workdir).energy)
        measured.append((energies[0] - energies[1]) / (2 * STRAIN * volume))
        given.append(float((stress * strain).sum()))
    what = "the stress is not (dE/dstrain)/V"
    _compare(np.array(measured), np.array(given), what, STRESS_UNITS, "eV/Å³", NOTHING / volume)


def _along(
    field: FloatArray, rng: np.random.Generator, noise: FloatArray | None = None
) -> FloatArray:
    """A random direction of length 1 that has a good part along `field`."""
    noise = rng.standard_normal(field.shape) if noise is None else noise
    mixed = noise / np.linalg.norm(noise)
    size = float(np.linalg.norm(field))
    if size > 0:
        mixed = mixed + field / size
    return np.asarray(mixed / np.linalg.norm(mixed))


def _compare(
    measured: FloatArray,
    given: FloatArray,
    what: str,
    units: dict[float, str],
    unit: str,
    nothing: float,
) -> None:
    """Raise OracleError unless the two agree; `measured` comes from differences of the energy."""
    scale = float(np.abs(measured).max())
    if np.abs(measured - given).max() <= max(TOLERANCE * scale, nothing / STEP):
        return
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = measured / given
    same = bool(np.isfinite(ratios).all()) and abs(ratios[0] / ratios[1] - 1) < TOLERANCE
    if not same:
        raise OracleError(
            f"{what}: differences of the energy give {measured[0]:.4g} and {measured[1]:.4g} "
            f"{unit}, the labels {given[0]:.4g} and {given[1]:.4g}; look at the order of the "
            "components or at the convergence of the energy"
        )
    ratio = float(ratios.mean())
    if abs(ratio + 1) < TOLERANCE:
        raise OracleError(f"{what}: the sign is wrong; ASE's convention is to be kept")
    sign = " with the wrong sign" if ratio < 0 else ""
    hint = next((name for r, name in units.items() if abs(abs(ratio) / r - 1) < TOLERANCE), None)
    guess = f", which looks like {hint}{sign}" if hint else sign
    raise OracleError(
        f"{what}: differences of the energy are {ratio:.4g} times what the labels give{guess}; "
        f"convert them to {unit}"
    )
