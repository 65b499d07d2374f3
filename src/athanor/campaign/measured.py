"""What was measured of a property, as an artefact holds it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from athanor.data.durable import write_file
from athanor.errors import FormatError
from athanor.validate import PropertyResult, Quantity

PROPERTY = "property.json"


def write_property(folder: Path, result: PropertyResult) -> None:
    """Keep a result in a folder; FolderError when it cannot be written."""
    write_file(folder / PROPERTY, json_bytes(asdict(result)))


def read_property(folder: Path) -> PropertyResult:
    """The inverse of `write_property`; FormatError when there is none, or a damaged one."""
    path = folder / PROPERTY
    try:
        data = json.loads(path.read_bytes())
        quantities = tuple(Quantity(**one) for one in data["quantities"])
        return PropertyResult(**{**data, "quantities": quantities, "notes": tuple(data["notes"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(path, None, f"this artefact cannot be read ({error})") from None


def json_bytes(data: Any) -> bytes:
    """Data as JSON, NumPy values as plain ones; TypeError for anything else."""
    return json.dumps(data, default=_plain).encode()


def _plain(value: Any) -> Any:
    """NumPy values as plain ones, for the curves of a property."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not plain data")
