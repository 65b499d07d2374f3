"""Ensembles as users meet them: recipe, members, files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
from ase import Atoms

import athanor
from athanor.data.dataset import Dataset
from athanor.errors import FitError, FormatError
from athanor.potentials import FIT_LOG, HEADER, HasFeatures, HasMembers, Potential
from athanor.potentials._members import training_sets
from athanor.potentials.ensemble import Ensemble, EnsembleConfig, FeaturedEnsemble, Spread
from athanor.potentials.lj import LennardJones, LennardJonesConfig
from athanor.potentials.mtp import MtpConfig
from athanor.query.doptimality import DOptimalityConfig
from athanor.structure import Frame, Labels
from athanor.testing import structures
from athanor.testing._behaviour import check_members
from athanor.testing.conformance import ConformanceError, Subject
from athanor.testing.fakes import FakePotential, FakePotentialConfig

LJ = LennardJonesConfig(cutoff=5.0)


def labelled(count: int, *, seed: int, elements: tuple[str, ...] = ("Al", "Cu")) -> Dataset:
    """Random crystals with noisy labels, so that fits to different samples differ."""
    rng = np.random.default_rng(seed)
    teacher = FakePotential(frozenset(elements), 5.0, (0.5, 3.0, -2.0, 1.0))
    frames = []
    for _ in range(count):
        atoms = structures.dense(list(elements), rng)
        (exact,) = teacher.predict([atoms])
        noise = rng.normal(scale=0.05, size=exact.forces.shape)
        frames.append(Frame(atoms, Labels(exact.energy, exact.forces + noise, exact.stress)))
    return Dataset.of(frames)


class Featureless(FakePotentialConfig):
    """A fake whose recipe says that it has no features."""

    provides: ClassVar[frozenset[str]] = frozenset()
    kind: Literal["fake"] = "fake"


class Bare:
    """A potential without features around one that has them."""

    def __init__(self, inner: Potential) -> None:
        self.inner = inner
        self.elements = inner.elements
        self.cutoff = inner.cutoff

    def predict(self, structures: Sequence[Atoms], *, stress: bool = True) -> list[Labels]:
        return self.inner.predict(structures, stress=stress)

    def save(self, folder: Path) -> None:
        self.inner.save(folder)


def fit(config: EnsembleConfig, data: Dataset, folder: Path, **more: Any) -> Ensemble:
    valid = more.pop("valid", Dataset())
    return config.fit(data, valid, seed=more.pop("seed", 3), workdir=folder, **more)


def same(one: Potential, two: Potential, atoms: Atoms) -> bool:
    (a,), (b,) = one.predict([atoms]), two.predict([atoms])
    return a.energy == b.energy and a.forces.tobytes() == b.forces.tobytes()


def test_the_first_member_is_the_plain_fit_and_the_others_differ(tmp_path: Path) -> None:
    data, config = labelled(12, seed=1), FakePotentialConfig()
    made = fit(EnsembleConfig(member=config, size=4), data, tmp_path / "e")
    plain = config.fit(data, Dataset(), seed=3, workdir=tmp_path / "p")
    assert isinstance(made, FeaturedEnsemble)
    assert isinstance(made, HasMembers)
    assert made.members[0] == plain
    assert len(set(made.members)) == 4
    again = fit(EnsembleConfig(member=config, size=4), data, tmp_path / "again")
    other = fit(EnsembleConfig(member=config, size=4), data, tmp_path / "other", seed=4)
    assert again == made
    assert other.members[1:] != made.members[1:]


def test_the_mean_is_what_is_predicted(tmp_path: Path) -> None:
    data = labelled(8, seed=2)
    made = fit(EnsembleConfig(member=FakePotentialConfig(), size=3), data, tmp_path)
    for atoms in data.structures[:3]:
        (each,), (labels,) = made.predict_each([atoms]), made.predict([atoms])
        thetas = np.mean([member.theta for member in made.members], axis=0)
        mean = FakePotential(made.elements, made.cutoff, tuple(thetas))  # it is linear in theta
        (expected,) = mean.predict([atoms])
        assert len(each) == 3
        assert labels.energy == pytest.approx(expected.energy, rel=1e-10)
        np.testing.assert_allclose(labels.forces, expected.forces, atol=1e-9)
        np.testing.assert_allclose(labels.stress, expected.stress, atol=1e-9)


def test_features_are_the_first_members(tmp_path: Path) -> None:
    data = labelled(10, seed=3)
    made = fit(EnsembleConfig(member=FakePotentialConfig(size=4), size=3), data, tmp_path)
    assert isinstance(made, HasFeatures)
    first = made.members[0]
    pool = labelled(5, seed=4).structures
    query, plain = (DOptimalityConfig().fit(one, data) for one in (made, first))
    for a, b in zip(query.grade(pool), plain.grade(pool), strict=True):
        assert a.value == pytest.approx(b.value, rel=1e-9)
    for atoms, (labels, grade) in zip(pool, query.evaluated(pool), strict=True):
        assert labels.energy == pytest.approx(made.predict([atoms])[0].energy)
        assert grade.value == pytest.approx(query.grade([atoms])[0].value, rel=1e-9)


def test_without_features_there_are_none() -> None:
    members = [Bare(LennardJonesConfig.example(seed=k)) for k in range(3)]
    made = Ensemble.of(members)
    assert isinstance(made, HasMembers)
    assert not isinstance(made, HasFeatures)
    assert EnsembleConfig(member=Featureless()).offers == {"ensemble"}
    assert EnsembleConfig(member=LJ).offers == {"ensemble", "features"}


def test_members_may_differ_in_cutoff_and_elements() -> None:
    one = LennardJones(frozenset({"Al", "Ni"}), 5.0, 0.1, 2.5)
    two = LennardJones(frozenset({"Al", "Cu"}), 6.0, 0.1, 2.5)
    made = Ensemble.of([one, two])
    assert made.elements == {"Al"}
    assert made.cutoff == 6.0
    with pytest.raises(FitError, match="no element is known to all members"):
        Ensemble.of([one, LennardJones(frozenset({"Cu"}), 5.0, 0.1, 2.5)])
    with pytest.raises(FitError, match="at least one member"):
        Ensemble.of([])


@pytest.mark.parametrize("size", [2, 3, 7])
def test_a_bootstrap_draws_frames_and_keeps_every_element(size: int) -> None:
    data = labelled(9, seed=5).joined(labelled(1, seed=6, elements=("Mg",)))
    valid = labelled(2, seed=7)
    sets = training_sets(data, valid, size=size, seed=11, resample="bootstrap")
    assert len(sets) == size
    assert sets[0] == (data, valid)
    for train, judge in sets[1:]:
        assert judge is valid
        assert train.elements == data.elements
        assert len(data) <= len(train) <= len(data) + 2
        assert len({id(frame) for frame in train}) < len(data)


def test_a_split_trains_on_all_but_one_part() -> None:
    data, valid = labelled(9, seed=8), labelled(3, seed=9)
    sets = training_sets(data, valid, size=4, seed=1, resample="split")
    judged = [id(frame) for _, judge in sets for frame in judge]
    assert sorted(judged) == sorted(id(frame) for frame in data.joined(valid))
    for train, judge in sets:
        assert len(train) + len(judge) == 12
        assert not {id(frame) for frame in train} & {id(frame) for frame in judge}
    one = labelled(1, seed=10)
    for train, judge in training_sets(one, Dataset(), size=3, seed=1, resample="split"):
        assert (len(train), len(judge)) == (1, 0)


def test_what_comes_out_equal_is_refused(tmp_path: Path) -> None:
    config = EnsembleConfig(member=FakePotentialConfig(), size=2, resample="none")
    with pytest.raises(FitError, match="came out equal"):
        fit(config, labelled(4, seed=11), tmp_path / "a")
    seeded = EnsembleConfig(member=MTP, size=2, resample="none")
    made = fit(seeded, labelled(6, seed=11, elements=("Al",)), tmp_path / "b")
    (each,) = made.predict_each(labelled(1, seed=12, elements=("Al",)).structures)
    assert Spread.of(each).energy > 0


def test_an_empty_training_set_is_refused_as_by_the_member(tmp_path: Path) -> None:
    for resample in ("bootstrap", "split", "none"):
        config = EnsembleConfig(member=FakePotentialConfig(), resample=resample)
        with pytest.raises(FitError, match="training set is empty"):
            fit(config, Dataset(), tmp_path / resample)


def test_saved_members_load_bit_equal(tmp_path: Path) -> None:
    data = labelled(8, seed=13)
    made = fit(EnsembleConfig(member=LJ, size=3), data, tmp_path / "w")
    made.save(tmp_path / "saved")
    loaded = athanor.load(tmp_path / "saved")
    assert isinstance(loaded, Ensemble)
    assert loaded == made
    assert type(loaded) is type(made)


def _break(folder: Path, how: str) -> None:
    header = folder / HEADER
    table = json.loads(header.read_text())
    if how == "version":
        table["version"] = 9
    if how == "count":
        table["members"] = "3"
    if how == "key":
        del table["members"]
    header.write_text(json.dumps(table))
    if how == "lost":
        shutil.rmtree(folder / "member_001")
    if how == "extra":
        shutil.copytree(folder / "member_001", folder / "member_007")
    if how == "strange":
        (folder / "member_001" / HEADER).write_text('{"kind": "stone"}')
    if how == "strangers":
        path = folder / "member_001" / HEADER
        path.write_text(json.dumps({**json.loads(path.read_text()), "elements": ["Xe"]}))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("version", "expected version 1"),
        ("count", "expected version 1 and the number"),
        ("key", "not the header of an ensemble"),
        ("lost", "promises 3 members, but the folder holds 2"),
        ("extra", "promises 3 members, but the folder holds 4"),
        ("strange", r"member_001/potential.json: kind is 'stone'"),
        ("strangers", "no element is known to all members"),
    ],
)
def test_a_damaged_folder_is_refused_by_name(tmp_path: Path, how: str, words: str) -> None:
    folder = tmp_path / "saved"
    Ensemble.of([LennardJonesConfig.example(seed=k) for k in range(3)]).save(folder)
    _break(folder, how)
    with pytest.raises(FormatError, match=words):
        athanor.load(folder)


class Counted(FakePotentialConfig):
    """A fake that notes its fits and, once, breaks the second of them."""

    kind: Literal["fake"] = "fake"
    log: Path
    fragile: bool = False

    def fit(self, train: Dataset, valid: Dataset, **more: Any) -> FakePotential:
        done = self.log.read_text() if self.log.exists() else ""
        if self.fragile and done == "fit":
            self.log.write_text(done + "broken")
            raise KeyboardInterrupt
        self.log.write_text(done + "fit")
        return FakePotentialConfig.fit(self, train, valid, **more)


def test_what_is_fitted_is_not_fitted_again(tmp_path: Path) -> None:
    data, log = labelled(6, seed=14), tmp_path / "log"
    whole = fit(EnsembleConfig(member=FakePotentialConfig(), size=3), data, tmp_path / "whole")
    config = EnsembleConfig(member=Counted(log=log, fragile=True), size=3)
    with pytest.raises(KeyboardInterrupt):
        fit(config, data, tmp_path / "w")
    assert fit(config, data, tmp_path / "w") == whole
    assert log.read_text() == "fitbroken" + "fitfit"
    # other data in the same workdir are another fit
    fit(config, labelled(6, seed=15), tmp_path / "w")
    assert log.read_text() == "fitbroken" + 5 * "fit"
    fit(config, data, tmp_path / "w", start=whole)
    assert log.read_text() == "fitbroken" + 8 * "fit"


class Starting(FakePotentialConfig):
    """A fake that continues from its start alone."""

    kind: Literal["fake"] = "fake"

    def fit(self, train: Dataset, valid: Dataset, **more: Any) -> FakePotential:
        start = more["start"]
        return start if start is not None else FakePotentialConfig.fit(self, train, valid, **more)


def test_a_warm_start_goes_member_by_member(tmp_path: Path) -> None:
    data = labelled(6, seed=16)
    before = fit(EnsembleConfig(member=FakePotentialConfig(), size=3), data, tmp_path / "a")
    config = EnsembleConfig(member=Starting(), size=4)
    after = fit(config, data, tmp_path / "b", start=before)
    assert after.members[:3] == before.members
    assert after.members[3] not in before.members
    single = fit(config, data, tmp_path / "c", start=before.members[1])
    assert set(single.members) == {before.members[1]}


def test_progress_says_which_member(tmp_path: Path) -> None:
    fit(EnsembleConfig(member=LJ, size=3), labelled(5, seed=17), tmp_path)
    lines = [json.loads(line) for line in (tmp_path / FIT_LOG).read_text().splitlines()]
    assert [line["stage"] for line in lines] == [f"member {k} of 3" for k in (1, 2, 3)]
    assert [line["step"] for line in lines] == [0, 1, 2]


MTP = MtpConfig(level=4, radial_basis_size=4, max_dist=4.5, min_dist=1.8, steps=3, starts=1)


def test_members_of_one_basis_are_evaluated_together() -> None:
    rng = np.random.default_rng(18)
    members = [MtpConfig.example(seed=k) for k in range(3)]
    for atoms in structures.zoo(["Al", "Ni"], rng):
        (each,) = Ensemble.of(members).predict_each([atoms])
        for member, labels in zip(members, each, strict=True):
            (alone,) = member.predict([atoms])
            assert labels.energy == pytest.approx(alone.energy, abs=1e-10)
            np.testing.assert_allclose(labels.forces, alone.forces, atol=1e-10)
            assert (labels.stress is None) == (alone.stress is None)
    mixed = Ensemble.of([members[0], LennardJonesConfig.example(seed=1)])
    atoms = structures.dense(["Al"], rng)
    (each,) = mixed.predict_each([atoms])
    assert each[1].energy == mixed.members[1].predict([atoms])[0].energy


def test_the_spread_is_that_of_its_definition() -> None:
    rng = np.random.default_rng(19)
    each = [Labels(float(rng.normal()), rng.normal(size=(5, 3)), None) for _ in range(4)]
    spread = Spread.of(each)
    energies = [labels.energy for labels in each]
    middle = sum(energies) / 4
    assert spread.energy == pytest.approx(
        (sum((e - middle) ** 2 for e in energies) / 3) ** 0.5 / 5**0.5
    )
    for atom in range(5):
        centre = sum(labels.forces[atom] for labels in each) / 4
        squares = [float(np.sum((labels.forces[atom] - centre) ** 2)) for labels in each]
        assert spread.forces[atom] == pytest.approx((sum(squares) / 3) ** 0.5)
    assert spread.force_max == max(spread.forces)
    assert spread.force_mean == pytest.approx(sum(spread.forces) / 5)
    assert set(spread.info()) == {"energy_spread", "force_spread_max", "force_spread_mean"}


@pytest.mark.parametrize("bad", ["energy", "forces"])
def test_a_member_that_is_not_finite_makes_the_spread_infinite(bad: str) -> None:
    each = [Labels(1.0, np.ones((3, 3)), None) for _ in range(3)]
    forces = np.ones((3, 3))
    forces[1, 2] = np.nan if bad == "forces" else 1.0
    each[1] = Labels(np.inf if bad == "energy" else 1.0, forces, None)
    spread = Spread.of(each)
    assert (spread.energy, spread.force_max, spread.force_mean) == (np.inf, np.inf, np.inf)


def test_an_ensemble_follows_a_moving_structure() -> None:
    rng = np.random.default_rng(20)
    plain = Ensemble.of([MtpConfig.example(seed=k) for k in range(3)])
    moving = plain.follow()
    assert isinstance(moving, FeaturedEnsemble)
    atoms = structures.dense(["Al", "Ni"], rng)
    for _ in range(12):
        atoms.positions += rng.normal(scale=0.1, size=(len(atoms), 3))
        (expected, table), (found, same_table) = (
            one.predict_with_features([atoms])[0] for one in (plain, moving)
        )
        assert found.energy == pytest.approx(expected.energy, abs=1e-9)
        np.testing.assert_allclose(found.forces, expected.forces, atol=1e-9)
        np.testing.assert_allclose(same_table, table, atol=1e-9)
        np.testing.assert_allclose(moving.predict([atoms])[0].forces, expected.forces, atol=1e-9)


class Boastful(Ensemble):
    """An ensemble that predicts what its first member does."""

    def predict(self, structures: Sequence[Atoms], *, stress: bool = True) -> list[Labels]:
        return self.members[0].predict(structures, stress=stress)


class Silent(Ensemble):
    """An ensemble that leaves its last member out."""

    def predict_each(
        self, structures: Sequence[Atoms], *, stress: bool = True
    ) -> list[list[Labels]]:
        return [each[:-1] for each in super().predict_each(structures, stress=stress)]


@pytest.mark.parametrize(
    ("kind", "words"), [(Boastful, "mean of members"), (Silent, "2 of 3 members")]
)
def test_the_conformance_suite_notices_a_wrong_ensemble(kind: type[Ensemble], words: str) -> None:
    members = tuple(LennardJonesConfig.example(seed=k) for k in range(3))
    with pytest.raises(ConformanceError, match=words):
        check_members(Subject(EnsembleConfig, kind(members)))
    check_members(Subject(EnsembleConfig, Ensemble(members)))
