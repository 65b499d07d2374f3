"""Radial distribution functions: of gases and lattices, beyond half the box, beside experiments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.io import write

from athanor.errors import ConfigError, FormatError, MeasurementError, StructureError
from athanor.validate import kinds
from athanor.validate._measured import Line
from athanor.validate._structure.blocks import Blocked, number, split
from athanor.validate._structure.bonds import first_shell
from athanor.validate._structure.curve import read_curve
from athanor.validate._structure.distribution import distribution
from athanor.validate._structure.elements import elements_of
from athanor.validate._structure.peaks import peaks_of
from athanor.validate._structure.wright import distance, wright
from athanor.validate.rdf import RadialDistribution

SKEWED = np.array([[9.0, 0.0, 0.0], [2.5, 8.0, 0.0], [-1.5, 3.0, 7.0]])


class Untouched(Calculator):
    """Fails when anything is asked of it."""

    def calculate(self, *args: object, **kwargs: object) -> None:
        raise AssertionError("a given trajectory must not be calculated")


def gas(symbols: str, seed: int, cell: np.ndarray = SKEWED) -> Atoms:
    atoms = Atoms(symbols, cell=cell, pbc=True)
    atoms.set_scaled_positions(np.random.default_rng(seed).random((len(atoms), 3)))
    return atoms


def liquid(seed: int, frames: int = 6) -> list[Atoms]:
    """A lattice shaken so hard that its shells merge, as in a liquid."""
    cell = bulk("Al", "fcc", a=4.2, cubic=True).repeat(3)
    found = []
    for place in range(frames):
        one = cell.copy()
        one.rattle(0.35, seed=seed + place)
        found.append(one)
    return found


def brute_force(atoms: Atoms, a: str, b: str, edges: np.ndarray) -> np.ndarray:
    """g_ab(r) by every image of every atom."""
    reach = range(-4, 5)
    shifts = np.array([(i, j, k) for i in reach for j in reach for k in reach]) @ atoms.cell.array
    of_a = atoms.positions[atoms.symbols == a]
    of_b = atoms.positions[atoms.symbols == b]
    apart = of_b[None, :, None] - of_a[:, None, None] + shifts[None, None]
    lengths = np.linalg.norm(apart, axis=-1).ravel()
    counted, _ = np.histogram(lengths[lengths > 1e-9], edges)
    shells = 4 / 3 * np.pi * np.diff(edges**3)
    return counted / (len(of_a) * len(of_b) / atoms.get_volume() * shells)


@pytest.mark.parametrize("seed", range(3))
def test_partials_are_those_of_every_image_counted_one_by_one(seed: int) -> None:
    atoms = gas("Si4O7Na", seed)
    found = distribution([atoms], r_max=11.0, width=0.5)
    assert found.elements.names == ("Na", "Si", "O")
    for row, (a, b) in enumerate(found.elements.pairs):
        expected = brute_force(atoms, a, b, found.edges)
        np.testing.assert_allclose(found.partial.mean[row], expected, rtol=1e-12)


def test_beyond_half_the_box_it_is_that_of_the_repeated_box() -> None:
    atoms = gas("Si5O8", 11, 1.0371 * SKEWED)  # no lattice vector at the edge of a bin
    small = distribution([atoms], r_max=14.0, width=0.1)
    large = distribution([atoms.repeat((2, 3, 2))], r_max=14.0, width=0.1)
    np.testing.assert_allclose(small.partial.mean, large.partial.mean, rtol=1e-9)
    np.testing.assert_allclose(small.total.mean, large.total.mean, rtol=1e-9)


def test_an_ideal_gas_has_one_everywhere() -> None:
    cell = 2.2 * SKEWED
    frames = [gas("Si150O250", seed, cell) for seed in range(40)]
    half = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0).max() / 2
    found = distribution(frames, r_max=float(half), width=0.25, blocks=10)
    for row, share in enumerate(found.elements.pair_shares):
        shells = 4 / 3 * np.pi * np.diff(found.edges**3)
        pairs = share * 400**2 / 2 * 40 * shells / abs(np.linalg.det(cell))
        off = found.partial.mean[row] - 1
        # what is left beside chance is 1/N of the like pairs, a hundredth at most
        assert np.abs(off)[pairs > 50].max() < 5 / np.sqrt(50) + 0.01
        z = (off * np.sqrt(pairs))[pairs > 50]
        assert 0.6 < np.sqrt(np.mean(z**2)) < 1.4
    far = found.r > 4
    assert np.average(found.total.mean[far], weights=found.r[far] ** 2) == pytest.approx(
        1 - 1 / 400, abs=0.003
    )


def test_a_frame_of_another_volume_is_counted_with_its_own_density() -> None:
    frames = [bulk("Al", "fcc", a=a, cubic=True) for a in (4.0, 4.4)]
    both = distribution(frames, r_max=6, width=0.1)
    each = [distribution([one], r_max=6, width=0.1).partial.mean for one in frames]
    np.testing.assert_allclose(both.partial.mean, np.mean(each, axis=0))
    assert both.density.mean == pytest.approx((4 / 4.0**3 + 4 / 4.4**3) / 2)


def test_the_integral_of_g_is_the_number_of_neighbours() -> None:
    atoms = gas("Si6O9", 5)
    found = distribution([atoms], r_max=8.0, width=0.05)
    shells = 4 / 3 * np.pi * np.diff(found.edges**3)
    counted = (found.total.mean * shells).sum() * float(found.density.mean)
    lengths = [
        brute_force(atoms, a, b, np.array([0, 8.0]))[0]
        * (atoms.symbols == a).sum()
        * (atoms.symbols == b).sum()
        for a in ("Si", "O")
        for b in ("Si", "O")
    ]
    volume = 4 / 3 * np.pi * 8.0**3
    assert counted == pytest.approx(sum(lengths) * volume / atoms.get_volume() / len(atoms))


def test_elements_are_named_as_formulas_name_them() -> None:
    for symbols, names in (("O2Si", ("Si", "O")), ("Te3As", ("As", "Te")), ("O2Te", ("Te", "O"))):
        assert elements_of([gas(symbols, 0)]).names == names
    assert elements_of([gas("O2Si", 0)]).pair("O-Si") == ("Si", "O")


@pytest.mark.parametrize(
    ("frames", "error", "words"),
    [
        ([], MeasurementError, "no frames"),
        ([Atoms("Al2", [[0, 0, 0], [0, 0, 3]], cell=[9, 9, 9])], MeasurementError, "not periodic"),
        ([gas("SiO2", 0), gas("O2Si", 0)], MeasurementError, "other atoms"),
        ([Atoms("Al", [[np.nan] * 3], cell=[3, 3, 3], pbc=True)], StructureError, "not finite"),
    ],
)
def test_frames_without_a_distribution(frames: list, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        distribution(frames, r_max=5, width=0.1)


def test_blocks_are_consecutive_and_their_scatter_is_the_error() -> None:
    assert [list(part) for part in split(range(7), 3)] == [[0, 1], [2, 3, 4], [5, 6]]
    assert len(split(range(2), 5)) == 2
    values = np.random.default_rng(3).normal(size=400)
    found = Blocked(values, np.ones(400))
    mean, error = number(found)
    assert mean == pytest.approx(values.mean())
    assert error == pytest.approx(values.std(ddof=1) / 20)
    assert number(Blocked(np.array([2.0]))) == (2.0, None)
    assert number(Blocked(np.array([1.0, 4.0]), np.array([2.0, 1.0])))[0] == pytest.approx(2.0)


@pytest.mark.parametrize("width", [0.08, 0.3])
def test_a_peak_is_where_it_is_and_as_high(width: float) -> None:
    generator = np.random.default_rng(8)
    x = np.arange(0.025, 10, 0.05)
    place = generator.uniform(2.0, 3.0)
    y = 3 * np.exp(-((x - place) ** 2) / (2 * width**2)) + (x > 4)
    peaks = peaks_of(x, y + 0.01 * generator.normal(size=len(x)), smooth=0.06)
    found = peaks.vertex(0)
    assert found[0] == pytest.approx(place, abs=0.02)
    assert found[1] == pytest.approx(3, abs=0.1)


def test_a_flat_valley_ends_in_its_middle_and_no_valley_is_none() -> None:
    r = np.arange(0.01, 8, 0.02)
    solid = np.where((r > 2) & (r < 2.2), 9.0, 0.0) + np.where((r > 4) & (r < 4.2), 5.0, 0.0)
    shell = first_shell(r, solid)
    assert shell is not None
    assert shell.minimum == pytest.approx(3.1, abs=0.05)
    alone = first_shell(r, np.where((r > 2) & (r < 2.2), 9.0, 0.0))
    assert alone.peak == pytest.approx(2.1, abs=0.1)
    assert 2.3 < alone.minimum < 4.2
    assert first_shell(r, np.exp(-((r - 7.5) ** 2)) * 3).minimum is None
    assert first_shell(r, np.ones_like(r) * 0.9) is None


def test_wright_parameter_by_hand() -> None:
    assert wright(np.array([1.0, 2.0]), np.array([1.0, 1.0])) == pytest.approx(100 * np.sqrt(1 / 2))
    with pytest.raises(MeasurementError, match="zero everywhere"):
        wright(np.ones(3), np.zeros(3))
    x = np.linspace(0, 1, 11)
    mine = Line.of(x, np.full(11, 1.1), np.full(11, 0.03))
    found = distance("R", mine, Line.of(2 * x, np.ones(11), np.full(11, 0.04)), None)
    assert found.value == pytest.approx(10)
    assert found.uncertainty == pytest.approx(5)
    with pytest.raises(MeasurementError, match="places in common"):
        distance("R", mine, Line.of(x, np.ones(11)), (0.0, 0.2))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 2\n2 x\n", "line 2: found '2 x'"),
        ("1\n", "expected two columns"),
        ("1 2\n1 3\n", "must ascend"),
        ("1 nan\n", "must be finite"),
        ("# r g\n1 2\n2 3\n", "holds 2 points"),
    ],
)
def test_a_curve_that_is_none(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "curve.dat"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(FormatError, match=words):
        read_curve(path)
    with pytest.raises(FormatError, match="cannot be read"):
        read_curve(tmp_path / "nowhere.dat")


def measured(config: RadialDistribution, tmp_path: Path):
    return config.attempt(Untouched(), seed=0, workdir=tmp_path)


@pytest.mark.parametrize("function", ["g(r)", "G(r)", "T(r)"])
def test_its_own_curve_is_no_distance_away(function: str, tmp_path: Path) -> None:
    frames = liquid(1)
    write(tmp_path / "run.extxyz", frames)
    found = distribution(frames, r_max=8, width=0.05)
    base = 4 * np.pi * float(found.density.mean) * found.r
    g = found.total.mean
    y = {"g(r)": g, "G(r)": base * (g - 1), "T(r)": base * g}[function]
    rows = "\n".join(f"{a:.17g}, {b:.17g}  # r, y" for a, b in zip(found.r, y, strict=True))
    (tmp_path / "own.csv").write_text(rows, encoding="utf-8")
    config = RadialDistribution(
        trajectory=tmp_path / "run.extxyz",
        r_max=8,
        experiment=tmp_path / "own.csv",
        experiment_function=function,
        against=tmp_path / "run.extxyz",
    )
    result = measured(config, tmp_path)
    assert result.failures == ()
    assert result.value("R_X of G(r) against own").value < 1e-6
    assert result.value("R_X of G(r) against run").value == 0
    assert result.value("R_X of G(r) against run").uncertainty > 1
    assert "own" in result.panels["Reduced G(r)"].lines


def test_two_runs_are_compared_by_their_curves(tmp_path: Path) -> None:
    write(tmp_path / "run.extxyz", liquid(1))
    write(tmp_path / "cold.extxyz", [bulk("Al", "fcc", a=4.2, cubic=True).repeat(3)])
    configs = [
        RadialDistribution(
            trajectory=tmp_path / f"{name}.extxyz", tolerance={"R_X*": 50.0}, r_range=(2, 8)
        )
        for name in ("run", "cold")
    ]
    run, cold = (measured(config, tmp_path) for config in configs)
    (same,) = configs[0].compared(run, run)
    assert (same.name, same.value, same.passed, same.is_error) == ("R_X of G(r)", 0, True, True)
    (other,) = configs[0].compared(run, cold)
    mine, true = (np.array(one.panels["Reduced G(r)"].lines["total"].y) for one in (run, cold))
    r = np.array(run.panels["Reduced G(r)"].lines["total"].x)
    kept = (r >= 2) & (r <= 8)
    assert other.value == pytest.approx(wright(mine[kept], true[kept]))
    assert other.passed is False
    assert configs[0].compared(run, type(run)()) == ()
    narrow = configs[0].model_copy(update={"r_range": (2.0, 2.1)})
    assert narrow.compared(run, cold) == ()


def test_what_only_the_reference_has_is_zero_of_mine(tmp_path: Path) -> None:
    for name, lattice in (("mine", "fcc"), ("theirs", "diamond")):
        write(tmp_path / f"{name}.extxyz", [bulk("Al", lattice, a=4.05, cubic=True)])
    config = RadialDistribution(trajectory=tmp_path / "mine.extxyz", tolerance={"Al 4-fold": 9.0})
    other = config.model_copy(update={"trajectory": tmp_path / "theirs.extxyz"})
    mine, theirs = measured(config, tmp_path), measured(other, tmp_path)
    found = {one.name: one for one in config.joined(mine, theirs).quantities}
    assert found["Al 12-fold"].value == 100
    assert found["Al 12-fold"].reference is None
    assert found["Al 4-fold"].value == 0
    assert found["Al 4-fold"].reference == 100
    assert found["Al 4-fold"].passed is False


def test_what_cannot_be_had_fails_and_the_rest_is_there(tmp_path: Path) -> None:
    write(tmp_path / "gas.extxyz", [gas("Ar300", seed, 3 * SKEWED) for seed in range(5)])
    config = RadialDistribution(
        trajectory=tmp_path / "gas.extxyz",
        r_max=8,
        bin_width=0.4,
        bonds={"Ar-Kr": 3.0},
        experiment=tmp_path / "none.dat",
        against=tmp_path / "none.extxyz",
    )
    found = measured(config, tmp_path)
    assert len(found.failures) == 3
    assert "g(r)" in found.panels
    assert "sees its own images" not in found.notes[0]
    skipped = measured(config.model_copy(update={"skip": 5}), tmp_path)
    assert "no frames" in skipped.failures[0]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({}, "one of a trajectory"),
        ({"trajectory": "a", "file": "b"}, "one of a trajectory"),
        ({"file": "b", "element": "Al", "temperature_K": 3}, "one of a trajectory"),
        ({"element": "Al", "temperature_K": 300}, "one of a trajectory"),
        ({"element": "Al", "lattice": "fcc", "volume": 16}, "need temperature_K"),
        ({"element": "Al", "lattice": "fcc", "temperature_K": 300}, "need a volume"),
        ({"file": "b", "temperature_K": 3, "sampling_ps": 0.01}, "there would be no frame"),
        ({"trajectory": "a", "bonds": {"Al-Al": -1}}, "bonds"),
        ({"trajectory": "a", "bonds": {"Al-Al": "maximum"}}, "bonds"),
    ],
)
def test_a_section_that_makes_no_sense(table: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        RadialDistribution.parse(table, where="suite")
    assert kinds()["rdf"] is RadialDistribution
