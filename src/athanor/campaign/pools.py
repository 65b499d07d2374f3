"""Pools: where tasks run. The default is a pool of processes that rebuilds itself.

Every worker has its own socket and its own thread in the driver, so that a worker that is killed
(by the kernel for memory, by a crash in compiled code) costs its own task one more try and
nobody else anything. `concurrent.futures.ProcessPoolExecutor` would stop all its workers
instead, and with them labels that are already half paid for.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from athanor.campaign.worker import COMMAND
from athanor.errors import AthanorError

T = TypeVar("T")

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Set to 1 in workers unless the user has set them: `threadpool_limits` reaches only libraries that
are loaded already, and the first task that loads one would use all cores. Recipes with `threads`
of their own count processors, and start theirs whatever stands here."""


class WorkerLost(AthanorError):
    """A worker process died each time it was given this task."""


class Pool(Protocol[T]):
    """Where tasks run. An executor of a cluster engine becomes one by wrapping its `submit`."""

    def submit(self, item: T) -> Future[None]:
        """Perform the item somewhere; the future carries the exception if there was one."""
        ...

    def stop(self, spare: Callable[[T], bool]) -> None:
        """Start nothing more; abandon what runs, but let items to `spare` finish unobserved."""
        ...


class ProcessPool(Generic[T]):
    """Processes on this machine.

    Parameters
    ----------
    target : what performs an item; pickled once to each worker, where it may keep things.
    workers : how many processes.
    retries : how often an item is tried again after the worker that had it died.
    log : file that gets what workers and the programs they call print.
    """

    def __init__(
        self, target: Callable[[T], None], *, workers: int, retries: int = 2, log: Path
    ) -> None:
        self._target = target
        self._retries = retries
        self._log = log
        self._environment = _environment(workers)
        self._items: queue.SimpleQueue[tuple[T, Future[None]] | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._busy: dict[int, tuple[T, subprocess.Popen[bytes]]] = {}
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._serve, args=(slot,), daemon=True)
            for slot in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, item: T) -> Future[None]:
        """Queue an item."""
        future: Future[None] = Future()
        self._items.put((item, future))
        return future

    def stop(self, spare: Callable[[T], bool] = lambda _: False) -> None:
        """See `Pool.stop`; returns when every process has ended but the spared ones."""
        with self._lock:
            self._stopping.set()
            spared = {slot for slot, (item, _) in self._busy.items() if spare(item)}
            for slot, (_, process) in self._busy.items():
                if slot not in spared:
                    process.kill()
        for _ in self._threads:
            self._items.put(None)
        for slot, thread in enumerate(self._threads):
            if slot not in spared:
                thread.join()

    def _serve(self, slot: int) -> None:
        """One slot: a worker process, started when it is first needed and again when it died."""
        worker: _Worker | None = None
        while (entry := self._items.get()) is not None:
            item, future = entry
            if self._stopping.is_set() or not future.set_running_or_notify_cancel():
                future.cancel()
                continue
            failure: BaseException | None = None
            for _ in range(1 + self._retries):
                try:
                    worker = worker or _Worker(self._target, self._log, self._environment)
                    failure = self._ask(slot, worker, item)
                    break
                except _Died as death:
                    worker = None
                    failure = WorkerLost(
                        f"the worker process died ({death}) each of {1 + self._retries} times it "
                        f"was given this task; {self._log} has what it printed"
                    )
                    if self._stopping.is_set():
                        break
                except Exception as error:  # a worker that cannot even be started
                    failure = error
                    break
            if failure is None:
                future.set_result(None)
            else:
                future.set_exception(failure)
        if worker is not None:
            worker.close()

    def _ask(self, slot: int, worker: _Worker, item: T) -> BaseException | None:
        """Have the worker perform the item; its exception, or _Died."""
        with self._lock:
            if self._stopping.is_set():
                worker.close()
                raise _Died("the pool was stopped")
            self._busy[slot] = (item, worker.process)
        try:
            return worker.ask(item)
        finally:
            with self._lock:
                del self._busy[slot]


def performed(
    target: Callable[[T], None],
    items: Sequence[T],
    *,
    workers: int,
    retries: int = 1,
    log: Path,
) -> Iterator[tuple[T, BaseException | None]]:
    """Perform all items; yields each as it ends, with the exception it ended with.

    With one worker they are performed in this process. Closing the iterator stops what runs.
    Parameters are those of `ProcessPool`.
    """
    if workers <= 1:
        yield from _performed_here(target, items)
        return
    ended: queue.SimpleQueue[tuple[T, Future[None]]] = queue.SimpleQueue()
    pool = ProcessPool(target, workers=workers, retries=retries, log=log)
    try:
        for item in items:
            pool.submit(item).add_done_callback(_put(ended, item))
        for _ in items:
            item, future = ended.get()
            yield item, future.exception()
    finally:
        pool.stop()


def _put(
    ended: queue.SimpleQueue[tuple[T, Future[None]]], item: T
) -> Callable[[Future[None]], None]:
    return lambda future: ended.put((item, future))


def _performed_here(
    target: Callable[[T], None], items: Sequence[T]
) -> Iterator[tuple[T, BaseException | None]]:
    for item in items:
        failure: BaseException | None = None
        try:
            target(item)
        except Exception as error:
            failure = error
        yield item, failure


def _environment(workers: int) -> dict[str, str]:
    """Of each of so many workers: one thread in libraries, a share of the memory."""
    from athanor.potentials._mtp.cost import environment_of_workers

    quiet = dict.fromkeys(ONE_THREAD, "1")
    return {**quiet, **os.environ, **environment_of_workers(workers)}


class _Died(Exception):
    """The process at the other end is gone; the message says how."""


class _Worker:
    """A worker process and the driver's end of its socket."""

    def __init__(
        self, target: Callable[[T], None], log: Path, environment: Mapping[str, str]
    ) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs, log.open("ab") as output:
            # a session of its own: Ctrl-C and a closing terminal reach the driver alone
            self.process = subprocess.Popen(
                [sys.executable, "-c", COMMAND, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                env={**environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
            self._connection = Connection(ours.detach())
        try:
            self._send(sys.path)
            self._send(target)
        except BaseException:
            self.process.kill()
            self.close()
            raise

    def ask(self, item: object) -> BaseException | None:
        """Send an item, wait for its end; _Died when the process ends first."""
        self._send(item)
        try:
            answer = self._connection.recv()
        except (EOFError, OSError):
            raise _Died(self._obituary()) from None
        return answer if isinstance(answer, BaseException) else None

    def close(self) -> None:
        """Close the socket, on which the process ends, and wait for that."""
        self._connection.close()
        self.process.wait()

    def _send(self, thing: object) -> None:
        try:
            self._connection.send(thing)
        except (BrokenPipeError, ConnectionResetError):
            raise _Died(self._obituary()) from None

    def _obituary(self) -> str:
        """How it ended; also collects the process."""
        self._connection.close()
        code = self.process.wait()
        if code < 0:
            with contextlib.suppress(ValueError):
                return f"signal {signal.Signals(-code).name}"
        return f"exit code {code}"
