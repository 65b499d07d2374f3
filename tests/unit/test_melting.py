"""The whole measurement of melting points, mostly with an engine whose crystal melts as told."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from athanor.component import choose
from athanor.dynamics import Leg, Snapshot
from athanor.errors import ConfigError
from athanor.oracle.lammps import LammpsOracleConfig
from athanor.structure import FloatArray
from athanor.validate import Measured, PropertyConfig, kinds, melting
from athanor.validate._melting import interface, point
from athanor.validate._melting.order import Fingerprint
from athanor.validate.melting import MeltingPoint

HEAT, GROWN = 0.1, 1.06
"""eV per atom, and volume of the liquid over that of the crystal, of the made material."""
MARK = 12345.0
"""Where it stands in an atom's momenta, the share of crystal of a made box stands beside it."""


@dataclass
class Made:
    """An engine without forces: crystals shake, liquids are random, interfaces drift and diffuse.

    Attributes
    ----------
    melts : K at no pressure; `slope` more for each GPa.
    fails_at : the call at which it is killed.
    """

    melts: float = 700.0
    slope: float = 0.0
    superheated: float = 1.25
    mobility: float = 3e-4
    walk: float = 2e-5
    fails_at: int = -1
    calls: int = 0

    def run(
        self,
        atoms: Atoms,
        leg: Leg,
        *,
        seed: int,
        watch: Callable[[Snapshot], bool] | None = None,
    ) -> Atoms:
        self.calls += 1
        if self.calls == self.fails_at:
            raise KeyboardInterrupt
        rng = np.random.default_rng(seed)
        assert leg.ends is not None
        kind = "frozen" if leg.frozen is not None else leg.axes
        made, end = getattr(self, f"_{kind}"), atoms
        for number in range(1, leg.steps // leg.every + 1):
            end = made(end, leg, leg.ends[1], rng)
            step = number * leg.every
            time = step * leg.timestep_fs / 1000
            energy = self.energy(end, kind, rng)
            told = Snapshot(step, time, end, energy, leg.ends[1], 0.0, end.get_volume())
            if watch is not None and watch(told):
                break
        return end

    def energy(self, atoms: Atoms, kind: str, rng: np.random.Generator) -> float:
        each = -3.0 + (HEAT if kind == "iso" else 0.0) + 1e-3 * rng.standard_normal()
        return each * len(atoms)

    def melting(self, leg: Leg) -> float:
        return self.melts + self.slope * (leg.pressure_GPa or 0.0)

    def _aniso(self, atoms: Atoms, leg: Leg, temperature: float, rng: np.random.Generator) -> Atoms:
        if temperature > self.superheated * self.melting(leg):
            return scattered(atoms, np.ones(len(atoms), bool), rng)
        return self.cold(atoms, rng)

    def cold(self, atoms: Atoms, rng: np.random.Generator) -> Atoms:
        """A cube of crystal, shaken anew."""
        across = round((len(atoms) / 4) ** (1 / 3))
        found = atoms.copy()
        found.set_scaled_positions(sites(len(atoms), across))
        return shaken(found, rng)

    def _iso(self, atoms: Atoms, leg: Leg, temperature: float, rng: np.random.Generator) -> Atoms:
        found = atoms.copy()
        volume = GROWN * 16.0 * len(atoms) * (1 + 1e-3 * rng.standard_normal())
        found.set_cell(np.eye(3) * volume ** (1 / 3), scale_atoms=True)
        return scattered(found, np.ones(len(atoms), bool), rng)

    def _frozen(
        self, atoms: Atoms, leg: Leg, temperature: float, rng: np.random.Generator
    ) -> Atoms:
        assert leg.frozen is not None
        return scattered(atoms, ~leg.frozen, rng, low=0.5)

    def _z(self, atoms: Atoms, leg: Leg, temperature: float, rng: np.random.Generator) -> Atoms:
        momenta = atoms.get_momenta()
        share = float(momenta[0, 0]) if momenta[0, 1] == MARK else 0.58
        share += self.moved(temperature, leg, rng)
        found = self.grown(atoms, min(max(share, 0.0), 1.0), rng)
        momenta[0] = share, MARK, 0.0
        found.set_momenta(momenta)
        return found

    def moved(self, temperature: float, leg: Leg, rng: np.random.Generator) -> float:
        drift = self.mobility * (self.melting(leg) - temperature)
        time = leg.every * leg.timestep_fs / 1000
        return drift * time + float(np.sqrt(self.walk * time) * rng.standard_normal())

    def grown(self, atoms: Atoms, share: float, rng: np.random.Generator) -> Atoms:
        """A box of which the lowest part is crystal, to the atom."""
        places = sites(len(atoms))
        found = atoms.copy()
        found.set_scaled_positions(places)
        molten = np.ones(len(atoms), dtype=bool)
        molten[np.argsort(places[:, 2], kind="stable")[: round(share * len(atoms))]] = False
        return scattered(shaken(found, rng), molten, rng, low=min(share, 0.99))


def sites(count: int, across: int = 4) -> FloatArray:
    """Scaled positions of fcc in a box of so many cubes across, in the order of ASE's."""
    box = (across, across, count // (4 * across**2))
    return bulk("Al", a=4.0, cubic=True).repeat(box).get_scaled_positions()


def shaken(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    found = atoms.copy()
    found.positions += 0.05 * rng.standard_normal(found.positions.shape)
    found.wrap()
    return found


def scattered(
    atoms: Atoms, which: FloatArray, rng: np.random.Generator, *, low: float = 0.0
) -> Atoms:
    places = atoms.get_scaled_positions()
    places[which] = rng.uniform((0, 0, low), 1, (int(np.sum(which)), 3))
    found = atoms.copy()
    found.set_scaled_positions(places)
    return found


def measured(
    made: Made, folder: Path, monkeypatch: pytest.MonkeyPatch, **others: object
) -> Measured:
    monkeypatch.setattr(melting, "engine_of", lambda calculator: made)
    monkeypatch.setattr(interface, "SAMPLES", 24)
    monkeypatch.setattr(point, "TRIES", 2)
    settings = {"atoms": 500, "steps": 1200, "timestep_fs": 10.0, "half_width_K": 12.0} | others
    config = MeltingPoint.parse({"element": "Al", "lattice": "fcc"} | settings, where="test")
    return config.attempt(EMT(), seed=3, workdir=folder)


def test_the_melting_point_is_found(tmp_path, monkeypatch) -> None:
    told = []
    monkeypatch.setattr(melting, "engine_of", lambda calculator: Made())
    monkeypatch.setattr(interface, "SAMPLES", 24)
    config = MeltingPoint(
        element="Al", lattice="fcc", atoms=500, steps=1200, timestep_fs=10.0, half_width_K=10.0
    )
    found = config.attempt(
        EMT(), seed=3, workdir=tmp_path, tell=lambda share, words: told.append((share, words))
    )
    assert found.failures == ()
    melts = found.value("melting point")
    assert melts is not None
    (low, high) = found.data["pressures"][0]["interval_K"]
    assert low < 700.0 < high
    assert high - low <= 20.0
    assert melts.uncertainty == pytest.approx((high - low) / 2 / 1.96, rel=1e-3)
    heat = found.value("heat of fusion")
    assert heat is not None
    assert heat.value == pytest.approx(1000 * HEAT, abs=4 * heat.uncertainty)
    line, volumes = found.value("slope of the melting line"), []
    for phase in ("crystal", "liquid"):
        value = found.value(f"{phase} volume at melting")
        assert value is not None
        volumes.append(value.value)
    # Clausius and Clapeyron
    assert line is not None
    expected = melts.value * (volumes[1] - volumes[0]) / (heat.value / 1000) / 160.21766
    assert line.value == pytest.approx(expected, rel=1e-6)
    # the cost is said first, and shares only grow
    assert "evaluations of an atom" in told[0][1]
    assert [share for share, _ in told] == sorted(share for share, _ in told)
    panel = found.panels["Growth of the crystal"]
    assert panel.lines["interval"].x == (low, melts.value, high)
    assert len(panel.lines["runs"].x) == len(found.data["pressures"][0]["velocities"])
    assert Measured.read(found.plain()).values == found.values


@pytest.mark.parametrize("fails_at", [30])
def test_a_killed_measurement_goes_on_to_the_same(fails_at, tmp_path, monkeypatch) -> None:
    whole, broken = Made(), Made(fails_at=fails_at)
    expected = measured(whole, tmp_path / "whole", monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        measured(broken, tmp_path / "broken", monkeypatch)
    going_on = Made()
    assert measured(going_on, tmp_path / "broken", monkeypatch) == expected
    assert going_on.calls < whole.calls
    # and nothing is done twice
    again = Made()
    assert measured(again, tmp_path / "broken", monkeypatch) == expected
    assert again.calls == 0


def test_a_melting_curve_follows_the_pressures(tmp_path, monkeypatch) -> None:
    made = Made(slope=44.0)  # as its heat and volumes say
    found = measured(made, tmp_path, monkeypatch, pressures_GPa=(0.0, 5.0))
    assert found.failures == ()
    for name, truth in (("melting point", 700.0), ("melting point at 5 GPa", 920.0)):
        value = found.value(name)
        assert value is not None
        assert abs(value.value - truth) < 4 * value.uncertainty
    assert found.panels["Melting curve"].lines[""].x == (0.0, 5.0)
    # the second begins where the line of the first leads, without heating the crystal
    assert not (tmp_path / "5 GPa" / "heating.npz").exists()


class NeverMelts(Made):
    def _aniso(self, atoms, leg, temperature, rng):
        return self.cold(atoms, rng)


class Transforms(Made):
    """When it is hot, all atoms go to other places once, and stay there."""

    def _aniso(self, atoms, leg, temperature, rng):
        if temperature > 600.0 and not (atoms.get_masses() == 5.0).all():
            found = atoms[np.random.default_rng(1).permutation(len(atoms))]
            found.set_masses(np.full(len(atoms), 5.0))
            return found
        return atoms.copy()


class Distorts(Made):
    def _aniso(self, atoms, leg, temperature, rng):
        found = shaken(atoms, rng)
        if temperature > 600.0:
            found.set_cell(found.cell.array * [[1.0], [1.0], [1.03]], scale_atoms=True)
        return found


class Freezes(Made):
    """Its liquid is a crystal whenever it is looked at."""

    def _iso(self, atoms, leg, temperature, rng):
        return self.cold(super()._iso(atoms, leg, temperature, rng), rng)


class StaysSolid(Made):
    """Its half of the box does not melt."""

    def _frozen(self, atoms, leg, temperature, rng):
        return shaken(atoms, rng)


class NeverCoexists(Made):
    def moved(self, temperature, leg, rng):
        return 1.0 if temperature < self.melts else -1.0


class Grows(Made):
    def moved(self, temperature, leg, rng):
        return 0.01 + 0.002 * float(rng.standard_normal())


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (NeverMelts(), "does not melt up to"),
        (Transforms(), "becomes another one when it is heated"),
        (Distorts(), "a length of its box changed by"),
        (NeverCoexists(), "never coexist"),
        (Grows(), "never coexist|no bracket: the crystal grows"),
        (StaysSolid(), "does not become liquid"),
        (Freezes(), "bond order does not tell"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Made) else "",
)
def test_what_has_no_melting_point_says_why(made, words, tmp_path, monkeypatch) -> None:
    found = measured(made, tmp_path, monkeypatch)
    assert found.values == ()
    assert len(found.failures) == 1
    assert found.failures[0].startswith("fcc Al: ")
    assert re.search(words, found.failures[0])


def test_another_crystal_that_grows_is_told(tmp_path, monkeypatch) -> None:
    """How it is recognised is tested with crystals; here, what follows."""
    monkeypatch.setattr(Fingerprint, "is_another", lambda *given: True)
    found = measured(Made(), tmp_path, monkeypatch)
    assert found.values == ()
    assert "is another crystal than the one given" in found.failures[0]


def test_one_pressure_that_fails_does_not_stop_the_others(tmp_path, monkeypatch) -> None:
    class Sometimes(Made):
        def moved(self, temperature, leg, rng):
            if leg.pressure_GPa:
                return 1.0
            return super().moved(temperature, leg, rng)

    found = measured(Sometimes(), tmp_path, monkeypatch, pressures_GPa=(5.0, 0.0))
    assert found.value("melting point") is not None
    assert found.value("melting point at 5 GPa") is None
    assert "at 5 GPa: " in found.failures[0]


def test_the_interval_is_wider_than_asked_where_runs_are_few(tmp_path, monkeypatch) -> None:
    found = measured(Made(), tmp_path, monkeypatch, runs=8, half_width_K=0.01)
    assert found.failures == ()
    assert "wider than asked" in found.notes[0]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("temperature_K", [900, 800], "no range"),
        ("pressures_GPa", [1.0, 1.0], "twice"),
        ("pressures_GPa", [], "pressures_GPa"),
        ("confidence", 1.0, "confidence"),
        ("atoms", 10, "atoms"),
    ],
)
def test_bad_settings_are_refused(key, value, words) -> None:
    table = {"kind": "melting", "element": "Al", "lattice": "fcc", key: value}
    with pytest.raises(ConfigError, match=words):
        choose("athanor.validate", PropertyConfig, table, where="[[property]]")


def test_it_is_a_kind_that_members_do_not_repeat() -> None:
    assert kinds()["melting"] is MeltingPoint
    assert not MeltingPoint.per_member
    assert MeltingPoint(element="Al", lattice="fcc").title == "Melting of fcc Al"


def test_lennard_jones_melts_where_it_should(tmp_path, monkeypatch) -> None:
    """Truncated at 2.5 sigma and small, it melts at 0.62 epsilon/k give or take a tenth."""
    monkeypatch.setattr(point, "HEATING", 1000)
    epsilon, sigma = 0.0103235, 3.405
    oracle = LammpsOracleConfig(
        pair_style=f"lj/cut {2.5 * sigma!r}",
        pair_coeff=(f"* * {epsilon!r} {sigma!r}",),
        species=("Ar",),
    ).build()
    config = MeltingPoint(
        element="Ar",
        lattice="fcc",
        atoms=400,
        steps=3000,
        half_width_K=12.0,
        runs=12,
    )
    found = config.attempt(oracle.calculator(workdir=tmp_path), seed=1, workdir=tmp_path)
    assert found.failures == ()
    melts = found.value("melting point")
    assert melts is not None
    assert abs(melts.value / 119.8 - 0.62) < 0.06 + 2 * melts.uncertainty / 119.8
    heat = found.value("heat of fusion")
    assert heat is not None
    # the literature's entropy of fusion is 1.6 k per atom
    assert 1.2 < heat.value / 1000 / (melts.value * 8.617333e-5) < 2.2
    low, high = found.data["pressures"][0]["interval_K"]
    assert low < melts.value < high
