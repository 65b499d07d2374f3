"""Dynamics made for the structure of liquids: their legs, and going on after a kill."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write

from athanor.data.durable import only_one
from athanor.errors import ConfigError, FolderError, MeasurementError
from athanor.validate._structure.kept import Part, keep, kept
from athanor.validate._structure.trajectory import OfTrajectory, repeated
from athanor.validate.rdf import RadialDistribution
from athanor.validate.structure_factor import StructureFactor

SHORT = {
    "timestep_fs": 4.0,
    "equilibration_ps": 0.06,
    "sampling_ps": 0.12,
    "interval_ps": 0.02,
    "blocks": 3,
}
HOT = {"element": "Al", "lattice": "fcc", "atoms": 32, "temperature_K": 1500.0, "volume": 19.0}


class Dying(EMT):
    """EMT whose process is killed after so many evaluations."""

    def __init__(self, lives: int) -> None:
        super().__init__()
        self.lives = lives

    def calculate(self, *args: object, **kwargs: object) -> None:
        self.lives -= 1
        if self.lives < 0:
            raise KeyboardInterrupt
        super().calculate(*args, **kwargs)


class Infinite(EMT):
    """EMT whose forces are no numbers."""

    def calculate(self, *args: object, **kwargs: object) -> None:
        super().calculate(*args, **kwargs)
        self.results["forces"] = np.full_like(self.results["forces"], np.inf)


def test_the_legs_are_those_of_the_fields() -> None:
    config = OfTrajectory(
        **HOT, **SHORT, melt_temperature_K=3000.0, melt_ps=0.4, quench_ps=0.2, pressure_GPa=1.5
    )
    pieces = config.pieces()
    assert [piece.name for piece in pieces] == [
        "melting",
        "quenching",
        "coming to equilibrium",
        *["sampling"] * 3,
    ]
    assert [piece.leg.steps for piece in pieces] == [100, 50, 15, 10, 10, 10]
    assert [piece.leg.ends for piece in pieces[:3]] == [(3000, 3000), (3000, 1500), (1500, 1500)]
    assert {piece.leg.pressure_GPa for piece in pieces} == {1.5}
    assert [piece.sampled for piece in pieces] == [False] * 3 + [True] * 3
    assert {piece.leg.every for piece in pieces if piece.sampled} == {5}
    assert config.subject == "fcc Al molten at 3000 K, at 1500 K and 1.5 GPa"


def test_a_start_is_repeated_and_scaled(tmp_path: Path) -> None:
    start = OfTrajectory(**HOT, **SHORT).start()
    assert len(start) == 32
    assert start.get_volume() == pytest.approx(32 * 19)
    assert len(OfTrajectory(**{**HOT, "atoms": None}, **SHORT).start()) == 256
    path = tmp_path / "salt.extxyz"
    write(path, bulk("NaCl", "rocksalt", a=5.64, cubic=True))
    fields = {"file": path, "temperature_K": 300.0}
    assert len(OfTrajectory(**fields).start()) == 8
    larger = OfTrajectory(**fields, atoms=64, volume=25.0).start()
    assert len(larger) == 64
    assert larger.get_volume() == pytest.approx(64 * 25)
    assert OfTrajectory(**fields).subject == "salt at 300 K"


def test_repeating_makes_a_cube_and_never_less() -> None:
    long = Atoms("Al", cell=[3, 3, 12], pbc=True)
    assert repeated(long, 16).cell.lengths() == pytest.approx([12, 12, 12])
    assert len(repeated(bulk("Al", cubic=True), 2)) == 4


def test_a_start_that_is_none(tmp_path: Path) -> None:
    write(tmp_path / "two.extxyz", [bulk("Al"), bulk("Cu")])
    with pytest.raises(ConfigError, match="holds 2 structures, dynamics start from one"):
        OfTrajectory(file=tmp_path / "two.extxyz", temperature_K=300).start()
    write(tmp_path / "open.extxyz", Atoms("Al2", [[0, 0, 0], [0, 0, 3]]))
    with pytest.raises(ConfigError, match="not periodic, so it has no volume"):
        OfTrajectory(file=tmp_path / "open.extxyz", temperature_K=300, volume=9).start()


def test_a_liquid_is_measured_and_its_frames_are_kept(tmp_path: Path) -> None:
    config = RadialDistribution(**HOT, **SHORT, r_max=6.0, bin_width=0.2, bonds={"Al-Al": 3.9})
    heard: list[tuple[float, str]] = []
    found = config.alone(
        EMT(), seed=3, workdir=tmp_path, tell=lambda share, words: heard.append((share, words))
    )
    assert found.failures == ()
    assert found.notes[0].startswith("6 frames of 32 atoms, 0.0526 atoms per Å³; beyond 4.2 Å")
    assert 8 < found.value("Al coordination").value < 16
    assert found.value("Al coordination").uncertainty > 0
    shares = [share for share, _ in heard]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    assert {words for _, words in heard} == {"sampling"}
    # what is kept is not run again, and gives the same to the last bit
    assert config.alone(Dying(0), seed=3, workdir=tmp_path).plain() == found.plain()
    (tmp_path / "again").mkdir()
    assert config.alone(EMT(), seed=3, workdir=tmp_path / "again").plain() == found.plain()
    (tmp_path / "other").mkdir()
    assert config.alone(EMT(), seed=4, workdir=tmp_path / "other").plain() != found.plain()


def test_a_killed_run_goes_on_to_the_same_frames(tmp_path: Path) -> None:
    config = OfTrajectory(**HOT, **SHORT, pressure_GPa=0.0)
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole = config.frames_of(EMT(), seed=5, workdir=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        config.frames_of(Dying(35), seed=5, workdir=tmp_path / "killed")
    done = len(list((tmp_path / "killed").glob("leg-*.npz")))
    assert 0 < done < 4
    gone_on = config.frames_of(EMT(), seed=5, workdir=tmp_path / "killed")
    assert len(whole) == len(gone_on) == 6
    for one, other in zip(whole, gone_on, strict=True):
        assert np.array_equal(one.positions, other.positions)
        assert np.array_equal(one.cell.array, other.cell.array)
    volumes = {round(one.get_volume(), 6) for one in whole}
    assert len(volumes) == 6  # the barostat moved the cell


def test_a_damaged_leg_is_run_again(tmp_path: Path) -> None:
    atoms = bulk("Al", cubic=True)
    atoms.set_momenta(np.random.default_rng(1).normal(size=(4, 3)))
    path = tmp_path / "leg.npz"
    assert kept(path) is None
    keep(path, Part(atoms, (bulk("Cu"),)))
    found = kept(path)
    assert found is not None
    assert np.array_equal(found.end.get_momenta(), atoms.get_momenta())
    assert found.frames == (bulk("Cu"),)
    path.write_bytes(path.read_bytes()[:-30])
    assert kept(path) is None


def test_a_run_that_is_lost_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    config = RadialDistribution(**HOT, **SHORT)
    with pytest.raises(MeasurementError, match="lost at step"):
        config.alone(Infinite(), seed=1, workdir=tmp_path)
    found = config.attempt(Infinite(), seed=1, workdir=tmp_path)
    assert len(found.failures) == 1
    assert found.values == ()


def test_what_should_melt_and_does_not_is_said(tmp_path: Path) -> None:
    config = OfTrajectory(**HOT, **SHORT, melt_temperature_K=200.0, melt_ps=0.2)
    with pytest.raises(MeasurementError, match=r"did not melt within 0\.2 ps at 200 K"):
        config.frames_of(EMT(), seed=1, workdir=tmp_path)
    # nor does what is kept of it
    with pytest.raises(MeasurementError, match="did not melt"):
        config.frames_of(Dying(0), seed=1, workdir=tmp_path)
    hot = config.model_copy(update={"melt_temperature_K": 9000.0, "quench_ps": 0.1})
    assert len(hot.frames_of(EMT(), seed=1, workdir=tmp_path)) == 6


def test_the_structure_factor_of_dynamics(tmp_path: Path) -> None:
    config = StructureFactor(**HOT, **SHORT, q_max=6.0, r_max=5.0)
    heard: list[float] = []
    result = config.attempt(
        EMT(), seed=3, workdir=tmp_path, tell=lambda share, words: heard.append(share)
    )
    assert result.failures == ()
    assert 2.0 < result.value("X-ray S(q) highest peak").value < 3.3
    assert heard == sorted(heard)
    assert heard[-1] == pytest.approx(1)
    compared = config.joined(result, result)
    assert [one.value for one in compared.quantities if one.is_error] == [0]


class Counted(EMT):
    """EMT that counts its evaluations."""

    count = 0

    def calculate(self, *args: object, **kwargs: object) -> None:
        self.count += 1
        super().calculate(*args, **kwargs)


def test_two_that_want_the_same_run_make_it_once(tmp_path: Path) -> None:
    config = OfTrajectory(**HOT, **SHORT)
    calculators = [Counted(), Counted()]
    with ThreadPoolExecutor(2) as both:
        one, other = both.map(
            lambda mine: config.frames_of(mine, seed=5, workdir=tmp_path), calculators
        )
    assert min(calculator.count for calculator in calculators) == 0
    assert all(np.array_equal(a.positions, b.positions) for a, b in zip(one, other, strict=True))


def test_a_lock_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="cannot be written"), only_one(tmp_path / "no" / "lock"):
        pass
