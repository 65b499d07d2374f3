"""Textbook facts about the lattices of simple metals."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase.calculators.emt import EMT

from athanor.validate.eos import EquationOfState


def test_emt_aluminium_is_fcc_with_the_lattice_constant_it_was_made_for(tmp_path: Path) -> None:
    # with Asap's cutoff; with ASE's own, EMT puts ideal hcp 0.7 meV below fcc
    emt = EMT(asap_cutoff=True)
    result = EquationOfState(element="Al").measure(emt, emt, seed=0, workdir=tmp_path)
    found = {quantity.name: quantity for quantity in result.quantities}
    assert found["fcc below every other lattice by"].passed
    assert 0.5 < found["hcp energy above fcc"].value < 5
    assert found["bcc energy above fcc"].value > found["hcp energy above fcc"].value
    assert found["sc energy above fcc"].value > 100
    # made for a Wigner-Seitz radius of 3.00 bohr, that is a = 4.06 Å; the smooth cutoff costs 2 %
    assert found["fcc lattice constant"].value == pytest.approx(4.06, rel=0.02)
    assert found["fcc bulk modulus"].value == pytest.approx(39.5, rel=0.1)
