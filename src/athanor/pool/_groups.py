"""The labels that a file gives its own frames: plateaus of temperature, kinds of structure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from athanor.errors import ConfigError

TEMPERATURES = ("plateau", "temperature", "temperature_K", "Temperature", "temp", "T")
"""Names of a plateau; the first that tells frames apart is taken."""
OTHERS = ("config_type", "group", "phase", "stage", "label")
"""Names of other kinds; the one that tells most frames apart is taken."""
FEWEST, MOST = 3, 60
"""Frames of a group on average, and groups: what is beyond is no group but a reading, of a
thermometer for instance."""


def groups_of(
    infos: Sequence[Mapping[str, Any]], stems: Sequence[str], *, key: str | None
) -> list[str] | None:
    """One group per frame, None where nothing tells them apart.

    Parameters
    ----------
    infos : what stands beside each frame. stems : the file that each is from.
    key : the name under which it stands; ConfigError where a frame has none of this name.
    """
    if key is not None:
        missing = sum(key not in info for info in infos)
        if missing:
            names = sorted({name for info in infos for name in info})
            raise ConfigError(
                f"[pool] group = {key!r}: {missing} of {len(infos)} frames have nothing under this "
                f"name; the names in the file are {', '.join(names) or 'none'}"
            )
        return [_text(info[key]) for info in infos]
    found = {
        name: [_text(info[name]) for info in infos]
        for name in (*TEMPERATURES, *OTHERS)
        if all(name in info for info in infos)
    }
    apart = {name: groups for name, groups in found.items() if _tells_apart(groups)}
    for name in TEMPERATURES:
        if name in apart:
            return apart[name]
    if apart:
        return max(apart.values(), key=lambda groups: len(set(groups)))
    return list(stems) if _tells_apart(stems) else None


def _tells_apart(groups: Sequence[str]) -> bool:
    return 2 <= len(set(groups)) <= min(MOST, max(2, len(groups) / FEWEST))


def _text(value: Any) -> str:
    """300, 300.0 and "300" are one group."""
    try:
        return f"{float(value):g}"
    except (TypeError, ValueError):
        return " ".join(str(value).split())
