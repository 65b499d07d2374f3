"""The files of a saved HIP-NN: a header in JSON, weights as safetensors; nothing is unpickled."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from safetensors import SafetensorError
from safetensors.numpy import load, save

from athanor.component import Component
from athanor.data.species import check_species
from athanor.errors import ConfigError, FormatError
from athanor.potentials import HEADER
from athanor.potentials._folder import new_folder
from athanor.potentials._hipnn.model import HipnnModel, HipnnSpec, Precision, TensorOrder
from athanor.potentials._seal import LARGEST_SCALE, check_header, read_weights, sealed

WEIGHTS_FILE = "weights.safetensors"
_VERSION: Literal[2] = 2

_Length = Annotated[float, Field(gt=0, le=50)]
"""Å; beyond it neighbours number millions."""


class _Saved(Component):
    """The contents of `potential.json`."""

    kind: Literal["hipnn"]
    version: Literal[2]
    species: tuple[str, ...] = Field(min_length=1)
    cutoff: _Length
    soft_min: _Length
    soft_max: _Length
    width: int = Field(ge=1, le=1024)
    sensitivities: int = Field(ge=2, le=128)
    interactions: int = Field(ge=1, le=8)
    atom_layers: int = Field(ge=0, le=16)
    tensor_order: TensorOrder
    cusp_reg: float = Field(gt=0, le=1)
    precision: Precision
    offsets: tuple[float, ...]
    scale: float = Field(ge=1 / LARGEST_SCALE, le=LARGEST_SCALE)
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
            raise FormatError(
                path, None, f"not the header of a hipnn potential ({error})"
            ) from None
        if len(saved.offsets) != len(saved.species):
            raise FormatError(
                path, None, f"{len(saved.offsets)} offsets for {len(saved.species)} species"
            )
        check_header(path, found)
        return saved

    @model_validator(mode="after")
    def _check_distances(self) -> Self:
        if not self.soft_min < self.soft_max <= self.cutoff:
            raise ValueError(
                f"soft_min = {self.soft_min:g}, soft_max = {self.soft_max:g} and cutoff = "
                f"{self.cutoff:g} must be in rising order"
            )
        return self

    def spec(self) -> HipnnSpec:
        given = self.model_dump()
        return HipnnSpec(**{name: given[name] for name in HipnnSpec.__dataclass_fields__})


def write_model(model: HipnnModel, folder: Path) -> None:
    """Write a new folder; FolderError when it exists or cannot be written."""
    data = save({name: np.ascontiguousarray(array) for name, array in model.weights.items()})
    header = {
        "kind": "hipnn",
        "version": _VERSION,
        **asdict(model.spec),
        "offsets": model.offsets.tolist(),
        "scale": model.scale,
    }
    text = json.dumps(sealed(header, data), indent=1)
    with new_folder(folder) as inside:
        (inside / WEIGHTS_FILE).write_bytes(data)
        (inside / HEADER).write_text(text + "\n", encoding="utf-8")


def read_model(folder: Path) -> HipnnModel:
    """Read what `write_model` wrote, bit for bit; FormatError names the file that is wrong."""
    saved = _Saved.read(folder / HEADER)
    path = folder / WEIGHTS_FILE
    data = read_weights(path, saved.model_dump())
    try:
        weights: dict[str, NDArray[Any]] = load(data)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise FormatError(path, None, f"not a whole safetensors file ({error})") from None
    offsets = np.array(saved.offsets, dtype=float)
    return HipnnModel(saved.spec(), weights, offsets, saved.scale)
