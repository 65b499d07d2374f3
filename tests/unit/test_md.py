"""Graded Langevin dynamics."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from scripted import ARGON, Scripted, crystal, ran

from athanor.calculator import calculator
from athanor.errors import ConfigError, StructureError, UnknownElementError
from athanor.potentials import predict_with_features
from athanor.query import Grade
from athanor.query._maxvol import ActiveSet
from athanor.query.doptimality import DOptimalQuery
from athanor.sample import sampler_kinds
from athanor.sample._trial import DirectCalculator
from athanor.sample.md import MDSampler
from athanor.structure import Labels


@dataclass(frozen=True)
class Spoilt:
    """Argon until the n-th call, then what `spoil` makes of its labels."""

    spoil: Callable[[Labels], Labels]
    after: int
    calls: list[int] = field(default_factory=list)
    elements: frozenset[str] = frozenset({"Ar"})
    cutoff: float = 6.5

    def predict(self, structures: Sequence[Atoms], *, stress: bool = True) -> list[Labels]:
        self.calls.append(1)
        labels = ARGON.predict(structures, stress=stress)
        return [self.spoil(one) for one in labels] if len(self.calls) > self.after else labels

    def save(self, folder: Path) -> None:
        raise AssertionError("not saved")


def test_kind_is_found_and_pickles() -> None:
    assert sampler_kinds()["md"] is MDSampler
    sampler = MDSampler(length_ps=0.5, timestep_fs=2.0)
    assert pickle.loads(pickle.dumps(sampler)) == sampler
    assert sampler.planned == 250


def test_an_untriggered_run_completes_and_brings_nothing() -> None:
    query = Scripted([1.0])
    harvest = ran(query)
    assert (harvest.steps, harvest.planned, harvest.stopped_by) == (100, 100, "completed")
    assert harvest.structures == ()
    assert len(query.seen) == 11
    np.testing.assert_allclose(harvest.trace["time_fs"], np.arange(0, 101, 10))
    np.testing.assert_allclose(harvest.trace["target_K"], 40.0)
    assert set(harvest.trace) == {"time_fs", "temperature_K", "target_K", "grade", "energy_eV"}


def test_same_seed_same_bits_another_seed_another_run() -> None:
    first, again, other = (ran(Scripted([3.0]), seed=seed) for seed in (5, 5, 6))
    assert first.structures == again.structures
    assert first.trace["energy_eV"].tobytes() == again.trace["energy_eV"].tobytes()
    assert other.trace["energy_eV"].tobytes() != first.trace["energy_eV"].tobytes()


def test_the_start_is_not_touched_and_candidates_are_bare() -> None:
    start = crystal()
    start.info["name"] = "kept"
    before = start.copy()
    harvest = ran(Scripted([3.0]), start=start)
    assert start == before
    assert start.calc is None
    assert harvest.structures[0].info == {}
    assert not harvest.structures[0].has("momenta")


def test_halt_ends_the_run_and_its_frame_is_the_candidate() -> None:
    query = Scripted([1.0, 1.0, 1.0, 12.3])
    harvest = ran(query)
    assert (harvest.steps, harvest.stopped_by) == (30, "grade")
    assert harvest.structures == (query.seen[3],)
    assert harvest.reasons[0].startswith("grade 12.3 above halt 10 halted the run at 0.03 ps, ")
    assert harvest.trace["grade"].tolist() == [1.0, 1.0, 1.0, 12.3]


def test_the_words_of_a_query_are_the_reason() -> None:
    class Wordy(Scripted):
        def _one(self, atoms: Atoms) -> Grade:
            grade = super()._one(atoms)
            return dataclasses.replace(grade, because=f"energy {grade.value} above its limit")

    harvest = ran(Wordy([3.0, 3.0, 12.0]), save_every=1)
    assert harvest.reasons[0] == f"grade 3 (energy 3.0 above its limit) at 0 ps, {start_K()}"
    assert "grade 12 (energy 12.0 above its limit) halted the run at 0.02 ps" in harvest.reasons[-1]


def start_K() -> str:
    """Temperature of the velocities of seed 0, as reasons tell it."""
    first = ran(Scripted([3.0])).reasons[0]
    return first.rsplit(", ", 1)[1]


def test_an_unphysical_frame_is_no_candidate_but_those_before_are() -> None:
    class Floor(Scripted):
        def _one(self, atoms: Atoms) -> Grade:
            grade = super()._one(atoms)
            if len(self.seen) <= 6:
                return grade
            return Grade(grade.value, None, "halt", "two atoms 0.90 Å apart", unphysical=True)

    query = Floor([1.0])
    harvest = ran(query)
    assert (harvest.steps, harvest.stopped_by) == (60, "distance")
    assert harvest.structures == tuple(query.seen[3:6])
    assert "before two atoms 0.90 Å apart at 0.06 ps" in harvest.reasons[-1]


def test_a_start_the_query_halts_at_costs_no_step() -> None:
    harvest = ran(Scripted([99.0]))
    assert (harvest.steps, len(harvest.structures)) == (0, 1)


def test_saved_candidates_keep_their_spacing() -> None:
    harvest = ran(Scripted([3.0]), save_every=30)
    assert len(harvest.structures) == 4
    assert harvest.reasons[1].startswith("grade 3 above save 2 at 0.03 ps")


def test_too_many_candidates_leave_the_highest_grades() -> None:
    grades = np.random.default_rng(3).permutation(np.linspace(3, 9, 11)).tolist()
    harvest = ran(Scripted(grades), save_every=1, max_saved=4)
    assert [g.value for g in harvest.grades] == [g for g in grades if g >= sorted(grades)[-4]]
    assert ran(Scripted(grades), max_saved=0).structures == ()


def test_atoms_too_near_keep_the_last_healthy_frames() -> None:
    hot = {"start_K": [1500, 1500], "end_K": [1500, 1500], "modulation_K": [0, 0]}
    harvest = ran(
        Scripted([1.0]),
        schedule=hot,
        check_every=2,
        min_distance=2.9,
        friction_per_ps=50,
        steps=999,
    )
    assert harvest.stopped_by == "distance"
    assert len(harvest.structures) == 3
    assert "before two atoms came within 2." in harvest.reasons[-1]
    assert "(limit 2.90 Å)" in harvest.reasons[-1]
    for atoms in harvest.structures:
        assert atoms.get_all_distances(mic=True)[np.triu_indices(len(atoms), 1)].min() >= 2.9


def test_no_healthy_frame_no_candidate() -> None:
    harvest = ran(Scripted([1.0]), min_distance=5.0)
    assert (harvest.steps, harvest.stopped_by, harvest.structures) == (0, "distance", ())


def test_heat_stops_the_run_with_the_last_three_frames() -> None:
    schedule = {"start_K": [10, 10], "end_K": [1000, 1000], "modulation_K": [0, 0]}
    harvest = ran(Scripted([1.0]), schedule=schedule, max_temperature_K=200, friction_per_ps=100)
    assert harvest.stopped_by == "temperature"
    assert len(harvest.structures) == 3
    assert "before the temperature reached" in harvest.reasons[0]
    assert "(limit 200 K)" in harvest.reasons[0]


def test_one_hot_atom_stops_the_run() -> None:
    harvest = ran(Scripted([1.0]), max_atom_energy_eV=1e-4)
    assert harvest.stopped_by == "temperature"
    assert harvest.steps == 0


@pytest.mark.parametrize("part", ["forces", "energy"])
def test_numbers_that_are_not_finite_stop_the_run(part: str) -> None:
    def spoil(labels: Labels) -> Labels:
        if part == "energy":
            return Labels(float("nan"), labels.forces, None)
        return Labels(labels.energy, labels.forces * np.nan, None)

    harvest = ran(Scripted([1.0]), Spoilt(spoil, after=55), check_every=5)
    assert harvest.stopped_by == "nan"
    assert [np.isfinite(a.positions).all() for a in harvest.structures] == [True] * 3
    assert "stopped being finite" in harvest.reasons[0]
    assert np.isfinite(harvest.trace["energy_eV"]).all()


def test_absurd_forces_stop_the_run_without_a_warning() -> None:
    harvest = ran(
        Scripted([1.0]), Spoilt(lambda one: Labels(one.energy, one.forces * 1e200, None), after=25)
    )
    assert harvest.stopped_by in ("nan", "distance", "temperature")
    assert len(harvest.structures) == 3


def test_a_potential_that_refuses_a_structure_halts_and_does_not_crash() -> None:
    def refuse(labels: Labels) -> Labels:
        raise StructureError("atoms 0 and 1 coincide")

    harvest = ran(Scripted([1.0]), Spoilt(refuse, after=42))
    assert (harvest.stopped_by, harvest.steps) == ("distance", 41)
    assert "before atoms 0 and 1 coincide" in harvest.reasons[-1]
    in_relaxation = ran(Scripted([1.0]), Spoilt(refuse, after=12), relax_steps=20)
    assert (in_relaxation.stopped_by, in_relaxation.steps) == ("distance", 0)
    assert len(in_relaxation.structures) == 2


def test_a_query_that_refuses_a_structure_halts() -> None:
    class Refusing(Scripted):
        def grade(self, structures: Sequence[Atoms]) -> list[Grade]:
            if len(self.seen) == 4:
                raise StructureError("atoms 3 and 4 coincide")
            return super().grade(structures)

    assert ran(Refusing([1.0])).stopped_by == "distance"


def test_a_grade_that_is_no_number_halts() -> None:
    harvest = ran(Scripted([1.0, 1.0, float("nan")]))
    assert (harvest.stopped_by, harvest.steps, len(harvest.structures)) == ("nan", 20, 2)


def test_an_unknown_element_is_the_users_to_see() -> None:
    with pytest.raises(UnknownElementError):
        ran(Scripted([1.0]), start=bulk("Kr", cubic=True))


def test_a_start_that_is_no_structure_is_refused() -> None:
    with pytest.raises(StructureError, match="start: it has no atoms"):
        MDSampler(steps=1).run(Atoms(), ARGON, Scripted([1.0]), seed=0, workdir=Path())


def test_relaxation_is_graded_and_can_halt() -> None:
    start = crystal()
    start.rattle(0.3, seed=1)
    query = Scripted([1.0, 3.0, 11.0])
    harvest = ran(query, start=start, relax_steps=40)
    assert (harvest.steps, harvest.stopped_by) == (0, "grade")
    assert "relaxation step 20" in harvest.reasons[-1]
    assert "relaxation step 10" in harvest.reasons[0]
    energies = harvest.trace["energy_eV"]
    assert energies[0] > energies[1] > energies[2]


def test_a_crystal_without_forces_relaxes_without_a_warning() -> None:
    assert ran(Scripted([1.0]), relax_steps=20).stopped_by == "completed"


def test_one_evaluation_per_step() -> None:
    counted = Spoilt(lambda labels: labels, after=10**9)
    ran(Scripted([1.0]), counted)
    assert len(counted.calls) == 101


@dataclass(frozen=True)
class Counted:
    """Argon that notes what it is asked for."""

    asked: list[str] = field(default_factory=list)
    elements: frozenset[str] = ARGON.elements
    cutoff: float = ARGON.cutoff

    def predict(self, structures: Sequence[Atoms], *, stress: bool = True) -> list[Labels]:
        self.asked.append("labels")
        return ARGON.predict(structures, stress=stress)

    def features(self, structures: Sequence[Atoms]) -> list[np.ndarray]:
        self.asked.append("features")
        return ARGON.features(structures)

    def predict_with_features(
        self, structures: Sequence[Atoms], *, stress: bool = True
    ) -> list[tuple[Labels, np.ndarray]]:
        self.asked.append("both")
        return predict_with_features(ARGON, structures, stress=stress)

    def save(self, folder: Path) -> None:
        raise AssertionError("not saved")


def grading(potential: object) -> DOptimalQuery:
    """Knows so little that no frame is new to it: every grade is a number below `save`."""
    rng = np.random.default_rng(5)
    rows = ARGON.features([crystal()])[0] * rng.normal(size=(32, 1))
    active = ActiveSet.of(np.concatenate([rows, 100 * np.eye(rows.shape[1])]))
    return DOptimalQuery(potential, active, "structure", 1e6, 1e7)


@pytest.mark.parametrize(("relaxed", "every"), [(0, 10), (7, 5), (6, 3), (4, 10)])
def test_a_frame_that_is_graded_is_evaluated_once(relaxed: int, every: int) -> None:
    potential = Counted()
    query = grading(potential)
    start = crystal()
    start.rattle(0.05, seed=3)
    keys = {"steps": 42, "relax_steps": relaxed, "check_every": every}
    harvest = ran(query, potential, start=start, **keys)
    graded = len(harvest.trace["grade"])
    assert potential.asked.count("both") == graded
    assert "features" not in potential.asked
    assert potential.asked.count("labels") == relaxed + 1 + 42 - graded
    # a query of another potential is asked apart, and finds the same
    other = ran(grading(ARGON), potential, start=start, **keys)
    assert potential.asked.count("both") == graded
    for name, values in harvest.trace.items():
        np.testing.assert_allclose(values, other.trace[name], rtol=1e-9, atol=1e-9)


def test_the_direct_calculator_agrees_with_the_public_one() -> None:
    atoms = crystal()
    rng = np.random.default_rng(4)
    direct, public = DirectCalculator(ARGON), calculator(ARGON)
    for _ in range(3):
        atoms.positions += rng.normal(0, 0.1, atoms.positions.shape)
        assert direct.get_potential_energy(atoms) == public.get_potential_energy(atoms)
        assert direct.get_forces(atoms).tobytes() == public.get_forces(atoms).tobytes()


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({}, "as steps or as length_ps"),
        ({"steps": 5, "length_ps": 1.0}, "as steps or as length_ps"),
        ({"steps": 0}, "steps = 0 is not allowed"),
        ({"steps": 5, "timestep": 1.0}, "unknown key 'timestep' .did you mean 'timestep_fs'"),
        ({"steps": 5, "schedule": {"start_k": [1, 2]}}, "unknown key 'schedule.start_k'"),
    ],
)
def test_wrong_tables(table: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        MDSampler.parse(table, where="[sample]")
