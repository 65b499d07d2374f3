"""Seals on a saved potential: digests that tell files altered, or mixed, from those written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from athanor.data.text import read_bytes
from athanor.errors import FormatError

HEADER_SEAL, WEIGHTS_SEAL = "header_sha256", "weights_sha256"
LARGEST_SCALE = 1e12
"""eV of one unit of a network's output at most; its inverse at least."""
_FREE = ("device", HEADER_SEAL)
"""What is not sealed: who has a CUDA device may say so in the header."""


def sealed(header: Mapping[str, Any], weights: bytes) -> dict[str, Any]:
    """The header with the digests of the weights and, last, of all that it says itself."""
    whole = {**header, WEIGHTS_SEAL: hashlib.sha256(weights).hexdigest()}
    return {**whole, HEADER_SEAL: _digest(whole)}


def check_header(path: Path, header: Mapping[str, Any]) -> None:
    """Raise FormatError unless the header says what was written."""
    try:
        whole = header.get(HEADER_SEAL) == _digest(header)
    except RecursionError:
        whole = False
    if not whole:
        raise FormatError(
            path,
            None,
            f"not as it was written ({HEADER_SEAL} is of another text); copy the folder again as "
            "a whole",
        )


def read_weights(path: Path, header: Mapping[str, Any]) -> bytes:
    """The bytes of the weights; FormatError unless they are those that the header promises."""
    content = read_bytes(path)
    if hashlib.sha256(content).hexdigest() != header.get(WEIGHTS_SEAL):
        raise FormatError(
            path, None, "not the weights that its header promises; copy the folder again as a whole"
        )
    return content


def _digest(header: Mapping[str, Any]) -> str:
    said = {key: value for key, value in header.items() if key not in _FREE}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
