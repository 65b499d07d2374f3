"""What an ANI ensemble consists of (Smith et al. 2017, doi 10.1039/C6SC05720A, and 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from athanor.structure import FloatArray

CELU_ALPHA = 0.1
LONGEST_CUTOFF = 50.0
"""Å; beyond it neighbours number millions."""
LONGEST_VECTOR = 100_000
"""Components; more than any published one a hundred times over."""


@dataclass(frozen=True, slots=True)
class AevSpec:
    """Atomic environment vector: radial and modified angular symmetry functions.

    G_s = sum_j 0.25 exp(-eta_r (r_ij - shf_r[s])^2) fc(r_ij; radial_cutoff), per neighbour species;
    G_az = sum_{j<k} 2 ((1 + cos(theta - shf_z[z])) / 2)^zeta
    exp(-eta_a ((r_ij + r_ik) / 2 - shf_a[a])^2) fc(r_ij; angular_cutoff) fc(r_ik; angular_cutoff),
    per unordered pair of neighbour species, with theta = acos(0.95 cos theta_jik).

    Order of components: radial (species, s), then angular (pair of species, a, z), pairs in the
    order (0,0), (0,1), ..., (1,1), ...

    Attributes
    ----------
    species : chemical symbols in the order of the species indices.
    radial_cutoff, angular_cutoff : Å.
    eta_r, eta_a : 1/Å².
    shf_r, shf_a : Å.
    zeta : exponent of the angle.
    shf_z : radians.
    """

    species: tuple[str, ...]
    radial_cutoff: float
    angular_cutoff: float
    eta_r: float
    shf_r: tuple[float, ...]
    eta_a: float
    zeta: float
    shf_a: tuple[float, ...]
    shf_z: tuple[float, ...]

    @property
    def n_radial(self) -> int:
        """Radial components."""
        return len(self.species) * len(self.shf_r)

    @property
    def n_angular(self) -> int:
        """Angular components."""
        n = len(self.species)
        return n * (n + 1) // 2 * len(self.shf_a) * len(self.shf_z)

    @property
    def length(self) -> int:
        """Components of the whole vector."""
        return self.n_radial + self.n_angular

    @property
    def cutoff(self) -> float:
        """The larger cutoff, Å."""
        return max(self.radial_cutoff, self.angular_cutoff)


_OVERLAP = 1.42
"""eta times the squared distance of neighbouring shells, in the published vector for aluminium."""
_ANGULAR_OVERLAP = 10.7
"""zeta times the squared distance of neighbouring angles, in the same."""


def even_spec(
    species: tuple[str, ...],
    *,
    radial_cutoff: float,
    angular_cutoff: float,
    first: float,
    n_radial: int,
    n_shells: int,
    n_angles: int,
) -> AevSpec:
    """Evenly spaced functions that overlap as those of Smith et al. 2021 do.

    Shells begin at `first` (Å), angles half a step from 0. With 7 and 5 Å, 1.25 Å, 32, 8 and 8 it
    is the published vector, whose eta_r = 43.9, eta_a = 6.5 and zeta = 69.4 are rounded.
    """
    radial_step = (radial_cutoff - first) / n_radial
    shell_step = (angular_cutoff - first) / n_shells
    angle_step = np.pi / n_angles
    return AevSpec(
        species=species,
        radial_cutoff=radial_cutoff,
        angular_cutoff=angular_cutoff,
        eta_r=_OVERLAP / radial_step**2,
        shf_r=tuple(first + radial_step * k for k in range(n_radial)),
        eta_a=_OVERLAP / shell_step**2,
        zeta=max(1.0, _ANGULAR_OVERLAP / angle_step**2),
        shf_a=tuple(first + shell_step * k for k in range(n_shells)),
        shf_z=tuple(angle_step * (k + 0.5) for k in range(n_angles)),
    )


def spec_fault(spec: AevSpec) -> str | None:
    """What is wrong with the numbers of an environment vector, in one sentence; None if nothing."""
    for name, cutoff in (("radial", spec.radial_cutoff), ("angular", spec.angular_cutoff)):
        if not 0 < cutoff <= LONGEST_CUTOFF:
            return f"the {name} cutoff is {cutoff} Å, allowed are 0 to {LONGEST_CUTOFF} Å"
    for name, eta in (("radial", spec.eta_r), ("angular", spec.eta_a)):
        if not 0 < eta < np.inf:
            return f"the {name} eta is {eta}, expected a positive number"
    if not 1 <= spec.zeta < np.inf:
        return f"zeta is {spec.zeta}, expected 1 or more"
    for name, shifts in (("ShfR", spec.shf_r), ("ShfA", spec.shf_a), ("ShfZ", spec.shf_z)):
        if not shifts or not np.isfinite(shifts).all():
            return f"the shifts {name} are {list(shifts)}, expected at least one finite number"
    if spec.length > LONGEST_VECTOR:
        return f"the vector has {spec.length} components, at most {LONGEST_VECTOR} are evaluated"
    return None


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """The multilayer perceptrons of one species, all members of the ensemble side by side.

    Attributes
    ----------
    weights : per layer (n_members, n_out, n_in), float32.
    biases : per layer (n_members, n_out), float32. The last layer has n_out = 1 and is linear, the
        others end in CELU(alpha = 0.1).
    """

    weights: tuple[NDArray[np.float32], ...]
    biases: tuple[NDArray[np.float32], ...]

    @classmethod
    def drawn(cls, rng: np.random.Generator, widths: Sequence[int], *, n_members: int) -> Network:
        """Random networks with these numbers of nodes, the inputs' first."""
        shapes = [(n_members, *shape) for shape in zip(widths[1:], widths[:-1], strict=True)]
        return cls(
            tuple(
                (rng.normal(size=shape) / shape[2] ** 0.5).astype(np.float32) for shape in shapes
            ),
            tuple((0.1 * rng.normal(size=shape[:2])).astype(np.float32) for shape in shapes),
        )


@dataclass(frozen=True, slots=True, eq=False)
class AniModel:
    """An ensemble of networks on one environment vector.

    E_m = sum_i (scale * network_m(G_i) + offsets[m, species_i]), eV; the prediction is the mean
    over the members m.

    Attributes
    ----------
    aev : the environment vector.
    networks : one for each species.
    offsets : (n_members, n_species), eV.
    scale : eV of one unit of a network's output.
    """

    aev: AevSpec
    networks: tuple[Network, ...]
    offsets: FloatArray
    scale: float

    @property
    def species(self) -> tuple[str, ...]:
        return self.aev.species

    @property
    def n_members(self) -> int:
        return len(self.offsets)

    def member(self, number: int) -> AniModel:
        """The model of one member alone."""
        one = slice(number, number + 1)
        networks = tuple(
            Network(tuple(w[one] for w in net.weights), tuple(b[one] for b in net.biases))
            for net in self.networks
        )
        return AniModel(self.aev, networks, self.offsets[one], self.scale)
