"""Properties measured alone: spread of members, verdicts, the reference kept, kills survived."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT

from athanor.calculator import PotentialCalculator
from athanor.errors import MeasurementError
from athanor.potentials.ensemble import EnsembleConfig
from athanor.potentials.lj import LennardJones
from athanor.testing.structures import isolated
from athanor.validate import AloneConfig, Line, Measured, Panel, Tell, Value, silent
from athanor.validate._alone import members_of, with_spread
from athanor.validate._contract import FAILED

SEEDS = range(3)


class Counted(AloneConfig):
    """The energy of an atom, and how often anything was measured (in a file of the workdir)."""

    stop: bool = False
    per_member: ClassVar[bool] = True

    @property
    def title(self) -> str:
        return "counted"

    def alone(
        self, calculator: Calculator, *, seed: int, workdir: Path, tell: Tell = silent
    ) -> Measured:
        log = workdir / "log"
        done = len(log.read_text()) if log.exists() else 0
        log.write_text("x" * (done + 1))
        if (workdir.parent / "kill").exists() and done == 0:
            raise KeyboardInterrupt
        if self.stop:
            raise MeasurementError("it cannot be measured")
        atoms = isolated("Al")
        atoms.calc = calculator
        energy = float(atoms.get_potential_energy())
        lines = {"": Line.of([0, 1], [energy, 2 * energy])}
        return Measured(
            (Value("energy", energy, "eV"), Value("times", done + 1.0, "")),
            {"p": Panel("x", "y", lines)},
        )


def argon() -> PotentialCalculator:
    return PotentialCalculator(LennardJones(frozenset({"Al"}), cutoff=6.0, epsilon=0.1, sigma=2.5))


def drawn(rng: np.random.Generator, number: int) -> list[Measured]:
    """Members with random values and lines over the same x."""
    return [
        Measured(
            (Value("a", float(rng.normal()), "eV"),),
            {"p": Panel("x", "y", {"l": Line.of([0, 1, 2], rng.normal(size=3))})},
        )
        for _ in range(number)
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_spread_of_members_is_the_uncertainty(seed: int) -> None:
    rng = np.random.default_rng(seed)
    whole, *each = drawn(rng, int(rng.integers(4, 9)))
    found = with_spread(whole, each)
    values = [one.values[0].value for one in each]
    assert found.values[0].value == whole.values[0].value
    assert found.values[0].uncertainty == pytest.approx(np.std(values, ddof=1))
    lines = [one.panels["p"].lines["l"].y for one in each]
    assert found.panels["p"].lines["l"].error == pytest.approx(np.std(lines, axis=0, ddof=1))


@pytest.mark.parametrize("seed", SEEDS)
def test_what_a_member_lacks_has_no_spread(seed: int) -> None:
    whole, *each = drawn(np.random.default_rng(seed), 4)
    failed = Measured(failures=("it broke",))
    found = with_spread(whole, [*each, failed])
    assert found.values[0].uncertainty is None
    assert found.panels["p"].lines["l"].error is None
    assert found.notes == ("member 4: it broke",)
    assert with_spread(whole, each[:1]) == whole


def test_members_are_those_of_an_ensemble() -> None:
    assert members_of(EMT()) == ()
    assert members_of(argon()) == ()
    ensemble = EnsembleConfig.example(seed=0)
    assert len(members_of(PotentialCalculator(ensemble))) == len(ensemble.members)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_tolerance_judges_the_difference_from_the_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mine, true, published = rng.normal(size=3)
    off = abs(mine - true)
    one = Measured((Value("C11", mine, "GPa", 0.5), Value("B", 1.0, "GPa")))
    other = Measured((Value("C11", true, "GPa", 0.25),))
    for allowed, passed in ((1.01 * off, True), (0.99 * off, False)):
        item = Counted(tolerance={"C*": allowed}, literature={"C11": published})
        (judged, free) = item.joined(one, other).quantities
        assert judged.passed is passed
        assert (judged.reference, judged.literature) == (true, published)
        assert (judged.uncertainty, judged.reference_uncertainty) == (0.5, 0.25)
        assert (free.passed, free.reference) == (None, None)
    # nothing to judge by
    assert item.joined(one, None).quantities[0].passed is None


def test_a_failure_is_a_verdict(tmp_path: Path) -> None:
    result = Counted(stop=True).measure(argon(), EMT(), seed=0, workdir=tmp_path)
    assert [(one.name, one.passed) for one in result.quantities] == [(FAILED, False)]
    assert result.notes == ("it cannot be measured", "Reference: it cannot be measured")


def test_the_reference_is_measured_once(tmp_path: Path) -> None:
    for _ in range(2):
        result = Counted().measure(argon(), EMT(), seed=0, workdir=tmp_path)
        assert {one.name: one.reference for one in result.quantities}["times"] == 1.0
    other = Counted().measure(argon(), EMT(), seed=1, workdir=tmp_path)
    assert {one.name: one.reference for one in other.quantities}["times"] == 2.0


def test_a_killed_measurement_finds_what_it_kept(tmp_path: Path) -> None:
    Counted().measure(argon(), EMT(), seed=0, workdir=tmp_path)
    (tmp_path / "kill").touch()
    with pytest.raises(KeyboardInterrupt):
        Counted().measure(argon(), EMT(), seed=0, workdir=tmp_path)
    result = Counted().measure(argon(), EMT(), seed=0, workdir=tmp_path)
    assert result.quantities[1].value == 2.0
    # nothing is left for another run to find
    assert not list(tmp_path.glob("potential-*"))


def test_a_measurement_survives_json() -> None:
    whole, *_ = drawn(np.random.default_rng(0), 1)
    again = Measured.read(json.loads(json.dumps(whole.plain())))
    assert again == whole
    for data in ({}, {**whole.plain(), "values": [1]}, {**whole.plain(), "panels": 3}):
        with pytest.raises(ValueError, match="no measurement of athanor"):
            Measured.read(data)


def test_a_value_is_finite_and_a_line_leaves_out_what_is_not() -> None:
    with pytest.raises(ValueError, match="finite"):
        Value("a", float("nan"), "eV")
    line = Line.of([0, 1, 2], [1.0, np.inf, 3.0], [0.1, 0.2, 0.3])
    assert (line.x, line.y, line.error) == ((0.0, 2.0), (1.0, 3.0), (0.1, 0.3))


def test_what_judges_is_no_part_of_the_identity() -> None:
    plain, judged = Counted(), Counted(tolerance={"a": 1.0}, literature={"a": 2.0}, every=3)
    assert plain.identity == judged.identity
    assert plain.identity != Counted(stop=True).identity
