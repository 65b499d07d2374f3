"""Moment tensor potentials (Novikov et al. 2021, eqs 1-6, doi 10.1088/2632-2153/abc9fe)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from athanor import _core
from athanor.data.dataset import Dataset
from athanor.data.species import check_species
from athanor.errors import ConfigError, FormatError
from athanor.potentials import HEADER, SKIN, Potential, PotentialConfig, check_elements
from athanor.potentials._faults import checked
from athanor.potentials._folder import new_folder
from athanor.potentials._mtp.basis import basis
from athanor.potentials._mtp.bootstrap import Reference, bootstrapped
from athanor.potentials._mtp.fit import FitSettings, fit_model
from athanor.potentials._mtp.mlip_file import read_mtp, write_mtp
from athanor.potentials._mtp.model import MtpModel
from athanor.potentials._mtp.program import program_of
from athanor.potentials._mtp.rows import LossWeights, Weighting
from athanor.potentials._mtp.together import evaluate_together
from athanor.structure import FloatArray, Labels, check_structure

_VERSION = 1
_MODEL_FILE = "potential.mtp"
_LOW_LEVEL = 16
"""Level at which good radial functions are searched for, when the potential's own is higher."""


class MomentTensorPotential:
    """A fitted moment tensor potential; its kernel is the C++ core.

    Parameters
    ----------
    model : coefficients and basis.
    core : with True, pairs closer than min_dist feel the universal screened nuclear repulsion
        (Ziegler, Biersack, Littmark 1985) and radial functions go on as straight lines; with False,
        the polynomials run on below min_dist as in the published code.
    """

    def __init__(self, model: MtpModel, *, core: bool) -> None:
        self.model = model
        self.core = core
        self._program = program_of(model, core=core)
        self._skin: _core.SkinList | None = None
        self._threads = 1
        self._elements = frozenset(model.species)
        self._table = np.full(len(atomic_numbers) + 1, -1, dtype=np.int32)
        self._table[[atomic_numbers[symbol] for symbol in model.species]] = range(
            len(model.species)
        )

    def __reduce__(self) -> tuple[object, ...]:
        return _restored, (self.model, self.core)

    @property
    def elements(self) -> frozenset[str]:
        return self._elements

    @property
    def cutoff(self) -> float:
        return self.model.max_dist

    def predict(self, structures: Sequence[Atoms], *, stress: bool = True) -> list[Labels]:
        """Energy, forces and stress of each structure; see the contract for what is raised."""
        return [self._labels(atoms, stress=stress) for atoms in structures]

    def features(self, structures: Sequence[Atoms]) -> list[FloatArray]:
        """Per structure (n_atoms, n_parameters): dE_i/dtheta (Novikov et al. 2021, section 2.3).

        Parameters are the radial coefficients (i, j, mu, q), species_coeffs, moment_coeffs.
        """
        return [self._evaluate(atoms, forces=False, features=True)[5] for atoms in structures]

    def predict_with_features(
        self, structures: Sequence[Atoms], *, stress: bool = True
    ) -> list[tuple[Labels, FloatArray]]:
        """Labels and features of each structure, for little more than the labels cost."""
        return [self._both(atoms, stress=stress, features=True) for atoms in structures]

    def mean_features(self, structures: Sequence[Atoms]) -> FloatArray:
        """(n_structures, n_parameters): features averaged over atoms, without their table."""
        rows = [
            self._evaluate(atoms, forces=False, features=True, summed=True)[5][0] / len(atoms)
            for atoms in structures
        ]
        return np.array(rows).reshape(len(rows), self._program.n_parameters)

    def predict_with_mean_features(
        self, structures: Sequence[Atoms], *, stress: bool = True
    ) -> list[tuple[Labels, FloatArray]]:
        """Labels and mean features of each structure."""
        both = [self._both(one, stress=stress, features=True, summed=True) for one in structures]
        return [(labels, table[0] / len(labels.forces)) for labels, table in both]

    def predict_together(
        self, others: Sequence[Potential], atoms: Atoms, *, stress: bool = True
    ) -> list[Labels] | None:
        """Labels by this potential and `others`; None unless species and cutoff are the same."""
        alike = [self] + [
            other
            for other in others
            if isinstance(other, MomentTensorPotential)
            and other.model.species == self.model.species
            and other.cutoff == self.cutoff
        ]
        if len(alike) <= len(others):
            return None
        programs = [one._program for one in alike]
        return evaluate_together(
            programs,
            self._types(atoms),
            atoms,
            stress=stress,
            skin=self._skin,
            threads=self._threads,
        )

    def follow(self, *, skin: float = SKIN) -> MomentTensorPotential:
        """This potential with neighbours kept from call to call, for one structure that moves.

        They are those within cutoff + `skin` (Å), found again when an atom has moved by half of it.
        Not for several threads at once.
        """
        following = self.with_threads(self._threads)
        following._skin = _core.SkinList(skin)
        return following

    def with_threads(self, threads: int) -> MomentTensorPotential:
        """This potential on so many threads; last digits depend on their number."""
        other = copy(self)
        other._threads = threads
        return other

    def _labels(self, atoms: Atoms, *, stress: bool) -> Labels:
        return self._both(atoms, stress=stress, features=False)[0]

    def _both(
        self, atoms: Atoms, *, stress: bool, features: bool, summed: bool = False
    ) -> tuple[Labels, FloatArray]:
        energy, forces, virial, volume, _, table = self._evaluate(
            atoms, forces=True, features=features, summed=summed
        )
        return Labels(energy, forces, virial / volume if stress and volume > 0 else None), table

    def _evaluate(
        self, atoms: Atoms, *, forces: bool, features: bool, summed: bool = False
    ) -> tuple[float, FloatArray, FloatArray, float, FloatArray, FloatArray]:
        types = self._types(atoms)
        check_structure(atoms)
        with checked(atoms):
            return self._program.evaluate(
                np.ascontiguousarray(atoms.positions),
                types,
                np.ascontiguousarray(atoms.cell.array),
                np.ascontiguousarray(atoms.pbc),
                forces=forces,
                features=features,
                summed=summed,
                skin=self._skin,
                threads=self._threads,
            )

    def _types(self, atoms: Atoms) -> NDArray[np.int32]:
        """Species index of every atom, by a table over atomic numbers."""
        types: NDArray[np.int32] = self._table[atoms.numbers]
        if (types < 0).any():
            check_elements(atoms, self._elements)
        return types

    def save(self, folder: Path) -> None:
        """Write `potential.json` and `potential.mtp` (MLIP's format, which has no core)."""
        header = {
            "kind": "mtp",
            "version": _VERSION,
            "species": list(self.model.species),
            "core": self.core,
        }
        with new_folder(Path(folder)) as inside:
            write_mtp(inside / _MODEL_FILE, self.model)
            (inside / HEADER).write_text(json.dumps(header, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def from_mlip(cls, path: Path, species: Sequence[str]) -> Self:
        """Read a `.mtp` file of the MLIP package; evaluates to the published code's numbers."""
        return cls._read(path, species, core=False)

    @classmethod
    def _read(cls, path: Path, species: Sequence[str], *, core: bool) -> Self:
        model = read_mtp(path, species)
        try:
            return cls(model, core=core)
        except ValueError as error:
            # limits of the kernel that are none of the format
            raise FormatError(path, None, f"this kernel cannot evaluate it: {error}") from None

    def to_mlip(self, path: Path) -> None:
        """Write a `.mtp` file for the MLIP package and its LAMMPS interface (without the core)."""
        write_mtp(path, self.model)


def _restored(model: MtpModel, core: bool) -> MomentTensorPotential:
    return MomentTensorPotential(model, core=core)


class MtpConfig(PotentialConfig):
    """Recipe of a moment tensor potential.

    The loss is that of Novikov et al. 2021: eq. 7 (molecules), 11 (structures) or 12 (vibrations),
    with energies in eV, forces in eV/Å and stresses as virials in eV.
    """

    kind: Literal["mtp"] = "mtp"
    provides: ClassVar[frozenset[str]] = frozenset({"features"})

    level: int = Field(default=12, ge=2, le=28, multiple_of=2)
    max_factors: int = Field(default=4, ge=1, le=6)
    species: tuple[str, ...] | None = None
    radial_basis_size: int = Field(default=8, ge=2, le=32)
    min_dist: float | None = Field(default=None, gt=0)
    max_dist: float = Field(default=5.0, gt=0, le=20)
    weighting: Weighting = "vibrations"
    energy_weight: float = Field(default=1.0, gt=0)
    force_weight: float = Field(default=0.01, ge=0)
    stress_weight: float = Field(default=0.001, ge=0)
    ridge: float = Field(default=1e-9, gt=0, le=1)
    starts: int = Field(default=4, ge=1)
    steps: int = Field(default=20, ge=0)
    tolerance: float = Field(default=1e-3, gt=0)
    patience: int = Field(default=4, ge=1)
    core: bool = True

    @field_validator("species")
    @classmethod
    def _check_species(cls, species: tuple[str, ...] | None) -> tuple[str, ...] | None:
        try:
            return None if species is None else check_species(species, where="the list")
        except ConfigError as error:
            raise ValueError(str(error)) from None

    @model_validator(mode="after")
    def _check_distances(self) -> Self:
        if self.min_dist is not None and self.min_dist >= self.max_dist:
            raise ValueError(f"min_dist = {self.min_dist} must be below max_dist = {self.max_dist}")
        return self

    def fit(
        self,
        train: Dataset,
        valid: Dataset,
        *,
        seed: int,
        workdir: Path,
        start: Potential | None = None,
    ) -> Potential:
        """Fit by variable projection; progress is appended to `workdir/fit.jsonl`."""
        warm = start.model if isinstance(start, MomentTensorPotential) else None
        blank = self._blank(train, valid, warm)
        low = basis(_LOW_LEVEL, max_factors=self.max_factors) if self.level > _LOW_LEVEL else None
        fitted = fit_model(
            blank,
            low,
            train,
            valid,
            settings=self._settings(),
            starts=self.starts,
            seed=seed,
            start=warm if warm is not None and _alike(warm, blank) else None,
            workdir=workdir,
        )
        return MomentTensorPotential(fitted.model, core=self.core)

    def bootstrapped(
        self, reference: Potential, train: Dataset, *, count: int, seed: int
    ) -> list[Potential]:
        """Members of an ensemble from a fit of this recipe to `train`; see `_mtp/bootstrap.py`."""
        assert isinstance(reference, MomentTensorPotential), "this recipe fits no other"
        models = bootstrapped(
            Reference.of(reference.model, train, settings=self._settings()), count=count, seed=seed
        )
        return [MomentTensorPotential(model, core=self.core) for model in models]

    def _settings(self) -> FitSettings:
        return FitSettings(
            weights=LossWeights(
                self.energy_weight, self.force_weight, self.stress_weight, self.weighting
            ),
            ridge=self.ridge,
            steps=self.steps,
            tolerance=self.tolerance,
            patience=self.patience,
            core=self.core,
        )

    def _blank(self, train: Dataset, valid: Dataset, warm: MtpModel | None) -> MtpModel:
        """The model without coefficients."""
        present = train.elements | valid.elements
        species = self.species or tuple(sorted(present))
        if not present <= set(species):
            raise ConfigError(
                f"potential: species = {', '.join(species)}, but the training set also holds "
                f"{', '.join(sorted(present - set(species)))}; add them to species"
            )
        tables = basis(self.level, max_factors=self.max_factors)
        min_dist = self.min_dist or (
            warm.min_dist if warm is not None else _shortest(train, self.max_dist)
        )
        n = len(species)
        return MtpModel(
            species=species,
            tables=tables,
            min_dist=min_dist,
            max_dist=self.max_dist,
            scaling=1 / (self.max_dist - min_dist) ** 2,
            radial=np.zeros((n, n, tables.n_radial, self.radial_basis_size)),
            species_coeffs=np.zeros(n),
            moment_coeffs=np.zeros(len(tables.mapping)),
            name=f"athanor level {self.level}",
        )

    @classmethod
    def load(cls, folder: Path) -> Potential:
        """Read a folder written by `save`."""
        path = folder / HEADER
        try:
            header = json.loads(path.read_text(encoding="utf-8"))
            version, species, core = header["version"], header["species"], header["core"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FormatError(
                path, None, f"not the header of an mtp potential ({error!r})"
            ) from None
        if version != _VERSION or not isinstance(core, bool) or not isinstance(species, list):
            raise FormatError(
                path, None, f"expected version {_VERSION}, a species list and core true or false"
            )
        return MomentTensorPotential._read(
            folder / _MODEL_FILE, [str(symbol) for symbol in species], core=core
        )

    @classmethod
    def example(cls, *, seed: int) -> Potential:
        """A level-10 potential of Al and Ni with random coefficients and energies of a few eV."""
        rng = np.random.default_rng(seed)
        tables = basis(10)
        radial = rng.normal(size=(2, 2, tables.n_radial, 6)) / 3
        model = MtpModel(
            species=("Al", "Ni"),
            tables=tables,
            min_dist=1.6,
            max_dist=4.0,
            scaling=1 / (4.0 - 1.6) ** 2,
            radial=radial,
            species_coeffs=rng.normal(size=2),
            moment_coeffs=0.05 * rng.normal(size=len(tables.mapping)),
        )
        return MomentTensorPotential(model, core=True)


def _alike(warm: MtpModel, blank: MtpModel) -> bool:
    """Whether the radial coefficients of one mean the same in the other."""
    return (
        warm.species == blank.species
        and warm.radial.shape == blank.radial.shape
        and (warm.min_dist, warm.max_dist) == (blank.min_dist, blank.max_dist)
    )


def _shortest(train: Dataset, max_dist: float) -> float:
    """The shortest distance in the training set, rounded down to 0.1 Å; there the core begins."""
    shortest = 0.5 * max_dist
    for frame in train:
        atoms = frame.atoms
        with checked(atoms, where=frame.origin):
            _, _, vectors = _core.all_pairs(
                np.ascontiguousarray(atoms.positions),
                np.ascontiguousarray(atoms.cell.array),
                np.ascontiguousarray(atoms.pbc),
                shortest,
            )
        if len(vectors):
            shortest = min(shortest, float(np.sqrt((vectors**2).sum(axis=1).min())))
    return max(0.1, float(np.floor(shortest * 10) / 10))
