"""Ensembles of ANI networks (Smith et al. 2017, doi 10.1039/C6SC05720A, and 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from athanor import _core
from athanor.data.dataset import Dataset
from athanor.data.species import check_species
from athanor.errors import ConfigError, FormatError, MissingExtraError
from athanor.potentials import HEADER, SKIN, Potential, PotentialConfig, check_elements
from athanor.potentials._ani.files import read_model, write_model
from athanor.potentials._ani.model import AevSpec, AniModel, Network, even_spec
from athanor.potentials._ani.neurochem import read_neurochem
from athanor.potentials._ani.program import Device, Evaluation, Precision, program_of
from athanor.potentials._ani.settings import FitSettings, LossWeights
from athanor.potentials._faults import checked
from athanor.potentials._folder import new_folder
from athanor.potentials._members import Resample
from athanor.structure import FloatArray, Labels, check_structure


class AniPotential:
    """An ensemble of ANI networks; it predicts their mean, and its kernel is the C++ core.

    Parameters
    ----------
    model : environment vector, weights and offsets of all members.
    precision : of environment vectors and networks inside the kernel. Energies are summed and
        offsets added in float64 with either.
    device : "cpu" is the C++ core; "auto" a CUDA device where PyTorch finds one, else the core;
        "cuda" raises ConfigError where there is none. On CUDA sums are in no fixed order: last
        digits differ from call to call. Saved, "cuda" becomes "auto".
    """

    def __init__(
        self, model: AniModel, *, precision: Precision = "float32", device: Device = "cpu"
    ) -> None:
        self.model = model
        self.precision: Precision = precision
        self.device: Device = device
        self._program = program_of(model, precision=precision, device=device)
        self._skin: _core.SkinList | None = None
        self._threads = 1
        self._elements = frozenset(model.aev.species)
        self._table = np.full(len(atomic_numbers) + 1, -1, dtype=np.int32)
        self._table[[atomic_numbers[symbol] for symbol in model.aev.species]] = range(
            len(model.aev.species)
        )

    def __reduce__(self) -> tuple[object, ...]:
        return _restored, (self.model, self.precision, _portable(self.device))

    @property
    def elements(self) -> frozenset[str]:
        return self._elements

    @property
    def cutoff(self) -> float:
        return self.model.aev.cutoff

    @cached_property
    def members(self) -> tuple[AniPotential, ...]:
        """Each network as a potential of its own."""
        if self.model.n_members == 1:
            return (self,)
        return tuple(
            AniPotential(self.model.member(number), precision=self.precision, device=self.device)
            for number in range(self.model.n_members)
        )

    def predict(self, structures: Sequence[Atoms], *, stress: bool = True) -> list[Labels]:
        """Mean energy, forces and stress of each structure; see the contract for what is raised."""
        return [self._both(atoms, stress=stress, features=False)[0] for atoms in structures]

    def predict_each(
        self, structures: Sequence[Atoms], *, stress: bool = True
    ) -> list[list[Labels]]:
        """Per structure the labels by each member, of one evaluation."""
        return [self._each(atoms, stress=stress) for atoms in structures]

    def features(self, structures: Sequence[Atoms]) -> list[FloatArray]:
        """Per structure (n_atoms, n_parameters): dE_i/dtheta of the first member's last layer.

        For each species in turn its weights and its bias, eV: the last hidden layer and 1, times
        the scale; zero for atoms of other species.
        """
        return [self._evaluate(atoms, forces=False, features=True)[5] for atoms in structures]

    def predict_with_features(
        self, structures: Sequence[Atoms], *, stress: bool = True
    ) -> list[tuple[Labels, FloatArray]]:
        """Mean labels and features of each structure, for little more than the labels cost."""
        return [self._both(atoms, stress=stress, features=True) for atoms in structures]

    def mean_features(self, structures: Sequence[Atoms]) -> FloatArray:
        """(n_structures, n_parameters): features averaged over atoms."""
        rows = [table.mean(axis=0) for table in self.features(structures)]
        return np.array(rows).reshape(len(rows), self._n_parameters)

    def predict_with_mean_features(
        self, structures: Sequence[Atoms], *, stress: bool = True
    ) -> list[tuple[Labels, FloatArray]]:
        """Mean labels and mean features of each structure."""
        both = self.predict_with_features(structures, stress=stress)
        return [(labels, table.mean(axis=0)) for labels, table in both]

    def follow(self, *, skin: float = SKIN) -> AniPotential:
        """This potential with neighbours kept from call to call, for one structure that moves.

        They are those within cutoff + `skin` (Å), found again when an atom has moved by half of it.
        Not for several threads at once.
        """
        following = self.with_threads(self._threads)
        following._skin = _core.SkinList(skin)
        return following

    def with_threads(self, threads: int) -> AniPotential:
        """This potential on so many threads; last digits depend on their number."""
        other = copy(self)
        other._threads = threads
        return other

    @property
    def _n_parameters(self) -> int:
        return sum(network.weights[-1].shape[2] + 1 for network in self.model.networks)

    def _both(self, atoms: Atoms, *, stress: bool, features: bool) -> tuple[Labels, FloatArray]:
        found = self._evaluate(atoms, features=features)
        return _labels(found, 0, float(found[0].mean()), stress=stress), found[5]

    def _each(self, atoms: Atoms, *, stress: bool) -> list[Labels]:
        found = self._evaluate(atoms, each=True)
        return [_labels(found, k, float(e), stress=stress) for k, e in enumerate(found[0])]

    def _evaluate(
        self, atoms: Atoms, *, forces: bool = True, each: bool = False, features: bool = False
    ) -> Evaluation:
        types = self._types(atoms)
        check_structure(atoms)
        with checked(atoms):
            return self._program.evaluate(
                np.ascontiguousarray(atoms.positions),
                types,
                np.ascontiguousarray(atoms.cell.array),
                np.ascontiguousarray(atoms.pbc),
                forces=forces,
                each=each,
                features=features,
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
        """Write `potential.json` and `weights.safetensors` into a new folder."""
        with new_folder(Path(folder)) as inside:
            device = _portable(self.device)
            write_model(inside, self.model, precision=self.precision, device=device)

    @classmethod
    def from_neurochem(cls, info: Path, *, precision: Precision = "float32") -> Self:
        """Read a published potential from its `.info` file; FormatError names the file at fault."""
        return cls._made(read_neurochem(info), info, precision, "cpu")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a folder written by `save`; FormatError names the file and what is wrong in it."""
        model, precision, device = read_model(folder)
        return cls._made(model, folder / HEADER, precision, device)

    @classmethod
    def _made(cls, model: AniModel, path: Path, precision: Precision, device: Device) -> Self:
        try:
            return cls(model, precision=precision, device=device)
        except ValueError as error:
            # limits of the kernel that are none of the format
            raise FormatError(path, None, f"this kernel cannot evaluate it: {error}") from None


def _labels(found: Evaluation, number: int, energy: float, *, stress: bool) -> Labels:
    """The labels by one row of forces and strain derivatives."""
    _, forces, virials, volume, _, _ = found
    # symmetric up to rounding, since the energy is invariant to rotation
    virial = 0.5 * (virials[number] + virials[number].T)
    return Labels(energy, forces[number], virial / volume if stress and volume > 0 else None)


def _portable(device: Device) -> Device:
    """What another machine, which may have no CUDA device, is told."""
    return "cpu" if device == "cpu" else "auto"


def _restored(model: AniModel, precision: Precision, device: Device) -> AniPotential:
    return AniPotential(model, precision=precision, device=device)


class AniConfig(PotentialConfig):
    """Recipe of an ensemble of ANI networks, trained on energies, forces and, if wished, stress.

    The loss is eq. 1 of Smith et al. 2021 (see `_ani/settings.py`); members differ in the random
    weights they begin with and in their data, by `resample`.
    """

    kind: Literal["ani"] = "ani"
    provides: ClassVar[frozenset[str]] = frozenset({"ensemble", "features"})
    needs: ClassVar[Mapping[str, str]] = {"torch": "ani"}

    size: int = Field(default=8, ge=1, le=100, description="number of networks")
    species: tuple[str, ...] | None = None
    layers: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = Field(
        default=(96, 96, 64), min_length=1, description="units of each hidden layer"
    )
    radial_cutoff: float = Field(default=7.0, gt=1.5, le=20)
    angular_cutoff: float = Field(default=5.0, gt=1.5, le=20)
    first_shell: float = Field(default=1.25, gt=0, description="Å, where shells begin")
    n_radial: int = Field(default=32, ge=1, le=128)
    n_shells: int = Field(default=8, ge=1, le=64)
    n_angles: int = Field(default=8, ge=1, le=64)
    resample: Resample = Field(
        default="bootstrap",
        description="what the members differ in: frames drawn with replacement (bootstrap), "
        "validated by one part and trained on the rest (split), or the seed alone (none)",
    )
    l0: float = Field(default=0.01, ge=0, description="Å², weight of forces")
    per_atom: bool = Field(default=False, description="energies and virials count per atom")
    stress_weight: float = Field(default=0.0, ge=0, description="of the squared virial")
    without_forces: Literal["refuse", "energy"] = Field(
        default="refuse",
        description="training frames with energies alone are refused, or trained on these",
    )
    optimizer: Literal["adamw", "soap"] = Field(
        default="soap", description="AdamW in the eigenbases of SOAP, or by parameter"
    )
    batch_size: int = Field(default=4, ge=1, description="structures per step")
    learning_rate: float = Field(default=5e-3, gt=0, le=1)
    max_epochs: int = Field(default=200, ge=1)
    patience: int = Field(
        default=25, ge=1, description="epochs without a better validation loss until rates fall"
    )
    decay: float = Field(default=0.5, gt=0, lt=1, description="what rates are multiplied by then")
    final_rate: float = Field(default=1e-5, gt=0, description="a member ends below it")
    cooldown: float = Field(
        default=0.4, ge=0, le=1, description="share of max_epochs in which rates fall to zero"
    )
    average: float = Field(
        default=0.99, ge=0, lt=1, description="decay per step of the running mean of the weights"
    )
    weight_decay: float = Field(default=1e-4, ge=0)
    refit_epochs: int | None = Field(
        default=None, ge=1, description="max_epochs of a refit; half of max_epochs if not given"
    )
    precision: Precision = "float32"
    route: Literal["exact", "displaced"] = Field(
        default="exact", description="to force gradients: exact, or two displaced passes"
    )
    device: Device = Field(
        default="cpu",
        description="of fit and potential; auto is cuda where there is one",
    )
    memory_GB: float = Field(default=2.0, ge=0, description="for environment vectors kept")
    threads: int | None = Field(default=None, ge=1, description="all that may be used if not given")

    @property
    def offers(self) -> frozenset[str]:
        return self.provides if self.size > 1 else self.provides - {"ensemble"}

    @property
    def needs_forces(self) -> bool:
        return self.without_forces == "refuse"

    @field_validator("species")
    @classmethod
    def _check_species(cls, species: tuple[str, ...] | None) -> tuple[str, ...] | None:
        try:
            return None if species is None else check_species(species, where="the list")
        except ConfigError as error:
            raise ValueError(str(error)) from None

    @model_validator(mode="after")
    def _check_shells(self) -> Self:
        shortest = min(self.radial_cutoff, self.angular_cutoff)
        if self.first_shell >= shortest:
            raise ValueError(
                f"first_shell = {self.first_shell} must be below the shorter cutoff, {shortest}"
            )
        if self.resample == "split" and self.size < 2:
            raise ValueError("resample = 'split' needs size = 2 or more, a part for each member")
        if self.final_rate > self.learning_rate:
            raise ValueError(
                f"final_rate = {self.final_rate} must not be above learning_rate = "
                f"{self.learning_rate}, or nothing is learned"
            )
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
        """Fit all members at once; progress is appended to `workdir/fit.jsonl`.

        Needs PyTorch (MissingExtraError without it); see `_ani/fit.py` for what else is raised.
        """
        # torch is needed for fitting alone
        try:
            from athanor.potentials._ani.fit import fit_ensemble
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise MissingExtraError("torch", "ani") from None
        model = fit_ensemble(
            train,
            valid,
            spec=self._spec(train, valid),
            settings=self._settings(),
            seed=seed,
            workdir=workdir,
            start=start.model if isinstance(start, AniPotential) else None,
        )
        return AniPotential(model, precision=self.precision, device=self.device)

    def _spec(self, train: Dataset, valid: Dataset) -> AevSpec:
        present = train.elements | valid.elements
        species = self.species or tuple(sorted(present))
        if not present <= set(species):
            raise ConfigError(
                f"potential: species = {', '.join(species)}, but the training set also holds "
                f"{', '.join(sorted(present - set(species)))}; add them to species"
            )
        return even_spec(
            species,
            radial_cutoff=self.radial_cutoff,
            angular_cutoff=self.angular_cutoff,
            first=self.first_shell,
            n_radial=self.n_radial,
            n_shells=self.n_shells,
            n_angles=self.n_angles,
        )

    def _settings(self) -> FitSettings:
        given = self.model_dump(include={field.name for field in fields(FitSettings)})
        return FitSettings(
            **given,
            loss=LossWeights(self.l0, self.per_atom, self.stress_weight),
            energy_only=self.without_forces == "energy",
            memory=1e9 * self.memory_GB,
        )

    @classmethod
    def load(cls, folder: Path) -> Potential:
        """Read a folder written by `save`."""
        return AniPotential.load(Path(folder))

    @classmethod
    def example(cls, *, seed: int) -> Potential:
        """Three members for Al and Ni with random weights and energies of a few eV, in float64."""
        rng = np.random.default_rng(seed)
        spec = even_spec(
            ("Al", "Ni"),
            radial_cutoff=4.5,
            angular_cutoff=3.6,
            first=1.4,
            n_radial=6,
            n_shells=3,
            n_angles=5,
        )
        networks = tuple(
            Network.drawn(rng, (spec.length, *nodes, 1), n_members=3)
            for nodes in ((16, 12), (10, 12))
        )
        offsets = rng.normal(scale=2.0, size=(3, 2))
        return AniPotential(AniModel(spec, networks, offsets, scale=2.0), precision="float64")
