"""A saved potential as the teacher."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ase import Atoms
from ase.calculators.calculator import Calculator
from pydantic import Field

from athanor.calculator import calculator
from athanor.errors import ConfigError, InputError, LabelError, OracleError
from athanor.loading import files_of, load
from athanor.oracle import OracleConfig
from athanor.potentials import Potential
from athanor.structure import Labels, check_labels


@dataclass(frozen=True)
class PotentialOracle:
    """Labels structures with a fitted potential.

    Attributes
    ----------
    potential : the teacher.
    level : `potential:` and a hash of its files, so that another potential is another level.
    """

    potential: Potential
    level: str

    def label(self, atoms: Atoms, *, workdir: Path) -> Labels:
        """Label one structure; OracleError when the teacher cannot evaluate it."""
        try:
            labels = self.potential.predict([atoms])[0]
            check_labels(labels, len(atoms), where="the teacher")
        except (InputError, LabelError) as error:
            raise OracleError(f"the teacher cannot label this structure: {error}") from error
        return labels

    def calculator(self, *, workdir: Path) -> Calculator:
        """The teacher as an ASE calculator."""
        return calculator(self.potential)


class PotentialOracleConfig(OracleConfig):
    """A saved potential teaches: athanor's folder, ANI's `.info`, or a `.mtp` with its species."""

    kind: Literal["potential"] = "potential"
    path: Path = Field(description="from the current directory, if relative")
    species: tuple[str, ...] | None = Field(
        default=None, description="symbols in the order of a .mtp file's indices"
    )

    def build(self) -> PotentialOracle:
        """Load it; FormatError or ConfigError where that cannot be."""
        potential = load(self.path.absolute(), species=self.species)
        return PotentialOracle(potential, f"potential:{_fingerprint(self.path, self.species)}")


def _fingerprint(path: Path, species: Sequence[str] | None) -> str:
    """Hash of names and bytes of every file of a potential, where it lies does not matter."""
    files = files_of(path)
    digest = hashlib.sha256(",".join(species or ()).encode())
    try:
        for file in files:
            name = Path(os.path.relpath(file, path)).as_posix() if file != path else ""
            digest.update(f"\n{name}\n{file.stat().st_size}\n".encode())
            digest.update(file.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"[oracle] {error.filename}: cannot be read ({error.strerror})"
        ) from error
    return digest.hexdigest()[:12]
