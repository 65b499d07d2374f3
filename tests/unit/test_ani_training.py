"""The parts of the training of ANI ensembles: offsets, schedule, steps, shares, inputs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from ani_training_cases import MEMBERS, Case, frames_of, spec_of
from ase import Atoms

from athanor.data.dataset import Dataset
from athanor.potentials._ani.adamw import Descent
from athanor.potentials._ani.evaluation import Evaluation, Standard
from athanor.potentials._ani.fit import one_torch_thread
from athanor.potentials._ani.frames import Frames
from athanor.potentials._ani.lanes import available, in_lanes
from athanor.potentials._ani.offsets import beyond_reason, energy_offsets, output_scale
from athanor.potentials._ani.schedule import Plateau, tempered
from athanor.potentials._ani.settings import LossWeights
from athanor.potentials._ani.shares import Shares
from athanor.potentials._ani.standard import surveyed
from athanor.potentials._ani.twin import TwinAev
from athanor.potentials._ani.weights import drawn, folded, unfolded
from athanor.structure import Frame, Labels


@pytest.fixture(autouse=True)
def _single() -> Iterator[None]:
    with one_torch_thread():
        yield


def test_offsets_are_least_squares() -> None:
    rng = np.random.default_rng(12)
    exact = np.array([-3.0, -5.5])
    frames = []
    for _ in range(20):
        n = rng.integers(1, 6, size=2)
        atoms = Atoms("Al" * n[0] + "Ni" * n[1], rng.uniform(0, 9, (n.sum(), 3)))
        noise = 0.02 * n.sum() * rng.normal()
        frames.append(
            Frame(atoms, Labels(float(n @ exact + noise), rng.normal(size=(n.sum(), 3)), None))
        )
    flat = Frames.of(Dataset(tuple(frames)), species=("Al", "Ni"), energy_only=False)
    found = energy_offsets(flat, 2)
    assert np.abs(found - exact).max() < 0.05
    assert output_scale(flat, found) == pytest.approx(
        np.sqrt(np.mean(((flat.energies - flat.counts(2) @ found) / flat.sizes) ** 2))
    )


def test_offsets_of_one_composition_have_least_norm() -> None:
    rng = np.random.default_rng(13)
    atoms = [Atoms("AlNi", rng.uniform(0, 9, (2, 3))) for _ in range(4)]
    data = Dataset(tuple(Frame(a, Labels(-8.0, np.ones((2, 3)), None)) for a in atoms))
    flat = Frames.of(data, species=("Al", "Ni", "Cu"), energy_only=False)
    found = energy_offsets(flat, 3)
    assert found == pytest.approx([-4.0, -4.0, 0.0], abs=1e-9)
    # all energies alike: the forces give the scale
    assert output_scale(flat, found) == pytest.approx(1.0)
    still = replace(flat, forces=np.zeros_like(flat.forces))
    assert output_scale(still, found) > 0


def linear(seed: int, compositions: list[str], *, noise: float = 0.01) -> Frames:
    """Energies of compositions that are sums of those of atoms, nearly."""
    rng = np.random.default_rng(seed)
    exact = {"Al": -537.2, "Ni": -6621.0}
    frames = []
    for formula in compositions:
        atoms = Atoms(formula)
        energy = sum(exact[symbol] for symbol in atoms.symbols) + noise * rng.normal()
        frames.append(Frame(atoms, Labels(energy, np.zeros((len(atoms), 3)), None)))
    return Frames.of(Dataset(tuple(frames)), species=("Al", "Ni"), energy_only=False)


MIXED = ["Al4", "Al3Ni", "Al2Ni2", "AlNi3", "Ni4", "Al5Ni", "Al2Ni3", "AlNi"]


@pytest.mark.parametrize("wrong", range(8))
def test_one_energy_that_contradicts_all_others_is_found(wrong: int) -> None:
    frames = linear(22, MIXED)
    assert beyond_reason(frames, 2) is None
    energies = frames.energies.copy()
    energies[wrong] *= 27.2114  # another unit
    found = beyond_reason(replace(frames, energies=energies), 2)
    assert found is not None
    number, off, rest = found
    assert number == wrong
    expected = abs(energies - frames.energies)[wrong] / frames.sizes[wrong]
    assert off == pytest.approx(expected, rel=1e-4)
    assert rest < 0.01


@pytest.mark.parametrize(
    "compositions",
    [
        ["Al4"],
        ["Al4", "Al3"],
        ["Al4", "Ni4", "AlNi"],
        ["Al4", "Al3", *["Ni4", "Ni2", "Ni3"] * 3],
        [*MIXED[:1], *["Ni4", "Ni2", "Ni3"] * 3],
    ],
)
def test_where_two_energies_may_be_the_wrong_one_none_is_named(compositions: list[str]) -> None:
    frames = linear(23, compositions)
    energies = frames.energies.copy()
    energies[0] += 1e8
    assert beyond_reason(replace(frames, energies=energies), 2) is None


def test_structures_of_high_energy_are_within_reason() -> None:
    """Squeezed so that they are off by hundreds of eV per atom, or among others that scatter."""
    frames = linear(24, MIXED * 3)
    energies = frames.energies.copy()
    energies[3] += 900.0 * frames.sizes[3]
    assert beyond_reason(replace(frames, energies=energies), 2) is None
    energies = np.random.default_rng(25).normal(size=len(frames)) * frames.sizes
    energies[3] += 3000.0 * frames.sizes[3]
    assert beyond_reason(replace(frames, energies=energies), 2) is None


def test_each_member_has_its_own_rate_and_end() -> None:
    plateau = Plateau.begin(2, rate=1.0, patience=3, decay=0.5, final_rate=0.2)
    falling = 10.0
    for epoch in range(9):
        falling *= 0.9
        better = plateau.see(np.array([falling, 5.0]))
        assert better.tolist() == [True, epoch == 0]
    # 5.0 is seen once as the best, then in vain: 3 epochs halve the rate, twice, then 2 more
    assert plateau.rates.tolist() == [1.0, 0.25]
    assert plateau.running.all()
    plateau.see(np.array([falling, 5.0]))
    assert plateau.running.tolist() == [True, False]
    # whoever has ended stays as it is, even with a better loss
    assert plateau.see(np.array([falling, 0.1])).tolist() == [False, False]
    assert plateau.best[1] == 5.0


def test_a_member_without_validation_keeps_its_last() -> None:
    plateau = Plateau.begin(2, rate=1.0, patience=1, decay=0.1, final_rate=0.5)
    for loss in (1.0, 2.0, 0.5):
        better = plateau.see(np.array([np.nan, loss]))
    assert better.tolist() == [True, False]
    assert plateau.running.tolist() == [True, False]


def test_a_loss_that_is_hardly_lower_does_not_reset_the_patience() -> None:
    plateau = Plateau.begin(1, rate=1.0, patience=4, decay=0.1, final_rate=1e-3)
    kept = [plateau.see(np.array([1.0 - 1e-6 * k]))[0] for k in range(5)]
    assert all(kept)
    assert plateau.rates[0] == pytest.approx(0.1)


def test_rates_rise_and_fall() -> None:
    rates = [tempered(step, 1000, 0.4) for step in range(1001)]
    assert rates[:3] == [0.02, 0.04, 0.06]
    assert rates[49:601] == [1.0] * 552
    assert rates[800] == pytest.approx(0.5)
    assert rates[1000] == 0.0
    assert np.all(np.diff(rates[600:]) < 0)
    assert tempered(99, 10**6, 0.4) == 1.0 > tempered(98, 10**6, 0.4)
    assert tempered(999, 1000, 0.0) == 1.0
    assert tempered(0, 5, 0.0) == 1.0


def test_adamw_is_torchs_own() -> None:
    rng = np.random.default_rng(14)
    flat = torch.from_numpy(rng.normal(size=(2, 5)))
    ours = Descent.at(flat.clone())
    theirs = [flat[k].clone().requires_grad_() for k in range(2)]
    rates = [0.01, 0.003]
    optimisers = [
        torch.optim.AdamW([row], lr=rate, weight_decay=0.02, eps=1e-10)
        for row, rate in zip(theirs, rates, strict=True)
    ]
    table = torch.tensor(rates, dtype=torch.float64)[:, None]
    for _ in range(7):
        gradient = torch.from_numpy(rng.normal(size=(2, 5)))
        ours.step(gradient, table, decays=torch.full((5,), 0.02).double(), average=0.0)
        for row, optimiser, part in zip(theirs, optimisers, gradient, strict=True):
            row.grad = part.clone()
            optimiser.step()
    expected = torch.stack([row.detach() for row in theirs])
    assert (ours.flat - expected).abs().max() < 1e-9
    assert torch.equal(ours.mean, ours.flat)


def test_a_member_at_rate_zero_stays() -> None:
    rng = np.random.default_rng(15)
    flat = torch.from_numpy(rng.normal(size=(2, 5)))
    descent = Descent.at(flat.clone())
    rates = torch.tensor([[0.1], [0.0]], dtype=torch.float64)
    for _ in range(3):
        gradient = torch.from_numpy(rng.normal(size=(2, 5)))
        descent.step(gradient, rates, decays=torch.ones(5).double(), average=0.9)
    assert torch.equal(descent.flat[1], flat[1])
    assert not torch.equal(descent.flat[0], flat[0])
    # the running mean lies between where it was and where it is
    assert (descent.mean[0] - flat[0]).norm() < (descent.flat[0] - flat[0]).norm()


@pytest.mark.parametrize("resample", ["bootstrap", "split", "none"])
def test_shares_are_the_sets_of_an_ensemble(resample: str) -> None:
    train, valid = frames_of(("Al",), seed=16, count=12), frames_of(("Al",), seed=17, count=4)
    shares = Shares.of(train, valid, size=4, seed=5, resample=resample)  # type: ignore[arg-type] # by name
    assert len(shares.both) == 16
    seen = shares.train[:, :12].sum(axis=1)
    if resample == "split":
        together = (shares.train > 0).astype(float) + shares.valid
        assert np.array_equal(together, np.ones((4, 16)))
        assert np.array_equal(shares.valid.sum(axis=0), np.ones(16))
        groups = shares.validated()
        assert sorted(members.tolist() for members, _ in groups) == [[0], [1], [2], [3]]
        assert sorted(np.concatenate([f for _, f in groups]).tolist()) == list(range(16))
    else:
        assert np.array_equal(seen, np.full(4, 12))
        assert np.array_equal(shares.train[0, :12], np.ones(12))
        assert np.array_equal(shares.valid, np.tile([0.0] * 12 + [1.0] * 4, (4, 1)))
        ((members, frames),) = shares.validated()
        assert members.tolist() == [0, 1, 2, 3]
        assert frames.tolist() == [12, 13, 14, 15]
    if resample == "bootstrap":
        assert shares.train.max() > 1
        assert len({row.tobytes() for row in shares.train}) == 4


def test_folding_in_and_out() -> None:
    """Parameters become a model of plain vectors and back, with other statistics and offsets."""
    case = Case(("Al", "Ni"), seed=18, weights=LossWeights())
    rng = np.random.default_rng(19)
    offsets = np.array([-2.0, 3.0])
    flat = drawn(case.layout, MEMBERS, seed=1)
    assert not torch.equal(flat[0], flat[1])
    assert torch.equal(drawn(case.layout, 1, seed=1)[0], flat[0])
    model = folded(flat, case.layout, case.standard, aev=case.spec, offsets=offsets)
    assert model.networks[0].weights[0].dtype == np.float32
    other = Standard(
        rng.normal(size=case.spec.length), rng.uniform(0.5, 2.0, size=case.spec.length), 1.9
    )
    moved = np.array([-1.0, 2.5])
    there = unfolded(model, case.layout, other, moved)
    evaluation = Evaluation(
        TwinAev(case.spec), case.layout, other, weights=LossWeights(), dtype=torch.float64
    )
    counts = case.frames.counts(2)
    energies = []
    for one, where, base in (
        (case.evaluation, flat, offsets),
        (evaluation, there, moved),
    ):
        _, predicted = one._predicted(where, case.frames, one.inputs(case.frames))
        energies.append(predicted.energies + counts @ base)
    assert np.abs(energies[0] - energies[1]).max() < 1e-5


def test_inputs_are_standardised() -> None:
    data = frames_of(("Al", "Ni"), seed=20, count=6)
    spec = spec_of("Al", "Ni")
    frames = Frames.of(data, species=spec.species, energy_only=False)
    trained = np.array([1.0, 2.0, 1.0, 1.0, 1.0, 0.0])
    options = {"double": True, "threads": 1}
    kept = surveyed(TwinAev(spec), frames, trained, keep=True, **options)
    rest = surveyed(TwinAev(spec), frames, trained, keep=False, **options)
    assert rest.values is None
    assert np.array_equal(kept.stretch, rest.stretch)
    assert kept.values is not None
    used = kept.values[: frames.offsets[5]]
    assert kept.shift == pytest.approx(used.mean(axis=0))
    # together they vary by one
    assert used.var(axis=0).sum() / kept.stretch[0] ** 2 == pytest.approx(1.0)
    assert (kept.stretch == kept.stretch[0]).all()


def test_lanes_keep_the_order_and_the_first_error() -> None:
    def work(number: int) -> int:
        time.sleep(0.002 * (7 - number))
        if number >= 5:
            raise ValueError(str(number))
        return number * number

    assert in_lanes(work, range(5), threads=3) == [0, 1, 4, 9, 16]
    with pytest.raises(ValueError, match=r"^[567]$"):
        in_lanes(work, range(8), threads=3)
    assert threading.active_count() < 20
    assert available() >= 1
