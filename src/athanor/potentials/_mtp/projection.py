"""Variable projection: the linear coefficients exactly, the radial ones by Levenberg-Marquardt.

The energy is linear in xi = (species_coeffs, moment_coeffs) and not in the radial coefficients c.
For every c the best xi is a linear least-squares solution; what is left is a problem in c alone,
whose Gauss-Newton matrix (Kaufman's form) is the part of dE/dc that the linear columns cannot
express. Both come from one triangular factor of [Phi, J, y]: the lower right block is exactly
that projected Jacobian and residual.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import qr, solve_triangular

from athanor.errors import FitError
from athanor.structure import FloatArray


@dataclass(frozen=True, slots=True)
class Projection:
    """Least squares over the linear columns, and what remains for the radial ones.

    Attributes
    ----------
    linear : (n_linear,) the solution xi.
    loss : squared norm of the residual, ridge included.
    jacobian : (n_radial, n_radial) triangular, the projected Jacobian.
    residual : (n_radial,) the residual seen through it.
    response : (n_linear, n_radial) change of the solution with the radial coefficients, dxi/dc.
    """

    linear: FloatArray
    loss: float
    jacobian: FloatArray
    residual: FloatArray
    response: FloatArray

    def expected(self, step: FloatArray) -> float:
        """The loss after a step of the radial coefficients, were the model linear in them."""
        before, after = self.residual, self.residual - self.jacobian @ step
        return self.loss - float(before @ before) + float(after @ after)


def project(factor: FloatArray, *, n_linear: int, ridge: float) -> Projection:
    """Solve for the linear columns of a triangular factor of [linear, radial, target].

    `ridge` penalises each linear coefficient relative to the norm of its column, so that it has no
    unit. Raises FitError when the factor is not finite.
    """
    if not np.isfinite(factor).all():
        raise FitError(
            "the design rows are not finite; look for absurd distances in the training set"
        )
    width = factor.shape[1]
    norms = np.linalg.norm(factor[:, :n_linear], axis=0)
    # a column that is zero (a species without neighbours of its kind) still gets a pivot
    norms = np.maximum(norms, 1e-8 * max(float(norms.max()), 1e-300))
    penalty = np.zeros((n_linear, width))
    penalty[np.arange(n_linear), np.arange(n_linear)] = ridge**0.5 * norms
    r = qr(np.concatenate([factor, penalty]), mode="r", check_finite=False)[0][:width]
    target = np.concatenate([r[:n_linear, -1:], -r[:n_linear, n_linear:-1]], axis=1)
    solved = solve_triangular(r[:n_linear, :n_linear], target, check_finite=False)
    return Projection(
        linear=solved[:, 0],
        loss=float(np.sum(r[n_linear:, -1] ** 2)),
        jacobian=r[n_linear:-1, n_linear:-1],
        residual=r[n_linear:-1, -1],
        response=solved[:, 1:],
    )


def damped_step(projection: Projection, damping: float) -> FloatArray:
    """Levenberg-Marquardt step of the radial coefficients, (n_radial,).

    Damping is relative to the norm of each column (Moré's scaling): directions the loss does not
    see, such as the length of a radial function, do not move.
    """
    jacobian = projection.jacobian
    norms = np.linalg.norm(jacobian, axis=0)
    norms = np.maximum(norms, 1e-6 * max(float(norms.max()), 1e-300))
    stacked = np.concatenate([jacobian, damping**0.5 * np.diag(norms)])
    target = np.concatenate([projection.residual, np.zeros(len(norms))])
    step: FloatArray = np.linalg.lstsq(stacked, target, rcond=None)[0]
    return step
