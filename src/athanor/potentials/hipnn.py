"""HIP-NN: message passing with hierarchical energies, through the library hippynn.

Lubbers, Smith, Barros 2018 (doi 10.1063/1.5011181); with tensor sensitivities (HIP-NN-TS) Chigaev
et al. 2023 (doi 10.1063/5.0142127). Layers are hippynn's, pairs our own; torch is imported when a
potential is first fitted or evaluated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from pydantic import Field, field_validator, model_validator

from athanor.data.dataset import Dataset
from athanor.data.species import check_species
from athanor.errors import ConfigError
from athanor.potentials import Potential, PotentialConfig, check_elements
from athanor.potentials._hipnn.batch import Batch, frame_name, shortest
from athanor.potentials._hipnn.extra import extra, require_extra
from athanor.potentials._hipnn.files import read_model, write_model
from athanor.potentials._hipnn.model import HipnnModel, HipnnSpec, Precision, TensorOrder
from athanor.potentials._hipnn.settings import FitSettings
from athanor.structure import FloatArray, Labels, check_structure

if TYPE_CHECKING:
    from athanor.potentials._hipnn.evaluation import Evaluation, Evaluator


class HipnnPotential:
    """A fitted HIP-NN; torch is imported by the first prediction.

    Parameters
    ----------
    model : weights and architecture.

    Raises MissingExtraError where torch or hippynn is not installed.
    """

    def __init__(self, model: HipnnModel) -> None:
        require_extra()
        self.model = model
        self._evaluator: Evaluator | None = None
        self._elements = frozenset(model.spec.species)
        self._table = np.full(len(atomic_numbers) + 1, -1, dtype=np.int64)
        self._table[[atomic_numbers[symbol] for symbol in model.spec.species]] = range(
            len(model.spec.species)
        )

    def __reduce__(self) -> tuple[object, ...]:
        return HipnnPotential, (self.model,)

    @property
    def elements(self) -> frozenset[str]:
        return self._elements

    @property
    def cutoff(self) -> float:
        """Å; of the pairs of one interaction layer. Through several, atoms farther apart feel each
        other where a chain of neighbours joins them: see `receptive_field`."""
        return self.model.spec.cutoff

    @property
    def receptive_field(self) -> float:
        """Å; how far an atom's energy depends on others: interaction layers times the cutoff."""
        return self.model.spec.interactions * self.model.spec.cutoff

    def predict(self, structures: Sequence[Atoms], *, stress: bool = True) -> list[Labels]:
        """Energy, forces and stress of each structure; see the contract for what is raised."""
        return [_labels(atoms, self._evaluate(atoms), stress=stress) for atoms in structures]

    def features(self, structures: Sequence[Atoms]) -> list[FloatArray]:
        """Per structure (n_atoms, n_parameters): dE_i/dtheta for the weights of the linear layers
        that end in energies, then for the offsets of the species."""
        return [self._evaluate(atoms).features for atoms in structures]

    def predict_with_features(
        self, structures: Sequence[Atoms], *, stress: bool = True
    ) -> list[tuple[Labels, FloatArray]]:
        """Labels and features of each structure, in one evaluation."""
        found = [(atoms, self._evaluate(atoms)) for atoms in structures]
        return [(_labels(atoms, one, stress=stress), one.features) for atoms, one in found]

    def save(self, folder: Path) -> None:
        """Write `potential.json` and `weights.safetensors`."""
        write_model(self.model, Path(folder))

    def _evaluate(self, atoms: Atoms) -> Evaluation:
        types = self._table[atoms.numbers]
        if (types < 0).any():
            check_elements(atoms, self._elements)
        check_structure(atoms)
        if self._evaluator is None:
            with extra():
                from athanor.potentials._hipnn.evaluation import Evaluator
            self._evaluator = Evaluator(self.model)
        return self._evaluator.evaluate(Batch.of([atoms], [types], cutoff=self.cutoff))


def _labels(atoms: Atoms, found: Evaluation, *, stress: bool) -> Labels:
    wanted = stress and atoms.pbc.all()
    return Labels(found.energy, found.forces, found.virial / atoms.cell.volume if wanted else None)


class HipnnConfig(PotentialConfig):
    """Recipe of a HIP-NN.

    The loss is eq. 1 of Smith et al. 2021, (E^ - E)² + (l0 / M) sum |f^ - f|² in eV², with
    optional terms; see the fields.
    """

    kind: Literal["hipnn"] = "hipnn"
    provides: ClassVar[frozenset[str]] = frozenset({"features"})
    needs: ClassVar[Mapping[str, str]] = {"torch": "hipnn", "hippynn": "hipnn"}

    species: tuple[str, ...] | None = Field(
        default=None, description="elements; by default those of the data"
    )
    cutoff: float = Field(
        default=5.0, gt=0, le=20, description="Å, of one interaction layer; n of them reach n times"
    )
    soft_min: float | None = Field(
        default=None,
        gt=0,
        description="Å, peak of the first sensitivity; by default 0.9 of the shortest distance",
    )
    soft_max: float | None = Field(
        default=None, gt=0, description="Å, peak of the last sensitivity; by default 0.85 cutoff"
    )
    width: int = Field(default=24, ge=1, le=1024, description="features of an atom")
    sensitivities: int = Field(default=12, ge=2, le=128, description="distance functions")
    interactions: int = Field(default=2, ge=1, le=8, description="interaction layers")
    atom_layers: int = Field(default=2, ge=0, le=16, description="on-site layers after each")
    tensor_order: TensorOrder = Field(
        default=1, description="0: HIP-NN; 1, 2: HIP-NN-TS with vectors, and with quadrupoles"
    )
    cusp_reg: float = Field(
        default=1e-2, gt=0, le=1, description="smooths the norms of tensors near zero"
    )
    precision: Precision = Field(
        default="float32", description="of the networks; energies are summed in float64 always"
    )
    l0: float = Field(
        default=0.01, ge=0, description="Å², weight of the force term; more suits few data"
    )
    per_atom: bool = Field(default=False, description="energy and virial residuals per atom")
    stress_weight: float = Field(default=0.0, ge=0, description="of the squared virial residual")
    batch_size: int = Field(default=4, ge=1, description="structures per step")
    learning_rate: float = Field(default=3e-3, gt=0, le=1)
    max_epochs: int = Field(default=100, ge=1)
    patience: int = Field(default=25, ge=1, description="epochs without a better validation loss")
    decay: float = Field(default=0.5, gt=0, lt=1, description="of the rate, after that many")
    final_rate: float = Field(default=1e-5, gt=0, description="a lower rate ends the fit")
    cooldown: float = Field(default=0.4, ge=0, le=1, description="share of epochs to rate zero")
    average: float = Field(default=0.99, ge=0, lt=1, description="of the mean weights, per step")
    weight_decay: float = Field(default=1e-4, ge=0)
    threads: int = Field(default=1, ge=1, le=256, description="of a fit; bits depend on it")

    @field_validator("species")
    @classmethod
    def _check_species(cls, species: tuple[str, ...] | None) -> tuple[str, ...] | None:
        try:
            return None if species is None else check_species(species, where="the list")
        except ConfigError as error:
            raise ValueError(str(error)) from None

    @model_validator(mode="after")
    def _check_distances(self) -> Self:
        last = self.soft_max or 0.85 * self.cutoff
        if last > self.cutoff:
            raise ValueError(f"soft_max = {last:g} must not exceed cutoff = {self.cutoff:g}")
        if self.soft_min is not None and self.soft_min >= last:
            raise ValueError(f"soft_min = {self.soft_min:g} must be below soft_max = {last:g}")
        if self.final_rate > self.learning_rate:
            raise ValueError(
                f"final_rate = {self.final_rate:g} must not exceed learning_rate = "
                f"{self.learning_rate:g}"
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
        """Fit on energies, forces and stresses; progress is appended to `workdir/fit.jsonl`.

        `workdir` keeps what is reached after every epoch: the same call, after a kill, goes on from
        it. A `start` of the same architecture gives weights, offsets and scale.

        Raises FitError, ConfigError, LabelError for a frame without finite energy and forces, and
        MissingExtraError where torch or hippynn is not installed.
        """
        require_extra()
        with extra():
            from athanor.potentials._hipnn.training import fit_model
        warm = start.model if isinstance(start, HipnnPotential) else None
        spec = self._spec(train, valid, warm)
        model = fit_model(
            spec,
            train,
            valid,
            settings=self.settings(),
            seed=seed,
            start=warm if warm is not None and warm.spec == spec else None,
            workdir=Path(workdir),
        )
        return HipnnPotential(model)

    def settings(self) -> FitSettings:
        """What of this recipe the training needs."""
        return FitSettings(
            **{name: getattr(self, name) for name in FitSettings.__dataclass_fields__}
        )

    def _spec(self, train: Dataset, valid: Dataset, warm: HipnnModel | None) -> HipnnSpec:
        """The architecture for these data; distances not given are those of the warm start."""
        present = train.elements | valid.elements
        species = self.species or tuple(sorted(present))
        if not present <= set(species):
            raise ConfigError(
                f"potential: species = {', '.join(species)}, but the data also hold "
                f"{', '.join(sorted(present - set(species)))}; add them to species"
            )
        soft_max = self.soft_max or 0.85 * self.cutoff
        soft_min = self.soft_min
        if soft_min is None and warm is not None and warm.spec.cutoff == self.cutoff:
            # unless soft_max was set below it since then
            soft_min = warm.spec.soft_min if warm.spec.soft_min < soft_max else None
        if soft_min is None:
            near = shortest(
                train.structures,
                at_most=0.5 * soft_max,
                name=lambda number: frame_name(train[number], "training", number),
            )
            soft_min = max(min(0.3, 0.5 * soft_max), round(0.9 * near, 2))
        return HipnnSpec(
            species=species,
            cutoff=self.cutoff,
            soft_min=soft_min,
            soft_max=soft_max,
            width=self.width,
            sensitivities=self.sensitivities,
            interactions=self.interactions,
            atom_layers=self.atom_layers,
            tensor_order=self.tensor_order,
            cusp_reg=self.cusp_reg,
            precision=self.precision,
        )

    @classmethod
    def load(cls, folder: Path) -> Potential:
        """Read a folder written by `save`; FormatError names the file that is wrong."""
        return HipnnPotential(read_model(Path(folder)))

    @classmethod
    def example(cls, *, seed: int) -> Potential:
        """Two interaction layers for Al and Ni with random weights, in float64."""
        require_extra()
        with extra():
            from athanor.potentials._hipnn.network import random_model
        spec = HipnnSpec(
            species=("Al", "Ni"),
            cutoff=4.0,
            soft_min=1.8,
            soft_max=3.4,
            width=6,
            sensitivities=5,
            interactions=2,
            atom_layers=1,
            tensor_order=1,
            cusp_reg=1e-2,
            precision="float64",
        )
        return HipnnPotential(random_model(spec, seed=seed))
