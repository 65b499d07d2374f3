"""What a suite measures: a potential, an oracle or any ASE calculator, with a fingerprint."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase.calculators.calculator import Calculator

from athanor.calculator import calculator
from athanor.campaign.sections import read_tables, table_of
from athanor.component import choose
from athanor.loading import files_of, load
from athanor.oracle import OracleConfig

POTENTIAL = "potential"


@dataclass(frozen=True)
class Subject:
    """One calculator under a name.

    Attributes
    ----------
    name : for people, and in every table.
    level : fingerprint; equal levels give equal numbers, so nothing is measured twice.
    path, species : of a potential; oracle : of anything else. One of both is None.
    is_reference : whether the others are compared with it.
    """

    name: str
    level: str
    path: Path | None = None
    species: tuple[str, ...] | None = None
    oracle: OracleConfig | None = None
    is_reference: bool = False

    @classmethod
    def open(
        cls,
        given: str,
        *,
        species: tuple[str, ...] | None = None,
        is_reference: bool = False,
    ) -> Subject:
        """Take PATH or NAME=PATH: a potential, a campaign's folder, or a file with an [oracle].

        Raises FormatError, ConfigError, MissingExtraError.
        """
        name, _, place = given.rpartition("=")
        path = Path(place)
        if path.suffix == ".toml":
            table = table_of(read_tables(path)[0], "oracle", str(path))
            oracle = choose("athanor.oracle", OracleConfig, table, where=f"{path}: [oracle]")
            return cls.of_oracle(oracle, name=name or path.stem, is_reference=is_reference)
        if (path / POTENTIAL).is_dir():
            name, path = name or path.stem, path / POTENTIAL
        if path.name == POTENTIAL and path.parent.name:
            name = name or path.parent.stem
        order = species if path.is_file() and path.suffix != ".info" else None
        load(path, order)
        return cls(
            name or path.stem,
            _digest(path, order),
            path=path.absolute(),
            species=order,
            is_reference=is_reference,
        )

    @classmethod
    def of_oracle(cls, oracle: OracleConfig, *, name: str, is_reference: bool = False) -> Subject:
        """An oracle as a subject; raises ConfigError and MissingExtraError as its `build`."""
        return cls(name, oracle.build().level, oracle=oracle, is_reference=is_reference)

    def calculator(self, *, workdir: Path) -> Calculator:
        """A fresh ASE calculator."""
        if self.oracle is not None:
            return self.oracle.build().calculator(workdir=workdir)
        assert self.path is not None
        return calculator(load(self.path, self.species))

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "name": self.name,
            "level": self.level,
            "reference": self.is_reference,
            "path": None if self.path is None else str(self.path),
        }


def _digest(path: Path, species: tuple[str, ...] | None) -> str:
    """Hash of all files of a potential; where they lie does not matter."""
    found = hashlib.sha256(repr(species).encode())
    root = path if path.is_dir() else path.parent
    for file in files_of(path):
        found.update(file.relative_to(root).as_posix().encode() + b"\0")
        found.update(hashlib.sha256(file.read_bytes()).digest())
    return f"potential:{found.hexdigest()[:16]}"
