"""The published ANI-Al potential against independent float64 values, network by network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress

import athanor
from athanor import _core
from athanor.potentials._ani.program import Precision, aev_of
from athanor.potentials._ani.twin import TwinAev
from athanor.potentials.ani import AniPotential

INFO = "ani/potential/model-Al-75.info"


@dataclass(frozen=True)
class Case:
    """One configuration with its reference values."""

    name: str
    atoms: Atoms
    values: dict[str, np.ndarray]

    def batch(self) -> dict[str, np.ndarray]:
        """As the environment-vector kernels take it."""
        return {
            "positions": self.atoms.positions,
            "types": np.zeros(len(self.atoms), dtype=np.int32),
            "offsets": np.array([0, len(self.atoms)]),
            "cells": self.atoms.cell.array[None],
            "periodic": self.atoms.pbc[None],
        }


@pytest.fixture(scope="module")
def cases(reference: Path) -> list[Case]:
    with np.load(reference / "ani/ani_al_open.npz") as data:
        names = [str(name) for name in data["names"]]
        table = {
            name: {key.split("/")[1]: data[key] for key in data.files if key.startswith(f"{name}/")}
            for name in names
        }
    assert len(names) == 42
    return [
        Case(
            name,
            Atoms(
                f"Al{len(values['positions'])}",
                positions=values["positions"],
                cell=values["cell"],
                pbc=values["pbc"],
            ),
            values,
        )
        for name, values in table.items()
    ]


def published(reference: Path, precision: Precision) -> AniPotential:
    return AniPotential.from_neurochem(reference / INFO, precision=precision)


def worst(potential: AniPotential, case: Case) -> tuple[float, float, float]:
    """Largest errors of energy per atom, forces, stress, of every network and of their mean."""
    (each,) = potential.predict_each([case.atoms])
    found = [*each, *potential.predict([case.atoms])]
    values = case.values

    def with_mean(rows: np.ndarray) -> np.ndarray:
        return np.concatenate([rows, rows.mean(axis=0, keepdims=True)])

    energies = np.array([labels.energy for labels in found])
    energy = np.abs(energies - with_mean(values["E_net"])).max() / len(case.atoms)
    forces = np.stack([labels.forces for labels in found])
    force = np.abs(forces - with_mean(values["F_net"])).max()
    if not case.atoms.pbc.all():
        assert all(labels.stress is None for labels in found)
        return float(energy), float(force), 0.0
    stress = np.stack([full_3x3_to_voigt_6_stress(labels.stress) for labels in found])
    return (
        float(energy),
        float(force),
        float(np.abs(stress - with_mean(values["stress_net"])).max()),
    )


def test_float64_equals_the_reference_for_every_network(reference: Path, cases: list[Case]) -> None:
    potential = published(reference, "float64")
    assert potential.model.n_members == 8
    for case in cases:
        energy, force, stress = worst(potential, case)
        assert energy < 1e-9, case.name
        assert force < 1e-8, case.name
        assert stress < 1e-9, case.name


def test_float32_stays_within_the_tolerances(reference: Path, cases: list[Case]) -> None:
    potential = published(reference, "float32")
    for case in cases:
        energy, force, stress = worst(potential, case)
        assert energy < 2e-5, case.name
        assert force < (2e-4 if case.name.startswith("random") else 5e-5), case.name
        assert stress < 1e-5, case.name


def test_the_mean_energy_in_float32_is_good_to_a_millionth_of_an_electronvolt_per_atom(
    reference: Path, cases: list[Case]
) -> None:
    potential = published(reference, "float32")
    for case in cases:
        found = potential.predict([case.atoms])[0].energy
        assert abs(found - case.values["E_net"].mean()) < 1e-6 * len(case.atoms), case.name


def test_every_instruction_set_gives_the_site_energies(reference: Path, cases: list[Case]) -> None:
    program = published(reference, "float64")._program
    for isa in _core.instruction_sets():
        for case in cases:
            one: dict[str, Any] = case.batch()
            found = program.evaluate(
                one["positions"], one["types"], one["cells"][0], one["periodic"][0], isa=isa
            )
            assert np.abs(found[4] - case.values["Ei_net"]).max() < 1e-9, case.name


def test_environment_vectors(reference: Path, cases: list[Case]) -> None:
    spec = published(reference, "float64").model.aev
    compared = 0
    for case in cases:
        if "aev" not in case.values:
            continue
        expected = case.values["aev"]
        for aev in (aev_of(spec), TwinAev(spec)):
            found = aev.values(**case.batch(), double=True)
            assert np.abs(found - expected).max() < 1e-11, case.name
        single = aev_of(spec).values(**case.batch())
        assert np.abs(single - expected).max() < 1e-5 * max(1.0, expected.max()), case.name
        compared += 1
    assert compared > 20


def test_counts_of_pairs_and_triples(reference: Path, cases: list[Case]) -> None:
    aev = TwinAev(published(reference, "float64").model.aev)
    for case in cases:
        around = aev.surroundings(**case.batch())
        pairs, triples = case.values["counts"].tolist()
        # files with environment vectors count (i; j, k) and (i; k, j), the large ones count once
        ordered = 2 if "aev" in case.values else 1
        assert len(around.i) == pairs, case.name
        assert ordered * len(around.first) == triples, case.name


def test_converted_and_loaded_it_gives_the_same_bits(
    reference: Path, cases: list[Case], tmp_path: Path
) -> None:
    potential = athanor.load(reference / INFO)
    potential.save(tmp_path / "ours")
    batch = [case.atoms for case in cases]
    for found, expected in zip(
        athanor.load(tmp_path / "ours").predict(batch), potential.predict(batch), strict=True
    ):
        assert found.energy == expected.energy
        assert found.forces.tobytes() == expected.forces.tobytes()
