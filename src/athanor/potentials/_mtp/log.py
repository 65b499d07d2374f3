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
        self._stage: dict[str, Any] = {}

    def forecast(self, sentence: str) -> None:
        """Say what the fit will take."""
        self._append({"forecast": sentence})

    def begin(self, stage: str, steps: int) -> None:
        """A stage of at most so many steps begins."""
        began = round(time.monotonic() - self._started, 3)
        self._stage = {"stage": stage, "stage_began": began, "steps": steps}

    def step(self, step: int, loss: float, valid_loss: float, *, damping: float) -> None:
        """A step of the stage is done."""
        self._append(
            {
                **self._stage,
                "step": step,
                "loss": loss,
                "valid_loss": valid_loss,
                "damping": damping,
                "seconds": round(time.monotonic() - self._started, 3),
            }
        )

    def _append(self, line: dict[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
