"""The log of a fit: JSON lines that whoever waits can read (see `athanor.potentials.FIT_LOG`)."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from athanor.potentials import FIT_LOG


class FitLog:
    """Appends to the log in a folder; seconds count from its making."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FIT_LOG
        self._started = time.monotonic()

    def forecast(self, sentence: str) -> None:
        """Say what the fit will take."""
        self._append({"forecast": sentence})

    def step(self, number: int, *, of: int) -> None:
        """So many of the descriptors' covariances are made."""
        stage = {"stage": "covariances", "stage_began": 0.0, "step": number, "steps": of}
        self._append({**stage, "seconds": round(time.monotonic() - self._started, 3)})

    def _append(self, line: dict[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
