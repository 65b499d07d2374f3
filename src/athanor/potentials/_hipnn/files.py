"""The files of a saved HIP-NN: a header in JSON, weights as safetensors; nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from safetensors import SafetensorError
from safetensors.numpy import load, save

from athanor.component import Component
from athanor.data.species import check_species
from athanor.errors import ConfigError, FormatError
from athanor.potentials import HEADER
from athanor.potentials._folder import new_folder
from athanor.potentials._hipnn.model import HipnnModel, HipnnSpec, Precision, TensorOrder

WEIGHTS_FILE = "weights.safetensors"
_VERSION: Literal[1] = 1

_Length = Annotated[float, Field(gt=0)]
_Count = Annotated[int, Field(ge=1)]


class _Saved(Component):
    """The contents of `potential.json`."""

    kind: Literal["hipnn"]
    version: Literal[1]
    species: tuple[str, ...] = Field(min_length=1)
    cutoff: _Length
    soft_min: _Length
    soft_max: _Length
    width: _Count
    sensitivities: _Count
    interactions: _Count
    atom_layers: int = Field(ge=0)
    tensor_order: TensorOrder
    cusp_reg: _Length
    precision: Precision
    offsets: tuple[float, ...]
    scale: _Length
    weights_sha256: str

    @classmethod
    def read(cls, path: Path) -> Self:
        try:
            saved = cls.parse(json.loads(path.read_text(encoding="utf-8")), where="header")
            check_species(saved.species, where="species")
        except json.JSONDecodeError as error:
            raise FormatError(path, error.lineno, f"not JSON ({error.msg})") from None
        except (OSError, ValueError, TypeError, ConfigError) as error:
            raise FormatError(
                path, None, f"not the header of a hipnn potential ({error})"
            ) from None
        if len(saved.offsets) != len(saved.species):
            raise FormatError(
                path, None, f"{len(saved.offsets)} offsets for {len(saved.species)} species"
            )
        return saved

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
        "weights_sha256": hashlib.sha256(data).hexdigest(),
    }
    with new_folder(folder) as inside:
        (inside / WEIGHTS_FILE).write_bytes(data)
        (inside / HEADER).write_text(json.dumps(header, indent=1) + "\n", encoding="utf-8")


def read_model(folder: Path) -> HipnnModel:
    """Read what `write_model` wrote, bit for bit; FormatError names the file that is wrong."""
    saved = _Saved.read(folder / HEADER)
    path = folder / WEIGHTS_FILE
    try:
        data = path.read_bytes()
        weights: dict[str, NDArray[Any]] = load(data)
    except (OSError, SafetensorError) as error:
        raise FormatError(path, None, f"not a whole safetensors file ({error})") from None
    if hashlib.sha256(data).hexdigest() != saved.weights_sha256:
        raise FormatError(
            path, None, f"not the weights that {HEADER} promises; copy the folder again as a whole"
        )
    offsets = np.array(saved.offsets, dtype=float)
    return HipnnModel(saved.spec(), weights, offsets, saved.scale)
