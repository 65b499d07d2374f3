"""The files of a saved GAP: a header in JSON and QUIP's parameter file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal, Self

from pydantic import Field

from athanor.component import Component
from athanor.data.species import check_species
from athanor.data.text import decoded
from athanor.errors import ConfigError, FormatError
from athanor.potentials import HEADER
from athanor.potentials._folder import new_folder
from athanor.potentials._gap.model import GapModel, complaint
from athanor.potentials._seal import check_header, read_weights, sealed

XML_FILE = "gap.xml"
_VERSION: Literal[1] = 1


class _Saved(Component):
    """The contents of `potential.json`."""

    kind: Literal["gap"]
    version: Literal[1]
    species: tuple[str, ...] = Field(min_length=1)
    cutoff: float = Field(gt=0, le=50)
    weights_sha256: str
    header_sha256: str

    @classmethod
    def read(cls, path: Path) -> Self:
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            saved = cls.parse(found, where="header")
            check_species(saved.species, where="species")
        except json.JSONDecodeError as error:
            raise FormatError(path, error.lineno, f"not JSON ({error.msg})") from None
        except (OSError, ValueError, TypeError, RecursionError, ConfigError) as error:
            raise FormatError(path, None, f"not the header of a gap potential ({error})") from None
        check_header(path, found)
        return saved


def write_model(model: GapModel, folder: Path) -> None:
    """Write a new folder; FolderError when it exists or cannot be written."""
    data = model.xml.encode()
    header = {
        "kind": "gap",
        "version": _VERSION,
        "species": list(model.species),
        "cutoff": model.cutoff,
    }
    text = json.dumps(sealed(header, data), indent=1)
    with new_folder(folder) as inside:
        (inside / XML_FILE).write_bytes(data)
        (inside / HEADER).write_text(text + "\n", encoding="utf-8")


def read_model(folder: Path) -> GapModel:
    """Read what `write_model` wrote, bit for bit; FormatError names the file that is wrong."""
    saved = _Saved.read(folder / HEADER)
    path = folder / XML_FILE
    data = read_weights(path, saved.model_dump())
    xml = decoded(path, data, expected="the parameters of a GAP")
    if why := complaint(xml):
        raise FormatError(path, None, f"not the parameters of a GAP ({why})")
    return GapModel(saved.species, saved.cutoff, xml)
