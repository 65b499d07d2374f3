"""The published ANI-Al on the lattices of aluminium: section III of Smith et al. 2021."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from scipy.optimize import brentq, minimize_scalar

import athanor
from athanor.potentials import Potential
from athanor.structure import FloatArray

GPA = 160.21766208
"""GPa of one eV/Å³."""
STRAIN = 1e-3
"""Elastic constants are differences of stress over as little, since the energy well is not smooth
at a percent."""


@pytest.fixture(scope="module")
def potential(reference: Path) -> Potential:
    return athanor.load(reference / "ani/potential/model-Al-75.info")


def energy(potential: Potential, atoms: Atoms) -> float:
    """eV per atom."""
    return potential.predict([atoms], stress=False)[0].energy / len(atoms)


def stress(potential: Potential, atoms: Atoms, strain: FloatArray) -> FloatArray:
    """(3, 3), GPa, of the homogeneously strained crystal."""
    strained = atoms.copy()
    strained.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    found = potential.predict([strained])[0].stress
    assert found is not None
    return GPA * found


@pytest.fixture(scope="module")
def fcc(potential: Potential) -> Atoms:
    """The cubic cell of four atoms at zero pressure."""

    def pressure(a: float) -> float:
        atoms = bulk("Al", "fcc", a=a, cubic=True)
        return float(np.trace(stress(potential, atoms, np.zeros((3, 3)))))

    return bulk("Al", "fcc", a=brentq(pressure, 3.9, 4.2, xtol=1e-7), cubic=True)


def slope(potential: Potential, atoms: Atoms, direction: FloatArray) -> FloatArray:
    """(3, 3), GPa: change of the stress per strain in a direction."""
    up, down = (stress(potential, atoms, sign * STRAIN * direction) for sign in (1, -1))
    return (up - down) / (2 * STRAIN)


def test_lattice_constant(fcc: Atoms) -> None:
    assert fcc.cell.lengths() == pytest.approx([4.0543] * 3, abs=1e-3)


def test_elastic_constants(potential: Potential, fcc: Atoms) -> None:
    stretched = slope(potential, fcc, np.diag([1.0, 0, 0]))
    c11, c12 = stretched[0, 0], 0.5 * (stretched[1, 1] + stretched[2, 2])
    sheared = slope(potential, fcc, np.array([[0, 0, 0], [0, 0, 0.5], [0, 0.5, 0]]))
    bulk_modulus = np.trace(slope(potential, fcc, np.eye(3) / 3)) / 3
    assert bulk_modulus == pytest.approx(77.3, abs=0.3)
    assert c11 == pytest.approx(117, abs=1)
    assert c12 == pytest.approx(57.2, abs=0.5)
    assert sheared[1, 2] == pytest.approx(30.4, abs=0.3)
    assert (c11 + 2 * c12) / 3 == pytest.approx(bulk_modulus, abs=0.1)


def least(potential: Potential, lattice: str, low: float, high: float) -> float:
    """eV per atom: the least energy of a cubic lattice of one parameter."""
    found = minimize_scalar(
        lambda a: energy(potential, bulk("Al", lattice, a=a)), bounds=(low, high), method="bounded"
    )
    return float(found.fun)


def test_fcc_is_below_the_other_lattices(potential: Potential, fcc: Atoms) -> None:
    ground = energy(potential, fcc)
    bcc = least(potential, "bcc", 3.0, 3.45)
    simple = least(potential, "sc", 2.5, 2.95)
    diamond = least(potential, "diamond", 5.4, 6.4)

    def hexagonal(ratio: float) -> float:
        found = minimize_scalar(
            lambda a: energy(potential, bulk("Al", "hcp", a=a, c=ratio * a)),
            bounds=(2.7, 3.0),
            method="bounded",
        )
        return float(found.fun)

    hcp = minimize_scalar(hexagonal, bounds=(1.55, 1.75), method="bounded")
    above = {"hcp": float(hcp.fun), "bcc": bcc, "sc": simple, "diamond": diamond}
    meV = {name: 1000 * (value - ground) for name, value in above.items()}
    assert meV["hcp"] == pytest.approx(31, abs=0.5)
    assert hcp.x == pytest.approx(1.680, abs=0.01)
    assert meV["bcc"] == pytest.approx(101, abs=1)
    assert meV["sc"] == pytest.approx(386, abs=4)
    assert meV["diamond"] == pytest.approx(679, abs=7)


def test_members_scatter_about_the_ensemble(potential: Potential, fcc: Atoms) -> None:
    """The networks agree on the crystal they saw more than on one that is half as dense."""
    from athanor.potentials.ani import AniPotential
    from athanor.potentials.ensemble import Spread

    assert isinstance(potential, AniPotential)
    thin = fcc.copy()
    thin.set_cell(2 ** (1 / 3) * fcc.cell.array, scale_atoms=True)
    near, far = (Spread.of(each).energy for each in potential.predict_each([fcc, thin]))
    assert 0 < near < far
