"""Checks that forces, stress and smoothness are what the energy says."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
from ase import Atoms

from athanor.structure import FloatArray
from athanor.testing import structures
from athanor.testing._subject import Subject, close, demand, name

_STEP = 2e-4
# five-point first derivative: error of order step^4
_NODES = np.array([-2, -1, 1, 2]) * _STEP
_WEIGHTS = np.array([1, -8, 8, -1]) / (12 * _STEP)


def check_forces(subject: Subject) -> None:
    """Forces are minus the numerical gradient of the energy."""
    rng = subject.rng()
    for atoms in subject.zoo(rng):
        axes = rng.permutation(3 * len(atoms))[:9]
        moved = [_moved(atoms, axis, step) for axis, step in product(axes, _NODES)]
        slopes = subject.energies(moved).reshape(-1, 4) @ _WEIGHTS
        forces = subject.one(atoms).forces
        demand(forces.shape == (len(atoms), 3), f"forces of {name(atoms)}: shape {forces.shape}")
        what = f"forces of {name(atoms)} against the numerical gradient"
        scale = 1.0 + np.abs(forces).max()
        close(forces.ravel()[axes] / scale, -slopes / scale, within=1e-6, what=what)


def check_net_force(subject: Subject) -> None:
    """Forces sum to zero: no structure pulls itself along."""
    for atoms in subject.zoo(subject.rng()):
        forces = subject.one(atoms).forces
        scale = 1.0 + np.abs(forces).max()
        what = f"sum of the forces on {name(atoms)}"
        close(forces.sum(axis=0) / scale, np.zeros(3), within=1e-9, what=what)


def check_stress(subject: Subject) -> None:
    """Stress is the numerical strain derivative of the energy per volume (tension positive)."""
    for atoms in subject.zoo(subject.rng()):
        stress = subject.one(atoms).stress
        if not atoms.pbc.all():
            demand(stress is None, f"stress of {name(atoms)} is {stress}; without full pbc: None")
            continue
        demand(stress is not None, f"stress of {name(atoms)} is None; with full pbc it is needed")
        shears = [np.array(pair) for pair in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))]
        strained = [_strained(atoms, pair, step) for pair, step in product(shears, _NODES)]
        slopes = subject.energies(strained).reshape(-1, 4) @ _WEIGHTS
        expected = np.empty((3, 3))
        for (row, column), slope in zip(shears, slopes, strict=True):
            expected[row, column] = expected[column, row] = slope / atoms.cell.volume
        what = f"stress of {name(atoms)} against the numerical strain derivative"
        close(stress, expected, within=1e-6, what=what)


def check_smooth_at_cutoff(subject: Subject) -> None:
    """Energy and forces are continuous where a neighbour crosses the cutoff, and zero beyond."""
    rng, cutoff = subject.rng(), subject.potential.cutoff
    for first, second in product(subject.elements, repeat=2):
        direction = structures.unit_vector(rng)

        def pair(r: float, a: str = first, b: str = second, u: FloatArray = direction) -> Atoms:
            return structures.dimer(a, b, r, u)

        _demand_no_step(subject, pair, cutoff, what=f"dimer {first}-{second} at the cutoff")
        beyond = subject.one(pair(cutoff * (1 + 1e-6)))
        alone = subject.energies([structures.isolated(first), structures.isolated(second)]).sum()
        what = f"energy of {first}-{second} just beyond the cutoff {cutoff} Å"
        close(beyond.energy, alone, within=1e-10, what=what)
        close(beyond.forces, np.zeros((2, 3)), within=1e-10, what=what.replace("energy", "forces"))


def check_smooth_in_crowd(subject: Subject) -> None:
    """Energy and forces have no step anywhere as an atom flies out of a cluster."""
    rng, cutoff = subject.rng(), subject.potential.cutoff
    crowd = structures.open_along([0, 1, 2], subject.elements, rng, spacing=subject.spacing)
    centre = crowd.positions.mean(axis=0)
    direction = structures.unit_vector(rng)
    reach = np.linalg.norm(crowd.positions - centre, axis=1).max()

    def flight(r: float) -> Atoms:
        guest = Atoms([subject.elements[0]], positions=[centre + r * direction])
        return crowd + guest

    near, far = reach + 0.7 * subject.spacing, reach + cutoff * 1.01
    # at each of these distances the guest crosses the cutoff of one atom of the crowd
    along = (crowd.positions - centre) @ direction
    across = np.sum((crowd.positions - centre) ** 2, axis=1) - along**2
    crossings = along + np.sqrt(np.maximum(cutoff**2 - across, 0.0))
    for crossing in crossings[crossings > near]:
        _demand_no_step(subject, flight, crossing, what="atom flying out of a neighbour's reach")
    _demand_continuous(subject, flight, near, far, what="atom flying out of a cluster")


def _demand_no_step(
    subject: Subject, path: Callable[[float], Atoms], at: float, *, what: str
) -> None:
    """Demand that the change across `at` vanishes with the distance over which it is taken."""
    wide, narrow = (_jumps(subject, path, np.array([at - d, at + d]))[:, 0] for d in (1e-3, 1e-7))
    _demand_vanishing(wide, narrow, shrunk=1e-2, what=what)


def _demand_continuous(
    subject: Subject, path: Callable[[float], Atoms], low: float, high: float, *, what: str
) -> None:
    """Demand that the largest change along a fine scan vanishes when looked at more finely."""
    for kind in (0, 1):
        low_k, high_k = low, high
        seen = []
        for points in (200, 50, 50, 50):
            r = np.linspace(low_k, high_k, points + 1)
            jumps = _jumps(subject, path, r)
            worst = int(np.argmax(jumps[kind]))
            seen.append(jumps[:, worst])
            low_k, high_k = r[worst], r[worst + 1]
        _demand_vanishing(seen[0], seen[-1], shrunk=1e-2, what=f"{what} near {low_k:.4f} Å")


def _demand_vanishing(wide: FloatArray, narrow: FloatArray, *, shrunk: float, what: str) -> None:
    for quantity, before, after in zip(("energy", "forces"), wide, narrow, strict=True):
        allowed = shrunk * before + 1e-9
        demand(
            bool(after <= allowed),
            f"{what}: {quantity} jumps by {after:.3g} (allowed {allowed:.3g}); bring it to zero "
            "continuously at the cutoff",
        )


def _jumps(subject: Subject, path: Callable[[float], Atoms], r: FloatArray) -> FloatArray:
    """Changes (2, n - 1) of energy and of the worst force component between successive r."""
    found = subject.potential.predict([path(float(x)) for x in r], stress=False)
    energies = np.array([labels.energy for labels in found])
    forces = np.stack([labels.forces for labels in found])
    return np.stack([np.abs(np.diff(energies)), np.abs(np.diff(forces, axis=0)).max(axis=(1, 2))])


def _moved(atoms: Atoms, axis: int, step: float) -> Atoms:
    moved = atoms.copy()
    moved.positions[divmod(axis, 3)] += step
    return moved


def _strained(atoms: Atoms, pair: FloatArray, step: float) -> Atoms:
    """Strain symmetrically, so that the energy changes by step * volume * stress[pair]."""
    strain = np.zeros((3, 3))
    strain[pair[0], pair[1]] += step / 2
    strain[pair[1], pair[0]] += step / 2
    strained = atoms.copy()
    strained.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return strained
