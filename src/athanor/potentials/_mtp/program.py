"""From the numbers of a moment tensor potential to the compiled kernel."""

from __future__ import annotations

import numpy as np
from ase.data import atomic_numbers

from athanor import _core
from athanor.potentials._mtp.model import MtpModel


def program_of(model: MtpModel, *, core: bool) -> _core.Mtp:
    """Lay a model out for the kernel; `core` switches the repulsion below min_dist on."""
    return _core.Mtp.make(
        basic=np.ascontiguousarray(model.tables.basic, dtype=np.int32),
        times=np.ascontiguousarray(model.tables.times, dtype=np.int32).reshape(-1, 4),
        mapping=np.ascontiguousarray(model.tables.mapping, dtype=np.int32),
        n_moments=model.tables.n_moments,
        min_dist=model.min_dist,
        max_dist=model.max_dist,
        scaling=model.scaling,
        radial=np.ascontiguousarray(model.radial),
        species_coeffs=np.ascontiguousarray(model.species_coeffs),
        moment_coeffs=np.ascontiguousarray(model.moment_coeffs),
        core_numbers=[atomic_numbers[symbol] for symbol in model.species] if core else [],
    )
