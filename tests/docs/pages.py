"""Pages whose blocks are run: every command and every program, in order, in one folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUN = {"bash": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-W", "error", "-c"]}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: the line it begins in, its language and its text."""

    line: int
    language: str
    text: str


@dataclass(frozen=True)
class Page:
    """A page of the folder docs."""

    name: str

    @property
    def text(self) -> str:
        return (DOCS / self.name).read_text(encoding="utf-8")

    def blocks(self) -> list[Block]:
        """Every block of the page."""
        return [
            Block(self.text.count("\n", 0, found.start()) + 2, found[1], found[2])
            for found in BLOCK.finditer(self.text)
        ]

    def languages(self) -> set[str]:
        """Of its blocks; AssertionError where a fence is not understood."""
        assert self.text.count("```") == 2 * len(self.blocks())
        return {block.language for block in self.blocks()}

    def run(self, home: Path, *, programs: Path, skip: Sequence[str] = ("text",)) -> None:
        """Run the blocks in `home`; AssertionError with the line of the first that fails."""
        environment = surroundings(programs)
        for block in self.blocks():
            if block.language in skip:
                continue
            done = subprocess.run(
                [*RUN[block.language], block.text],
                cwd=home,
                env=environment,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            said = f"{self.name}, line {block.line}:\n{done.stdout}\n{done.stderr}"
            assert done.returncode == 0, said


def surroundings(programs: Path) -> dict[str, str]:
    """An environment with `athanor` on its path as the package under test, installed or not."""
    programs.mkdir(exist_ok=True)
    athanor = programs / "athanor"
    athanor.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m athanor.cli "$@"\n')
    athanor.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
