"""The tables of a small campaign made of fakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

PLUGIN = Path(__file__).parent / "plugin"
"""Holds the fakes and the entry points by which they are found."""


def tables(log: Path | None = None) -> dict[str, Any]:
    """The tables of a small campaign file."""
    oracle = {"kind": "tricky"} if log is None else {"kind": "tricky", "log": str(log)}
    return {
        "campaign": {"name": "small", "seed": 7, "workers": 1},
        "potential": {"kind": "fake", "size": 4},
        "query": {"kind": "hungry"},
        "start": {"kind": "crystal"},
        "sample": {"kind": "walk"},
        "oracle": oracle,
        "cycle": {"initial": 3, "trajectories": 2, "labels": 2, "valid_fraction": 0.3},
        "stop": {"untriggered_cycles": 1, "max_cycles": 2},
        "validate": [{"kind": "dimer"}],
    }
