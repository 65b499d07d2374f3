"""Pieces of work on several threads, with results in order, so that bits do not depend on them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def available() -> int:
    """Processors that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # there is none on macOS
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def in_lanes(
    work: Callable[[Item], Result], items: Sequence[Item], *, threads: int
) -> list[Result]:
    """work(item) of each, in their order; the first error by order is raised."""
    if threads < 2 or len(items) < 2:
        return [work(item) for item in items]
    results: dict[int, Result] = {}
    errors: dict[int, BaseException] = {}
    left = iter(range(len(items)))
    guard = threading.Lock()

    def lane() -> None:
        while not errors:
            with guard:
                number = next(left, None)
            if number is None:
                return
            try:
                results[number] = work(items[number])
            except BaseException as error:  # raised again below, by whoever waits
                errors[number] = error

    crew = [threading.Thread(target=lane) for _ in range(min(threads, len(items)))]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()
    if errors:
        raise errors[min(errors)]
    return [results[number] for number in range(len(items))]
