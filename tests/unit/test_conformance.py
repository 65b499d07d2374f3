"""Every kind of potential there is keeps the contract."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import numpy as np
import pytest

from athanor import potentials
from athanor.potentials import PotentialConfig
from athanor.potentials.lj import LennardJonesConfig, find_pairs
from athanor.testing import conformance, structures
from athanor.testing.fakes import FakePotentialConfig

KINDS = {**potentials.kinds(), "fake": FakePotentialConfig}


@pytest.fixture(scope="module")
def subject() -> Callable[[type[PotentialConfig]], conformance.Subject]:
    """Subjects by recipe, each made once: an example may take a fit to make."""
    made: dict[type[PotentialConfig], conformance.Subject] = {}

    def of(recipe: type[PotentialConfig]) -> conformance.Subject:
        if recipe not in made:
            made[recipe] = conformance.Subject.of(recipe)
        return made[recipe]

    return of


@pytest.mark.parametrize("check", conformance.CHECKS, ids=conformance.title)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_keeps_the_contract(kind, check, subject) -> None:
    check(subject(KINDS[kind]))


def test_lennard_jones_is_discovered() -> None:
    assert potentials.kinds()["lj"] is LennardJonesConfig


def test_every_check_of_the_modules_is_in_the_list() -> None:
    from athanor.testing import _behaviour, _derivatives, _following, _symmetries, _threads

    written = {
        thing
        for module in (_behaviour, _derivatives, _following, _symmetries, _threads)
        for name, thing in inspect.getmembers(module, inspect.isfunction)
        if name.startswith("check_") and thing.__module__ == module.__name__
    }
    assert written == set(conformance.CHECKS)
    assert len(conformance.CHECKS) == len(written)


def test_random_structures_are_what_they_say() -> None:
    rng = np.random.default_rng(11)
    for _ in range(20):
        assert np.linalg.det(structures.left_handed(["Al"], rng).cell.array) < 0
        assert np.linalg.det(structures.rotation(rng)) == pytest.approx(1)
        atoms = structures.dense(["Al", "Ni", "Cu", "Mg"], rng)
        assert set(atoms.symbols) == {"Al", "Ni", "Cu", "Mg"}
        assert find_pairs(atoms, 4.0).length.min() > 0.65 * structures.SPACING
    again = [structures.zoo(["Al", "Ni"], np.random.default_rng(5)) for _ in range(2)]
    assert all(a == b for a, b in zip(*again, strict=True))
