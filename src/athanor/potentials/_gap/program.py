"""Running gap_fit: its output read line by line, its memory checked before the long part begins."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from athanor.errors import FitError
from athanor.potentials._gap.extra import gap_fit_program

OUTPUT_FILE = "gap_fit.log"
_PEAK = re.compile(r"PEAK\s+(\d+)\s*([KMGTP]?B)", re.ASCII)
_DONE = re.compile(r"TIMER: gpFull_covarianceMatrix_sparse_Coordinate(\d+)\s", re.ASCII)
_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15}
_ABORTS = ("SYSTEM ABORT", "Traceback (most recent call last)")
_KEPT_LINES = 12
_SAME_AS_PARENT = 1  # PR_SET_PDEATHSIG
_KILL = 9


def run_gap_fit(
    arguments: Sequence[str],
    *,
    folder: Path,
    time_limit: float | None,
    on_peak: Callable[[int], None],
    on_covariance: Callable[[int], None],
) -> None:
    """Run gap_fit in `folder`; its whole output is kept there.

    Parameters
    ----------
    on_peak : called with gap_fit's own estimate of its memory, bytes; raising there ends gap_fit.
    on_covariance : called with the number of the descriptor whose covariances are made.

    Raises FitError with gap_fit's last words where it fails, is killed or takes too long.
    """
    last: deque[str] = deque(maxlen=_KEPT_LINES)
    with _started(arguments, folder) as process, _limited(process, time_limit) as late:
        assert process.stdout is not None
        with (folder / OUTPUT_FILE).open("w", encoding="utf-8") as log:
            for line in process.stdout:
                log.write(line)
                log.flush()
                last.append(line.strip())
                if found := _PEAK.search(line):
                    on_peak(int(found[1]) * _UNITS[found[2]])
                elif found := _DONE.search(line):
                    on_covariance(int(found[1]))
        code = process.wait()
    if late.is_set():
        raise FitError(
            f"gap_fit was ended after {time_limit:g} s, its time_limit; raise that, or lower "
            "n_sparse, cutoff, n_max or l_max"
        )
    if code != 0:
        raise FitError(f"gap_fit failed ({_end(code)}): {last_words(last)}")


@contextlib.contextmanager
def _started(arguments: Sequence[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """gap_fit while it runs; it ends with the block, and with this process."""
    quiet = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    process = subprocess.Popen(
        [str(gap_fit_program()), *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        # a line is seen when it is written, not when a buffer is full
        env={**os.environ, **quiet, "GFORTRAN_UNBUFFERED_ALL": "1"},
        preexec_fn=_bound_to_parent(),
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _bound_to_parent() -> Callable[[], None] | None:
    """What makes the kernel end gap_fit with the worker, so that no fit is left running alone."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_SAME_AS_PARENT, _KILL)


@contextlib.contextmanager
def _limited(process: subprocess.Popen[str], seconds: float | None) -> Iterator[threading.Event]:
    """Kill the process after some seconds; the event says whether that was done."""
    late = threading.Event()
    if seconds is None:
        yield late
        return

    def end() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(seconds, end)
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()


def last_words(lines: Sequence[str]) -> str:
    """Why gap_fit stopped, as it says itself: what follows its abort, else its last line."""
    said = [line for line in lines if line and not line.startswith("STOP")]
    begins = [k for k, line in enumerate(said) if line.startswith(_ABORTS)]
    words = said[begins[0] :] if begins else said[-1:]
    kept = [
        line.removeprefix("SYSTEM ABORT:").strip()
        for line in words
        if not line.startswith('File "') and not line.endswith(_ABORTS[1])
    ]
    # it breaks lines anywhere and marks that with a hyphen
    return " ".join(kept).replace("- ", "").strip() or "it said nothing"


def _end(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit status {code}"
