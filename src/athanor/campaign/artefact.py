"""Artefacts: the immutable results of tasks, one folder each, there whole or not at all.

A worker holds the task's lock, builds the folder under a temporary name and renames it when every
byte is on disk. Whoever comes second waits for the lock and adopts what it finds.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from athanor.campaign.tasks import Task, canonical
from athanor.data.durable import make_folder, only_one, sync_folder, sync_tree, writing
from athanor.errors import FolderError, FormatError, OracleError

RESULT = "result.json"
WORK = "work"
RESUMED = frozenset({"fit", "measure", "pool", "trial"})
"""Kinds of tasks whose scratch outlives a kill: a fit goes on from the steps it kept there."""
KEPT = frozenset({"pool"})
"""Kinds whose scratch outlives a refusal too: a trajectory that was paid for is no less good."""


@dataclass(frozen=True, slots=True)
class Artefacts:
    """The folder of all artefacts of a campaign: made (`<id>`) or refused (`<id>.failed`)."""

    folder: Path

    def path(self, task: str) -> Path:
        """Where the artefact of a task is, or would be."""
        return self.folder / task

    def scratch(self, task: str) -> Path:
        """Where a task that is being worked on keeps what it will not keep."""
        return self._part(task) / WORK

    def failed(self, task: str) -> Path:
        """Where the reason is why a task can have no artefact."""
        return self.folder / f"{task}.failed"

    def settled(self, task: str) -> bool:
        """Whether the task needs no more work: it has an artefact, or a reason why not."""
        return self.path(task).exists() or self.failed(task).exists()

    def result(self, task: str) -> dict[str, Any]:
        """What the finished task wrote: {"task", "seconds", "summary"}."""
        return _read(self.path(task) / RESULT, {"task", "seconds", "summary"})

    def reason(self, task: str) -> str:
        """Why the failed task failed."""
        return str(_read(self.failed(task) / RESULT, {"reason"})["reason"])

    def make(self, task: Task, build: Callable[[Path, Path], dict[str, Any]]) -> None:
        """Build the artefact of a task unless it is settled; waits when another process is at it.

        `build(part, work)` writes what is to be kept into `part`, uses `work` as scratch, and
        returns {"seconds", "summary"}. An OracleError settles the task as failed. Other errors
        leave nothing behind; a kill leaves `work` to the next try of a task that can go on from it.

        Raises
        ------
        FolderError : no space, or no permission to write.
        """
        with self._exclusive(task.id):
            if self.settled(task.id):
                return
            part = self._part(task.id)
            resumed = task.kind in RESUMED
            with writing(part):
                _clear(part, but=WORK if resumed else "")
                (part / WORK).mkdir(parents=True, exist_ok=True)
            try:
                self._build(task, part, build)
            except BaseException as error:
                # a full disk is no reason to begin anew once there is room again
                failed = isinstance(error, Exception) and not isinstance(error, FolderError)
                if (failed and task.kind not in KEPT) or not resumed:
                    shutil.rmtree(part, ignore_errors=True)
                raise

    def _part(self, task: str) -> Path:
        return self.folder / f"{task}.part"

    def forgive(self, task: str) -> None:
        """Put a failure aside so that the task can be tried again."""
        old = self.failed(task)
        with writing(old):
            if old.exists():
                number = sum(1 for _ in self.folder.glob(f"{task}.failed*"))
                old.rename(self.folder / f"{task}.failed-{number}")
                sync_folder(self.folder)

    def _build(self, task: Task, part: Path, build: Callable[[Path, Path], dict[str, Any]]) -> None:
        identity = {"kind": task.kind, "inputs": list(task.inputs), "payload": task.payload}
        try:
            result = {"task": identity, **build(part, part / WORK)}
        except OracleError as error:
            if task.kind in KEPT:
                raise
            self._publish(part, {"reason": error.reason}, self.failed(task.id))
            return
        with writing(part):
            shutil.rmtree(part / WORK)
        self._publish(part, result, self.path(task.id))

    def _publish(self, part: Path, result: Mapping[str, Any], final: Path) -> None:
        with writing(final):
            (part / RESULT).write_bytes(canonical(result))
            sync_tree(part)
            part.rename(final)
            sync_folder(self.folder)

    @contextlib.contextmanager
    def _exclusive(self, task: str) -> Iterator[None]:
        """Hold the task's lock; who gets it looks for a result before doing anything.

        The file is unlinked only once the task is settled, so a lock file that was replaced
        meanwhile misleads nobody.
        """
        make_folder(self.folder)
        path = self.folder / f"{task}.lock"
        with only_one(path):
            yield
            path.unlink(missing_ok=True)


def _clear(folder: Path, *, but: str) -> None:
    """Remove what is in a folder, if there is one, except the subfolder `but`."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name == but:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _read(path: Path, keys: set[str]) -> dict[str, Any]:
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise FormatError(path, None, f"this artefact cannot be read ({error})") from None
    if not isinstance(data, dict) or not keys <= data.keys():
        raise FormatError(path, None, f"this artefact lacks one of {', '.join(sorted(keys))}")
    return data
