"""Steps in the eigenbases of a layer's gradients: orthogonal, reversible, and worth having."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from athanor.potentials._ani.adamw import Descent
from athanor.potentials._ani.bases import Bases, Diverged
from athanor.potentials._ani.fit import one_torch_thread
from athanor.potentials._ani.networks import Layout

LAYOUT = Layout(2, (6, 5, 1))


@pytest.fixture(autouse=True)
def _single() -> Iterator[None]:
    with one_torch_thread():
        yield


def gradients(seed: int, count: int, *, members: int = 2) -> list[torch.Tensor]:
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.normal(size=(members, LAYOUT.size))) for _ in range(count)]


def test_bases_are_orthogonal_and_reversible() -> None:
    bases = Bases(LAYOUT, 2, torch.zeros(1, dtype=torch.float64))
    for number, gradient in enumerate(gradients(1, 25)):
        bases.see(gradient, number + 1)
    for axes in bases.axes:
        assert (axes.mT @ axes - torch.eye(axes.shape[1])).abs().max() < 1e-12
    (flat,) = gradients(2, 1)
    turned = bases.turned(flat)
    assert (turned - flat).abs().max() > 0.1
    assert turned.norm() == pytest.approx(float(flat.norm()))
    assert (bases.back(turned) - flat).abs().max() < 1e-12


def test_bases_follow_the_eigenvectors() -> None:
    """Gradients that vary along one direction of the inputs far more than along the others."""
    rng = np.random.default_rng(3)
    direction = rng.normal(size=7)
    direction /= np.linalg.norm(direction)
    bases = Bases(LAYOUT, 1, torch.zeros(1, dtype=torch.float64))
    for step in range(1, 61):
        flat = torch.zeros(1, LAYOUT.size, dtype=torch.float64)
        ((weights, biases), _) = LAYOUT.views(flat)
        matrix = 0.1 * rng.normal(size=(5, 7)) + 5 * np.outer(rng.normal(size=5), direction)
        weights[0][0] = torch.from_numpy(matrix[:, :6])
        biases[0][0] = torch.from_numpy(matrix[:, 6])
        bases.see(flat, step)
    # rows first, then columns, of the first layer of the first species
    columns = bases.axes[1][0].numpy()
    assert np.abs(columns[:, 0] @ direction) > 0.99


def descended(turned: bool) -> float:
    """What is left of a sum of squares whose axes are not those of the parameters."""
    rng = np.random.default_rng(4)
    flat = torch.from_numpy(rng.normal(size=(1, LAYOUT.size)))
    left = [torch.from_numpy(np.linalg.qr(rng.normal(size=(5, 5)))[0]) for _ in range(2)]
    right = [torch.from_numpy(np.linalg.qr(rng.normal(size=(7, 7)))[0]) for _ in range(2)]
    steep = [
        torch.from_numpy(np.outer(10.0 ** -np.arange(5.0), 10.0 ** -(np.arange(7.0) / 2)))
        for _ in range(2)
    ]
    bases = Bases(LAYOUT, 1, flat) if turned else None
    descent = Descent.at(flat.clone(), bases=bases)
    rate, none = torch.full((1, 1), 0.02, dtype=torch.float64), torch.zeros(LAYOUT.size).double()
    for _ in range(400):
        row = descent.flat.clone().requires_grad_()
        loss = torch.zeros((), dtype=torch.float64)
        for k, (weights, biases) in enumerate(LAYOUT.views(row)):
            matrix = torch.cat([weights[0][0], biases[0][0][:, None]], dim=1)
            loss = loss + (steep[k] * (left[k] @ matrix @ right[k])).square().sum()
        loss.backward()
        assert row.grad is not None
        descent.step(row.grad, rate, decays=none, average=0.0)
    return float(loss.detach())


def test_steps_in_the_bases_go_further() -> None:
    assert descended(True) < 0.1 * descended(False)


@pytest.mark.parametrize("size", [1e200, 1e308, np.nan, np.inf])
@pytest.mark.parametrize("before", [0, 9])
@pytest.mark.parametrize("turned", [False, True])
def test_a_gradient_whose_square_is_not_finite_moves_nothing_silently(
    size: float, before: int, turned: bool
) -> None:
    """In the first step eigenvectors are sought, in the tenth they are followed."""
    flat = torch.zeros(2, LAYOUT.size, dtype=torch.float64)
    descent = Descent.at(flat, bases=Bases(LAYOUT, 2, flat) if turned else None)
    rate, none = torch.full((2, 1), 0.02, dtype=torch.float64), torch.zeros(LAYOUT.size).double()
    *good, bad = gradients(5, before + 1)
    for gradient in good:
        descent.step(gradient, rate, decays=none, average=0.0)
    with pytest.raises(Diverged):
        descent.step(size * bad, rate, decays=none, average=0.0)


def test_eigenvectors_that_are_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def eigh(matrix: torch.Tensor) -> None:
        raise torch.linalg.LinAlgError("no convergence")  # type: ignore[attr-defined] # as in bases

    monkeypatch.setattr(torch.linalg, "eigh", eigh)
    bases = Bases(LAYOUT, 2, torch.zeros(1, dtype=torch.float64))
    with pytest.raises(Diverged):
        bases.see(gradients(6, 1)[0], 1)
