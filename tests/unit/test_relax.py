"""Graded relaxation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.units import GPa

from athanor.errors import ConfigError, StructureError
from athanor.potentials import Potential
from athanor.potentials.lj import LennardJones
from athanor.query import Grade
from athanor.sample import sampler_kinds
from athanor.sample._landscape import Cell
from athanor.sample.relax import RelaxOptions, RelaxSampler, relax
from athanor.structure import Labels

ARGON = LennardJones(frozenset({"Ar"}), cutoff=6.5, epsilon=0.0104, sigma=3.4)


@dataclass
class Counting:
    """Grade 1 at the first structure, one more at each that follows."""

    save: float = 1e9
    halt: float = 1e9
    seen: list[Atoms] = field(default_factory=list)

    def grade(self, structures: Sequence[Atoms]) -> list[Grade]:
        return [self._one(atoms) for atoms in structures]

    def _one(self, atoms: Atoms) -> Grade:
        self.seen.append(atoms)
        value = float(len(self.seen))
        verdict = "halt" if value > self.halt else "save" if value > self.save else "keep"
        return Grade(value, None, verdict)

    def select(self, pool, grades, budget, rng) -> list[int]:  # type: ignore[no-untyped-def]  # unused
        raise AssertionError("a sampler selects nothing")


@dataclass(frozen=True)
class Failing:
    """Argon, then an error or NaN."""

    after: int
    error: bool
    calls: list[int] = field(default_factory=list)
    elements: frozenset[str] = frozenset({"Ar"})
    cutoff: float = 6.5

    def predict(self, structures: Sequence[Atoms], *, stress: bool = True) -> list[Labels]:
        self.calls.append(1)
        if len(self.calls) <= self.after:
            return ARGON.predict(structures, stress=stress)
        if self.error:
            raise StructureError("atoms 0 and 1 coincide")
        return [
            Labels(float("nan"), np.full((len(s), 3), np.nan), np.full((3, 3), np.nan))
            for s in structures
        ]

    def save(self, folder: Path) -> None:
        raise AssertionError("not saved")


def rattled(seed: int = 0) -> Atoms:
    atoms = bulk("Ar", "fcc", a=5.25, cubic=True).repeat(2)
    atoms.rattle(0.25, seed=seed)
    return atoms


def test_forces_go_and_the_crystal_comes_back() -> None:
    start = rattled()
    before = start.copy()
    result = relax(start, ARGON, options=RelaxOptions(fmax=1e-4))
    assert start == before
    assert result.converged
    assert result.fmax < 1e-4
    perfect = bulk("Ar", "fcc", a=5.25, cubic=True).repeat(2)
    expected = ARGON.predict([perfect])[0].energy
    assert result.labels.energy == pytest.approx(expected, abs=1e-5)
    assert result.labels.energy == ARGON.predict([result.atoms])[0].energy
    assert result.harvest.stopped_by == "completed"
    assert result.harvest.structures == ()


@pytest.mark.parametrize("pressure_GPa", [0.0, 0.5])
def test_the_cell_relaxes_against_a_pressure(pressure_GPa: float) -> None:
    options = RelaxOptions(fmax=1e-4, smax=1e-3 * GPa, cell="free", pressure=pressure_GPa * GPa)
    result = relax(rattled(1), ARGON, options=options)
    assert result.converged
    assert result.labels.stress is not None
    np.testing.assert_allclose(
        result.labels.stress, -pressure_GPa * GPa * np.eye(3), atol=1e-3 * GPa
    )


def test_steps_are_the_limit() -> None:
    result = relax(rattled(), ARGON, options=RelaxOptions(fmax=1e-9, steps=7))
    assert not result.converged
    assert (result.harvest.steps, result.harvest.planned) == (7, 7)
    assert result.fmax > 1e-9


def test_both_thresholds() -> None:
    query = Counting(save=4, halt=12)
    result = relax(rattled(), ARGON, query, options=RelaxOptions(fmax=1e-9, spacing=3))
    harvest = result.harvest
    assert harvest.stopped_by == "grade"
    assert [g.value for g in harvest.grades] == [5.0, 8.0, 11.0, 13.0]
    assert harvest.reasons[-1] == "grade 13 above halt 12 halted the run at relaxation step 12"
    assert not result.converged
    assert harvest.trace["grade"].tolist() == list(range(1, 14))


def test_check_every_spares_grades_but_not_the_last() -> None:
    query = Counting()
    result = relax(
        rattled(), ARGON, query, options=RelaxOptions(fmax=1e-9, steps=12, check_every=5)
    )
    assert len(query.seen) == 4
    assert result.harvest.trace["step"].tolist() == [0, 5, 10, 12]


def test_a_run_that_is_stuck_between_two_grades_ends_where_it_is() -> None:
    query = Counting()
    options = RelaxOptions(fmax=1e-14, steps=2000, check_every=1500)
    result = relax(rattled(), ARGON, query, options=options)
    assert result.stopped_by == "stuck"
    assert 0 < result.harvest.steps < 1500
    assert len(query.seen) == 2
    assert result.fmax < 1e-4
    assert np.abs(ARGON.predict([result.atoms])[0].forces).max() < 1e-4


@pytest.mark.parametrize(("error", "stop"), [(True, "distance"), (False, "nan")])
def test_a_potential_that_fails_on_the_way_ends_the_run(error: bool, stop: str) -> None:
    options = RelaxOptions(fmax=1e-9)
    result = relax(rattled(), Failing(after=6, error=error), Counting(), options=options)
    assert result.harvest.stopped_by == stop
    assert len(result.harvest.structures) == 3
    assert np.isfinite(result.labels.energy)
    assert not result.converged


def test_atoms_too_near() -> None:
    atoms = rattled()
    result = relax(atoms, ARGON, Counting(), options=RelaxOptions(min_distance=4.0))
    assert (result.harvest.stopped_by, result.harvest.structures) == ("distance", ())
    assert (result.stopped_by, result.converged) == ("min_dist", False)
    assert "two atoms came within" in result.error
    assert np.isfinite(result.labels.energy)


def test_how_it_can_end() -> None:
    ends = {
        "converged": RelaxOptions(),
        "steps": RelaxOptions(steps=1),
        "stuck": RelaxOptions(fmax=1e-300, steps=5000),
    }
    for end, options in ends.items():
        result = relax(rattled(), ARGON, options=options)
        assert (result.stopped_by, result.error) == (end, "")
    assert relax(rattled(), ARGON, Counting(halt=3)).stopped_by == "grade"
    assert relax(rattled(), Failing(after=0, error=False)).stopped_by == "failed"
    broken = relax(rattled(), Failing(after=4, error=True))
    assert (broken.stopped_by, broken.error) == ("failed", "atoms 0 and 1 coincide")


@dataclass(frozen=True)
class Choosy:
    """Argon, refused at one evaluation in three: as if a step had ended where atoms coincide."""

    error: bool
    calls: list[int] = field(default_factory=list)
    elements: frozenset[str] = frozenset({"Ar"})
    cutoff: float = 6.5

    def predict(self, structures: Sequence[Atoms], *, stress: bool = True) -> list[Labels]:
        self.calls.append(1)
        good = ARGON.predict(structures, stress=stress)
        if len(self.calls) % 3:
            return good
        if self.error:
            raise StructureError("atoms 0 and 1 coincide")
        return [Labels(np.inf, one.forces, one.stress) for one in good]

    def save(self, folder: Path) -> None:
        raise AssertionError("not saved")


@pytest.mark.parametrize("error", [True, False])
@pytest.mark.parametrize("cell", ["fixed", "free"])
def test_a_step_that_is_refused_is_made_shorter(error: bool, cell: Cell) -> None:
    options = RelaxOptions(fmax=1e-3, cell=cell)
    expected = relax(rattled(), ARGON, options=options).labels.energy
    potential = Choosy(error)
    result = relax(rattled(), potential, options=options)
    assert len(potential.calls) > 6
    assert result.converged
    assert result.labels.energy == pytest.approx(expected, abs=1e-4)


@dataclass
class InPassing(Counting):
    """Grades with the labels; asked apart, it complains."""

    potential: Potential = ARGON

    def evaluated(
        self, structures: Sequence[Atoms], *, stress: bool = True
    ) -> list[tuple[Labels, Grade]]:
        labels = self.potential.predict(structures, stress=stress)
        return [(one, self._one(atoms)) for one, atoms in zip(labels, structures, strict=True)]

    def grade(self, structures: Sequence[Atoms]) -> list[Grade]:
        raise AssertionError("the grade came with the labels")


def test_one_evaluation_gives_labels_and_grade() -> None:
    query = InPassing(save=4)
    options = RelaxOptions(steps=6, fmax=1e-9, path=True)
    result = relax(rattled(), ARGON, query, options=options)
    graded = [step.grade for step in result.path]
    assert graded[0] == 1.0
    assert graded == sorted(graded)
    assert len(query.seen) == graded[-1]
    assert result.candidate_steps == tuple(step.step for step in result.path if step.grade > 4)
    for step in result.path:
        assert step.labels.energy == ARGON.predict([step.atoms])[0].energy
    other = InPassing(potential=replace(ARGON, cutoff=6.0))
    with pytest.raises(AssertionError, match="came with the labels"):
        relax(rattled(), ARGON, other)


def test_a_start_that_cannot_be_evaluated_is_the_users_to_see() -> None:
    with pytest.raises(StructureError):
        relax(Atoms("Ar2", positions=np.zeros((2, 3))), ARGON)


def test_a_cell_that_is_not_periodic_cannot_be_relaxed() -> None:
    atoms = rattled()
    atoms.pbc = [True, True, False]
    with pytest.raises(ConfigError, match="not periodic in all three directions"):
        relax(atoms, ARGON, options=RelaxOptions(cell="free"))


def test_sampler() -> None:
    assert sampler_kinds()["relax"] is RelaxSampler
    sampler = RelaxSampler.parse(
        {"steps": 12, "fmax": 1e-9, "cell": True, "save_every": 4}, where="[sample]"
    )
    harvest = sampler.run(rattled(), ARGON, Counting(save=0), seed=0, workdir=Path())
    assert len(harvest.structures) == 4
    assert len({atoms.get_volume() for atoms in harvest.structures}) == 4
    again = sampler.run(rattled(), ARGON, Counting(save=0), seed=1, workdir=Path())
    assert again.structures == harvest.structures
