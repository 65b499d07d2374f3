"""What campaign files of every kind share: their first section, their text, what may change."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from athanor.component import Component, choose, nearest
from athanor.errors import ConfigError, FormatError
from athanor.validate import PropertyConfig


class CampaignSection(Component):
    """[campaign]: its name, its seed and how many processes work at once."""

    name: str = Field(default="campaign", min_length=1)
    seed: int = Field(default=0, ge=0)
    workers: int = Field(default=2, ge=1, le=4096)


def read_tables(path: Path) -> tuple[dict[str, Any], str]:
    """The tables of a campaign file and its text; FormatError when it is not TOML."""
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise FormatError(
            path, None, f"cannot be read ({error.strerror}); give a campaign file in TOML"
        ) from None
    except UnicodeDecodeError:
        raise FormatError(path, None, "is not UTF-8 text; a campaign file is TOML") from None
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column \d+\)", str(error))
        line = int(found[1]) if found else len(text.splitlines())
        raise FormatError(path, line, f"this is not TOML: {error}") from None
    return tables, text


def changed_key(
    old: Mapping[str, Any], new: Mapping[str, Any], *, changeable: tuple[str, ...]
) -> str | None:
    """Say which key differs between two `as_dict`s in a way that makes another campaign, if any."""
    before, after = _flat(old), _flat(new)
    for key in sorted(before.keys() | after.keys()):
        if key.startswith(changeable) or before.get(key) == after.get(key):
            continue
        return f"{key} was {before.get(key)!r} and is now {after.get(key)!r}"
    return None


def table_of(tables: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    if name not in tables:
        raise ConfigError(f"{where}: the section [{name}] is missing")
    table = tables[name]
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where}: {name} is to be a section [{name}], found {table!r}")
    return table


def check_sections(
    tables: Mapping[str, Any], allowed: Sequence[str], where: str, *, told: str = "the sections are"
) -> None:
    """ConfigError for a section that there is not."""
    for name in tables:
        if name not in allowed:
            raise ConfigError(
                f"{where}: unknown section [{name}]{nearest(name, allowed)}; "
                f"{told} {', '.join(allowed)}"
            )


def properties_of(tables: Mapping[str, Any], name: str, where: str) -> tuple[PropertyConfig, ...]:
    """The properties listed as sections [[name]]; ConfigError where one is wrong."""
    listed = tables.get(name, [])
    if not isinstance(listed, list) or not all(isinstance(item, Mapping) for item in listed):
        raise ConfigError(f"{where}: write each property as a section [[{name}]]")
    return tuple(
        choose(
            "athanor.validate", PropertyConfig, item, where=f"{where}: [[{name}]] number {count}"
        )
        for count, item in enumerate(listed, start=1)
    )


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
