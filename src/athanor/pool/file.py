"""A pool read from files: a first-principles trajectory, say."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from athanor.errors import ConfigError
from athanor.oracle import Oracle
from athanor.pool import Pool, PoolConfig
from athanor.pool._checked import Found, pool_of
from athanor.pool._groups import groups_of

LEVEL_KEYS = ("level", "level_of_theory", "theory", "functional", "xc", "EFS_by")
"""Names under which a frame says at which level of theory its labels are."""


class FilePool(PoolConfig):
    """Reads one file or many: what ASE reads without running code in it, and MLIP's .cfg."""

    kind: Literal["file"] = "file"
    path: tuple[str, ...] = Field(
        min_length=1,
        description="one or a list, each with * and ? if need be; from the current directory",
    )
    species: tuple[str, ...] | None = Field(
        default=None, description="symbols in the order of a .cfg file's indices"
    )
    stride: int = Field(default=1, ge=1, description="take every n-th structure of each file")
    group: str | None = Field(
        default=None,
        description="name under which each frame has its plateau; by default temperature, T, "
        "config_type, group or the like, else the file it is in",
    )
    energy: str | None = Field(default=None, description="name of the energy (eV) in the file")
    forces: str | None = Field(default=None, description="name of the forces (eV/Å) in the file")
    stress: str | None = Field(default=None, description="name of the stress (eV/Å³) in the file")
    virial: str | None = Field(default=None, description="name of the virial (eV) in the file")

    @field_validator("path", mode="before")
    @classmethod
    def _several(cls, given: object) -> object:
        return (str(given),) if isinstance(given, str | Path) else given

    def check(self) -> None:
        """Raise ConfigError unless every path names files that are there."""
        self._files()

    def frames(self, *, oracle: Oracle | None, seed: int, workdir: Path) -> Pool:
        """Read the files in the order given, those of one pattern by name.

        Raises FormatError, StructureError, LabelError (with file and frame), ConfigError.
        """
        found: list[Found] = []
        infos: list[Mapping[str, Any]] = []
        stems: list[str] = []
        files = self._files()
        for path in files:
            name = _name(path, files)
            for one, info in self._read(path, name):
                found.append(one)
                infos.append(info)
                stems.append(str(Path(name).with_suffix("")))
        return pool_of(
            found,
            groups=groups_of(infos, stems, key=self.group),
            oracle=oracle,
            name=files[0].name if len(files) == 1 else f"{len(files)} files",
        )

    def _read(self, path: Path, name: str) -> Iterator[tuple[Found, Mapping[str, Any]]]:
        # ASE's readers take long to import
        from athanor.data.formats import iter_records

        records = iter_records(path, self.species, forces_optional=True, names=self._names())
        for index, record in enumerate(islice(records, 0, None, self.stride)):
            origin = f"frame {index * self.stride} of {name}"
            level = _level(record.info, record.source)
            yield Found(record.atoms, record.labels, origin, level), record.info

    def _names(self) -> dict[str, str] | None:
        given = {
            "energy": self.energy,
            "forces": self.forces,
            "stress": self.stress,
            "virial": self.virial,
        }
        names = {label: name for label, name in given.items() if name is not None}
        if not names:
            return None
        plain = {"energy": "energy", "forces": "forces", "stress": "stress", "virial": "virial"}
        return {**plain, **names}

    def _files(self) -> list[Path]:
        files: list[Path] = []
        for pattern in self.path:
            # a name may have brackets of its own
            if Path(pattern).is_file():
                matches = [pattern]
            else:
                matches = sorted(glob.glob(pattern, recursive=True))
            here = [Path(match).absolute() for match in matches if Path(match).is_file()]
            if not here:
                raise ConfigError(
                    f"[pool] there is no file {Path(pattern).absolute()}; relative paths count "
                    "from the current directory"
                )
            files += [file for file in here if file not in files]
        return files


def _level(info: Mapping[str, Any], source: str) -> str:
    said = next((str(info[key]) for key in LEVEL_KEYS if key in info), "")
    return said or source.rstrip("_").upper()


def _name(path: Path, files: Sequence[Path]) -> str:
    """What tells a file from the others: its name, with its folder where two have one name."""
    same = len({file.name for file in files}) < len(files)
    return f"{path.parent.name}/{path.name}" if same else path.name
