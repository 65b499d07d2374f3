"""Watching a fit from outside: the log that a recipe may write, shown as it grows."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from athanor.cli.progress import SECONDS_BETWEEN_LINES, duration
from athanor.data.steps_log import forecast_of, last_record
from athanor.potentials import FIT_LOG

SECONDS_BETWEEN_LOOKS = 0.5


@contextmanager
def watched(workdir: Path) -> Iterator[None]:
    """Show the last line of the fit's log on stderr while the block runs."""
    ended = threading.Event()
    thread = threading.Thread(target=_follow, args=(workdir / FIT_LOG, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _follow(log: Path, ended: threading.Event) -> None:
    terminal = sys.stderr.isatty()
    begin = said = time.monotonic()
    old, forecast = _n_lines(log), None
    while True:
        over = ended.wait(SECONDS_BETWEEN_LOOKS)
        if forecast is None:
            forecast = forecast_of(log, after=old)
            if forecast is not None:
                print(("\r\033[K" if terminal else "") + forecast, file=sys.stderr)
        if over:
            break
        now = time.monotonic()
        if not terminal and now - said < SECONDS_BETWEEN_LINES:
            continue
        record = last_record(log)
        if record is None:
            continue
        said = now
        text = sentence(record, elapsed=now - begin)
        print(
            f"\r\033[K{text}" if terminal else text, end="" if terminal else "\n", file=sys.stderr
        )
    if terminal:
        print("\r\033[K", end="", file=sys.stderr)


def _n_lines(log: Path) -> int:
    try:
        return log.read_bytes().count(b"\n")
    except OSError:
        return 0


def sentence(record: dict[str, Any], *, elapsed: float) -> str:
    """What is being fitted, how far it is, and when it ends at the latest."""
    step, steps = record.get("step", 0), record.get("steps", 0)
    text = f"fitting, {record.get('stage', '')}: step {step} of at most {steps}"
    if "loss" in record:
        text += f", loss {record['loss']:.4g}"
    text += f"; {duration(elapsed)} elapsed"
    took, begun = record.get("seconds"), record.get("stage_began")
    if took is not None and begun is not None and step:
        text += f", at most {duration((took - begun) / step * (steps - step))} left of it"
    return text
