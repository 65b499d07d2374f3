"""Lennard-Jones: the smallest complete potential, and the example to begin a new kind from.

A kind is one file with two classes: the fitted potential (here `LennardJones`, a frozen value that
predicts and saves) and its recipe (`LennardJonesConfig`: the keys of a [potential] section, which
fits and loads).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray
from pydantic import AfterValidator, Field
from scipy.optimize import minimize_scalar

from athanor.component import Component
from athanor.data.dataset import Dataset
from athanor.errors import ConfigError, FitError, FormatError, StructureError
from athanor.potentials import HEADER, Potential, PotentialConfig, check_elements
from athanor.potentials._folder import new_folder
from athanor.structure import FloatArray, Frame, Labels, check_structure

IndexArray = NDArray[np.intp]


def _element(symbol: str) -> str:
    if symbol not in chemical_symbols[1:]:
        raise ValueError(f"{symbol!r} is no chemical symbol; give symbols such as 'Al'")
    return symbol


Symbol = Annotated[str, AfterValidator(_element)]

CLOSEST = 1e-3
"""Atoms nearer than this, in Å, are taken for one atom given twice."""


class Pairs(NamedTuple):
    """Every pair within the cutoff once: atom indices, vector from i to j (n, 3) and length, Å."""

    i: IndexArray
    j: IndexArray
    vector: FloatArray
    length: FloatArray


@dataclass(frozen=True, slots=True)
class LennardJones:
    """Pair potential phi(r) = v(r) - v(rc) - (r - rc) v'(rc), v(r) = 4 eps [(s/r)^12 - (s/r)^6].

    The two subtracted terms ("shifted force") bring energy and force to zero continuously at the
    cutoff rc. All elements are alike; an isolated atom has energy 0.

    Attributes
    ----------
    elements : chemical symbols it may be used for.
    cutoff, sigma : Å.
    epsilon : eV.
    """

    elements: frozenset[str]
    cutoff: float
    epsilon: float
    sigma: float

    def predict(self, structures: Sequence[Atoms], *, stress: bool = True) -> list[Labels]:
        """Energy, forces and stress of each structure; see `athanor.potentials.Potential`."""
        return [self._labels(atoms, stress=stress) for atoms in structures]

    def features(self, structures: Sequence[Atoms]) -> list[FloatArray]:
        """(n_atoms, 2) per structure: dE_i/d(epsilon) and dE_i/d(sigma), half of each pair's."""
        return [self._features(atoms) for atoms in structures]

    def save(self, folder: Path) -> None:
        """Write `potential.json` into a new folder; FolderError when the folder exists."""
        header = {"kind": "lj", "version": 1, **asdict(self), "elements": sorted(self.elements)}
        with new_folder(folder) as temporary:
            # json writes the shortest digits that give the same float back: bit-equal
            (temporary / HEADER).write_text(json.dumps(header, indent=1), encoding="utf-8")

    def _labels(self, atoms: Atoms, *, stress: bool) -> Labels:
        pairs = self._pairs(atoms)
        value, slope, _ = shifted_force(pairs.length, self.sigma, cutoff=self.cutoff)
        pull = self.epsilon * (slope / pairs.length)[:, None] * pairs.vector
        virial = pairs.vector.T @ pull  # dE/d(strain)
        return Labels(
            energy=self.epsilon * float(value.sum()),
            forces=_per_atom(pairs.i, pull, len(atoms)) - _per_atom(pairs.j, pull, len(atoms)),
            stress=virial / atoms.cell.volume if stress and atoms.pbc.all() else None,
        )

    def _features(self, atoms: Atoms) -> FloatArray:
        pairs = self._pairs(atoms)
        value, _, swell = shifted_force(pairs.length, self.sigma, cutoff=self.cutoff)
        half = 0.5 * np.stack([value, self.epsilon * swell / self.sigma], axis=1)
        return _per_atom(pairs.i, half, len(atoms)) + _per_atom(pairs.j, half, len(atoms))

    def _pairs(self, atoms: Atoms) -> Pairs:
        check_structure(atoms)
        check_elements(atoms, self.elements)
        return find_pairs(atoms, self.cutoff)


class LennardJonesConfig(PotentialConfig):
    """Fits epsilon and sigma to energies per atom and forces, in weighted least squares.

    The labels' energies must count from isolated atoms, since Lennard-Jones has no other zero.
    """

    provides: ClassVar[frozenset[str]] = frozenset({"features"})

    kind: Literal["lj"] = "lj"
    cutoff: float = Field(default=6.0, gt=0.0, description="Å")
    elements: tuple[Symbol, ...] = Field(
        default=(), description="besides those of the training set"
    )
    energy_weight: float = Field(default=1.0, ge=0.0, description="of squared eV/atom")
    force_weight: float = Field(default=0.1, ge=0.0, description="of squared eV/Å, mean component")

    def fit(
        self,
        train: Dataset,
        valid: Dataset,
        *,
        seed: int,
        workdir: Path,
        start: Potential | None = None,
    ) -> LennardJones:
        """Scan sigma, solve for epsilon exactly at each, refine the best; needs no seed or start.

        Raises FitError where nothing can be fitted: no pair within the cutoff, nothing attractive.
        """
        blocks = [(frame, find_pairs(frame.atoms, self.cutoff)) for frame in train]
        shortest = min((p.length.min() for _, p in blocks if len(p.length)), default=None)
        if shortest is None:
            raise FitError(
                f"none of the {len(train)} training structures has two atoms within the cutoff "
                f"{self.cutoff} Å; add such structures or raise the cutoff"
            )
        target = np.concatenate([self._targets(frame) for frame in train])

        def solved(sigma: float) -> tuple[float, float]:
            """Sum of squares with the best epsilon for this sigma, and that epsilon."""
            design = np.concatenate([self._design(frame, p, sigma) for frame, p in blocks])
            epsilon = max(float(design @ target) / max(float(design @ design), 1e-300), 0.0)
            return float(np.sum((epsilon * design - target) ** 2)), epsilon

        sigma = deepest(lambda s: solved(s)[0], shortest * np.geomspace(0.5, 1.5, 41))
        epsilon = solved(sigma)[1]
        if epsilon == 0.0:
            raise FitError(
                "no positive epsilon describes these labels; Lennard-Jones needs energies that "
                "count from isolated atoms, or energy_weight = 0"
            )
        elements = train.elements | valid.elements | frozenset(self.elements)
        return LennardJones(elements, self.cutoff, epsilon, sigma)

    @classmethod
    def load(cls, folder: Path) -> LennardJones:
        """Read what `save` wrote; FormatError names the file and what is wrong in it."""
        return _Saved.read(folder / HEADER).potential()

    @classmethod
    def example(cls, *, seed: int) -> LennardJones:
        """Random parameters of the size of a metal's, for two elements."""
        rng = np.random.default_rng(seed)
        return LennardJones(
            elements=frozenset({"Al", "Ni"}),
            cutoff=float(rng.uniform(4.5, 5.5)),
            epsilon=float(rng.uniform(0.05, 0.5)),
            sigma=float(rng.uniform(2.2, 2.6)),
        )

    def _targets(self, frame: Frame) -> FloatArray:
        """The weighted labels of one frame: energy per atom, then force components."""
        energy = np.sqrt(self.energy_weight) * frame.labels.energy / len(frame.atoms)
        return np.append(energy, self._force_factor(frame) * frame.labels.forces.ravel())

    def _design(self, frame: Frame, pairs: Pairs, sigma: float) -> FloatArray:
        """What `_targets` would be with epsilon = 1."""
        n_atoms = len(frame.atoms)
        value, slope, _ = shifted_force(pairs.length, sigma, cutoff=self.cutoff)
        pull = (slope / pairs.length)[:, None] * pairs.vector
        forces = _per_atom(pairs.i, pull, n_atoms) - _per_atom(pairs.j, pull, n_atoms)
        energy = np.sqrt(self.energy_weight) * value.sum() / n_atoms
        return np.append(energy, self._force_factor(frame) * forces.ravel())

    def _force_factor(self, frame: Frame) -> float:
        return float(np.sqrt(self.force_weight / (3 * len(frame.atoms))))


class _Saved(Component):
    """The contents of `potential.json`."""

    kind: Literal["lj"]
    version: Literal[1]
    elements: tuple[Symbol, ...] = Field(min_length=1)
    cutoff: float = Field(gt=0.0)
    epsilon: float
    sigma: float = Field(gt=0.0)

    @classmethod
    def read(cls, path: Path) -> Self:
        try:
            return cls.parse(json.loads(path.read_text(encoding="utf-8")), where="header")
        except json.JSONDecodeError as error:
            raise FormatError(path, error.lineno, f"not JSON ({error.msg})") from None
        except (OSError, ValueError, TypeError, ConfigError) as error:
            raise FormatError(path, None, f"not a saved Lennard-Jones ({error})") from None

    def potential(self) -> LennardJones:
        return LennardJones(frozenset(self.elements), self.cutoff, self.epsilon, self.sigma)


def deepest(loss: Callable[[float], float], scan: FloatArray) -> float:
    """Where `loss` is least: the scan finds the valley, Brent's method its floor."""
    best = int(np.argmin([loss(float(x)) for x in scan]))
    bounds = (scan[max(best - 1, 0)], scan[min(best + 1, len(scan) - 1)])
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-12})
    return float(found.x)


def shifted_force(
    length: FloatArray, sigma: float, *, cutoff: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """phi, d(phi)/dr and sigma d(phi)/d(sigma) of pairs at `length`, for epsilon = 1."""
    value, slope, swell, _ = _terms(length, sigma)
    value_c, slope_c, swell_c, swell_slope_c = _terms(np.array(cutoff), sigma)
    beyond = length - cutoff
    return (
        value - value_c - beyond * slope_c,
        slope - slope_c,
        swell - swell_c - beyond * swell_slope_c,
    )


def _terms(r: FloatArray, sigma: float) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """v, dv/dr, and sigma d/d(sigma) of both."""
    six = (sigma / r) ** 6
    twelve = six**2
    return (
        4 * (twelve - six),
        -24 * (2 * twelve - six) / r,
        24 * (2 * twelve - six),
        -144 * (4 * twelve - six) / r,
    )


def find_pairs(atoms: Atoms, cutoff: float) -> Pairs:
    """Every pair within the cutoff once; StructureError names two atoms at one place."""
    # where torch is installed vesin imports it, which listing the kinds of potentials must not
    from vesin import NeighborList

    finder = NeighborList(cutoff=cutoff, full_list=False, n_threads=1)
    i, j, vector, length = finder.compute(
        atoms.positions, atoms.cell.array, atoms.pbc, quantities="ijDd"
    )
    if len(length) and length.min() < CLOSEST:
        at = int(np.argmin(length))
        raise StructureError(
            f"atoms {int(i[at])} and {int(j[at])} are {length[at]:.1e} Å apart, nearer than "
            f"{CLOSEST} Å; remove one of them"
        )
    return Pairs(i.astype(np.intp), j.astype(np.intp), vector, length)


def _per_atom(index: IndexArray, rows: FloatArray, n_atoms: int) -> FloatArray:
    """Sum rows (n_pairs, k) by atom index into (n_atoms, k)."""
    return np.stack(
        [np.bincount(index, weights=column, minlength=n_atoms) for column in rows.T], axis=1
    )
