"""Runs every command and program of the page on ANI ensembles, and holds it to what there is."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from pages import Page

import athanor
from athanor.campaign import CampaignConfig
from athanor.potentials.ani import AniConfig, AniPotential
from athanor.query.committee import CommitteeConfig
from athanor.structure import structure_id

PAGE = Page("ani.md")
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "aluminium_ani.toml"


@pytest.fixture(scope="module")
def home(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the published potential, in which the whole page has run."""
    folder = tmp_path_factory.mktemp("ani")
    home = folder / "home"
    shutil.copytree(reference / "ani" / "potential", home)
    home.chmod(0o755)
    PAGE.run(home, programs=folder / "bin", skip=("text", "toml"))
    return home


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its own first row."""
    (section,) = re.findall(rf"^#+ {heading}\n(.*?)(?=^#|\Z)", PAGE.text, re.MULTILINE | re.DOTALL)
    lines = [line for line in section.split("\n") if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_page_has_only_blocks_that_are_understood() -> None:
    assert PAGE.languages() == {"bash", "python", "toml"}


def test_the_recipe_on_the_page_is_the_recipe() -> None:
    """Every key with its default, and no other."""
    told: dict[str, str] = {}
    for keys, defaults, _ in rows("The recipe"):
        names = re.findall(r"`(\w+)`", keys)
        values = [defaults] if len(names) == 1 else defaults.split(", ")
        told.update(zip(names, values, strict=True))
    fields = {name: field.default for name, field in AniConfig.model_fields.items()}
    fields.pop("kind")
    assert told == {name: text(value) for name, value in fields.items()}


def text(default: Any) -> str:
    """A default as the page writes it."""
    if default is None:
        return "none"
    if isinstance(default, tuple):
        return str(list(default))
    return str(default).lower() if isinstance(default, bool) else str(default)


def test_the_thresholds_on_the_page_are_the_defaults() -> None:
    flat = " ".join(PAGE.text.split())
    for measure, unit in (("force_max", "eV/Å"), ("energy", "eV")):
        (one,) = CommitteeConfig(measure=measure).criteria
        assert f"{one.save:g} and {one.halt:g} {unit} for `{measure}`" in flat


def test_the_sections_on_the_page_make_a_campaign() -> None:
    (block,) = [block for block in PAGE.blocks() if block.language == "toml"]
    tables = tomllib.loads(EXAMPLE.read_text(encoding="utf-8")) | tomllib.loads(block.text)
    config = CampaignConfig.of(tables, where="the page")
    assert config.sample.planned == 250_000
    # the paper's ranges are written out there, and they are the defaults
    assert config.sample.schedule == type(config.sample.schedule)()


def test_what_came_out(home: Path) -> None:
    published = athanor.load(home / "ani-al")
    assert isinstance(published, AniPotential)
    errors = json.loads((home / "errors.json").read_text())
    assert errors["forces_eV_per_A"]["rmse_percent"] < 60
    fitted = athanor.load(home / "potential")
    assert isinstance(fitted, AniPotential)
    assert len(fitted.members) == 4
    graded = ase.io.read(home / "graded.extxyz", ":")
    assert len(graded) == 20
    told = set(re.findall(r"`(\w+)`", PAGE.text.split("The info keys are ")[1].split(":")[0]))
    assert {"grade", "verdict", "mindist", "because"} < told
    for atoms in graded:
        assert told - {"because"} <= atoms.info.keys()
        assert ("because" in atoms.info) == (atoms.info["verdict"] != "keep")


def test_both_strategies_chose_from_the_pool(home: Path) -> None:
    pool = {structure_id(atoms) for atoms in ase.io.read(home / "others.extxyz", ":")}
    for name in ("spread", "volume"):
        chosen = [structure_id(atoms) for atoms in ase.io.read(home / f"{name}.extxyz", ":")]
        assert 0 < len(set(chosen)) == len(chosen) <= 6
        assert set(chosen) <= pool


def test_the_folder_of_ours_predicts_what_the_published_files_do(home: Path) -> None:
    atoms = ase.io.read(home / "others.extxyz", 0)
    one, other = (
        athanor.load(home / name).predict([atoms])[0] for name in ("ani-al", "model-Al-75.info")
    )
    assert one.energy == other.energy
    assert np.array_equal(one.forces, other.forces)
