"""Progress with its expected end: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

from ase import Atoms

from athanor.cli.files import REFUSED, blame
from athanor.data.batches import batches_of

T = TypeVar("T")
Advance = Callable[[int], None]

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
    with Passes(lambda: structures, doing=doing, source=source, total=len(structures)) as passes:
        for batch in passes():
            results.extend(passes.computed(compute, batch))
    return results


class Passes:
    """Structures that pass by in batches, as often as is asked for, under a progress display.

    Use it in a `with` block, which ends the display; each call is a pass through all batches.

    Parameters
    ----------
    structures : gives them from the first one on.
    doing : for people. source : the file, which errors name.
    total : how many there are, None where that is not known.

    Attributes
    ----------
    count : structures that have passed by in this pass, with the batch that is out.
    """

    def __init__(
        self,
        structures: Callable[[], Iterable[Atoms]],
        *,
        doing: str,
        source: Path,
        total: int | None,
    ) -> None:
        self.count = 0
        self._structures, self._doing = structures, doing
        self._source, self._total = source, total
        self._number = 0
        self._out: list[Atoms] = []
        self._display = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._display.close()

    def __call__(self) -> Iterator[list[Atoms]]:
        self._display.close()
        self.count, self._number = 0, self._number + 1
        what = self._doing if self._number == 1 else f"{self._doing}, pass {self._number}"
        advance = self._display.enter_context(progress(what, total=self._total))
        for batch in batches_of(self._structures()):
            self._out = batch
            self.count += len(batch)
            yield batch
            advance(len(batch))

    def computed(self, compute: Callable[[Sequence[Atoms]], T], batch: Sequence[Atoms]) -> T:
        """Return `compute` of a batch; where it refuses a structure, raise that with its place."""
        try:
            return compute(batch)
        except REFUSED:
            self.blame(compute)
            raise

    def blame(self, compute: Callable[[Sequence[Atoms]], Any]) -> None:
        """Find the structure of the batch that is out which `compute` refuses, and raise that."""
        blame(self._source, self._out, compute, first=self.count - len(self._out))


@contextmanager
def progress(
    doing: str, *, total: int | None, found: Callable[[], str] = lambda: ""
) -> Iterator[Advance]:
    """Show `doing` with a share of `total` and the expected end, on stderr; yields `advance(n)`.

    Without a total, only how much is done. `found` says what came out so far.
    """
    if sys.stderr.isatty():
        with _bar(doing, total, found) as advance:
            yield advance
    else:
        yield _lines(doing, total, found)


@contextmanager
def _bar(doing: str, total: int | None, found: Callable[[], str]) -> Iterator[Advance]:
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
        yield lambda count: bar.update(
            task, advance=count, description=f"{doing}{_brackets(found())}"
        )


def _brackets(found: str) -> str:
    return f" ({found})" if found else ""


def _lines(doing: str, total: int | None, found: Callable[[], str]) -> Advance:
    begin = last = time.monotonic()
    done = 0

    def advance(count: int) -> None:
        nonlocal last, done
        done += count
        now = time.monotonic()
        if now - last < SECONDS_BETWEEN_LINES or done == total:
            return
        last = now
        if total is None:
            said = _brackets(found())
            print(f"{doing}: {done}{said} in {duration(now - begin)}", file=sys.stderr)
        else:
            left = max(0.0, (now - begin) * (total - done) / done)
            said = _brackets(found())
            print(f"{doing}: {done} of {total}{said}, about {duration(left)} left", file=sys.stderr)

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


def size(n_bytes: float) -> str:
    """Write a number of bytes for people: 3 MB, 1.4 GB."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{max(1, round(n_bytes / 1e6))} MB"
