"""Logs in which long work says how far it is (`athanor.potentials.FIT_LOG`), read as they grow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def _records(log: Path) -> list[Any]:
    """The whole lines of a log; none where one of them is no JSON."""
    try:
        return [json.loads(line) for line in log.read_text(encoding="utf-8").split("\n")[:-1]]
    except (OSError, ValueError):
        return []


def forecast_of(log: Path, *, after: int) -> str | None:
    """What a fit says it will take, in the lines of its log after the first so many."""
    for record in _records(log)[after:]:
        if isinstance(record, dict) and isinstance(record.get("forecast"), str):
            return str(record["forecast"])
    return None


def last_record(log: Path) -> dict[str, Any] | None:
    """The last whole line of a fit's log that is of a step, None while there is none."""
    found = _records(log)
    record = found[-1] if found else None
    if not isinstance(record, dict) or "forecast" in record:
        return None
    if not isinstance(record.get("inside"), str):
        return record
    # the stage has a log of its own, in a subfolder: it says more
    finer = last_record(log.parent / record["inside"] / log.name)
    return (
        record
        if finer is None
        else {**finer, "stage": f"{record.get('stage')}, {finer.get('stage')}"}
    )


def far(log: Path) -> str:
    """How far the work of a log is, in a few words; empty while it has said nothing."""
    record = last_record(log)
    if record is None:
        return ""
    step, steps = record.get("step"), record.get("steps")
    if not isinstance(step, int | float) or not isinstance(steps, int | float) or not steps:
        return str(record.get("stage", ""))
    return f"{record.get('stage', '')}, step {step} of {steps}".removeprefix(", ")
