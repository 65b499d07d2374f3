"""The contract of a potential, and how one is found, loaded and saved.

A new kind is one file in this package (or an entry point in the group `athanor.potentials`): a
`PotentialConfig` subclass with a `kind`, and the fitted potential it gives. The conformance suite
(`athanor.testing.conformance`) runs on whatever is found here.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Protocol, cast, runtime_checkable

from ase import Atoms

from athanor.component import Component, discover, require_libraries
from athanor.data.dataset import Dataset
from athanor.errors import ConfigError, FormatError, UnknownElementError
from athanor.structure import FloatArray, Labels

HEADER = "potential.json"
"""Every saved potential is a folder with this file: at least {"kind": ..., "version": ...}."""

FIT_LOG = "fit.jsonl"
"""In the workdir of a fit: a recipe may append JSON lines with stage, step, steps, loss, seconds
(since the fit began) and stage_began (in the same clock); whoever waits is shown the last one.
A line with `inside` names a subfolder of the workdir whose own log says how far that stage is. A
line with `forecast` is one sentence on what the fit will take, shown once."""


@runtime_checkable
class Potential(Protocol):
    """A fitted interatomic potential: immutable, pickles, knows its elements and cutoff (Å)."""

    @property
    def elements(self) -> frozenset[str]: ...

    @property
    def cutoff(self) -> float: ...

    def predict(self, structures: Sequence[Atoms], *, stress: bool = True) -> list[Labels]:
        """Energy (eV), forces (eV/Å) and stress (eV/Å³; None unless pbc is TTT) of each structure.

        Raises UnknownElementError, StructureError (non-finite, singular cell, coincident atoms).
        The structures are not modified.
        """
        ...

    def save(self, folder: Path) -> None:
        """Write into a folder that must not exist yet; `load` gives a bit-equal potential."""
        ...


@runtime_checkable
class HasFeatures(Protocol):
    """A potential that gives dE_i/dtheta, for D-optimality (Novikov et al. 2021, section 2.3)."""

    def features(self, structures: Sequence[Atoms]) -> list[FloatArray]:
        """Per structure (n_atoms, n_parameters): dE_i/dtheta of each atom and parameter."""
        ...


@runtime_checkable
class HasLabelledFeatures(Protocol):
    """A potential that gives labels and features in one evaluation (optional, beside features).

    Use `predict_with_features`, which does with any potential that has features.
    """

    def predict_with_features(
        self, structures: Sequence[Atoms], *, stress: bool = True
    ) -> list[tuple[Labels, FloatArray]]:
        """What `predict` and `features` give, for each structure."""
        ...


@runtime_checkable
class HasMeanFeatures(Protocol):
    """A potential that gives features summed over atoms without a row for each (optional)."""

    def mean_features(self, structures: Sequence[Atoms]) -> FloatArray:
        """(n_structures, n_parameters): the mean over atoms of what `features` gives."""
        ...

    def predict_with_mean_features(
        self, structures: Sequence[Atoms], *, stress: bool = True
    ) -> list[tuple[Labels, FloatArray]]:
        """Labels and mean features, (n_parameters,), of each structure."""
        ...


class PotentialWithFeatures(Potential, HasFeatures, Protocol):
    """A potential that can be graded."""


def predict_with_features(
    potential: PotentialWithFeatures, structures: Sequence[Atoms], *, stress: bool = True
) -> list[tuple[Labels, FloatArray]]:
    """Labels and features of each structure, in one evaluation where the potential has that."""
    # not isinstance, which takes 10 µs for a protocol
    if hasattr(potential, "predict_with_features"):
        able = cast(HasLabelledFeatures, potential)
        return able.predict_with_features(structures, stress=stress)
    labels = potential.predict(structures, stress=stress)
    return list(zip(labels, potential.features(structures), strict=True))


@runtime_checkable
class HasMembers(Protocol):
    """An ensemble as one potential: its predictions are the means of its members'."""

    @property
    def members(self) -> tuple[Potential, ...]:
        """At least one; features, where there are any, are those of the first."""
        ...

    def predict_each(
        self, structures: Sequence[Atoms], *, stress: bool = True
    ) -> list[list[Labels]]:
        """Per structure the labels by each member, in their order; raises what `predict` does."""
        ...


@runtime_checkable
class HasVariance(Protocol):
    """A Gaussian process: a potential that knows how unlike an environment is to what it saw."""

    def variance(self, structures: Sequence[Atoms]) -> list[FloatArray]:
        """Per structure (n_atoms,), eV²: the variance of each atom's energy."""
        ...


SKIN = 0.5
"""Å; what a structure in dynamics is followed with."""


@runtime_checkable
class Follows(Protocol):
    """A potential that is faster on one structure that moves a little from call to call."""

    def follow(self, *, skin: float = SKIN) -> Potential:
        """A potential of equal predictions (to rounding) that remembers the last structure."""
        ...


def following(potential: Potential) -> Potential:
    """The potential to use for the steps of one trajectory."""
    return potential.follow() if isinstance(potential, Follows) else potential


@runtime_checkable
class Threads(Protocol):
    """A potential that can evaluate one structure on several threads."""

    def with_threads(self, threads: int) -> Potential:
        """A potential of equal predictions, to rounding, that uses so many threads."""
        ...


def threaded(potential: Potential, threads: int) -> Potential:
    """The potential on so many threads, where it knows how to; raises ConfigError below one."""
    if threads < 1:
        raise ConfigError(f"threads is {threads}; give 1 or more")
    return potential.with_threads(threads) if isinstance(potential, Threads) else potential


class PotentialConfig(Component):
    """The recipe of a potential; it is the [potential] section of a campaign file."""

    provides: ClassVar[frozenset[str]] = frozenset()
    """What the fitted potential offers beyond predict: 'features', 'variance', 'ensemble'."""

    @property
    def offers(self) -> frozenset[str]:
        """What this very recipe's potentials offer: `provides`, unless its keys say less."""
        return self.provides

    @property
    def needs_forces(self) -> bool:
        """Whether every frame must have forces; without, those of some may be NaN throughout."""
        return True

    needs: ClassVar[Mapping[str, str]] = {}
    """Libraries that fitting needs beyond the base install, and the extra that brings each."""

    def check(self) -> None:
        """Raise MissingExtraError unless all is there that a fit needs; asked before it is late."""
        require_libraries(self.needs)

    @abstractmethod
    def fit(
        self,
        train: Dataset,
        valid: Dataset,
        *,
        seed: int,
        workdir: Path,
        start: Potential | None = None,
    ) -> Potential:
        """Fit to `train`, stopping by `valid` (may be empty); warm start from `start` when given.

        Raises FitError, ConfigError. Deterministic: equal arguments give equal bits.
        """

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Potential:
        """Read what `save` wrote; FormatError names file and line of what is wrong."""

    @classmethod
    @abstractmethod
    def example(cls, *, seed: int) -> Potential:
        """A small potential of this kind with random parameters, for the conformance suite."""


def kinds() -> dict[str, type[PotentialConfig]]:
    """Every kind of potential there is, by name."""
    return discover("athanor.potentials", PotentialConfig)


def load_folder(folder: Path) -> Potential:
    """Load a potential saved by any kind; FormatError when the folder is not one."""
    path = folder / HEADER
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise FormatError(path, None, f"not the header of a saved potential ({error})") from None
    kind = header.get("kind") if isinstance(header, dict) else None
    known = kinds()
    if kind not in known:
        raise FormatError(path, None, f"kind is {kind!r}; the kinds are {', '.join(known)}")
    return known[kind].load(folder)


def check_elements(atoms: Atoms, elements: frozenset[str]) -> None:
    """Raise UnknownElementError when a structure holds an element the potential does not know."""
    unknown = sorted(set(atoms.symbols) - elements)
    if unknown:
        raise UnknownElementError(
            f"the structure {atoms.get_chemical_formula()} holds {', '.join(unknown)}, but the "
            f"potential knows only {', '.join(sorted(elements))}; fit one that includes it"
        )
