"""Every way a verb can end, and the one line it says."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from athanor.cli import main
from athanor.cli.exits import guarded
from athanor.cli.verbs import build
from athanor.errors import AthanorError, LimitReached

CAMPAIGN = {"init", "run", "status", "kinds", "report"}
FILES = {"fit", "errors", "evaluate", "grade", "select", "relax", "mindist", "convert", "validate"}
VERBS = sorted(CAMPAIGN | FILES)


class Command:
    """A command line whose only deed is to raise or return something."""

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome

    def main(self, **_: Any) -> Any:
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


def ended(outcome: Any, *arguments: str) -> int:
    return guarded(lambda: Command(outcome), list(arguments))


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "athanor.cli", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (AthanorError("the cell\nis flat"), 1, "athanor: error: the cell is flat\n"),
        (LimitReached("stopped by max_cycles"), 2, "athanor: error: stopped by max_cycles\n"),
        (OSError(errno.ENOSPC, "No space left", "a/b"), 1, "no space left while writing to a/b"),
        (OSError(errno.EDQUOT, "Quota"), 1, "no space left while writing to the disk"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 1, "x: Permission denied; check"),
        (FileNotFoundError(errno.ENOENT, "No such file", b"y"), 1, "y: No such file; check"),
        (MemoryError(), 1, "out of memory: give fewer"),
        (typer.BadParameter("no such thing."), 1, "error: Invalid value: no such thing; athanor"),
        (KeyboardInterrupt(), 130, "interrupted; start the same line again to carry on"),
        (typer.Abort(), 130, "interrupted; start the same line again to carry on"),
    ],
)
def test_an_error_is_one_line(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(error) == code
    out, err = capsys.readouterr()
    assert said in err
    assert err.count("\n") == 1
    assert out == ""


@pytest.mark.parametrize(("outcome", "code"), [(None, 0), (0, 0), (2, 2), ("text", 0), (130, 130)])
def test_a_result_is_an_exit_code(outcome: Any, code: int) -> None:
    assert ended(outcome) == code


def test_exit_raised_by_a_verb_keeps_its_code() -> None:
    assert ended(typer.Exit(2)) == 2


def test_a_bug_is_told_and_its_traceback_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert ended(ZeroDivisionError("by nothing")) == 3
    _, err = capsys.readouterr()
    (kept,) = tmp_path.iterdir()
    assert "this is a bug in athanor" in err
    assert str(kept) in err
    assert err.count("\n") == 1
    assert "ZeroDivisionError: by nothing" in kept.read_text()


def test_debug_prints_the_traceback_and_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert ended(ZeroDivisionError("by nothing"), "--debug", "run") == 3
    assert "ZeroDivisionError: by nothing" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_bug_where_nothing_can_be_written_says_how_to_see_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(**_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left")

    monkeypatch.setattr("athanor.cli.exits.tempfile.mkstemp", refused)
    assert ended(ZeroDivisionError("by nothing")) == 3
    assert "athanor --debug VERB" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "No such command"),
        (["errors", "a"], "Missing argument"),
        (["evaluate", "a", "b"], "Missing option '--out'"),
        (["evaluate", "a", "b", "--outt", "c"], "No such option"),
        (["fit", "a", "b", "--out", "c", "--seed", "x"], "--seed"),
        (["fit", "a", "b", "--out", "c", "--seed", "-1"], "--seed"),
        (["--colour"], "No such option"),
    ],
)
def test_a_misused_line_is_bad_input(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    _, err = capsys.readouterr()
    assert err.startswith("athanor: error: ")
    assert said in err
    assert "--help lists what is allowed" in err
    assert err.count("\n") == 1


def test_every_verb_has_help() -> None:
    command = build()
    assert sorted(command.commands) == VERBS
    for verb in VERBS:
        assert main([verb, "--help"]) == 0


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    import athanor

    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == athanor.__version__


def test_no_verb_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "Usage: athanor" in capsys.readouterr().out


def test_codes_reach_the_shell(tmp_path: Path) -> None:
    missing = run("mindist", "absent.extxyz", cwd=tmp_path)
    assert missing.returncode == 1
    assert missing.stderr.startswith("athanor: error: absent.extxyz")
    assert "Traceback" not in missing.stderr
    assert run("--nonsense", cwd=tmp_path).returncode == 1
    assert run("--version", cwd=tmp_path).returncode == 0


def test_help_needs_no_heavy_library() -> None:
    program = (
        "import sys; from athanor.cli import main; main(['--help']); "
        "found = {'scipy', 'matplotlib', 'jinja2', 'torch'} & set(sys.modules); "
        "sys.exit(f'imported {found}' if found else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.returncode == 0, done.stderr


def test_a_reader_that_leaves_is_no_bug(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "athanor.cli", "kinds", "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "PYTHONUNBUFFERED": "1",
        },
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    said = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(timeout=60) == 1
    assert said == ""
