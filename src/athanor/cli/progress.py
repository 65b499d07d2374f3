"""Progress with its expected end: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from ase import Atoms

from athanor.cli.files import REFUSED, blame

T = TypeVar("T")
Advance = Callable[[int], None]

ATOMS_AT_ONCE = 4000
"""Structures are evaluated in batches of about this many atoms, so that progress can be shown."""
SECONDS_BETWEEN_LINES = 10.0


def in_batches(
    structures: Sequence[Atoms],
    compute: Callable[[Sequence[Atoms]], Sequence[T]],
    *,
    doing: str,
    source: Path,
) -> list[T]:
    """Return `compute` of all structures, called batch by batch under a progress display.

    What it raises for a structure names its place in the file `source`.
    """
    results: list[T] = []
    with progress(doing, total=len(structures)) as advance:
        for start, stop in _batches([len(atoms) for atoms in structures]):
            batch = structures[start:stop]
            try:
                results.extend(compute(batch))
            except REFUSED:
                blame(source, batch, compute, first=start)
                raise
            advance(stop - start)
    return results


def _batches(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    start, atoms = 0, 0
    for index, size in enumerate(sizes):
        if index > start and atoms + size > ATOMS_AT_ONCE:
            yield start, index
            start, atoms = index, 0
        atoms += size
    if start < len(sizes):
        yield start, len(sizes)


@contextmanager
def progress(doing: str, *, total: int) -> Iterator[Advance]:
    """Show `doing` with a share of `total` and the expected end, on stderr; yields `advance(n)`."""
    if sys.stderr.isatty():
        with _bar(doing, total) as advance:
            yield advance
    else:
        yield _lines(doing, total)


@contextmanager
def _bar(doing: str, total: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns: list[Any] = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
    columns += [TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()]
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=total)
        yield lambda count: bar.advance(task, count)


def _lines(doing: str, total: int) -> Advance:
    begin = last = time.monotonic()
    done = 0

    def advance(count: int) -> None:
        nonlocal last, done
        done += count
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES and done < total:
            last = now
            left = (now - begin) * (total - done) / done
            print(f"{doing}: {done} of {total}, about {duration(left)} left", file=sys.stderr)

    return advance


def duration(seconds: float) -> str:
    """Write a time for people: 8 s, 2 min 05 s, 1 h 20 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def counted(number: int, noun: str) -> str:
    """Write 1 label, 2 labels."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
