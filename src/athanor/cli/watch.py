"""Watching a fit from outside: the log that a recipe may write, shown as it grows."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from athanor.cli.progress import SECONDS_BETWEEN_LINES, duration
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
