"""Reading a suite's folder, running, stopped or done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from athanor.campaign.journal import NAME as JOURNAL
from athanor.campaign.journal import read_journal
from athanor.campaign.lock import writer
from athanor.campaign.state import fold
from athanor.errors import FormatError
from athanor.suite.runner import LEVEL, SUMMARY


def is_suite(folder: Path) -> bool:
    """Whether a folder is a suite's; FormatError where its journal is damaged."""
    path = folder / JOURNAL
    return path.is_file() and fold(read_journal(path)).level == LEVEL


def read_summary(folder: Path) -> dict[str, Any]:
    """What the suite wrote last; FormatError where it has written nothing, or it is damaged."""
    path = folder / SUMMARY
    if not path.exists():
        raise FormatError(
            path,
            None,
            "is not there yet: it is written when everything is measured; start the "
            "same  athanor validate  line again",
        )
    try:
        return dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise FormatError(path, None, f"this summary cannot be read ({error})") from None


def standing(folder: Path) -> dict[str, Any]:
    """How a suite stands: name, running (process id or None), measured, and its summary if any."""
    state = fold(read_journal(folder / JOURNAL))
    return {
        "name": state.name,
        "running": writer(folder),
        "measured": len(state.finished_tasks),
        "summary": read_summary(folder) if (folder / SUMMARY).exists() else None,
    }
