"""A small campaign of an ANI ensemble that samples its own weaknesses."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from test_crash import outcome
from test_real_kinds import TEXT

from athanor.campaign import Campaign, CampaignConfig, run, runner
from athanor.campaign.artefact import WORK
from athanor.campaign.tasks import Task
from athanor.campaign.workshop import Workshop
from athanor.loading import load
from athanor.potentials.ani import AniPotential
from athanor.potentials.ensemble import Spread

ANI = """[potential]
kind = "ani"
size = 2
layers = [8, 6]
radial_cutoff = 4.5
angular_cutoff = 3.5
n_radial = 6
n_shells = 2
n_angles = 2
max_epochs = 3
"""


def config(path: Path, *, query: str) -> CampaignConfig:
    """That of a small campaign, from the file that it is written to."""
    text = TEXT.replace('[potential]\nkind = "lj"\n', ANI).replace("steps = 40", "steps = 10")
    text = text.replace("workers = 2", "workers = 1")
    path.write_text(text.replace('"doptimality"', f'"{query}"'), encoding="utf-8")
    return CampaignConfig.read(path)


class Deadly(Workshop):
    """Its worker dies in every fit, after the second epoch; the next one finds what was left."""

    def __call__(self, task: Task) -> None:
        if task.kind == "fit":
            found = len(list((self.folder / "artefacts").glob(f"{task.id}.part/{WORK}/fit-*.npz")))
            with (self.folder / "fits").open("a") as file:
                file.write(f"{found}\n")
            if not found:
                _die_after(2)
        super().__call__(task)


def _die_after(writes: int) -> None:
    from athanor.potentials._ani import trainer
    from athanor.potentials._checkpoint import Checkpoint

    trainer._SECONDS_BETWEEN_CHECKPOINTS = 0.0
    real, done = Checkpoint.write, []

    def write(self: Checkpoint, *given: object) -> None:
        real(self, *given)  # type: ignore[arg-type] # whatever it is called with
        done.append(1)
        if len(done) == writes:
            os.kill(os.getpid(), signal.SIGKILL)

    Checkpoint.write = write  # type: ignore[method-assign] # only in the process that dies


def test_workers_that_die_inside_fits_change_no_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for name, workshop in (("whole", Workshop), ("killed", Deadly)):
        monkeypatch.setattr(runner, "Workshop", workshop)
        state = run(config(tmp_path / f"{name}.toml", query="committee"), tmp_path / name)
        assert state.stopped_by == "max_cycles"
        found.append(outcome(tmp_path / name))
    assert any(path.startswith("potential/") for path in found[0])
    assert found[0] == found[1]
    # two fits, each begun by one worker and ended by another
    assert (tmp_path / "killed" / "fits").read_text().split() == ["0", "1"] * 2


@pytest.mark.parametrize("query", ["committee", "doptimality"])
def test_a_campaign_of_networks(tmp_path: Path, query: str) -> None:
    folder = tmp_path / "folder"
    state = run(config(tmp_path / "campaign.toml", query=query), folder)
    assert state.stopped_by == "max_cycles"
    assert state.labels_bought > 4
    potential = load(folder / "potential")
    assert isinstance(potential, AniPotential)
    assert len(potential.members) == 2
    (each,) = potential.predict_each(Campaign(folder).training().structures[:1])
    assert Spread.of(each).energy > 0
