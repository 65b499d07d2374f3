"""What a suite came to: every number of every subject, compared and judged. Plain data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from athanor.campaign.artefact import Artefacts
from athanor.campaign.tasks import Task
from athanor.errors import FormatError
from athanor.suite.bench import MEASURED
from athanor.suite.config import SuiteConfig
from athanor.validate import AloneConfig, Measured, PropertyConfig, panels_of


def summary(config: SuiteConfig, tasks: Sequence[Task], artefacts: Artefacts) -> dict[str, Any]:
    """Put together what the tasks of a suite left; FormatError where an artefact is damaged."""
    reference = config.reference
    entries = []
    for number, item in enumerate(config.properties):
        own = {t.hints["subject"]: t for t in tasks if t.hints["property"] == number}
        found = {name: _found(task, artefacts) for name, task in own.items()}
        seconds = {
            name: artefacts.result(task.id)["seconds"]
            for name, task in own.items()
            if artefacts.path(task.id).exists()
        }
        name = None if reference is None else reference.name
        if isinstance(item, AloneConfig):
            entry = _alone(item, found, name)
        else:
            entry = _compared(item, found)
        entries.append({**entry, "seconds": seconds})
    verdicts = [
        quantity["passed"]
        for one in entries
        for quantities in one["quantities"].values()
        for quantity in quantities
        if quantity["passed"] is not None
    ]
    return {
        "name": config.campaign.name,
        "subjects": [one.as_dict() for one in config.subjects],
        "reference": None if reference is None else reference.name,
        "properties": entries,
        "passed": verdicts.count(True),
        "of": len(verdicts),
        "failures": sum(len(some) for one in entries for some in one["failed"].values()),
    }


def _found(task: Task, artefacts: Artefacts) -> dict[str, Any]:
    """What a task measured, or why it did not."""
    if artefacts.failed(task.id).exists():
        return {"failures": [artefacts.reason(task.id)]}
    if not artefacts.path(task.id).exists():
        return {"failures": ["its process died; the same line tries again"]}
    path = artefacts.path(task.id) / MEASURED
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise FormatError(path, None, f"this measurement cannot be read ({error})") from None
    return dict(data)


def _alone(
    item: AloneConfig, found: Mapping[str, Mapping[str, Any]], reference: str | None
) -> dict[str, Any]:
    measured = {name: Measured.read({**Measured().plain(), **data}) for name, data in found.items()}
    theirs = None if reference is None else measured.get(reference)
    quantities = {}
    for name, one in measured.items():
        joined = item.joined(one, None if name == reference else theirs)
        quantities[name] = [asdict(quantity) for quantity in joined.quantities]
    return {
        "kind": item.kind_name,
        "title": item.title,
        "settings": item.model_dump(mode="json", exclude_unset=True),
        "quantities": quantities,
        "panels": panels_of(measured),
        "notes": {name: list(one.notes) for name, one in measured.items()},
        "failed": {name: list(one.failures) for name, one in measured.items() if one.failures},
    }


def _compared(item: PropertyConfig, found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    failed = {name: list(one.get("failures", ())) for name, one in found.items()}
    titles = [one["title"] for one in found.values() if "title" in one]
    return {
        "kind": item.kind_name,
        "title": titles[0] if titles else item.kind_name,
        "settings": item.model_dump(mode="json", exclude_unset=True),
        "quantities": {name: list(one.get("quantities", ())) for name, one in found.items()},
        "panels": {},
        "curves": {name: one.get("curves", {}) for name, one in found.items()},
        "notes": {name: list(one.get("notes", ())) for name, one in found.items()},
        "failed": {name: some for name, some in failed.items() if some},
    }
