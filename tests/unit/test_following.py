"""Potentials that remember the structure they saw last."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from athanor import _core
from athanor.calculator import calculator
from athanor.potentials import Potential, following
from athanor.potentials.ensemble import Ensemble
from athanor.potentials.lj import LennardJones, LennardJonesConfig
from athanor.potentials.mtp import MomentTensorPotential, MtpConfig
from athanor.structure import Labels
from athanor.testing import conformance


class Stale(LennardJones):
    """Gives for every structure what it gave for the first of that size."""

    __slots__ = ("known",)

    def predict(self, structures: Sequence[Atoms], *, stress: bool = True) -> list[Labels]:
        if not hasattr(self, "known"):
            object.__setattr__(self, "known", {})
        for atoms in structures:
            if len(atoms) not in self.known:
                self.known[len(atoms)] = super().predict([atoms], stress=stress)[0]
        return [self.known[len(atoms)] for atoms in structures]


class KeepsWhatItSaw(LennardJones):
    __slots__ = ()

    def follow(self, *, skin: float = 0.5) -> Potential:
        return Stale(**{name: getattr(self, name) for name in self.__dataclass_fields__})


def test_a_potential_that_does_not_forget_is_caught() -> None:
    right = LennardJonesConfig.example(seed=3)
    stale = KeepsWhatItSaw(**{name: getattr(right, name) for name in right.__dataclass_fields__})
    with pytest.raises(conformance.ConformanceError, match="followed for"):
        conformance.check_following(conformance.Subject(LennardJonesConfig, stale, seed=3))


def crystal(potential: Potential, rng: np.random.Generator) -> Atoms:
    """A crystal of the potential's first element."""
    atoms = bulk(sorted(potential.elements)[0], "fcc", a=4.0, cubic=True).repeat(2)
    atoms.rattle(0.1, rng=rng)
    return atoms


def test_lists_are_kept_and_forgotten() -> None:
    rng = np.random.default_rng(5)
    potential = MtpConfig.example(seed=5)
    assert isinstance(potential, MomentTensorPotential)
    followed = potential.follow(skin=1.0)
    atoms = crystal(potential, rng)
    start = atoms.positions.copy()
    for size, builds in ((0.0, 1), (0.45, 1), (0.55, 2), (0.2, 2)):
        step = rng.normal(size=atoms.positions.shape)
        atoms.positions = start + size * step / np.linalg.norm(step, axis=1).max()
        expected = potential.predict([atoms])[0]
        found = followed.predict([atoms])[0]
        np.testing.assert_allclose(found.forces, expected.forces, rtol=0, atol=1e-10)
        assert followed._skin is not None
        assert followed._skin.builds == builds
        start = start if builds == 1 else atoms.positions.copy()


def test_followed_potentials_pickle_without_what_they_remember() -> None:
    potential = MtpConfig.example(seed=6)
    followed = following(potential)
    atoms = crystal(potential, np.random.default_rng(6))
    before = followed.predict([atoms])[0]
    again = pickle.loads(pickle.dumps(followed))
    assert again._skin is None
    assert again.predict([atoms])[0].energy == pytest.approx(before.energy, abs=1e-9)


def test_an_ensemble_follows_with_all_its_members() -> None:
    rng = np.random.default_rng(7)
    members = [MtpConfig.example(seed=7), LennardJonesConfig.example(seed=7)]
    shared = frozenset.intersection(*(member.elements for member in members))
    ensemble = Ensemble.of(members if shared else [members[0], MtpConfig.example(seed=7)])
    followed = following(ensemble)
    atoms = crystal(ensemble, rng)
    for _ in range(3):
        atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape)
        expected = ensemble.predict([atoms])[0]
        np.testing.assert_allclose(followed.predict([atoms])[0].forces, expected.forces, atol=1e-9)


def test_the_calculator_follows() -> None:
    rng = np.random.default_rng(8)
    potential = MtpConfig.example(seed=8)
    atoms = crystal(potential, rng)
    atoms.calc = calculator(potential)
    for _ in range(3):
        atoms.positions += rng.normal(scale=0.02, size=atoms.positions.shape)
        expected = potential.predict([atoms])[0]
        np.testing.assert_allclose(atoms.get_forces(), expected.forces, rtol=0, atol=1e-9)
    assert atoms.calc._following._skin.builds == 1


def test_no_potential_among_those_evaluated_together() -> None:
    potential = MtpConfig.example(seed=9)
    atoms = crystal(potential, np.random.default_rng(9))
    types = np.zeros(len(atoms), dtype=np.int32)
    arguments = (atoms.positions, types, atoms.cell.array, atoms.pbc)
    with pytest.raises(ValueError, match="None is no potential"):
        _core.Mtp.evaluate_together([potential._program, None], *arguments)
    with pytest.raises(ValueError, match="at least one potential"):
        _core.Mtp.evaluate_together([], *arguments)
