"""Runs every command and program of the page on pools, and holds it to what there is."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import ase.io
import pytest
from pages import Page

from athanor.cli.kinds import families
from athanor.cli.verbs import build
from athanor.distil import DistilConfig, Distillation
from athanor.distil.config import SECTIONS, CompareSection
from athanor.query.clustering import DELTA, ClusteringConfig

PAGE = Page("pools.md")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the whole page has run."""
    folder = tmp_path_factory.mktemp("pools")
    home = folder / "home"
    home.mkdir()
    PAGE.run(home, programs=folder / "bin", skip=("text", "toml"))
    return home


def section(heading: str) -> str:
    """The text below a heading, to the next of any size."""
    (text,) = re.findall(rf"^#+ {heading}\n(.*?)(?=^#|\Z)", PAGE.text, re.MULTILINE | re.DOTALL)
    return str(text)


def rows(text: str) -> list[list[str]]:
    """The cells of the first table in a text, without its own first row."""
    lines = [line for line in text.split("\n") if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_page_has_only_blocks_that_are_understood() -> None:
    assert PAGE.languages() == {"bash", "python", "toml"}


def test_every_section_is_on_the_page() -> None:
    named = [cells[0].strip("`[]") for cells in rows(section("What the sections mean"))]
    assert sorted(named) == sorted(SECTIONS)
    for kind in families()["pool"]:
        assert f'`kind = "{kind}"`' in section("What the sections mean")


def test_every_option_on_the_page_is_one_of_init() -> None:
    (init,) = [verb for name, verb in build().commands.items() if name == "init"]
    ours = {option for parameter in init.params for option in parameter.opts}
    named = {re.findall(r"`(--\w+)", cells[0])[0] for cells in rows(section("A campaign file"))}
    assert named <= ours
    assert named == ours - {"--seed", "where", "--help"}


def test_the_ranges_on_the_page_are_ranges() -> None:
    (block,) = [block for block in PAGE.blocks() if block.language == "toml"]
    config = made(tomllib.loads(block.text))
    assert config.space is not None
    assert len(config.space.dimensions) == 4


def made(tables: dict[str, Any]) -> DistilConfig:
    pool = {"kind": "file", "path": "quench.extxyz"}
    return DistilConfig.of({"campaign": {}, "pool": pool, **tables}, where="the page")


def test_every_arm_is_on_the_page() -> None:
    named = {cells[0].strip("`") for cells in rows(section(r"Is it worth it\?"))}
    every = CompareSection(arms=tuple(named))
    assert set(every.arms) == named
    assert set(CompareSection().arms) < named


def test_the_paper_and_ours() -> None:
    """What the last table calls a default is one, and every key in it exists."""
    text, query = section("The paper's choices, and ours"), ClusteringConfig()
    assert (query.basis, query.n_max, query.l_max) == ("polynomial", 8, 8)
    assert (query.degree, query.c0, query.d_tol, query.patience) == (4, 1.0, 1e-3, 3)
    assert (query.average, query.coulomb) == ("fingerprint", "eigenvalues")
    assert query.affinity == "similarity"
    assert (query.slope, query.zeta, query.delta) == (None, None, None)
    told = dict(re.findall(r'`(\w+) = "(\w+)"`', text))
    judge = told.pop("judged_on")
    assert made({"potential": {"kind": "mtp"}, "stop": {"judged_on": judge}})
    for key, value in told.items():
        assert ClusteringConfig.model_validate({key: value})
    assert f"{DELTA:g} is taken" in " ".join(PAGE.text.split())


def test_what_came_out(home: Path) -> None:
    assert json.loads((home / "status.json").read_text())["status"] == "converged"
    listed = {name.strip("/") for cells in rows(section("Run it")) for name in told(cells[0])}
    assert listed == {path.name for path in (home / "quench.athanor").iterdir()} & listed
    found = Distillation(home / "quench.athanor")
    assert len(found.pool.structures) == 90
    assert found.pool.groups is not None
    assert set(found.pool.groups) == {"3000 K", "1500 K", "300 K"}
    assert {one.arm for one in found.comparison} == set(CompareSection().arms)
    keys = re.findall(r"`(\w+)`", PAGE.text.split("the same beside each structure: ")[1])[:6]
    for atoms in ase.io.read(home / "quench.athanor" / "selected.extxyz", ":"):
        assert set(keys) <= atoms.info.keys()


def told(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_labels_were_bought_for_what_was_chosen(home: Path) -> None:
    bought = Distillation(home / "bought.athanor")
    assert bought.status().progress.stopped_by == "tolerance"
    assert bought.best["delta"] == DELTA
    chosen = bought.selected()
    assert len(chosen.frames) == bought.state.labels_bought < len(bought.pool.structures)
    known = {
        tuple(atoms.positions.ravel()): atoms.get_potential_energy()
        for atoms in ase.io.read(home / "quench.extxyz", ":")
    }
    for frame in chosen.frames:
        energy = known[tuple(frame.atoms.positions.ravel())]
        assert frame.labels.energy == pytest.approx(energy, abs=1e-6)
