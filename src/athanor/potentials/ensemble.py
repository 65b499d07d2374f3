"""Ensembles: several potentials as one, and how far they disagree."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol, Self, runtime_checkable

import numpy as np
from ase import Atoms
from pydantic import BeforeValidator, Field, SerializeAsAny, field_validator

from athanor.component import choose, kind_of
from athanor.data.dataset import Dataset
from athanor.errors import ConfigError, FitError, FormatError
from athanor.potentials import (
    HEADER,
    SKIN,
    Follows,
    HasFeatures,
    HasMembers,
    Potential,
    PotentialConfig,
    load_folder,
    predict_with_features,
    threaded,
)
from athanor.potentials._folder import new_folder
from athanor.potentials._members import Resample, Workplace, training_sets
from athanor.potentials.lj import LennardJonesConfig
from athanor.structure import FloatArray, Labels

_VERSION = 1


@runtime_checkable
class PredictsTogether(Protocol):
    """A potential that evaluates itself and others like it in one pass (optional)."""

    def predict_together(
        self, others: Sequence[Potential], atoms: Atoms, *, stress: bool = True
    ) -> list[Labels] | None:
        """Labels by this potential and by each of `others`; None where they are too unlike."""
        ...


@runtime_checkable
class Bootstraps(Protocol):
    """A recipe that makes members out of one fit, cheaper than by fitting each (optional)."""

    def bootstrapped(
        self, reference: Potential, train: Dataset, *, count: int, seed: int
    ) -> list[Potential]:
        """`count` potentials as fits to bootstrap samples of `train` would give them.

        `reference` is this recipe's fit to the whole of `train`. Deterministic.
        """
        ...


@dataclass(frozen=True)
class Ensemble:
    """Several potentials as one, whose predictions are the means of theirs.

    Forces are therefore exactly the gradient of the mean energy. It knows the elements that every
    member knows; its cutoff is the largest.

    Attributes
    ----------
    members : at least one; the first is the one fitted to all data, where there is such a one.
    """

    members: tuple[Potential, ...]

    @classmethod
    def of(cls, members: Sequence[Potential]) -> Ensemble:
        """The ensemble of these members: with features where the first of them has features.

        Raises FitError without members, or where no element is known to all of them.
        """
        if not members:
            raise FitError("an ensemble needs at least one member; give size = 2 or more")
        if not frozenset.intersection(*(member.elements for member in members)):
            raise FitError(
                "no element is known to all members of the ensemble; fit them to the same elements"
            )
        kind = FeaturedEnsemble if isinstance(members[0], HasFeatures) else Ensemble
        return kind(tuple(members))

    @property
    def elements(self) -> frozenset[str]:
        return frozenset.intersection(*(member.elements for member in self.members))

    @property
    def cutoff(self) -> float:
        return max(member.cutoff for member in self.members)

    def predict(self, structures: Sequence[Atoms], *, stress: bool = True) -> list[Labels]:
        """Means over the members; their forces are held for one structure at a time."""
        return [mean(self._each(atoms, stress=stress)) for atoms in structures]

    def predict_each(
        self, structures: Sequence[Atoms], *, stress: bool = True
    ) -> list[list[Labels]]:
        """Per structure the labels by each member, in their order."""
        return [self._each(atoms, stress=stress) for atoms in structures]

    def follow(self, *, skin: float = SKIN) -> Self:
        """This ensemble for one structure that moves; members keep neighbours (`skin` in Å)."""
        return type(self)(
            tuple(m.follow(skin=skin) if isinstance(m, Follows) else m for m in self.members)
        )

    def with_threads(self, threads: int) -> Self:
        """This ensemble with members on so many threads, those that know how to."""
        return type(self)(tuple(threaded(member, threads) for member in self.members))

    def save(self, folder: Path) -> None:
        """Write `potential.json` and one subfolder per member into a new folder."""
        header = {"kind": "ensemble", "version": _VERSION, "members": len(self.members)}
        with new_folder(Path(folder)) as inside:
            for number, member in enumerate(self.members):
                member.save(inside / _place(number))
            (inside / HEADER).write_text(json.dumps(header, indent=1) + "\n", encoding="utf-8")

    def _each(self, atoms: Atoms, *, stress: bool) -> list[Labels]:
        first, *others = self.members
        together = None
        if others and isinstance(first, PredictsTogether):
            together = first.predict_together(others, atoms, stress=stress)
        if together is None:
            together = [member.predict([atoms], stress=stress)[0] for member in self.members]
        return together


@dataclass(frozen=True)
class FeaturedEnsemble(Ensemble):
    """An ensemble whose features are those of its first member, for D-optimality beside it."""

    def features(self, structures: Sequence[Atoms]) -> list[FloatArray]:
        """Per structure (n_atoms, n_parameters): dE_i/dtheta of the first member."""
        first = self.members[0]
        assert isinstance(first, HasFeatures), "made by Ensemble.of, which looked"
        return first.features(structures)

    def predict_with_features(
        self, structures: Sequence[Atoms], *, stress: bool = True
    ) -> list[tuple[Labels, FloatArray]]:
        """Mean labels and the first member's features, in one evaluation by each member."""
        first, *others = self.members
        assert isinstance(first, HasFeatures), "made by Ensemble.of, which looked"
        found = []
        for atoms in structures:
            ((labels, table),) = predict_with_features(first, [atoms], stress=stress)
            rest = Ensemble(tuple(others))._each(atoms, stress=stress) if others else []
            found.append((mean([labels, *rest]), table))
        return found


def mean(each: Sequence[Labels]) -> Labels:
    """Mean energy, forces and stress (None unless every one has it)."""
    stresses = [labels.stress for labels in each if labels.stress is not None]
    return Labels(
        energy=float(np.mean([labels.energy for labels in each])),
        forces=np.mean([labels.forces for labels in each], axis=0),
        stress=np.mean(stresses, axis=0) if len(stresses) == len(each) else None,
    )


def _place(number: int) -> str:
    return f"member_{number:03d}"


def _parsed(given: Any) -> Any:
    """Turn the table of a member into its recipe, by the registry of all kinds."""
    if not isinstance(given, Mapping):
        return given
    kind = given.get("kind")
    where = f"kind {kind!r}" if isinstance(kind, str) else "this table"
    try:
        return choose("athanor.potentials", PotentialConfig, given, where=where)
    except ConfigError as error:
        raise ValueError(str(error)) from None


class EnsembleConfig(PotentialConfig):
    """Several potentials of one kind, fitted to resampled data; predicts their mean and spread.

    The first member is `member` fitted to the whole training set with the given seed (with "split":
    to all but its own part). What the others differ in is said by `resample`; besides, each has a
    seed of its own. Where the kind can derive members from the first fit (mtp: a one-step
    bootstrap), it does, unless `refit` is set.
    """

    provides: ClassVar[frozenset[str]] = frozenset({"ensemble", "features"})

    kind: Literal["ensemble"] = "ensemble"
    size: int = Field(default=5, ge=2, le=100, description="number of members")
    member: Annotated[SerializeAsAny[PotentialConfig], BeforeValidator(_parsed)] = Field(
        description='recipe of each member, e.g. { kind = "mtp", level = 12 }'
    )
    resample: Resample = Field(
        default="bootstrap",
        description="what the members differ in: frames drawn with replacement (bootstrap), "
        "validated by one part and trained on the rest (split), or the seed alone (none)",
    )
    refit: bool = Field(
        default=False,
        description="with bootstrap: fit every member even where the kind can derive it",
    )

    @field_validator("member")
    @classmethod
    def _check_member(cls, member: PotentialConfig) -> PotentialConfig:
        if "ensemble" in member.offers:
            raise ValueError(
                f"kind {kind_of(type(member))!r} is an ensemble by itself; use it as [potential] "
                "and raise its size"
            )
        return member

    @property
    def offers(self) -> frozenset[str]:
        return frozenset({"ensemble"}) | (self.member.offers & {"features"})

    @property
    def needs_forces(self) -> bool:
        return self.member.needs_forces

    def fit(
        self,
        train: Dataset,
        valid: Dataset,
        *,
        seed: int,
        workdir: Path,
        start: Potential | None = None,
    ) -> Ensemble:
        """Fit the members one after the other; each starts from the same one of `start`.

        A member that `workdir` already holds, from the same data and settings, is not fitted again.

        Raises FitError where members come out equal, which would be taken for certainty, and what
        the fit of a member raises.
        """
        workplace = Workplace(workdir, self.member, size=self.size, seed=seed)
        derive = self.resample == "bootstrap" and not self.refit
        recipe = self.member if derive and isinstance(self.member, Bootstraps) else None
        sets = training_sets(
            train, valid, size=self.size if recipe is None else 1, seed=seed, resample=self.resample
        )
        starts = start.members if isinstance(start, HasMembers) else (start,) * self.size
        members = [
            workplace.member(number, *data, start=starts[number] if number < len(starts) else None)
            for number, data in enumerate(sets)
        ]
        if recipe is not None:
            workplace.announce("members derived from the first", 1)
            members += recipe.bootstrapped(members[0], train, count=self.size - 1, seed=seed)
        if self.resample == "none":
            _check_unlike(members, train)
        return Ensemble.of(members)

    @classmethod
    def load(cls, folder: Path) -> Ensemble:
        """Read a folder written by `save`; FormatError names the file and what is wrong in it."""
        path = Path(folder) / HEADER
        try:
            header = json.loads(path.read_text(encoding="utf-8"))
            version, count = header["version"], header["members"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FormatError(path, None, f"not the header of an ensemble ({error!r})") from None
        if version != _VERSION or type(count) is not int or count < 1:
            raise FormatError(
                path, None, f"expected version {_VERSION} and the number of members, 1 or more"
            )
        found = {part.name for part in path.parent.glob("member_*")}
        if found != {_place(number) for number in range(count)}:
            raise FormatError(
                path,
                None,
                f"promises {count} members, but the folder holds {len(found)} (or others); "
                "copy the folder again as a whole",
            )
        members = [load_folder(path.parent / _place(number)) for number in range(count)]
        try:
            return Ensemble.of(members)
        except FitError as error:
            raise FormatError(path, None, str(error)) from None

    @classmethod
    def example(cls, *, seed: int) -> Ensemble:
        """Three Lennard-Jones potentials with random parameters."""
        return Ensemble.of([LennardJonesConfig.example(seed=3 * seed + k) for k in range(3)])


def _check_unlike(members: Sequence[Potential], train: Dataset) -> None:
    """Raise FitError where all members are the same: this kind's fits do not depend on the seed."""
    labels = [member.predict([train[0].atoms])[0] for member in members]
    if all(
        one.energy == labels[0].energy and np.array_equal(one.forces, labels[0].forces)
        for one in labels
    ):
        raise FitError(
            "all members of the ensemble came out equal, since this kind does not depend on the "
            "seed; give resample = 'bootstrap' or 'split'"
        )


@dataclass(frozen=True, slots=True)
class Spread:
    """How far the members of an ensemble disagree on one structure.

    Standard deviations over the members, of samples (divided by n_members - 1).

    Attributes
    ----------
    energy : of the total energies, divided by the square root of the number of atoms, eV (Smith et
        al. 2018, doi 10.1063/1.5023802, and 2021).
    forces : (n_atoms,) eV/Å; of each atom's force vector, the root of the summed variances of its
        components (Zhang et al. 2019, doi 10.1103/PhysRevMaterials.3.023804, eq. 1).

    All are inf where a member's energy or a force component is not finite.
    """

    energy: float
    forces: FloatArray

    @classmethod
    def of(cls, each: Sequence[Labels]) -> Self:
        """The spread of one structure's labels by every member (at least two)."""
        energies = np.array([labels.energy for labels in each])
        forces = np.array([labels.forces for labels in each])
        if not (np.isfinite(energies).all() and np.isfinite(forces).all()):
            return cls(np.inf, np.full(forces.shape[1], np.inf))
        by_atom = np.sqrt(np.var(forces, axis=0, ddof=1).sum(axis=1))
        return cls(float(np.std(energies, ddof=1)) / forces.shape[1] ** 0.5, by_atom)

    @property
    def force_max(self) -> float:
        """eV/Å; the model deviation of DP-GEN."""
        return float(self.forces.max())

    @property
    def force_mean(self) -> float:
        """eV/Å, over atoms."""
        return float(self.forces.mean())

    def info(self) -> dict[str, float]:
        """The spreads as keys of a structure file."""
        return {
            "energy_spread": self.energy,
            "force_spread_max": self.force_max,
            "force_spread_mean": self.force_mean,
        }
