"""The log of a fit: JSON lines that whoever waits can read (see `athanor.potentials.FIT_LOG`)."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from athanor.potentials import FIT_LOG


class FitLog:
    """Appends to the log in a folder; seconds count from its making, and from what a fit that was
    interrupted had taken."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FIT_LOG
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the fit began, interruptions left out."""
        return time.monotonic() - self._started

    def resume(self, seconds: float) -> None:
        """So many seconds were taken before."""
        self._started -= seconds

    def forecast(self, sentence: str) -> None:
        """Say what the fit will take."""
        self._append({"forecast": sentence})

    def epoch(self, number: int, of: int, **numbers: float | None) -> None:
        """A pass over the training set is done."""
        self._append(
            {
                "stage": "epoch",
                "stage_began": 0.0,
                "step": number,
                "steps": of,
                **numbers,
                "seconds": round(self.seconds, 3),
            }
        )

    def _append(self, line: dict[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
