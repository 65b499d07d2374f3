"""Running a distillation: its steps beyond tasks, and what it hands over."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from athanor.campaign.driver import Driver, refuse_foreign
from athanor.campaign.events import CampaignFinished
from athanor.campaign.export import export_frames, export_potential
from athanor.campaign.journal import NAME as JOURNAL
from athanor.campaign.journal import Journal
from athanor.campaign.lock import only_writer
from athanor.campaign.progress import Progress
from athanor.campaign.state import State
from athanor.campaign.steps import Done
from athanor.data.durable import write_file
from athanor.distil.bench import POTENTIAL, DistilBench
from athanor.distil.certificate import certificate
from athanor.distil.config import CHANGEABLE, DistilConfig
from athanor.distil.folder import Distillation
from athanor.distil.plan import Handover, Step, plan
from athanor.distil.progress import progress_of
from athanor.query._similarity.extra import require_extra as require_similarity
from athanor.search._optuna import require_extra as require_search

EXPORTED = "potential"
SELECTED = "selected.extxyz"
POOL = "pool.extxyz"
"""The whole pool, where it was made here."""
CERTIFICATE = "certificate.json"


def run(
    config: DistilConfig,
    folder: str | Path,
    *,
    progress: Callable[[Progress], None] | None = None,
) -> State:
    """Start a distillation in `folder`, or carry on with the one that is there.

    [campaign] name and workers, [stop] and [compare] may differ from the run before. `progress` is
    called after every event and about once a second. Returns the final state.

    Raises
    ------
    ConfigError : the oracle cannot be built, a file that is named is not there, or the campaign
        file does not fit the folder.
    FolderError : the folder is in use, holds something else, or cannot be written.
    FormatError : the journal or an artefact is damaged.
    AthanorError : the pool cannot be used, or nothing can be done any more; in one sentence.
    """
    folder = Path(folder).absolute()
    level = "" if config.oracle is None else config.oracle.build().level
    refuse_foreign(folder)
    if not (folder / JOURNAL).exists():
        _check(config)
    with only_writer(folder), Journal(folder / JOURNAL) as journal:
        return _Still(config, folder, journal, progress).run(level)


def _check(config: DistilConfig) -> None:
    """Ask before anything runs what would else show only at the end of long work."""
    require_similarity()
    config.example.check()
    if config.space is not None:
        require_search(config.search.method)
    config.pool.check()


class _Still(Driver[DistilConfig]):
    ALONE = frozenset({"trial"})
    LOST = frozenset({"label", "trial"})
    CHANGEABLE = CHANGEABLE

    def plan(self) -> Step:
        return plan(self.config, self.state)

    def take(self, step: Any) -> None:
        if isinstance(step, Handover):
            self._hand_over(step.trial, step.stopped_by)
            self.step = None
            ids = (step.draw, *step.comparison)
            self.record(CampaignFinished(time.time(), step.stopped_by, step.cycle, step.trial, ids))

    def workshop(self) -> DistilBench:
        return DistilBench(self.config, self.folder)

    def moment(self, *, now: float) -> Progress:
        return progress_of(self.config, self.state, self.step, now=now)

    def restore(self) -> None:
        if self.state.ended is not None:
            # [stop] may say other things of the same end
            self._hand_over(self.state.ended.potential, self.state.ended.stopped_by)

    def _hand_over(self, trial: str, stopped_by: str) -> None:
        """The potential, what it was made of and why, and what is known of its errors."""
        found = Distillation(self.folder, config=self.config, state=self.state)
        if not self._has(EXPORTED):
            export_potential(self.artefacts.path(trial) / POTENTIAL, self.folder / EXPORTED)
        if not self._has(SELECTED):
            chosen = found.selected()
            info = [one.as_info() for one in chosen.choices]
            export_frames(chosen.frames, self.folder / SELECTED, info=info)
        if self.config.pool.needs_oracle and not (self.folder / POOL).exists():
            frames, info = found.whole()
            export_frames(frames, self.folder / POOL, info=info)
        text = json.dumps(certificate(found, stopped_by=stopped_by), indent=2, allow_nan=False)
        path = self.folder / CERTIFICATE
        if not (path.exists() and path.read_bytes() == text.encode()):
            write_file(path, text.encode())

    def _has(self, name: str) -> bool:
        """Whether what was handed over is still there, and of this end."""
        return isinstance(self.plan(), Done) and (self.folder / name).exists()
