"""Runs every command and every program of the tutorial, in order, in an empty folder."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import ase.io
from pages import Page, surroundings

TUTORIAL = Page("tutorial.md")


def test_the_page_has_only_blocks_that_are_understood() -> None:
    assert TUTORIAL.languages() == {"bash", "python", "text"}


def test_the_tutorial_runs(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    TUTORIAL.run(home, programs=tmp_path / "bin")
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


def test_the_error_that_is_shown_is_the_error_that_comes(tmp_path: Path) -> None:
    (shown,) = [block.text for block in TUTORIAL.blocks() if block.language == "text"]
    script = (
        "athanor init aluminium.toml && "
        "sed -i 's/^save =/sav =/' aluminium.toml && athanor run aluminium.toml"
    )
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=surroundings(tmp_path / "bin"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == shown
