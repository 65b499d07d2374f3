"""Whether a suite's potentials are worse than those of an older one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from athanor.errors import ConfigError, FormatError
from athanor.suite.config import SuiteConfig
from athanor.validate import Quantity
from athanor.validate._regression import regressions

EVERYTHING = ("*",)


def read_baseline(path: Path) -> dict[str, Any]:
    """Read the suite.json of an older run; FormatError for anything else."""
    try:
        data = json.loads(path.read_bytes())
        subjects, properties = data["subjects"], data["properties"]
        for entry in properties:
            entry["kind"]
            for some in entry["quantities"].values():
                [Quantity(**one) for one in some]
        {one["name"]: one["reference"] for one in subjects}
    except OSError as error:
        raise FormatError(path, None, f"cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(
            path, None, f"is no suite.json that `athanor validate` wrote ({error!r})"
        ) from None
    return dict(data)


def worse(
    config: SuiteConfig, found: Mapping[str, Any], old: Mapping[str, Any]
) -> dict[str, list[str]]:
    """Subject -> what got worse beyond noise, a sentence each.

    A subject is compared with the one of its name, or with the only potential of the older suite.
    Properties are matched by kind and title; of each the quantities of `gate`, or all. ConfigError
    where nothing can be compared.
    """
    potentials = [one["name"] for one in old["subjects"] if not one["reference"]]
    told: dict[str, list[str]] = {}
    compared = 0
    for subject in config.subjects:
        name = subject.name if subject.name in potentials else None
        if name is None and len(potentials) == 1:
            name = potentials[0]
        if subject.is_reference or name is None:
            continue
        for item, entry in zip(config.properties, found["properties"], strict=True):
            before = _entry(old, entry)
            if before is None or name not in before["quantities"]:
                continue
            compared += 1
            sentences = regressions(
                [Quantity(**one) for one in before["quantities"][name]],
                [Quantity(**one) for one in entry["quantities"].get(subject.name, ())],
                item.gate or EVERYTHING,
                margin=item.gate_margin,
            )
            told.setdefault(subject.name, []).extend(
                f"{entry['title']}: {sentence}" for sentence in sentences
            )
    if not compared:
        raise ConfigError(
            "the baseline has no property and potential of this suite; give the suite.json of an "
            "older run of it"
        )
    return told


def _entry(old: Mapping[str, Any], entry: Mapping[str, Any]) -> Mapping[str, Any] | None:
    same = [
        one
        for one in old["properties"]
        if (one["kind"], one["title"]) == (entry["kind"], entry["title"])
    ]
    return same[0] if same else None
