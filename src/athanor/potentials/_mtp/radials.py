"""Radial functions to start a fit from, and the one scale of each that a potential does not see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from athanor.potentials._mtp.model import IndexTables, MtpModel
from athanor.structure import FloatArray


def random_radial(shape: tuple[int, ...], rng: np.random.Generator) -> FloatArray:
    """Radial function mu starts as the mu-th Chebyshev function with noise: unlike each other."""
    radial = 0.3 * rng.normal(size=shape)
    for mu in range(shape[2]):
        radial[:, :, mu, mu % shape[3]] += 1.0
    return radial


def normalised(model: MtpModel) -> MtpModel:
    """Scale each radial function to unit mean square coefficient; its moments follow exactly.

    A scalar function with d_mu factors of radial function mu scales by the product of s_mu^d_mu,
    which its coefficient takes back.
    """
    mean = np.sqrt(np.mean(model.radial**2, axis=(0, 1, 3)))
    scale = 1 / np.where(mean > 0, mean, 1.0)
    degrees = _degrees(model.tables)
    factor = np.prod(scale**degrees, axis=1)
    return replace(
        model,
        radial=model.radial * scale[:, None],
        moment_coeffs=model.moment_coeffs / factor,
    )


def _degrees(tables: IndexTables) -> FloatArray:
    """(n_scalars, n_radial): how often each radial function enters each scalar function."""
    degrees = np.zeros((tables.n_moments, tables.n_radial))
    degrees[np.arange(len(tables.basic)), tables.basic[:, 0]] = 1
    for i, j, _, k in tables.times:
        degrees[k] = degrees[i] + degrees[j]
    return degrees[tables.mapping]
