"""The loss of a moment tensor potential minimised over all parameters at once by BFGS.

What the published code does, as a yardstick for the fit of `athanor.potentials.mtp`: same basis,
same data, same loss, all radial and linear coefficients together, from random radial functions and
the linear coefficients that are best for them. Parameters are scaled by the norm of their column of
design rows at the start. The run is continued where it was left; each 25 iterations are recorded.

The gradient needs no design rows: that of the force residuals R is a directional derivative, d/dt
of dE/dtheta at positions x - t w_f R (and cells strained by t w_s V), by a five-point formula. The
record holds its largest relative deviation from the gradient by design rows.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from athanor.data.dataset import Dataset
from athanor.data.durable import write_file
from athanor.data.metrics import errors
from athanor.data.packing import npz_bytes, read_npz
from athanor.potentials._mtp.model import MtpModel
from athanor.potentials._mtp.program import program_of
from athanor.potentials._mtp.rows import LossWeights, blocks_of
from athanor.potentials.mtp import MomentTensorPotential, MtpConfig

Array = NDArray[np.float64]

CHUNK = 25
LARGEST_MOVE = 2e-3
"""Å; positions are moved so far, at most, for the directional derivative."""


class Loss:
    """Loss per frame and its gradient over (radial, species_coeffs, moment_coeffs)."""

    def __init__(self, blank: MtpModel, data: Dataset, weights: LossWeights) -> None:
        self.blank, self.data = blank, data
        self.weights = [np.square(weights.of(frame)) for frame in data]
        self.types = [np.zeros(len(frame.atoms), np.int32) for frame in data]
        self.settings = weights

    def model(self, theta: Array) -> MtpModel:
        n_radial, n_species = self.blank.radial.size, len(self.blank.species_coeffs)
        return replace(
            self.blank,
            radial=theta[:n_radial].reshape(self.blank.radial.shape).copy(),
            species_coeffs=theta[n_radial : n_radial + n_species].copy(),
            moment_coeffs=theta[n_radial + n_species :].copy(),
        )

    def __call__(self, theta: Array) -> tuple[float, Array]:
        program = program_of(self.model(theta), core=True)
        loss, gradient = 0.0, np.zeros_like(theta)
        for frame, types, (w_e, w_f, w_s) in zip(self.data, self.types, self.weights, strict=True):
            atoms, labels = frame.atoms, frame.labels
            x, cell, pbc = atoms.positions, atoms.cell.array, atoms.pbc
            energy, forces, virial, _, _, rows = program.evaluate(
                x, types, cell, pbc, features=True
            )
            d_e, d_f = energy - labels.energy, forces - labels.forces
            d_v = (
                np.zeros((3, 3))
                if labels.stress is None
                else virial - labels.stress * atoms.cell.volume
            )
            loss += w_e * d_e**2 + w_f * np.sum(d_f**2) + w_s * np.sum(d_v**2)
            gradient += 2 * w_e * d_e * rows.sum(axis=0)
            move, strain = -w_f * d_f + w_s * x @ d_v, w_s * cell @ d_v
            h = LARGEST_MOVE / max(float(np.abs(move).max()), float(np.abs(strain).max()), 1e-300)
            for steps, factor in ((1, 8.0), (2, -1.0)):
                for sign in (1, -1):
                    t = sign * steps * h
                    found = program.evaluate(
                        x + t * move, types, cell + t * strain, pbc, forces=False, features=True
                    )
                    gradient += 2 * sign * factor / (12 * h) * found[5].sum(axis=0)
        return loss / len(self.data), gradient / len(self.data)

    def by_rows(self, theta: Array) -> tuple[float, Array, Array]:
        """Loss, gradient and column norms from design rows."""
        model = self.model(theta)
        silent = replace(
            model, species_coeffs=0 * model.species_coeffs, moment_coeffs=0 * model.moment_coeffs
        )
        blocks = blocks_of(
            self.data,
            species=model.species,
            weights=self.settings,
            offset=program_of(silent, core=True),
        )
        n_radial = model.radial.size
        loss, gradient, norms = 0.0, np.zeros_like(theta), np.zeros_like(theta)
        for block in blocks:
            rows = block.design(program_of(model, core=True), radial=True, threads=1)
            residual = rows[:, n_radial:] @ theta[n_radial:] + block.offset - block.labels
            loss += float(residual @ residual)
            gradient += 2 * rows.T @ residual
            norms += np.einsum("rc,rc->c", rows, rows)
        return loss / len(self.data), gradient / len(self.data), np.sqrt(norms / len(self.data))


def start(loss: Loss, seed: int) -> Array:
    """Random radial functions, the mu-th near the mu-th Chebyshev function; linear ones solved."""
    rng = np.random.default_rng(seed)
    blank = loss.blank
    radial = 0.3 * rng.normal(size=blank.radial.shape)
    for mu in range(radial.shape[2]):
        radial[:, :, mu, mu % radial.shape[3]] += 1.0
    model = replace(blank, radial=radial)
    blocks = blocks_of(
        loss.data, species=blank.species, weights=loss.settings, offset=program_of(model, core=True)
    )
    rows = np.concatenate(
        [b.design(program_of(model, core=True), radial=False, threads=1) for b in blocks]
    )
    target = np.concatenate([block.labels - block.offset for block in blocks])
    scale = np.maximum(np.linalg.norm(rows, axis=0), 1e-300)
    linear = np.linalg.lstsq(rows / scale, target, rcond=1e-9)[0] / scale
    return np.concatenate([radial.ravel(), linear])


def minimised(loss: Loss, theta: Array, state: Path, *, iterations: int) -> dict[str, Any]:
    """BFGS in chunks, each going on with the inverse Hessian of the last."""
    if state.exists():
        kept = read_npz(state)
        z, inverse, scale = kept["z"], kept["inverse"], kept["scale"]
        done, calls, seconds = (kept[k].item() for k in ("done", "calls", "seconds"))
        history = kept["history"].tolist()
    else:
        norms = loss.by_rows(theta)[2]
        scale = np.maximum(norms, 1e-6 * norms.max())
        z, inverse, done, calls, seconds = theta * scale, np.eye(len(theta)), 0, 0, 0.0
        history = [[0, loss(theta)[0]]]

    def scaled(z: Array) -> tuple[float, Array]:
        value, gradient = loss(z / scale)
        return value, gradient / scale

    stuck = False
    while done < iterations and not stuck:
        begin = time.process_time()
        options = {"maxiter": min(CHUNK, iterations - done), "gtol": 1e-9, "hess_inv0": inverse}
        found = minimize(scaled, z, jac=True, method="BFGS", options=options)
        inverse = 0.5 * (found.hess_inv + found.hess_inv.T)
        stuck = found.nit == 0
        z, done, calls = found.x, done + found.nit, calls + found.nfev
        seconds += time.process_time() - begin
        history.append([done, found.fun])
        arrays = {"z": z, "inverse": inverse, "scale": scale, "history": np.array(history)}
        numbers = {"done": done, "calls": calls, "seconds": seconds}
        write_file(state, npz_bytes(arrays | {k: np.array(v) for k, v in numbers.items()}))
        print(done, found.fun, f"{seconds:.0f} s", flush=True)
    theta = z / scale
    by_rows = loss.by_rows(theta)[1]
    other = loss(theta)[1]
    return {
        "theta": theta,
        "iterations": done,
        "calls": calls,
        "seconds": seconds,
        "loss": history[-1][1],
        "history": history,
        "gradient_deviation": float(
            np.abs((other - by_rows) / scale).max() / np.abs(scaled(z * 1.01)[1]).max()
        ),
    }


def run(
    parts: dict[str, Dataset], config: MtpConfig, *, seed: int, folder: Path, iterations: int = 1000
) -> dict[str, Any]:
    """One minimisation with the errors of what it found; `folder` holds its state."""
    folder.mkdir(parents=True, exist_ok=True)
    state = folder / f"level{config.level}-seed{seed}.npz"
    weights = LossWeights(
        config.energy_weight, config.force_weight, config.stress_weight, config.weighting
    )
    train = parts["training"]
    loss = Loss(config._blank(train, Dataset(), None), train, weights)
    with threadpool_limits(limits=1):
        found = minimised(loss, start(loss, seed), state, iterations=iterations)
    potential = MomentTensorPotential(loss.model(found.pop("theta")), core=True)
    row: dict[str, Any] = {"level": config.level, "seed": seed, **found}
    for name, data in parts.items():
        row[name] = errors(potential.predict(data.structures), data.labels).as_dict()
    return row
