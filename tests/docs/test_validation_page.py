"""Runs every command and program of the page on validation, and holds it to what there is."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from pages import Page

from athanor.cli.kinds import families
from athanor.cli.verbs import build
from athanor.validate import kinds

PAGE = Page("validation.md")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the whole page has run."""
    folder = tmp_path_factory.mktemp("validation")
    home = folder / "home"
    home.mkdir()
    PAGE.run(home, programs=folder / "bin", skip=("text", "toml"))
    return home


def test_the_page_has_only_blocks_that_are_understood() -> None:
    assert PAGE.languages() == {"bash", "python", "toml"}


def test_every_kind_is_on_the_page() -> None:
    table = PAGE.text.split("| kind | what is measured |")[1].split("\n\n")[0]
    named = {kind for line in table.split("\n") for kind in re.findall(r"`(\w+)`", line)}
    assert named == set(families()["property"])


def test_every_option_is_on_the_page() -> None:
    (verb,) = [verb for name, verb in build().commands.items() if name == "validate"]
    ours = {option for one in verb.params for option in one.opts if option.startswith("--")}
    assert set(re.findall(r"\| `(--\w+)", PAGE.text)) == ours - {"--species", "--help"}
    assert "`--species`" in PAGE.text


def test_the_campaign_s_section_is_one() -> None:
    (block,) = [block for block in PAGE.blocks() if block.language == "toml"]
    (table,) = tomllib.loads(block.text)["validate"]
    item = kinds()[table["kind"]].parse(table, where="the page")
    assert (item.every, item.gate) == (2, ("C11", "C44"))


def test_what_came_out(home: Path) -> None:
    found = json.loads((home / "metal.athanor" / "suite.json").read_text())
    assert found["failures"] == 0
    assert found["of"] == found["passed"] > 0
    assert found["regressions"] == {"emt": []}
    assert "reference" in (home / "metal.athanor" / "report.html").read_text()
