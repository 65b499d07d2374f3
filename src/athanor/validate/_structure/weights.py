"""What X-rays and neutrons see of each element, and the totals they measure."""

from __future__ import annotations

from typing import Literal

import numpy as np

from athanor.errors import MeasurementError
from athanor.structure import FloatArray
from athanor.validate._extra import extra
from athanor.validate._structure.blocks import Blocked
from athanor.validate._structure.scattering import Scattering

Probe = Literal["X-ray", "neutron"]
LONGEST_Q = 75.0
"""1/Å; the tabulated form factors go no further."""
NOTHING = 1e-2
"""Of the largest amplitude; a mean below it would blow up what noise S(q) has."""


def amplitudes(probe: Probe, names: tuple[str, ...], q: FloatArray) -> FloatArray:
    """(n_elements, n) scattering amplitudes: form factors f(q) of atoms, or scattering lengths, fm.

    Tables and their formulas are dynasor's: Waasmaier and Kirfel, Acta Cryst. A 51, 416 (1995), for
    hydrogen, which they lack, the International Tables C (2006); Sears, Neutron News 3, 26 (1992),
    natural isotopes, real parts. Raises MeasurementError for an element they do not have.
    """
    # dynasor warns of hydrogen beyond 25 1/Å, where its form factor is nothing anyway
    with extra("dynasor"):
        from dynasor.post_processing import NeutronScatteringLengths, XRayFormFactors

        rows = []
        for name in names:
            try:
                if probe == "neutron":
                    length = NeutronScatteringLengths([name]).get_weight_coh(name)
                    rows.append(np.full(len(q), np.real(length)))
                    continue
                source = "itc-2006" if name == "H" else "waasmaier-1995"
                factors = XRayFormFactors([name], source=source)
                rows.append(np.array([factors.get_weight_coh(name, float(one)) for one in q]))
            except ValueError as error:
                raise MeasurementError(f"{probe} scattering of {name} is not tabulated") from error
    return np.array(rows)


def weighted(found: Scattering, probe: Probe) -> Blocked:
    """(blocks, n) total S(q) = sum of c_a c_b f_a f_b S_ab / (sum of c_a f_a)², which goes to 1."""
    f = amplitudes(probe, found.elements.names, found.q)
    c = found.elements.fractions
    mean = (c[:, None] * f).sum(axis=0)
    products = np.array([f[a] * f[b] for a, b in found.elements.places])
    if (np.abs(mean) < NOTHING * np.abs(f).max(axis=0)).any():
        raise MeasurementError(
            f"{probe} scattering of this composition averages to nothing, so S(q) has no scale; "
            "ask for another probe"
        )
    shares = found.elements.pair_shares[:, None] * products / mean**2
    return found.partial.map(lambda one: (shares * one).sum(axis=0))
