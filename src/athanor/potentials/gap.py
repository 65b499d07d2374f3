"""Gaussian approximation potentials: a two-body term and SOAP, fitted by QUIP's gap_fit.

Bartók, Payne, Kondor, Csányi 2010 (doi 10.1103/PhysRevLett.104.136403); SOAP: Bartók, Kondor,
Csányi 2013 (doi 10.1103/PhysRevB.87.184115); how Shuaib et al. 2024 use it is their section 2.5.
quippy is imported when a potential is first fitted or evaluated.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
from ase import Atoms
from pydantic import Field, model_validator

from athanor.data.closeness import shortest_below
from athanor.data.dataset import Dataset
from athanor.errors import ConfigError, FitError, StructureError
from athanor.potentials import Potential, PotentialConfig, check_elements
from athanor.potentials._gap.extra import require_extra
from athanor.potentials._gap.files import read_model, write_model
from athanor.potentials._gap.model import GapModel
from athanor.potentials._gap.settings import Compression, GapSettings, SparseMethod
from athanor.potentials.lj import CLOSEST
from athanor.structure import FloatArray, Labels, check_structure

if TYPE_CHECKING:
    from athanor.potentials._gap.evaluation import Evaluator

_MOST_NEIGHBOURS = 5000
"""Per atom, by the mean density: more are a cell in other units, and gigabytes to QUIP."""

_NEAR = 0.5
"""Å; searching for pairs takes longer below it, where bins are many and empty."""


class GapPotential:
    """A fitted GAP; quippy is imported by the first prediction.

    Parameters
    ----------
    model : QUIP's parameters, elements and cutoff.

    Raises MissingExtraError where quippy is not installed.
    """

    def __init__(self, model: GapModel) -> None:
        require_extra()
        self.model = model
        self._evaluator: Evaluator | None = None

    def __reduce__(self) -> tuple[object, ...]:
        return GapPotential, (self.model,)

    @property
    def elements(self) -> frozenset[str]:
        return frozenset(self.model.species)

    @property
    def cutoff(self) -> float:
        """Å; the larger of SOAP's and the pair term's."""
        return self.model.cutoff

    def predict(self, structures: Sequence[Atoms], *, stress: bool = True) -> list[Labels]:
        """Energy, forces and stress of each structure; see the contract for what is raised."""
        return [self._labels(atoms, stress=stress) for atoms in structures]

    def variance(self, structures: Sequence[Atoms]) -> list[FloatArray]:
        """Per structure (n_atoms,), eV²: variance of each atom's energy given the sparse points.

        It says how unlike an environment is to those, k(x, x) - k(x, s) K⁻¹ k(s, x) summed over
        the terms; that labels are noisy does not enter. Raises what `predict` does.
        """
        return [self._checked(atoms).variance(atoms) for atoms in structures]

    def save(self, folder: Path) -> None:
        """Write `potential.json` and `gap.xml`, which QUIP and LAMMPS read as it is."""
        write_model(self.model, Path(folder))

    def _labels(self, atoms: Atoms, *, stress: bool) -> Labels:
        found = self._checked(atoms).evaluate(atoms, stress=stress)
        return Labels(found.energy, found.forces, found.stress)

    def _checked(self, atoms: Atoms) -> Evaluator:
        """What evaluates; only once nothing is left in the structure that QUIP cannot take."""
        check_elements(atoms, self.elements)
        check_structure(atoms)
        check_distances(atoms, self.cutoff)
        if self._evaluator is None:
            from athanor.potentials._gap.evaluation import Evaluator

            self._evaluator = Evaluator(self.model)
        return self._evaluator


def check_distances(atoms: Atoms, cutoff: float, *, where: str = "") -> None:
    """Raise StructureError where atoms coincide, or are too many for QUIP's memory."""
    name = where or atoms.get_chemical_formula()
    if atoms.pbc.all():
        count = len(atoms) * 4 / 3 * np.pi * cutoff**3 / atoms.cell.volume
        if count > _MOST_NEIGHBOURS:
            raise StructureError(
                f"{name}: an atom has about {count:.0f} neighbours within {cutoff:g} Å, at most "
                f"{_MOST_NEIGHBOURS} are allowed; give lengths in Å"
            )
    near = shortest_below(atoms, _NEAR)
    if near is not None and near < CLOSEST:
        raise StructureError(
            f"{name}: two atoms are {near:.1e} Å apart, nearer than {CLOSEST} Å; remove one of them"
        )


class GapConfig(PotentialConfig):
    """Recipe of a GAP: E = sum of pair terms + sum over atoms of a SOAP term + offsets."""

    kind: Literal["gap"] = "gap"
    provides: ClassVar[frozenset[str]] = frozenset({"variance"})
    needs: ClassVar[Mapping[str, str]] = {"quippy": "gap"}

    cutoff: float = Field(default=3.5, ge=1, le=12, description="Å, of SOAP environments")
    transition_width: float = Field(
        default=0.5, gt=0, le=5, description="Å, over which SOAP's cutoff function falls to zero"
    )
    atom_sigma: float = Field(
        default=0.4, ge=0.05, le=2, description="Å, width of the Gaussians atoms are smeared to"
    )
    n_max: int = Field(default=6, ge=1, le=16, description="radial functions")
    l_max: int = Field(default=4, ge=0, le=12, description="largest angular momentum")
    zeta: float = Field(default=2.0, ge=1, le=16, description="power of the SOAP kernel")
    soap_delta: float = Field(
        default=2.0, gt=0, le=100, description="eV, scale of SOAP's energy per atom"
    )
    n_sparse: int = Field(
        default=200, ge=1, le=20000, description="sparse environments of each element, at most"
    )
    sparse_method: SparseMethod = Field(
        default="cur_points", description="how gap_fit chooses these"
    )
    compression: Compression = Field(
        default="none",
        description="of the SOAP vector: none, the power spectrum; radial, its radial channels "
        "summed on one side; radial_species, radial channels and elements (Darby et al. 2022), "
        "whose length grows with n_max and elements, not with their squares",
    )
    pair: bool = Field(default=True, description="whether there is a two-body term")
    pair_cutoff: float = Field(default=6.0, ge=1, le=20, description="Å, of the two-body term")
    pair_transition_width: float = Field(
        default=0.5, gt=0, le=10, description="Å, over which that falls to zero"
    )
    pair_delta: float = Field(
        default=10.0, gt=0, le=1000, description="eV, scale of the energy of a pair"
    )
    pair_theta: float = Field(
        default=0.3, gt=0, le=10, description="Å, over which the energy of a pair varies"
    )
    pair_n_sparse: int = Field(
        default=60, ge=1, le=1000, description="distances, of each two elements, at most"
    )
    sigma_energy: float = Field(
        default=0.01,
        gt=0,
        le=10,
        description="eV, expected error of the energy of one atom; of N atoms it is √N times that",
    )
    sigma_force: float = Field(
        default=0.05, gt=0, le=100, description="eV/Å, expected error of force components"
    )
    sigma_virial: float = Field(
        default=0.05,
        gt=0,
        le=100,
        description="eV, expected error of the virial of one atom; of N atoms √N times that",
    )
    sparse_jitter: float = Field(
        default=1e-8, gt=0, le=1, description="added to the sparse covariance's diagonal"
    )
    e0: dict[str, float] | None = Field(
        default=None,
        description="eV, energy of each single atom; by default by least squares",
    )
    memory_GB: float | None = Field(
        default=None, gt=0, description="gap_fit may have; by default what is free"
    )
    time_limit: float | None = Field(
        default=None, gt=0, description="s of wall clock, after which a fit fails; by default none"
    )

    @property
    def needs_forces(self) -> bool:
        return False

    @model_validator(mode="after")
    def _check_widths(self) -> Self:
        for width, cutoff in (
            ("transition_width", "cutoff"),
            ("pair_transition_width", "pair_cutoff"),
        ):
            if getattr(self, width) >= getattr(self, cutoff):
                raise ValueError(
                    f"{width} = {getattr(self, width):g} must be below {cutoff} = "
                    f"{getattr(self, cutoff):g}"
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
        """Fit with gap_fit; its log is kept in `workdir/gap_fit`, progress in `workdir/fit.jsonl`.

        One linear solution: neither `valid`, of which only the elements are looked at, nor `start`
        is used. A finished fit is kept in `workdir` and found there by the same call; one that was
        killed begins anew, since gap_fit cannot go on.

        Raises FitError with gap_fit's own last words, also where it needs more memory than there
        is; ConfigError, StructureError, MissingExtraError.
        """
        require_extra()
        self._check_data(train, valid)
        from athanor.potentials._gap.fitting import fit_model

        model = fit_model(self.settings(), train, e0=self.e0, seed=seed, workdir=Path(workdir))
        return GapPotential(model)

    def settings(self) -> GapSettings:
        """What of this recipe the fit needs."""
        return GapSettings(
            **{name: getattr(self, name) for name in GapSettings.__dataclass_fields__}
        )

    def _check_data(self, train: Dataset, valid: Dataset) -> None:
        if len(train) == 0:
            raise FitError("the training set is empty; give at least one labelled structure")
        unseen = sorted(valid.elements - train.elements)
        if unseen:
            raise FitError(
                f"the validation set holds {', '.join(unseen)}, of which the training set has no "
                "atom; put a structure with it into the training set"
            )
        missing = sorted(train.elements - set(self.e0 or train.elements))
        if missing:
            raise ConfigError(
                f"potential: e0 has no energy for {', '.join(missing)}; give one for each element "
                "of the data, or leave e0 out"
            )
        for number, atoms in enumerate(train.structures):
            check_distances(atoms, self.settings().reach, where=f"training frame {number}")

    @classmethod
    def load(cls, folder: Path) -> Potential:
        """Read a folder written by `save`; FormatError names the file that is wrong."""
        return GapPotential(read_model(Path(folder)))

    @classmethod
    def example(cls, *, seed: int) -> Potential:
        """A fit to a few small random crystals of Al and Ni with random forces."""
        from athanor.potentials._gap.examples import random_crystals

        recipe = cls(
            cutoff=4.0,
            atom_sigma=0.5,
            n_max=3,
            l_max=2,
            zeta=4.0,
            soap_delta=0.5,
            n_sparse=6,
            compression="radial_species",
            pair_cutoff=4.5,
            pair_transition_width=1.0,
            pair_delta=2.0,
            pair_theta=0.8,
            pair_n_sparse=5,
            sigma_energy=0.1,
            sigma_force=0.5,
        )
        with tempfile.TemporaryDirectory() as scratch:
            return recipe.fit(random_crystals(seed), Dataset(), seed=seed, workdir=Path(scratch))
