"""Structure factors: against explicit sums, the Debye formula, gases, lattices and transforms."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.io import write

from athanor.errors import ConfigError, MeasurementError, MissingExtraError
from athanor.validate import Measured, kinds
from athanor.validate._structure.blocks import Blocked
from athanor.validate._structure.distribution import distribution
from athanor.validate._structure.elements import elements_of
from athanor.validate._structure.scattering import partial_at, scattering
from athanor.validate._structure.transform import lorch_window, reduced, transformed
from athanor.validate._structure.wavevectors import wave_vectors
from athanor.validate._structure.weights import amplitudes, weighted
from athanor.validate.structure_factor import StructureFactor

SKEWED = np.array([[11.0, 0.0, 0.0], [2.5, 9.0, 0.0], [-1.5, 3.0, 10.0]])


LENGTH = 14.0


def gas(symbols: str, seed: int, cell: np.ndarray = SKEWED) -> Atoms:
    atoms = Atoms(symbols, cell=cell, pbc=True)
    atoms.set_scaled_positions(np.random.default_rng(seed).random((len(atoms), 3)))
    return atoms


@functools.cache
def spheres(seed: int) -> Atoms:
    """Spheres of 1.9 Å put in one by one where there is room: short-range order, no long one."""
    generator = np.random.default_rng(seed)
    places = np.zeros((0, 3))
    while len(places) < 200:
        place = generator.random(3) * LENGTH
        apart = places - place
        apart -= LENGTH * np.round(apart / LENGTH)
        if not len(places) or (apart**2).sum(axis=1).min() > 1.9**2:
            places = np.vstack([places, place])
    return Atoms("Si80O120", places, cell=[LENGTH] * 3, pbc=True)


def null_alloy() -> Atoms:
    """A composition of titanium and zirconium whose neutron scattering lengths cancel."""
    lengths = amplitudes("neutron", ("Ti", "Zr"), np.ones(1))[:, 0]
    titanium = np.arange(1, 60)
    zirconium = np.round(-titanium * lengths[0] / lengths[1])
    mean = np.abs(titanium * lengths[0] + zirconium * lengths[1]) / (titanium + zirconium)
    best = int(np.argmin(mean))
    return gas(f"Ti{titanium[best]}Zr{int(zirconium[best])}", 0)


def reciprocal(atoms: Atoms) -> np.ndarray:
    return 2 * np.pi * np.linalg.inv(atoms.cell.array).T


@pytest.mark.parametrize("seed", range(3))
def test_wave_vectors_are_half_of_all_there_are(seed: int) -> None:
    cell = SKEWED * np.random.default_rng(seed).uniform(0.8, 1.3)
    found = wave_vectors(cell, q_max=3.1, width=0.1, most=10**9, seed=0)
    reach = np.arange(-9, 10)
    every = np.stack(np.meshgrid(reach, reach, reach, indexing="ij"), axis=-1).reshape(-1, 3)
    lengths = np.linalg.norm(every @ (2 * np.pi * np.linalg.inv(cell).T), axis=1)
    expected = {tuple(one) for one in every[(lengths <= 3.1) & (lengths > 0)]}
    mine = {tuple(one) for one in found.tolist()}
    assert len(mine) == len(found)
    assert mine | {tuple(-np.array(one)) for one in mine} == expected
    assert 2 * len(mine) == len(expected)


def test_full_shells_are_thinned_by_lot() -> None:
    cell = 25 * np.eye(3)
    found = wave_vectors(cell, q_max=8.0, width=0.5, most=60, seed=4)
    lengths = np.linalg.norm(found, axis=1) * 2 * np.pi / 25
    per_shell, _ = np.histogram(lengths, np.arange(0, 8.1, 0.5))
    expected = 2 * np.pi * np.arange(0.25, 8, 0.5) ** 2 * 0.5 * 25**3 / (2 * np.pi) ** 3
    full = expected > 70
    assert np.abs(per_shell[full] - 60).max() < 5 * np.sqrt(60)
    assert np.array_equal(found, wave_vectors(cell, q_max=8.0, width=0.5, most=60, seed=4))
    assert not np.array_equal(found, wave_vectors(cell, q_max=8.0, width=0.5, most=60, seed=5))


@pytest.mark.parametrize("seed", range(3))
def test_partials_are_the_double_sum_over_atoms(seed: int) -> None:
    atoms = gas("Na3Si7O13", seed)
    elements = elements_of([atoms])
    vectors = wave_vectors(SKEWED, q_max=4.0, width=1.0, most=20, seed=seed) @ reciprocal(atoms)
    found = partial_at(atoms, elements, vectors)
    apart = atoms.positions[:, None] - atoms.positions[None]
    waves = np.cos(np.einsum("ijx,qx->qij", apart, vectors))
    for row, (a, b) in enumerate(elements.pairs):
        of_a, of_b = (atoms.symbols == one for one in (a, b))
        double = waves[:, of_a][:, :, of_b].sum(axis=(1, 2))
        c_a, c_b = of_a.mean(), of_b.mean()
        own = c_a if a == b else 0
        expected = 1 + (double / len(atoms) - own) / (c_a * c_b)
        np.testing.assert_allclose(found[row], expected, atol=1e-9)


@pytest.mark.parametrize("probe", ["X-ray", "neutron"])
def test_totals_are_the_squares_of_weighted_amplitudes(probe: str) -> None:
    cell = SKEWED + np.random.default_rng(6).uniform(-1, 1, (3, 3))  # no two waves of one length
    atoms = gas("Na3Si7O13", 5, cell)
    found = scattering([atoms], q_max=3.0, width=1e-6, most=10**9)
    total = weighted(found, probe).mean
    whole = wave_vectors(cell, q_max=3.0, width=1.0, most=10**9, seed=0) @ reciprocal(atoms)
    lengths = np.linalg.norm(whole, axis=1)
    assert len(lengths) == len(found.q)
    whole, lengths = whole[np.argsort(lengths)], np.sort(lengths)
    f = amplitudes(probe, found.elements.names, lengths)[found.elements.index]
    amplitude = (f * np.exp(1j * atoms.positions @ whole.T)).sum(axis=0)
    square = np.abs(amplitude) ** 2 / len(atoms) - (f**2).mean(axis=0)
    np.testing.assert_allclose(total, 1 + square / f.mean(axis=0) ** 2, atol=1e-7)


def test_an_ideal_gas_scatters_as_one_everywhere() -> None:
    frames = [gas("Si60O120", seed, 2 * SKEWED) for seed in range(12)]
    found = scattering(frames, q_max=4.75, width=0.25, most=100, blocks=6)
    # S of one wave vector is spread exponentially; a shell has about 100 in each of 12 frames
    for row, of_one in enumerate((3.0, 1.5, 1.5)):
        z = (found.partial.mean[row] - 1)[4:] / (of_one / np.sqrt(1200))
        assert np.abs(z).max() < 5
        assert 0.6 < np.sqrt(np.mean(z**2)) < 1.5
        assert 0.4 < np.median(found.partial.error[row][4:]) / of_one * np.sqrt(1200) < 1.6
    for probe in ("X-ray", "neutron"):
        assert weighted(found, probe).mean[4:].mean() == pytest.approx(
            1, abs=5 / np.sqrt(1200 * 15)
        )


def test_a_crystal_has_bragg_peaks_of_all_its_atoms() -> None:
    frames = [bulk("Al", "fcc", a=a, cubic=True).repeat(2) for a in (4.0, 4.04)]
    found = scattering(frames, q_max=4.0, width=0.02, most=10**9)
    places = 2 * np.pi / 4.02 * np.sqrt([3, 4])
    bright = found.partial.mean[0] > 0.5
    assert found.q[bright][:2] == pytest.approx(places, abs=0.002)
    # (111) shares its shell with nothing else
    assert found.partial.mean[0][bright][0] == pytest.approx(32)
    assert np.abs(found.partial.mean[0][~bright]).max() < 1e-9


def test_directions_average_to_the_debye_sum() -> None:
    """A cluster alone in a large box, whose self-scattering is that of the formula."""
    cluster = spheres(3)[[*range(8), *range(80, 97)]]
    cluster.set_cell([45.0] * 3)
    found = scattering([cluster], q_max=6.0, width=0.1, most=2000)
    lengths = cluster.get_all_distances()
    for row, (a, b) in enumerate(found.elements.pairs):
        of_a, of_b = (cluster.symbols == one for one in (a, b))
        own = lengths[of_a][:, of_b]
        terms = np.sinc(own[..., None] * found.q / np.pi).sum(axis=(0, 1)) / 25
        c_a, c_b = of_a.mean(), of_b.mean()
        debye = 1 + (terms - (c_a if a == b else 0)) / (c_a * c_b)
        far = found.q > 1.5
        off = (found.partial.mean[row] - debye)[far]
        # the scatter of S over directions is about its own size
        assert np.sqrt(np.mean(off**2)) < 0.1 * np.abs(debye[far]).max()


def test_the_transform_of_g_is_the_debye_sum_without_the_mean_density() -> None:
    atoms = gas("Si9O14", 7)
    around = distribution([atoms], r_max=7.0, width=0.002)
    q = np.array([0.7, 1.9, 4.3])
    found = transformed(around, q=q, lorch=False)
    reach = np.arange(-2, 3)
    shifts = np.stack(np.meshgrid(reach, reach, reach), axis=-1).reshape(-1, 3) @ SKEWED
    apart = atoms.positions[:, None, None] - atoms.positions[None, :, None] + shifts
    lengths = np.linalg.norm(apart, axis=-1)
    kept = (lengths < 7.0) & (lengths > 1e-9)
    waves = np.where(kept[..., None], np.sinc(lengths[..., None] * q / np.pi), 0).sum(axis=2)
    rho = len(atoms) / atoms.get_volume()
    hole = 4 * np.pi * rho * (np.sin(7 * q) - 7 * q * np.cos(7 * q)) / q**3
    for row, (a, b) in enumerate(found.elements.pairs):
        of_a, of_b = (atoms.symbols == one for one in (a, b))
        double = waves[of_a][:, of_b].sum(axis=(0, 1)) / len(atoms)
        expected = 1 + double / (of_a.mean() * of_b.mean()) - hole
        np.testing.assert_allclose(found.partial.mean[row], expected, atol=0.02)


def test_both_methods_agree_for_a_glass() -> None:
    frames = [spheres(seed) for seed in range(6)]
    direct = scattering(frames, q_max=8.0, width=0.1, most=300, blocks=4)
    around = distribution(frames, r_max=7.0, width=0.02, blocks=4)
    other = transformed(around, q=direct.q, lorch=False)
    high = direct.q > 1.5
    for row, share in enumerate(direct.elements.pair_shares):
        off = (direct.partial.mean - other.partial.mean)[row, high]
        assert np.sqrt(np.mean(off**2)) < 0.05 / share
        assert np.ptp(direct.partial.mean[row, high]) > 6 * np.sqrt(np.mean(off**2))


@pytest.mark.parametrize("seed", range(3))
def test_reduced_g_of_a_known_structure_factor(seed: int) -> None:
    """A Gaussian shell at d: q (S - 1) = exp(-q² s² / 2) sin(q d) / d has a transform by hand."""
    generator = np.random.default_rng(seed)
    d, s = generator.uniform(2, 4), generator.uniform(0.12, 0.2)
    q = np.arange(0.02, 40, 0.02)
    total = 1 + np.exp(-((q * s) ** 2) / 2) * np.sin(q * d) / (q * d)
    r = np.arange(0.02, 8, 0.02)
    found = reduced(q, Blocked(total[None]), r, q_max=40.0, lorch=False).mean
    bell = np.exp(-((r - d) ** 2) / (2 * s**2)) - np.exp(-((r + d) ** 2) / (2 * s**2))
    np.testing.assert_allclose(found, bell / (np.sqrt(2 * np.pi) * s * d), atol=2e-3)
    smooth = reduced(q, Blocked(total[None]), r, q_max=40.0, lorch=True).mean
    assert 0.5 < smooth.max() / found.max() < 1


def test_the_lorch_window_falls_from_one_to_zero() -> None:
    found = lorch_window(np.array([0.0, 5.0, 10.0]), 10.0)
    np.testing.assert_allclose(found, [1, 2 / np.pi, 0], atol=1e-12)


def test_the_tables_are_of_atoms_and_nuclei() -> None:
    q = np.array([0.0, 4.0, 30.0])
    names = ("H", "O", "Si", "U")
    found = amplitudes("X-ray", names, q)
    np.testing.assert_allclose(found[:, 0], [1, 8, 14, 92], atol=0.02)
    assert (np.diff(found, axis=1) < 0).all()
    # Sears 1992, fm
    lengths = amplitudes("neutron", ("H", "O", "Si"), q)
    np.testing.assert_allclose(lengths[:, 0], [-3.739, 5.803, 4.149], atol=0.002)
    np.testing.assert_allclose(lengths[:, 2], lengths[:, 0])
    with pytest.raises(MeasurementError, match="neutron scattering of At is not tabulated"):
        amplitudes("neutron", ("At",), q)


def test_a_null_alloy_has_no_neutron_scale() -> None:
    found = scattering([null_alloy()], q_max=3.0, width=0.2, most=50)
    with pytest.raises(MeasurementError, match="averages to nothing"):
        weighted(found, "neutron")
    assert np.isfinite(weighted(found, "X-ray").mean).all()


def test_a_box_too_small_for_any_wave() -> None:
    with pytest.raises(MeasurementError, match=r"no wave vector of this box is shorter than 0\.1"):
        scattering([gas("Si2", 0)], q_max=0.1, width=0.05, most=10)


def measured(config: StructureFactor, tmp_path: Path) -> Measured:
    return config.attempt(Calculator(), seed=0, workdir=tmp_path)


@pytest.fixture
def glass(tmp_path: Path) -> Path:
    path = tmp_path / "glass.extxyz"
    write(path, [spheres(seed) for seed in range(4)])
    return path


@pytest.mark.parametrize("method", ["direct", "transform"])
def test_a_glass_beside_itself(method: str, glass: Path, tmp_path: Path) -> None:
    fields = {"trajectory": glass, "method": method, "q_max": 10.0, "r_max": 6.0}
    first = measured(StructureFactor(**fields, probes=("neutron", "X-ray")), tmp_path)
    assert first.failures == ()
    line = first.panels["neutron S(q)"].lines["total"]
    near = first.value("neutron S(q) highest peak")
    top = int(np.argmax(line.y))
    assert near.value == pytest.approx(line.x[top], abs=0.3)
    assert near.uncertainty is not None
    assert set(first.panels["Faber-Ziman S(q)"].lines) == {"Si-Si", "Si-O", "O-O"}
    for function in ("S(q)", "q(S(q)-1)", "S(q)-1"):
        q, s = np.array(line.x), np.array(line.y)
        y = {"S(q)": s, "S(q)-1": s - 1, "q(S(q)-1)": q * (s - 1)}[function]
        (tmp_path / "own.dat").write_text(
            "\n".join(f"{a:.15g} {b:.15g}" for a, b in zip(q, y, strict=True)), encoding="utf-8"
        )
        config = StructureFactor(
            **fields,
            probes=("neutron",),
            experiment=tmp_path / "own.dat",
            experiment_function=function,
            against=glass,
        )
        again = measured(config, tmp_path)
        assert again.failures == ()
        assert again.value("R_X of neutron G(r) against own").value < 1e-6
        assert again.value("R_X of neutron G(r) against glass").value < 1e-9
        assert config.compared(first, again)[0].value < 1e-9


def test_others_are_further_away(glass: Path, tmp_path: Path) -> None:
    config = StructureFactor(trajectory=glass, q_max=8.0, r_max=6.0, tolerance={"R_X*": 20.0})
    write(tmp_path / "gas.extxyz", [gas("Si80O120", 1, LENGTH * np.eye(3))])
    other = config.model_copy(update={"trajectory": tmp_path / "gas.extxyz"})
    (found,) = config.compared(measured(other, tmp_path), measured(config, tmp_path))
    assert found.name == "R_X of X-ray G(r)"
    assert found.value > 50
    assert found.passed is False
    assert found.is_error


def test_one_part_that_fails_leaves_the_others(tmp_path: Path) -> None:
    write(tmp_path / "null.extxyz", [null_alloy()])
    (tmp_path / "zero.dat").write_text("0 1\n1 1\n2 1\n3 1\n4 1\n", encoding="utf-8")
    config = StructureFactor(
        trajectory=tmp_path / "null.extxyz",
        probes=("X-ray", "neutron"),
        q_max=5.0,
        experiment=tmp_path / "zero.dat",
        against=tmp_path / "nowhere.xyz",
    )
    found = measured(config, tmp_path)
    assert [" ".join(one.split()[-6:]) for one in found.failures] == [
        "no scale; ask for another probe",
        "zero or below; leave that out",
        "read (No such file or directory)",
    ]
    assert "X-ray S(q)" in found.panels
    assert "neutron S(q)" not in found.panels


@pytest.mark.parametrize("module", ["dynasor", "dynasor.core.reciprocal"])
def test_without_dynasor_the_pip_line_is_given(module, glass, tmp_path, monkeypatch) -> None:
    config = StructureFactor(trajectory=glass, q_max=3.0)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'athanor\[physics\]'"):
        config.alone(Calculator(), seed=0, workdir=tmp_path)


def test_a_section_that_makes_no_sense() -> None:
    for table, words in (
        ({"probes": []}, "probes"),
        ({"probes": ["X-ray", "X-ray"]}, "names one twice"),
        ({"probes": ["electron"]}, "probes"),
        ({"q_max": 80}, "q_max"),
    ):
        with pytest.raises(ConfigError, match=words):
            StructureFactor.parse({"trajectory": "a", **table}, where="suite")
    assert kinds()["structure_factor"] is StructureFactor
    assert StructureFactor(trajectory="a/glass.xyz").title == "Structure factor of glass"
