"""The conformance suite can fail: each way to break the contract is caught by the check for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from athanor.errors import StructureError
from athanor.potentials.lj import LennardJones, LennardJonesConfig, find_pairs
from athanor.structure import FloatArray, Labels
from athanor.testing import conformance

# Lennard-Jones broken on purpose. Each variant names the check that must catch it and words of the
# sentence it must say; a suite that cannot fail proves nothing.


def _fields(potential: LennardJones) -> dict[str, object]:
    return {name: getattr(potential, name) for name in LennardJones.__dataclass_fields__}


@dataclass(frozen=True)
class Changed(LennardJones):
    """Lennard-Jones whose labels pass through `change`."""

    def change(self, atoms: Atoms, labels: Labels) -> Labels:
        raise NotImplementedError

    def predict(self, structures: Sequence[Atoms], *, stress: bool = True) -> list[Labels]:
        right = LennardJones.predict(self, structures, stress=stress)
        return [self.change(a, labels) for a, labels in zip(structures, right, strict=True)]


class CrashesWithoutStress(Changed):
    def predict(self, structures: Sequence[Atoms], *, stress: bool = True) -> list[Labels]:
        if not stress:
            raise ZeroDivisionError("by design")
        return LennardJones.predict(self, structures)


class WrongVirialSign(Changed):
    def change(self, atoms: Atoms, labels: Labels) -> Labels:
        return labels if labels.stress is None else replace(labels, stress=-labels.stress)


class TransposedStress(Changed):
    """A shear component too many: the stress is no longer symmetric."""

    def change(self, atoms: Atoms, labels: Labels) -> Labels:
        if labels.stress is None:
            return labels
        return replace(labels, stress=labels.stress + np.triu(labels.stress, 1))


class SignedVolume(Changed):
    def change(self, atoms: Atoms, labels: Labels) -> Labels:
        if labels.stress is None:
            return labels
        return replace(labels, stress=labels.stress * np.sign(np.linalg.det(atoms.cell.array)))


class StressOfASlab(Changed):
    def change(self, atoms: Atoms, labels: Labels) -> Labels:
        return replace(labels, stress=np.zeros((3, 3))) if labels.stress is None else labels


class HalfTheForce(Changed):
    def change(self, atoms: Atoms, labels: Labels) -> Labels:
        return replace(labels, forces=0.5 * labels.forces)


class ExternalField(Changed):
    """A consistent force and energy, but from outside the structure."""

    def change(self, atoms: Atoms, labels: Labels) -> Labels:
        pull = np.array([0.0, 0.0, 1e-3])
        return replace(
            labels,
            energy=labels.energy - float((atoms.positions @ pull).sum()),
            forces=labels.forces + pull,
        )


class ActionOnly(Changed):
    def change(self, atoms: Atoms, labels: Labels) -> Labels:
        forces = labels.forces.copy()
        forces[0] = 0.0
        return replace(labels, forces=forces)


@dataclass(frozen=True)
class PairEnergy(Changed):
    """Adds to energy and forces a pair term of the given value and slope by distance."""

    def term(self, r: FloatArray, vector: FloatArray) -> tuple[FloatArray, FloatArray]:
        raise NotImplementedError

    def change(self, atoms: Atoms, labels: Labels) -> Labels:
        pairs = find_pairs(atoms, self.cutoff)
        value, slope = self.term(pairs.length, pairs.vector)
        pull = (slope / pairs.length)[:, None] * pairs.vector
        forces = labels.forces.copy()
        np.add.at(forces, pairs.i, pull)
        np.subtract.at(forces, pairs.j, pull)
        return replace(labels, energy=labels.energy + float(value.sum()), forces=forces)


class EnergyStepAtCutoff(PairEnergy):
    def term(self, r: FloatArray, vector: FloatArray) -> tuple[FloatArray, FloatArray]:
        return np.full_like(r, 1e-6), np.zeros_like(r)


class ForceStepAtCutoff(PairEnergy):
    def term(self, r: FloatArray, vector: FloatArray) -> tuple[FloatArray, FloatArray]:
        return 1e-5 * (r - self.cutoff), np.full_like(r, 1e-5)


class StepInsideCutoff(PairEnergy):
    """As from the inner cutoff of an angular term that does not end smoothly."""

    def term(self, r: FloatArray, vector: FloatArray) -> tuple[FloatArray, FloatArray]:
        inside = r < 0.8 * self.cutoff
        return np.where(inside, 0.05, 0.0), np.zeros_like(r)


class Anisotropic(PairEnergy):
    def term(self, r: FloatArray, vector: FloatArray) -> tuple[FloatArray, FloatArray]:
        return 1e-4 * vector[:, 0] ** 2 * np.exp(-r), np.zeros_like(r)


class Chiral(Changed):
    """Energy from a triple product of four atoms: rotations keep it, mirrors do not."""

    def change(self, atoms: Atoms, labels: Labels) -> Labels:
        if len(atoms) < 4 or atoms.pbc.any():
            return labels
        order = np.argsort(np.linalg.norm(atoms.positions - atoms.positions.mean(axis=0), axis=1))
        a, b, c, d = atoms.positions[order[:4]]
        return replace(labels, energy=labels.energy + 1e-3 * np.linalg.det([b - a, c - a, d - a]))


class CountsFromTheFirstAtom(Changed):
    def change(self, atoms: Atoms, labels: Labels) -> Labels:
        distances = np.linalg.norm(atoms.positions - atoms.positions[0], axis=1)
        return replace(labels, energy=labels.energy + 1e-4 * float(distances.max()))


class ForgetsAtomsOutsideTheBox(Changed):
    def predict(self, structures: Sequence[Atoms], *, stress: bool = True) -> list[Labels]:
        clipped = [atoms.copy() for atoms in structures]
        for atoms in clipped:
            if atoms.pbc.all():
                inside = np.clip(atoms.cell.scaled_positions(atoms.positions), -1, 2)
                atoms.set_scaled_positions(inside)
        return LennardJones.predict(self, clipped, stress=stress)


class MinimumImageOnly(LennardJones):
    """Sees one image of each neighbour and none of the atom itself: wrong in small cells."""

    __slots__ = ()

    def predict(self, structures: Sequence[Atoms], *, stress: bool = True) -> list[Labels]:
        right = LennardJones.predict(self, structures, stress=stress)
        return [
            replace(labels, energy=0.0, forces=np.zeros((1, 3))) if len(a) == 1 else labels
            for a, labels in zip(structures, right, strict=True)
        ]


class TrustsOpenVectors(Changed):
    def change(self, atoms: Atoms, labels: Labels) -> Labels:
        lengths = atoms.cell.lengths()[~atoms.pbc]
        return replace(labels, energy=labels.energy + 1e-6 * float(lengths.sum()))


class ChosenCellMatters(Changed):
    def change(self, atoms: Atoms, labels: Labels) -> Labels:
        return replace(labels, energy=labels.energy + 1e-5 * atoms.cell.lengths()[atoms.pbc].sum())


class NotExtensive(Changed):
    def change(self, atoms: Atoms, labels: Labels) -> Labels:
        return replace(labels, energy=labels.energy + 1e-5 * len(atoms) ** 2)


class NanForALoneAtom(Changed):
    def change(self, atoms: Atoms, labels: Labels) -> Labels:
        lone = len(atoms) == 1 and not atoms.pbc.any()
        return replace(labels, energy=float("nan")) if lone else labels


class LongArm(Changed):
    """Atoms beyond the stated cutoff still matter."""

    def predict(self, structures: Sequence[Atoms], *, stress: bool = True) -> list[Labels]:
        inner = LennardJones(self.elements, 2 * self.cutoff, self.epsilon, self.sigma)
        return inner.predict(structures, stress=stress)


class BatchOrder(Changed):
    def predict(self, structures: Sequence[Atoms], *, stress: bool = True) -> list[Labels]:
        return LennardJones.predict(self, structures, stress=stress)[::-1]


class StressChangesEnergy(Changed):
    def predict(self, structures: Sequence[Atoms], *, stress: bool = True) -> list[Labels]:
        shift = 0.0 if stress else 1e-6
        return [
            replace(labels, energy=labels.energy + shift)
            for labels in LennardJones.predict(self, structures, stress=stress)
        ]


class WrapsItsInput(Changed):
    def predict(self, structures: Sequence[Atoms], *, stress: bool = True) -> list[Labels]:
        for atoms in structures:
            atoms.positions += 1.0
        return LennardJones.predict(self, structures, stress=stress)


class LeavesACalculator(Changed):
    def change(self, atoms: Atoms, labels: Labels) -> Labels:
        atoms.calc = None
        return labels


class WritesIntoInfo(Changed):
    def change(self, atoms: Atoms, labels: Labels) -> Labels:
        atoms.info["energy"] = labels.energy
        return labels


class Unsteady(Changed):
    def change(self, atoms: Atoms, labels: Labels) -> Labels:
        noise = 1e-13 * np.random.default_rng().normal()
        return replace(labels, energy=labels.energy * (1 + noise))


class LosesDigits(LennardJones):
    __slots__ = ()

    def save(self, folder: Path) -> None:
        LennardJones.save(replace(self, sigma=round(self.sigma, 6)), folder)


class OverwritesFolders(LennardJones):
    __slots__ = ()

    def save(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        LennardJones.save(self, folder)


class ElementIgnored(Changed):
    def predict(self, structures: Sequence[Atoms], *, stress: bool = True) -> list[Labels]:
        disguised = [atoms.copy() for atoms in structures]
        for atoms in disguised:
            atoms.symbols[:] = sorted(self.elements)[0]
        return LennardJones.predict(self, disguised, stress=stress)


class AcceptsCoincidence(Changed):
    def predict(self, structures: Sequence[Atoms], *, stress: bool = True) -> list[Labels]:
        found = []
        for atoms in structures:
            try:
                found += LennardJones.predict(self, [atoms], stress=stress)
            except StructureError:
                found.append(Labels(0.0, np.zeros((len(atoms), 3)), None))
        return found


class FeaturesByStructure(LennardJones):
    __slots__ = ()

    def features(self, structures: Sequence[Atoms]) -> list[FloatArray]:
        tables = LennardJones.features(self, structures)
        return [table.sum(axis=0, keepdims=True) for table in tables]


class FeaturesOutOfOrder(LennardJones):
    __slots__ = ()

    def features(self, structures: Sequence[Atoms]) -> list[FloatArray]:
        return [np.sort(table, axis=0) for table in LennardJones.features(self, structures)]


class AnotherEnergyWithFeatures(LennardJones):
    __slots__ = ()

    def predict_with_features(
        self, structures: Sequence[Atoms], *, stress: bool = True
    ) -> list[tuple[Labels, FloatArray]]:
        labels = [replace(one, energy=one.energy + 1e-6) for one in self.predict(structures)]
        return list(zip(labels, self.features(structures), strict=True))


class MeansWithLabels(LennardJones):
    __slots__ = ()

    def predict_with_features(
        self, structures: Sequence[Atoms], *, stress: bool = True
    ) -> list[tuple[Labels, FloatArray]]:
        means = [table.mean(axis=0) + 0 * table for table in self.features(structures)]
        return list(zip(self.predict(structures, stress=stress), means, strict=True))


BROKEN = [
    (HalfTheForce, "forces", "numerical gradient"),
    (ActionOnly, "net_force", "sum of the forces"),
    (WrongVirialSign, "stress", "strain derivative"),
    (TransposedStress, "stress", "strain derivative"),
    (StressOfASlab, "stress", "without full pbc"),
    (SignedVolume, "left_handed", "left-handed"),
    (SignedVolume, "stress", "strain derivative"),
    (EnergyStepAtCutoff, "smooth_at_cutoff", "energy jumps"),
    (ForceStepAtCutoff, "smooth_at_cutoff", "forces jumps"),
    (EnergyStepAtCutoff, "smooth_in_crowd", "energy jumps"),
    (StepInsideCutoff, "smooth_in_crowd", "energy jumps"),
    (LongArm, "smooth_at_cutoff", "beyond the cutoff"),
    (LongArm, "separate_parts", "beyond the cutoff"),
    (Anisotropic, "rotation", "rotated"),
    (Chiral, "reflection", "mirrored"),
    (ExternalField, "translation", "translated"),
    (ExternalField, "net_force", "sum of the forces"),
    (CountsFromTheFirstAtom, "permutation", "renumbered"),
    (ForgetsAtomsOutsideTheBox, "lattice_translation", "outside the box"),
    (ChosenCellMatters, "choice_of_cell", "other cell vectors"),
    (TrustsOpenVectors, "open_directions", "open directions"),
    (NotExtensive, "supercell", "repeated"),
    (NotExtensive, "separate_parts", "two clusters"),
    (MinimumImageOnly, "small_cells", "repeated"),
    (NanForALoneAtom, "isolated_atom", "not finite"),
    (BatchOrder, "batch", "in a batch"),
    (StressChangesEnergy, "without_stress", "stress off"),
    (WrapsItsInput, "input_untouched", "positions"),
    (LeavesACalculator, "input_untouched", "calculator"),
    (WritesIntoInfo, "input_untouched", "info"),
    (Unsteady, "repeatable", "other bits"),
    (LosesDigits, "save_load", "other bits"),
    (OverwritesFolders, "save_load", "is accepted"),
    (ElementIgnored, "unknown_element", "is accepted"),
    (AcceptsCoincidence, "bad_structures", "is accepted"),
    (FeaturesByStructure, "features", "rows"),
    (FeaturesOutOfOrder, "features", "renumbered"),
    (AnotherEnergyWithFeatures, "features", "with features, energy"),
    (MeansWithLabels, "features", "with labels"),
]


@pytest.mark.parametrize(("variant", "check", "words"), BROKEN)
def test_a_broken_potential_is_caught(variant, check, words) -> None:
    right = LennardJonesConfig.example(seed=3)
    broken = conformance.Subject(LennardJonesConfig, variant(**_fields(right)), seed=3)
    checks = {conformance.title(c): c for c in conformance.CHECKS}
    with pytest.raises(conformance.ConformanceError, match=words):
        checks[check](broken)


class PromisesNothing(LennardJonesConfig):
    provides = frozenset()


def test_features_that_are_not_announced_are_caught() -> None:
    check = {conformance.title(c): c for c in conformance.CHECKS}["statement"]
    with pytest.raises(conformance.ConformanceError, match="provides lacks"):
        check(conformance.Subject.of(PromisesNothing))


def test_run_reports_every_check_and_keeps_going_after_a_crash() -> None:
    class Crashing(LennardJonesConfig):
        @classmethod
        def example(cls, *, seed: int) -> LennardJones:
            return CrashesWithoutStress(**_fields(LennardJonesConfig.example(seed=seed)))

    outcome = conformance.run(Crashing)
    assert set(outcome) == {conformance.title(check) for check in conformance.CHECKS}
    assert outcome["rotation"] is None
    assert "ZeroDivisionError" in str(outcome["without_stress"])
