"""Units and signs of an oracle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator

from athanor.errors import OracleError, StructureError
from athanor.oracle.ase import AseOracle, AseOracleConfig
from athanor.oracle.selfcheck import selfcheck
from athanor.structure import Labels


@dataclass(frozen=True)
class Wrong:
    """EMT with its labels converted wrongly."""

    convert: Callable[[Labels], Labels]
    right: AseOracle = field(default_factory=lambda: AseOracleConfig().build())
    calls: list[int] = field(default_factory=list)
    level: str = "wrong"

    def label(self, atoms: Atoms, *, workdir: Path) -> Labels:
        self.calls.append(len(atoms))
        return self.convert(self.right.label(atoms, workdir=workdir))

    def calculator(self, *, workdir: Path) -> Calculator:
        raise AssertionError("only labels are checked")


def forces(factor: float) -> Callable[[Labels], Labels]:
    return lambda labels: replace(labels, forces=factor * labels.forces)


def stress(factor: float) -> Callable[[Labels], Labels]:
    return lambda labels: replace(labels, stress=factor * labels.stress)


@pytest.mark.parametrize("symbol", ["Al", "Cu"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_good_oracle_passes(symbol: str, seed: int, tmp_path: Path) -> None:
    oracle = Wrong(lambda labels: labels)
    atoms = bulk(symbol, cubic=True)
    before = atoms.copy()
    selfcheck(oracle, atoms, workdir=tmp_path, seed=seed)
    assert len(oracle.calls) == 9
    assert atoms == before


def test_a_molecule_has_no_stress_to_check(tmp_path: Path) -> None:
    oracle = Wrong(lambda labels: labels)
    selfcheck(oracle, molecule("CO"), workdir=tmp_path)
    assert len(oracle.calls) == 5


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("convert", "words"),
    [
        (forces(-1.0), "forces are not -dE/dx: the sign is wrong"),
        (forces(1 / 1.889726), "1.89 times .*eV/bohr; convert them to eV/Å"),
        (forces(1 / 51.422067), "51.4.*hartree/bohr;"),
        (forces(-1 / 27.211386), "-27.2.*hartree/Å with the wrong sign"),
        (forces(3.0), r"0\.33\d* times what the labels give; convert"),
        (stress(-1.0), "the stress is not .*: the sign is wrong"),
        (stress(160.21766), r"0\.006\d+ .*GPa;"),
        (stress(-1602.1766), r"-0\.0006\d+ .*kbar with the wrong sign"),
        (forces(0.0), "look at the order"),
        (lambda one: replace(one, forces=one.forces[:, ::-1]), "look at the order"),
        (lambda one: replace(one, stress=one.stress[[1, 2, 0]][:, [1, 2, 0]]), "look at the order"),
        (lambda one: replace(one, stress=one.stress + np.eye(3)[[1, 2, 0]]), "not symmetric"),
    ],
)
def test_what_is_wrong_is_said(
    convert: Callable[[Labels], Labels], words: str, seed: int, tmp_path: Path
) -> None:
    atoms = bulk("Al", cubic=True)
    atoms.set_cell(atoms.cell.array * [1.0, 1.04, 0.98], scale_atoms=True)
    with pytest.raises(OracleError, match=words):
        selfcheck(Wrong(convert), atoms, workdir=tmp_path, seed=seed)


def test_a_structure_is_needed_and_failures_come_through(tmp_path: Path) -> None:
    with pytest.raises(StructureError):
        selfcheck(Wrong(lambda labels: labels), Atoms(), workdir=tmp_path)
    with pytest.raises(OracleError, match="No EMT-potential for Mo"):
        selfcheck(Wrong(lambda labels: labels), bulk("Mo"), workdir=tmp_path)
