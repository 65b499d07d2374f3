"""Members of an ensemble from one fit: a one-step bootstrap of its training set.

Every member is what the fit would have given had the configurations been drawn again, with
replacement (Efron and Tibshirani 1986, doi 10.1214/ss/1177013815): each is weighted by how often it
was drawn. Those that were not drawn keep a thousandth of their weight, so that no element and no
pair of species loses its rows. (Smooth weights, which also drop none, spread less: it is leaving
a configuration out that shows what it alone decides.)

From the fitted radial coefficients, each member takes one Gauss-Newton step towards the minimum of
its own loss; the rows for that are computed once for all members. Then its linear coefficients are
solved for exactly, with the radial functions it now has. (A step of both at once would be one
traversal less and is of no use: large linear coefficients cancel, and what they gain with other
radial functions is an error of energies far above their spread.)
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import qr
from threadpoolctl import threadpool_limits

from athanor import _core
from athanor.data.dataset import Dataset
from athanor.errors import FitError
from athanor.potentials._mtp.fit import Data, FitSettings
from athanor.potentials._mtp.model import MtpModel
from athanor.potentials._mtp.program import program_of
from athanor.potentials._mtp.projection import Projection, project
from athanor.potentials._mtp.rows import Block
from athanor.structure import FloatArray

FACTOR_BYTES = 2**29
"""Triangular factors are held up to this size at a time."""

LEAST = 1e-3
"""Weight of a frame that was not drawn."""
_DAMPINGS = (1.0, 10.0, 100.0)
"""Tried in turn: a step that is too long for the curvature does not lower the loss."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The fit that members scatter about, with the rows of its training set.

    Attributes
    ----------
    model : fitted.
    blocks : its training set.
    core : whether pairs below min_dist repel.
    ridge : of the linear coefficients, as in the fit.
    threads : for the rows; results do not depend on it.
    """

    model: MtpModel
    blocks: Sequence[Block]
    core: bool
    ridge: float
    threads: int

    @classmethod
    def of(cls, model: MtpModel, train: Dataset, *, settings: FitSettings) -> Reference:
        """The fit of these settings to `train`."""
        data = Data.of(train, Dataset(), model=model, settings=settings)
        return cls(model, data.train, settings.core, settings.ridge, min(8, os.cpu_count() or 1))

    @property
    def n_frames(self) -> int:
        return sum(len(block.cells) for block in self.blocks)

    @property
    def n_linear(self) -> int:
        return len(self.model.species_coeffs) + len(self.model.moment_coeffs)

    def projected(self, factor: FloatArray) -> Projection:
        """What `project` makes of a factor; FitError when it is not finite."""
        return project(factor, n_linear=self.n_linear, ridge=self.ridge)


def drawn_weights(n_frames: int, *, count: int, seed: int) -> FloatArray:
    """(count, n_frames): how often each of n_frames was drawn in as many draws, or `LEAST`."""
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(n_frames, np.full(n_frames, 1 / n_frames), size=count)
    weights: FloatArray = np.maximum(counts.astype(np.float64), LEAST)
    return weights


def bootstrapped(reference: Reference, *, count: int, seed: int) -> list[MtpModel]:
    """`count` models that scatter about the fitted one as its data leave it uncertain."""
    return reweighted(reference, drawn_weights(reference.n_frames, count=count, seed=seed))


def reweighted(reference: Reference, weights: FloatArray) -> list[MtpModel]:
    """A model per row of `weights`, (count, n_frames): the fit had the frames these weights.

    Deterministic: equal arguments give equal bits. Raises FitError when rows are not finite.
    """
    with threadpool_limits(limits=1, user_api="blas"):
        alike = np.ones((1, reference.n_frames))
        seen, n_rows = _projections(reference, np.concatenate([alike, weights]))
        damping = _damping(reference, seen[0], n_rows)
        return [
            _member(reference, own, seen[0], damping=damping, weight=weight)
            for own, weight in zip(seen[1:], weights, strict=True)
        ]


def _projections(reference: Reference, weights: FloatArray) -> tuple[list[Projection], int]:
    """What each set of weights makes of the rows, and the number of rows.

    One traversal, or more where that many factors would be large.
    """
    width = reference.n_linear + reference.model.radial.size + 1
    at_once = max(1, FACTOR_BYTES // (8 * width**2))
    seen, n_rows = [], 0
    for first in range(0, len(weights), at_once):
        factors, n_rows = _factors(reference, weights[first : first + at_once])
        seen += [reference.projected(factor) for factor in factors]
    return seen, n_rows


def _factors(reference: Reference, weights: FloatArray) -> tuple[list[FloatArray], int]:
    """A triangular factor of [linear, radial, target] per set of weights, and how many rows."""
    program = program_of(reference.model, core=reference.core)
    factors: list[FloatArray | None] = [None] * len(weights)
    first = n_rows = 0
    for block in reference.blocks:
        rows = _rows(block, program, n_radial=reference.model.radial.size, of=reference)
        part = slice(first, first + len(block.cells))
        for number, weight in enumerate(weights):
            factors[number] = _folded(factors[number], rows, _scale(block, weight[part]))
        n_rows += int(np.count_nonzero(rows.any(axis=1)))
        first = part.stop
    return [factor for factor in factors if factor is not None], n_rows


def _rows(block: Block, program: _core.Mtp, *, n_radial: int, of: Reference) -> FloatArray:
    """[linear, radial, target] of one block; n_radial = 0 leaves the radial columns out."""
    rows = block.design(program, radial=n_radial > 0, threads=of.threads)
    target = block.labels - block.offset
    parts = [rows[:, n_radial:], rows[:, :n_radial], target[:, None]]
    return np.asfortranarray(np.concatenate(parts, axis=1))


def _scale(block: Block, weight: FloatArray) -> FloatArray:
    """(n_rows,) square root of the weight of each row's frame: energy, forces, six of stress."""
    scale: FloatArray = np.repeat(np.sqrt(weight), 7 + 3 * np.diff(block.offsets))
    return scale


def _folded(factor: FloatArray | None, rows: FloatArray, scale: FloatArray) -> FloatArray:
    """The triangular factor of what it was of, and of these rows scaled."""
    width = rows.shape[1]
    above = 0 if factor is None else len(factor)
    stacked = np.empty((above + len(rows), width), order="F")  # LAPACK's, so that it copies nothing
    if factor is not None:
        stacked[:above] = factor
    np.multiply(scale[:, None], rows, out=stacked[above:])
    found: FloatArray = qr(stacked, mode="r", overwrite_a=True, check_finite=False)[0][:width]
    return np.pad(found, ((0, width - len(found)), (0, 0)))


def _damping(reference: Reference, seen: Projection, n_rows: int) -> FloatArray:
    """(n_radial,) square roots of what a unit change of each radial coefficient costs.

    The variance of a row's residual over the mean square coefficient of the same radial function:
    the prior that a coefficient is of the size that coefficients have. What the data determine
    better is hardly damped; what they say nothing of stays within the size of the coefficient.
    """
    radial = reference.model.radial
    freedom = max(n_rows - reference.n_linear - radial.size, 1)
    noise = (seen.loss / freedom) ** 0.5
    size = np.sqrt(np.mean(radial**2, axis=(0, 1, 3)))
    size = np.where(size > 0, size, 1.0)[None, None, :, None]
    # a fit without residual knows its parameters exactly, but the factor must keep its rank
    least = 1e-9 * max(float(np.linalg.norm(seen.jacobian, axis=0).max()), 1e-300)
    damping: FloatArray = np.maximum(np.broadcast_to(noise / size, radial.shape).ravel(), least)
    return damping


def _step(seen: Projection, damping: FloatArray) -> FloatArray:
    """(n_radial,) damped Gauss-Newton step of the radial coefficients."""
    stacked = np.concatenate([seen.jacobian, np.diag(damping)])
    target = np.concatenate([seen.residual, np.zeros(len(damping))])
    step: FloatArray = np.linalg.lstsq(stacked, target, rcond=None)[0]
    return step


def _member(
    reference: Reference,
    own: Projection,
    all_alike: Projection,
    *,
    damping: FloatArray,
    weight: FloatArray,
) -> MtpModel:
    """One member: the longest step of its radial functions that lowers its loss, then solved.

    The fit stops before its gradient vanishes, often by validation: what the unweighted data would
    still change is no uncertainty, and is taken off the step. Where no step helps, the radial
    functions of the fit are kept.
    """
    for factor in _DAMPINGS:
        step = _step(own, factor * damping) - _step(all_alike, factor * damping)
        radial = reference.model.radial + step.reshape(reference.model.radial.shape)
        moved = replace(reference.model, radial=radial)
        there = _solved(reference, moved, weight=weight)
        if there.loss < own.loss:
            return _with(moved, there.linear)
    return _with(reference.model, own.linear)


def _solved(reference: Reference, model: MtpModel, *, weight: FloatArray) -> Projection:
    """The best linear coefficients for the radial ones of `model` and these weights."""
    program = program_of(model, core=reference.core)
    factor, first = None, 0
    for block in reference.blocks:
        part = slice(first, first + len(block.cells))
        rows = _rows(block, program, n_radial=0, of=reference)
        factor = _folded(factor, rows, _scale(block, weight[part]))
        first = part.stop
    assert factor is not None, "a fit has training data"
    return reference.projected(factor)


def _with(model: MtpModel, linear: FloatArray) -> MtpModel:
    if not np.isfinite(linear).all():
        raise FitError("the linear coefficients of a member are not finite; raise `ridge`")
    n_species = len(model.species_coeffs)
    return replace(
        model,
        species_coeffs=linear[:n_species].copy(),
        moment_coeffs=linear[n_species:].copy(),
    )
