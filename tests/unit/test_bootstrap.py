"""Members of an ensemble of moment tensor potentials from one fit."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from scipy.stats import spearmanr

from athanor.data.dataset import Dataset
from athanor.errors import FitError
from athanor.potentials._mtp import bootstrap
from athanor.potentials._mtp.bootstrap import Reference, drawn_weights, reweighted
from athanor.potentials._mtp.program import program_of
from athanor.potentials._mtp.projection import Projection
from athanor.potentials._mtp.rows import triangle
from athanor.potentials.ensemble import Ensemble, EnsembleConfig, Spread
from athanor.potentials.mtp import MomentTensorPotential, MtpConfig
from athanor.structure import FloatArray, Frame, Labels

CONFIG = MtpConfig(level=8, radial_basis_size=6, max_dist=4.5, min_dist=2.0, steps=12, starts=1)


def shaken(rng: np.random.Generator, amount: float, symbols: tuple[str, ...]) -> Atoms:
    atoms = bulk("Al", a=rng.uniform(3.9, 4.2), cubic=True).repeat((2, 1, 1))
    atoms.symbols = rng.choice(symbols, len(atoms))
    atoms.rattle(amount, rng=rng)
    return atoms


def emt_set(
    count: int, *, seed: int, amount: float = 0.2, symbols: tuple[str, ...] = ("Al",)
) -> Dataset:
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(count):
        atoms = shaken(rng, amount, symbols)
        atoms.calc = EMT()
        energy, forces = float(atoms.get_potential_energy()), atoms.get_forces()
        frames.append(Frame(atoms, Labels(energy, forces, atoms.get_stress(voigt=False))))
    return Dataset.of(frames)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return emt_set(40, seed=1)


@pytest.fixture(scope="module")
def fitted(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> MomentTensorPotential:
    folder = tmp_path_factory.mktemp("fit")
    potential = CONFIG.fit(data, Dataset(), seed=1, workdir=folder)
    assert isinstance(potential, MomentTensorPotential)
    return potential


@pytest.fixture(scope="module")
def derived(data: Dataset, fitted: MomentTensorPotential) -> Ensemble:
    return Ensemble.of([fitted, *CONFIG.bootstrapped(fitted, data, count=9, seed=2)])


def spreads(ensemble: Ensemble, structures: list[Atoms]) -> np.ndarray:
    """(n_structures, 2): of the energy and the largest of the forces."""
    found = [Spread.of(each) for each in ensemble.predict_each(structures)]
    return np.array([[one.energy, one.force_max] for one in found])


@pytest.fixture(scope="module")
def refits(data, fitted, tmp_path_factory) -> tuple[np.ndarray, Ensemble]:
    """Counts (9, n_frames) of frames drawn with replacement, and whole fits to these samples."""
    rng, made = np.random.default_rng(3), [fitted]
    counts = rng.multinomial(len(data), np.full(len(data), 1 / len(data)), size=9)
    for row in counts:
        sample = data.subset(np.repeat(np.arange(len(data)), row).tolist())
        workdir = tmp_path_factory.mktemp("refit")
        made.append(CONFIG.fit(sample, Dataset(), seed=1, workdir=workdir, start=fitted))
    return counts.astype(float), Ensemble.of(made)


def near_and_far() -> tuple[list[Atoms], list[Atoms]]:
    rng = np.random.default_rng(4)
    far = [shaken(rng, amount, ("Al",)) for amount in np.linspace(0.2, 0.4, 12)]
    return emt_set(12, seed=4).structures, far


def test_one_step_stands_for_a_whole_fit(data, fitted, refits) -> None:
    """To the same samples: the same ranking of structures, the same size of the spread."""
    counts, whole = refits
    reference = Reference.of(fitted.model, data, settings=CONFIG._settings())
    models = reweighted(reference, counts)
    members = [MomentTensorPotential(model, core=True) for model in models]
    near, far = near_and_far()
    for structures, ratio in ((near, 1.5), (far, 2.0)):
        ours = spreads(Ensemble.of([fitted, *members]), structures)
        theirs = spreads(whole, structures)
        for column in range(2):
            assert spearmanr(ours[:, column], theirs[:, column]).statistic > 0.6
            assert 1 / ratio < np.median(ours[:, column] / theirs[:, column]) < ratio


def test_members_spread_like_refits_to_other_samples(derived, refits) -> None:
    near, far = near_and_far()
    ours, theirs = spreads(derived, near + far), spreads(refits[1], near + far)
    for column in range(2):
        assert spearmanr(ours[:, column], theirs[:, column]).statistic > 0.6
        assert 0.5 < np.median(ours[:, column] / theirs[:, column]) < 2


def test_weights_are_those_of_frames_drawn_with_replacement() -> None:
    """Mean 1 and variance 1 - 1/n, but for what is left to frames that were not drawn."""
    weights = drawn_weights(30, count=4000, seed=5)
    assert weights.min() == bootstrap.LEAST > 0
    drawn = np.where(weights > bootstrap.LEAST, weights, 0.0)
    assert np.array_equal(drawn, np.round(drawn))
    np.testing.assert_array_equal(drawn.sum(axis=1), 30)
    np.testing.assert_allclose(drawn.mean(axis=0), 1, atol=0.08)
    assert drawn.var() == pytest.approx(29 / 30, rel=0.05)


def test_the_spread_is_larger_off_the_training_distribution(derived) -> None:
    near, far = (emt_set(15, seed=5, amount=amount).structures for amount in (0.2, 0.35))
    inside, outside = spreads(derived, near), spreads(derived, far)
    assert (np.median(outside, axis=0) > 2 * np.median(inside, axis=0)).all()


def test_members_are_as_good_as_the_fit(data, fitted, derived) -> None:
    test = emt_set(15, seed=6)

    def rmse(potential: MomentTensorPotential | Ensemble) -> float:
        found = potential.predict(test.structures)
        off = [a.forces - b.forces for a, b in zip(found, test.labels, strict=True)]
        return float(np.sqrt(np.mean(np.concatenate(off) ** 2)))

    single = rmse(fitted)
    assert all(rmse(member) < 1.5 * single for member in derived.members)
    assert rmse(derived) < 1.1 * single
    radials = [member.model.radial for member in derived.members]
    assert not any(np.array_equal(radials[0], one) for one in radials[1:])


def test_with_equal_weights_nothing_moves(data, fitted) -> None:
    """The rows are those of the fit, and so is the solution of its linear coefficients."""
    reference = Reference.of(fitted.model, data, settings=CONFIG._settings())
    whole, _ = bootstrap._factors(reference, np.ones((1, len(data))))
    program = program_of(fitted.model, core=True)
    plain = triangle(reference.blocks, program, n_radial=fitted.model.radial.size, threads=1)
    np.testing.assert_allclose(whole[0].T @ whole[0], plain.T @ plain, rtol=1e-8, atol=1e-8)
    (still,) = reweighted(reference, np.ones((1, len(data))))
    np.testing.assert_allclose(still.radial, fitted.model.radial, atol=1e-12)
    np.testing.assert_allclose(still.moment_coeffs, fitted.model.moment_coeffs, rtol=1e-4)


def test_weights_are_those_of_frames(data, fitted) -> None:
    """Doubling a frame's weight is the same as giving the frame twice."""
    reference = Reference.of(fitted.model, data, settings=CONFIG._settings())
    rng = np.random.default_rng(7)
    counts = rng.integers(0, 4, len(data))
    repeated = data.subset([k for k, times in enumerate(counts) for _ in range(times)])
    twice = Reference.of(fitted.model, repeated, settings=CONFIG._settings())
    weighted, _ = bootstrap._factors(reference, counts[None].astype(float))
    plain, _ = bootstrap._factors(twice, np.ones((1, len(repeated))))
    scale = np.abs(plain[0]).max() ** 2
    np.testing.assert_allclose(
        weighted[0].T @ weighted[0], plain[0].T @ plain[0], atol=1e-10 * scale
    )


def test_a_step_that_does_not_help_is_not_taken(data, fitted, monkeypatch) -> None:
    """It is shortened first; then the radial functions of the fit are kept, with the best xi."""
    reference = Reference.of(fitted.model, data, settings=CONFIG._settings())
    weight = drawn_weights(len(data), count=1, seed=8)
    (factor,), _ = bootstrap._factors(reference, weight)
    linear = reference.projected(factor).linear
    tried: list[float] = []

    def wild(seen: Projection, damping: FloatArray) -> FloatArray:
        tried.append(float(damping[0]))
        return rng.normal(scale=30.0, size=fitted.model.radial.size)

    rng = np.random.default_rng(9)
    monkeypatch.setattr(bootstrap, "_step", wild)
    (member,) = reweighted(reference, weight)
    assert np.array_equal(member.radial, fitted.model.radial)
    assert np.array_equal(np.append(member.species_coeffs, member.moment_coeffs), linear)
    np.testing.assert_allclose(np.array(tried[::2]) / tried[0], [1, 10, 100])


def test_equal_arguments_give_equal_bits_whatever_the_memory(data, fitted, monkeypatch) -> None:
    reference = Reference.of(fitted.model, data, settings=CONFIG._settings())
    weights = drawn_weights(len(data), count=3, seed=10)
    first = reweighted(reference, weights)
    again = reweighted(replace(reference, threads=1), weights)
    monkeypatch.setattr(bootstrap, "FACTOR_BYTES", 1)  # one factor at a time
    small = reweighted(reference, weights)
    for one, two, three in zip(first, again, small, strict=True):
        assert one.radial.tobytes() == two.radial.tobytes() == three.radial.tobytes()
        assert one.moment_coeffs.tobytes() == two.moment_coeffs.tobytes()
        assert one.moment_coeffs.tobytes() == three.moment_coeffs.tobytes()
    assert all(a.radial.tobytes() != b.radial.tobytes() for a, b in pairwise(first))


def test_two_elements_of_which_one_is_rare(tmp_path: Path) -> None:
    """No member loses an element, however few frames hold it."""
    common = emt_set(20, seed=12)
    rare = emt_set(2, seed=13, symbols=("Al", "Cu"))
    config = EnsembleConfig(member=CONFIG.model_copy(update={"steps": 3}), size=4)
    made = config.fit(common.joined(rare), Dataset(), seed=1, workdir=tmp_path)
    assert made.elements == {"Al", "Cu"}
    assert np.isfinite(spreads(made, rare.structures)).all()
    assert np.median(spreads(made, rare.structures)) > np.median(spreads(made, common.structures))


def test_the_ensemble_takes_the_short_way_and_refit_the_long_one(data, tmp_path) -> None:
    config = CONFIG.model_copy(update={"steps": 2})
    short = EnsembleConfig(member=config, size=3)
    made = short.fit(data, Dataset(), seed=4, workdir=tmp_path / "short")
    assert sorted(path.name for path in (tmp_path / "short").glob("member_*")) == ["member_000"]
    expected = config.bootstrapped(made.members[0], data, count=2, seed=4)
    for got, want in zip(made.members[1:], expected, strict=True):
        assert isinstance(got, MomentTensorPotential)
        assert isinstance(want, MomentTensorPotential)
        assert got.model.moment_coeffs.tobytes() == want.model.moment_coeffs.tobytes()
    long = short.model_copy(update={"refit": True})
    long.fit(data, Dataset(), seed=4, workdir=tmp_path / "long")
    assert len(list((tmp_path / "long").glob("member_*"))) == 3


def test_what_is_not_finite_is_refused(data, fitted) -> None:
    reference = Reference.of(fitted.model, data, settings=CONFIG._settings())
    spoilt = [
        replace(block, labels=np.full_like(block.labels, np.nan)) for block in reference.blocks
    ]
    with pytest.raises(FitError, match="rows are not finite"):
        reweighted(replace(reference, blocks=spoilt), np.ones((1, len(data))))
    with pytest.raises(FitError, match="raise `ridge`"):
        bootstrap._with(fitted.model, np.full(reference.n_linear, np.inf))
