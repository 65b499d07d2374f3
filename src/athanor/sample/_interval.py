"""A range that a number is drawn from."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator


def _ordered(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise ValueError(f"the range {list(ends)} is upside down; write [lowest, highest]")
    return ends


def _positive(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] <= 0:
        raise ValueError(f"the range {list(ends)} must be above zero")
    return ends


def _not_negative(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] < 0:
        raise ValueError(f"the range {list(ends)} must not go below zero")
    return ends


Interval = Annotated[tuple[float, float], AfterValidator(_ordered), AfterValidator(_not_negative)]
"""[lowest, highest], neither negative; equal ends make it a fixed number."""

PositiveInterval = Annotated[
    tuple[float, float], AfterValidator(_ordered), AfterValidator(_positive)
]
"""[lowest, highest], both above zero."""
