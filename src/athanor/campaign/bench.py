"""The bench a worker process stands at: it turns tasks into artefacts."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from athanor.campaign.artefact import Artefacts
from athanor.campaign.tasks import Task

Maker = Callable[[Task, Path, Path], dict[str, Any]]
"""(task, part, work) -> summary; writes what is kept into part, work is scratch."""


class Bench(ABC):
    """Performs the tasks of one campaign; travels to a worker by pickle and keeps models there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.artefacts = Artefacts(folder / "artefacts")

    @abstractmethod
    def makers(self) -> Mapping[str, Maker]:
        """What makes the artefact of each kind of task."""

    def __call__(self, task: Task) -> None:
        """Make the artefact of a task, unless it is there. BLAS keeps to one thread, so that the
        bits of a result do not depend on the machine's load."""

        def build(part: Path, work: Path) -> dict[str, Any]:
            begun = time.monotonic()
            summary = self.makers()[task.kind](task, part, work)
            return {"seconds": time.monotonic() - begun, "summary": summary}

        with threadpool_limits(limits=1):
            self.artefacts.make(task, build)
