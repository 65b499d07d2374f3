"""A task: the smallest piece of work; its identity is the hash of all its result depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal[
    "draw",
    "selfcheck",
    "label",
    "fit",
    "sample",
    "select",
    "test",
    "validate",
    "gate",
    # of a distillation
    "pool",
    "describe",
    "distances",
    "similarity",
    "partition",
    "map",
    "propose",
    "trial",
    # of a suite
    "measure",
]


@dataclass(frozen=True, slots=True)
class Task:
    """One piece of work.

    Attributes
    ----------
    kind : which work.
    payload : the slice of the campaign file it depends on, plain JSON data.
    inputs : identities of what it reads (tasks, snapshots, structures).
    seed : the campaign's seed, or 0 where no chance is involved.
    cycle, title : for people; not part of the identity.
    hints : where to find the inputs; not part of the identity, so that a structure that is met
        twice in different places is still labelled once.
    """

    kind: Kind
    payload: Mapping[str, Any]
    inputs: tuple[str, ...] = ()
    seed: int = 0
    cycle: int = 0
    title: str = ""
    hints: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """32 hexadecimal digits; equal work has equal ids."""
        identity = [self.kind, self.payload, list(self.inputs), self.seed]
        return hashlib.sha256(canonical(identity)).hexdigest()[:32]

    @property
    def stream(self) -> int:
        """The seed (31 bits) of this task's random numbers, drawn from its identity."""
        return int(self.id[:8], 16) & 0x7FFFFFFF


def canonical(data: Any) -> bytes:
    """Plain data as JSON bytes, the same for equal data; NaN and infinity are refused."""
    return json.dumps(
        data, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain
    ).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not plain data")
