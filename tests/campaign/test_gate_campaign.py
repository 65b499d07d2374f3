"""Campaigns with a regression gate: refusal, resumption after kills, words, report, exit code."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_campaign import tables
from test_crash import drivers, outcome, started

from athanor.campaign import Campaign, CampaignConfig, run
from athanor.campaign.journal import NAME, read_journal
from athanor.cli import main
from athanor.cli.standing import word
from athanor.report import report_of
from athanor.testing.fakes import calls

__all__ = ["drivers"]

Make = Callable[..., CampaignConfig]


def scripted(*values: float | None, **more: Any) -> dict[str, Any]:
    return {"kind": "scripted", "values": list(values), "every": 1, "gate": ["a"], **more}


def stop(cycles: int) -> dict[str, Any]:
    return {"max_cycles": cycles, "untriggered_cycles": None}


def exported(folder: Path) -> int:
    """The cycle of the fit that was handed over."""
    campaign = Campaign(folder)
    assert campaign.state.ended is not None
    record = campaign.state.finished_tasks[campaign.state.ended.potential]
    saved = (folder / "artefacts" / record.task / "potential" / "potential.json").read_bytes()
    assert (folder / "potential" / "potential.json").read_bytes() == saved
    return record.cycle


def test_a_potential_that_got_worse_is_refused(make: Make, tmp_path: Path) -> None:
    made = make(stop=stop(3), validate=[scripted(12.0, 10.5, 13.0), {"kind": "dimer"}])
    state = run(made, tmp_path)
    assert state.ended is not None
    assert (state.stopped_by, state.ended.cycle) == ("max_cycles", 3)
    assert exported(tmp_path) == 2
    campaign = Campaign(tmp_path)
    judgements = campaign.judgements
    assert [(one.cycle, one.promoted, one.against) for one in judgements] == [
        (1, True, None),
        (2, True, 1),
        (3, False, 2),
    ]
    (reason,) = judgements[-1].reasons
    assert reason.startswith("Scripted: a is off by 3 Å and was off by 0.5")
    # what is told of the properties is told of what is handed over, the ungated ones included
    assert campaign.properties[0].quantities[0].value == 10.5
    assert [result.kind for result in campaign.properties] == ["scripted", "dimer"]
    assert [(cycle, r.quantities[0].value) for cycle, r in campaign.history(0)] == [
        (1, 12.0),
        (2, 10.5),
        (3, 13.0),
    ]
    lines = (tmp_path / NAME).read_bytes()
    run(made, tmp_path)
    assert (tmp_path / NAME).read_bytes() == lines, "a finished campaign has nothing to do"


def test_what_is_handed_over_belongs_together(make: Make, tmp_path: Path) -> None:
    """The refused potential's last labels are in the store, not in the promoted one's set."""
    straight = run(make(stop=stop(2), validate=[]), tmp_path / "two")
    run(make(stop=stop(3), validate=[scripted(12.0, 10.5, 13.0)]), tmp_path / "three")
    assert straight.ended is not None
    for name in ("training.extxyz", "potential/potential.json"):
        two, three = tmp_path / "two" / name, tmp_path / "three" / name
        assert two.read_bytes() == three.read_bytes()
    campaign = Campaign(tmp_path / "three")
    assert len(campaign.training()) > len(Campaign(tmp_path / "two").training())
    # what somebody took away is the same again
    data = (tmp_path / "three" / "training.extxyz").read_bytes()
    (tmp_path / "three" / "training.extxyz").unlink()
    run(make(stop=stop(3), validate=[scripted(12.0, 10.5, 13.0)]), tmp_path / "three")
    assert (tmp_path / "three" / "training.extxyz").read_bytes() == data


def test_the_gate_may_change_and_nothing_is_measured_again(make: Make, tmp_path: Path) -> None:
    run(make(stop=stop(3), validate=[scripted(12.0, 10.5, 13.0)]), tmp_path)
    assert exported(tmp_path) == 2
    kinds = [record.kind for record in Campaign(tmp_path).state.finished_tasks.values()]
    wide = scripted(12.0, 10.5, 13.0, gate_margin={"a": 3.0})
    state = run(make(stop=stop(3), validate=[wide]), tmp_path)
    assert exported(tmp_path) == 3
    after = [record.kind for record in state.finished_tasks.values()]
    assert after[len(kinds) :] == ["gate"] * 3
    # back to the first gate: its judgements count again, without a task
    state = run(make(stop=stop(3), validate=[scripted(12.0, 10.5, 13.0)]), tmp_path)
    assert exported(tmp_path) == 2
    assert len(state.finished_tasks) == len(after)


def test_noise_is_no_regression(make: Make, tmp_path: Path) -> None:
    run(make(stop=stop(2), validate=[scripted(10.5, 10.9, spread=0.2)]), tmp_path)
    assert exported(tmp_path) == 2


def test_what_cannot_be_measured_any_more_is_refused(make: Make, tmp_path: Path) -> None:
    run(make(stop=stop(2), validate=[scripted(12.0, None, gate=["a", "C11"])]), tmp_path)
    assert exported(tmp_path) == 1
    first, second = Campaign(tmp_path).judgements
    assert first.notes == ("Scripted: 'C11' names nothing that was measured and has a reference",)
    assert second.reasons == ("Scripted could not be measured any more (it melted)",)


def test_words_report_and_exit_code(
    plugin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    made = CampaignConfig.of(
        {**tables(), "stop": {"max_cycles": 3}, "validate": [scripted(12.0, 10.5, 13.0)]}
    )
    # the file is written from the tables, since athanor reads files
    Path("c.toml").write_text(toml(made.as_dict()), encoding="utf-8")
    assert main(["run", "c.toml"]) == 2
    error = capsys.readouterr().err
    assert "the potential of cycle 3 is refused and that of cycle 2 is kept: Scripted" in error
    assert "potential is that of cycle 2" in error
    assert main(["status", "c.athanor"]) == 0
    said = capsys.readouterr().out
    assert "ended (max_cycles), its last potential refused" in said
    assert "gate: the potential of cycle 2 is promoted: nothing got worse" in said
    assert main(["status", "c.athanor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["status"] == "refused"
    assert [one["promoted"] for one in told["gate"]] == [True, True, False]
    status = Campaign(Path("c.athanor")).status()
    assert word(status) == "refused"
    page = report_of(Path("c.athanor"))
    assert "last potential refused" in page
    assert "The regression gate refused the potential of cycle 3: Scripted: a is off by" in page
    assert "with the structures it was fitted to" in page
    assert page.count("✓ promoted") == 2
    assert page.count("✗ refused") == 1
    assert '<section id="gate">' in page


def test_a_campaign_without_a_gate_has_none(make: Make, tmp_path: Path) -> None:
    run(make(stop=stop(1)), tmp_path)
    campaign = Campaign(tmp_path)
    assert campaign.judgements == ()
    assert campaign.status().as_dict()["gate"] == []
    assert word(campaign.status()) == "limit"
    assert '<section id="gate">' not in report_of(tmp_path)


def test_killed_around_every_judgement(drivers: Any, plugin: Path, tmp_path: Path) -> None:
    def table(log: Path) -> dict[str, Any]:
        validate = [scripted(12.0, 10.5, 13.0), {"kind": "dimer"}]
        return {**tables(log), "stop": {"max_cycles": 3}, "validate": validate}

    whole, log = tmp_path / "whole", tmp_path / "whole.log"
    assert started(drivers, whole, table(log), None) == 0
    expected, paid = outcome(whole), sorted(calls(log))
    lines = len(read_journal(whole / NAME))
    gates = [
        n for n, e in enumerate(read_journal(whole / NAME)) if getattr(e, "kind", "") == "gate"
    ]
    assert len(gates) == 3
    folder, log = tmp_path / "folder", tmp_path / "folder.log"
    # before and after the gate wrote a line, and before the end; each run opens with a line
    for runs, after in enumerate((gates[1], gates[1] + 1, gates[2] + 1, lines - 1)):
        assert started(drivers, folder, table(log), after + runs) == -signal.SIGKILL
    assert started(drivers, folder, table(log), None) == 0
    assert outcome(folder) == expected
    assert sorted(calls(log)) == paid
    assert Campaign(folder).judgements == Campaign(whole).judgements
    assert exported(folder) == exported(whole) == 2


def toml(sections: dict[str, Any]) -> str:
    """Sections as a campaign file; what is None is left out."""
    text = ""
    for name, section in sections.items():
        for table in section if isinstance(section, list) else [section]:
            text += f"[[{name}]]\n" if isinstance(section, list) else f"[{name}]\n"
            text += "".join(
                f"{key} = {json.dumps(value)}\n"
                for key, value in table.items()
                if value is not None and value != {}
            )
    return text
