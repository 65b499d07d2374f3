"""Potentials that evaluate one structure on several threads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from athanor.calculator import calculator
from athanor.errors import ConfigError
from athanor.potentials import Potential, threaded
from athanor.potentials.ani import AniConfig
from athanor.potentials.ensemble import Ensemble
from athanor.potentials.lj import LennardJones, LennardJonesConfig
from athanor.potentials.mtp import MtpConfig
from athanor.structure import Labels
from athanor.testing import conformance


class Forgets(LennardJones):
    """Leaves half of the energy out, as a thread that nobody waits for would."""

    __slots__ = ()

    def predict(self, structures: Sequence[Atoms], *, stress: bool = True) -> list[Labels]:
        whole = super().predict(structures, stress=stress)
        return [Labels(one.energy / 2, one.forces, one.stress) for one in whole]


class Careless(LennardJones):
    __slots__ = ()

    def with_threads(self, threads: int) -> Potential:
        return Forgets(**{name: getattr(self, name) for name in self.__dataclass_fields__})


def test_a_potential_that_loses_a_thread_is_caught() -> None:
    right = LennardJonesConfig.example(seed=3)
    careless = Careless(**{name: getattr(right, name) for name in right.__dataclass_fields__})
    with pytest.raises(conformance.ConformanceError, match="on 2 threads"):
        conformance.check_threads(conformance.Subject(LennardJonesConfig, careless, seed=3))


def test_a_kind_without_threads_stays_what_it_is() -> None:
    potential = LennardJonesConfig.example(seed=1)
    assert threaded(potential, 4) is potential


@pytest.mark.parametrize("recipe", [MtpConfig, AniConfig])
def test_calculators_take_threads(recipe) -> None:
    rng = np.random.default_rng(4)
    potential = Ensemble.of([recipe.example(seed=seed) for seed in (1, 2)])
    atoms = bulk("Al", "fcc", a=4.0, cubic=True).repeat(2)
    atoms.rattle(0.1, rng=rng)
    found = []
    for threads in (1, 2):
        atoms.calc = calculator(potential, threads=threads)
        found.append((atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()))
    for one, two in zip(*found, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-11, atol=1e-11)
    following = atoms.calc._following
    assert [member._threads for member in following.members] == [2, 2]


def test_no_threads_at_all_are_refused() -> None:
    with pytest.raises(ConfigError, match="threads is 0; give 1 or more"):
        calculator(MtpConfig.example(seed=1), threads=0)
