"""Runs every command and every program of the tutorial, in order, in an empty folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import ase.io
import pytest

TUTORIAL = Path(__file__).resolve().parents[2] / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUN = {"bash": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-W", "error", "-c"]}


def blocks() -> list[tuple[int, str, str]]:
    """Line number, language and text of each block of the page."""
    page = TUTORIAL.read_text(encoding="utf-8")
    return [
        (page.count("\n", 0, found.start()) + 2, found[1], found[2])
        for found in BLOCK.finditer(page)
    ]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """`athanor` on the path as the package under test, whether or not it is installed."""
    programs = tmp_path / "bin"
    programs.mkdir()
    athanor = programs / "athanor"
    athanor.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m athanor.cli "$@"\n')
    athanor.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }


def test_the_page_has_only_blocks_that_are_understood() -> None:
    page = TUTORIAL.read_text(encoding="utf-8")
    assert page.count("```") == 2 * len(blocks())
    assert {language for _, language, _ in blocks()} == {"bash", "python", "text"}


def test_the_tutorial_runs(tmp_path: Path, environment: dict[str, str]) -> None:
    home = tmp_path / "home"
    home.mkdir()
    for line, language, text in blocks():
        if language == "text":
            continue
        done = subprocess.run(
            [*RUN[language], text],
            cwd=home,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"tutorial.md, line {line}:\n{done.stdout}\n{done.stderr}"
    check_what_came_out(home)


def check_what_came_out(home: Path) -> None:
    assert json.loads((home / "status.json").read_text())["status"] == "converged"
    errors = json.loads((home / "errors.json").read_text())
    assert errors["forces_eV_per_A"]["rmse_percent"] < 50
    assert "<svg" in (home / "aluminium.athanor" / "report.html").read_text(encoding="utf-8")
    assert len(ase.io.read(home / "evaluated.extxyz", ":")) == 6
    assert all(atoms.info["grade"] > 0 for atoms in ase.io.read(home / "graded.extxyz", ":"))
    assert (home / "chosen.extxyz").exists()
    assert (home / "aluminium.mtp").read_text().startswith("MTP")


def test_the_error_that_is_shown_is_the_error_that_comes(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    (shown,) = [text for _, language, text in blocks() if language == "text"]
    script = (
        "athanor init aluminium.toml && "
        "sed -i 's/^save =/sav =/' aluminium.toml && athanor run aluminium.toml"
    )
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == shown
