"""The gradient of the loss of ANI members by their weights, by two routes and by others' means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from ani_training_cases import MEMBERS, Case, frames_of

from athanor.data.dataset import Dataset
from athanor.errors import FitError
from athanor.potentials._ani.fit import one_torch_thread
from athanor.potentials._ani.frames import Frames
from athanor.potentials._ani.model import CELU_ALPHA
from athanor.potentials._ani.settings import LossWeights
from athanor.potentials._ani.twin import TwinAev
from athanor.structure import Labels


@pytest.fixture(autouse=True)
def _single() -> Iterator[None]:
    with one_torch_thread():
        yield


CASES = [
    (("Al",), LossWeights(l0=0.1)),
    (("Al", "Ni"), LossWeights(l0=0.1, per_atom=True, stress_weight=0.2)),
    (("Al", "Ni"), LossWeights(l0=0.0, stress_weight=0.5)),
]


@pytest.mark.parametrize(("species", "weights"), CASES)
def test_gradient_is_that_of_the_loss(species: tuple[str, ...], weights: LossWeights) -> None:
    """Against differences of the loss by every parameter, energies, forces and stress together."""
    case = Case(species, seed=1, weights=weights)
    found, _ = case.evaluation.gradient(case.flat, case.frames, case.inputs, shares=case.shares)
    rng = np.random.default_rng(2)
    step = 1e-5
    for number in rng.choice(case.layout.size, size=50, replace=False):
        ahead, behind = case.flat.clone(), case.flat.clone()
        ahead[:, number] += step
        behind[:, number] -= step
        slope = (case.total(ahead) - case.total(behind)) / (2 * step)
        assert np.abs(slope - found[:, number].numpy()).max() < 1e-6
    assert found.abs().max() > 0.1


def test_gradient_is_a_double_backward() -> None:
    """The same by torch's own double backward through networks written with its layers."""
    case = Case(("Al",), seed=3, weights=LossWeights(l0=0.1))
    found, _ = case.evaluation.gradient(case.flat, case.frames, case.inputs, shares=case.shares)
    n, length = len(case.frames.positions), case.spec.length
    aev = TwinAev(case.spec)
    place = (case.frames.types, case.frames.offsets, case.frames.cells, case.frames.periodic)
    unit = np.eye(3 * n).reshape(3 * n, n, 3)
    nothing = np.zeros((3 * n, len(case.frames), 3, 3))
    # the whole Jacobian, column by column: the library's way without any of our products
    jacobian = torch.from_numpy(
        aev.jvp(case.frames.positions, *place, unit, nothing, double=True).reshape(
            3 * n, n * length
        )
    )
    sizes = case.frames.sizes
    for member in range(MEMBERS):
        flat = case.flat[member : member + 1].clone().requires_grad_()
        values = (case.inputs * torch.from_numpy(case.standard.stretch)).clone().requires_grad_()
        h = values / torch.from_numpy(case.standard.stretch)
        ((weights, biases),) = case.layout.views(flat)
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            z = h @ weight[0].T + bias[0]
            # the library's celu has its alpha in float32 going backward
            h = torch.where(z > 0, z, CELU_ALPHA * torch.expm1(z.clamp(max=0) / CELU_ALPHA))
        sites = 0.37 * (h @ weights[-1][0].T + biases[-1][0])[:, 0]
        (slope,) = torch.autograd.grad(sites.sum(), values, create_graph=True)
        forces = -(jacobian @ slope.reshape(-1)).reshape(n, 3)
        loss = torch.zeros((), dtype=torch.float64)
        for k, (first, last) in enumerate(
            zip(case.frames.offsets[:-1], case.frames.offsets[1:], strict=True)
        ):
            off = forces[first:last] - torch.from_numpy(case.frames.forces[first:last])
            energy = sites[first:last].sum() - case.frames.energies[k]
            loss = loss + case.shares[member, k] * (energy**2 + 0.1 / sizes[k] * (off**2).sum())
        loss.backward()
        assert flat.grad is not None
        assert (flat.grad[0] - found[member]).abs().max() < 1e-10 * found[member].abs().max()


@pytest.mark.parametrize(("species", "weights"), CASES)
def test_the_displaced_route_agrees(species: tuple[str, ...], weights: LossWeights) -> None:
    case = Case(species, seed=4, weights=weights)
    given = (case.flat, case.frames, case.inputs)
    exact, one = case.evaluation.gradient(*given, shares=case.shares)
    displaced, other = case.evaluation.displaced_gradient(*given, shares=case.shares)
    assert (exact - displaced).abs().max() < 1e-4 * exact.abs().max()
    assert np.array_equal(one.losses, other.losses)


def test_the_displaced_route_is_of_second_order(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(("Al", "Ni"), seed=5, weights=LossWeights(l0=0.1, stress_weight=0.2))
    given = (case.flat, case.frames, case.inputs)
    exact, _ = case.evaluation.gradient(*given, shares=case.shares)
    errors = []
    for displacement in (4e-3, 2e-3):
        monkeypatch.setattr("athanor.potentials._ani.evaluation.DISPLACEMENT", displacement)
        found, _ = case.evaluation.displaced_gradient(*given, shares=case.shares)
        errors.append(float((found - exact).norm()))
    assert errors[0] / errors[1] == pytest.approx(4.0, abs=0.5)


def test_float32_is_near() -> None:
    case = Case(("Al", "Ni"), seed=6, weights=LossWeights(l0=0.1, stress_weight=0.2))
    exact, _ = case.evaluation.gradient(case.flat, case.frames, case.inputs, shares=case.shares)
    single = case.evaluated(torch.float32)
    found, _ = single.gradient(
        case.flat.float(), case.frames, single.inputs(case.frames), shares=case.shares
    )
    assert found.dtype == torch.float32
    assert (found - exact).abs().max() < 1e-4 * exact.abs().max()


def test_a_member_does_not_depend_on_the_others() -> None:
    case = Case(("Al",), seed=7, weights=LossWeights(l0=0.1))
    whole, _ = case.evaluation.gradient(case.flat, case.frames, case.inputs, shares=case.shares)
    alone, _ = case.evaluation.gradient(
        case.flat[1:2], case.frames, case.inputs, shares=case.shares[1:2]
    )
    assert (whole[1] - alone[0]).abs().max() < 1e-12


def test_multiplicities_are_repetitions() -> None:
    """A structure that counts twice is a structure that is there twice; 0 is one left out."""
    case = Case(("Al",), seed=8, weights=LossWeights(l0=0.1))
    shares = np.tile([2.0, 0.0, 1.0], (MEMBERS, 1))
    found, _ = case.evaluation.gradient(case.flat, case.frames, case.inputs, shares=shares)
    repeated = case.frames.take(np.array([0, 0, 2]))
    ones = np.ones((MEMBERS, 3))
    expected, _ = case.evaluation.gradient(
        case.flat, repeated, case.evaluation.inputs(repeated), shares=ones
    )
    assert (found - expected).abs().max() < 1e-12


def test_structures_without_stress_or_forces_do_not_count_there() -> None:
    data = frames_of(("Al",), seed=9)
    lacking = Labels(data[0].labels.energy, np.full((4, 3), np.nan), data[0].labels.stress)
    mixed = Dataset((replace(data[0], labels=lacking), *data.frames[1:]))
    with pytest.raises(FitError, match=r"frame 0 \(file 0\).*no forces.*without_forces = 'energy'"):
        Frames.of(mixed, species=("Al",), energy_only=False)
    case = Case(("Al",), seed=9, weights=LossWeights(l0=0.1, stress_weight=0.2))
    frames = Frames.of(mixed, species=("Al",), energy_only=True)
    found = case.evaluation.losses(case.flat, frames, case.inputs, members=np.arange(MEMBERS))
    plain = case.evaluation.losses(case.flat, case.frames, case.inputs, members=np.arange(MEMBERS))
    assert np.isfinite(found.losses).all()
    assert (found.losses[:, 0] < plain.losses[:, 0]).all()
    assert np.array_equal(found.losses[:, 1:], plain.losses[:, 1:])
    apart = case.evaluation.errors(case.flat, frames, case.inputs)
    assert (apart.forces[:, 0] == 0).all()
    assert (apart.forces[:, 1:] > 0).all()
    case.evaluation.weights = LossWeights(l0=0.1)
    bare = case.evaluation.losses(case.flat, case.frames, case.inputs, members=np.arange(MEMBERS))
    # the frame without stress is number 1
    assert np.array_equal(bare.losses[:, 1], plain.losses[:, 1])
    assert (bare.losses[:, [0, 2]] < plain.losses[:, [0, 2]]).all()


@pytest.mark.parametrize("what", ["energy", "stress"])
def test_labels_that_are_not_finite_are_refused(what: str) -> None:
    data = frames_of(("Al",), seed=10)
    labels = data[2].labels
    broken = {
        "energy": replace(labels, energy=np.nan),
        "stress": replace(labels, stress=np.full((3, 3), np.inf)),
    }[what]
    bad = Dataset((*data.frames[:2], replace(data[2], labels=broken)))
    with pytest.raises(FitError, match=r"frame 2 \(file 2\).*not finite"):
        Frames.of(bad, species=("Al",), energy_only=True)


def test_the_loss_is_eq_1() -> None:
    case = Case(("Al", "Ni"), seed=11, weights=LossWeights())
    found = case.evaluation.losses(case.flat, case.frames, case.inputs, members=np.arange(1))
    _, predicted = case.evaluation._predicted(case.flat[:1], case.frames, case.inputs)
    for k, (first, last) in enumerate(
        zip(case.frames.offsets[:-1], case.frames.offsets[1:], strict=True)
    ):
        energy = predicted.energies[0, k] - case.frames.energies[k]
        forces = -predicted.gradient[0, first:last] - case.frames.forces[first:last]
        expected = energy**2 + 0.01 / (last - first) * (forces**2).sum()
        assert found.losses[0, k] == pytest.approx(expected, rel=1e-12)
