"""Runs every command of the page for people who come from MLIP, and compares with its results."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.units import GPa
from mlip_states import cfg_texts, second
from pages import Page

import athanor
from athanor.campaign.config import CampaignConfig
from athanor.cli.verbs import build
from athanor.data.cfg import CfgRecord, read_cfg
from athanor.potentials import Potential
from athanor.potentials.mtp import MtpConfig
from athanor.query.state import active_structures

PAGE = Page("mlip.md")
TEXT = PAGE.text
SECTION = re.compile(r"^## `mlp ([a-z-]+)` → `athanor ([a-z]+)`$", re.MULTILINE)
OPTION = re.compile(r"`(--[A-Za-z_1-9-]+)")
WORD = re.compile(r"`([a-z_]+)`")

# the options that the published tool (2.1) has, by command
THEIRS = {
    "calc-efs": "",
    "calc-errors": "",
    "train": "energy-weight force-weight stress-weight scale-by-force valid-cfgs max-iter "
    "curr-pot-name trained-pot-name bfgs-conv-tol weighting init-params skip-preinit "
    "update-mindist",
    "calc-grade": "init-threshold select-threshold swap-threshold energy-weight force-weight "
    "stress-weight nbh-weight als-filename mvs-filename",
    "select-add": "init-threshold select-threshold swap-threshold energy-weight force-weight "
    "stress-weight nbh-weight als-filename mvs-filename selected-filename selection-limit "
    "weighting",
    "relax": "pressure iteration-limit min-dist force-tolerance stress-tolerance max-step "
    "min-step bfgs-wolfe_c1 bfgs-wolfe_c2 cfg-filename save-relaxed save-unrelaxed log",
    "mindist": "no-overwrite",
    "convert-cfg": "input-format output-format append last fix-lattice",
}
COMMANDS = (
    "list help run merge-cfg relax make-cell-square replicate-cell convert-cfg train calc-errors "
    "self-test self-test-dev add-from-outcar add-from-outcar-dyn add-from-outcar-last to-poscar "
    "to-bin from-bin fix-lattice compress-extend mindist subsample fix-cfg filter-nonconv "
    "select-add calc-grade calc-efs invert-stress"
)
SETTINGS = (
    "mtp-filename calculate-efs select select:threshold select:threshold-break "
    "select:threshold-init select:threshold-swap select:save-selected select:load-state "
    "select:save-state select:site-en-weight select:energy-weight select:force-weight "
    "select:stress-weight select:weighting select:log select:efs-ignored fit fit:save "
    "fit:energy-weight fit:force-weight fit:stress-weight fit:scale-by-force fit:log write-cfgs "
    "write-cfgs:skip check-errors log"
)
FIELDS = set(MtpConfig.model_fields)


def sections() -> dict[str, tuple[str, str]]:
    """Their command -> our verb, the text of the section."""
    found = list(SECTION.finditer(TEXT))
    ends = [*(one.start() for one in found[1:]), len(TEXT)]
    return {one[1]: (one[2], TEXT[one.end() : end]) for one, end in zip(found, ends, strict=True)}


def rows(section: str) -> Iterator[list[str]]:
    """The cells of each row of the tables of a section."""
    for line in section.split("\n## ")[0].split("\n"):
        if line.startswith("|") and not line.startswith("|---"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def test_the_page_has_only_blocks_that_are_understood() -> None:
    assert PAGE.languages() == {"bash", "text", "toml"}


@pytest.mark.parametrize("command", COMMANDS.split())
def test_every_command_of_theirs_is_there(command: str) -> None:
    assert re.search(rf"`mlp {command}[ `]", TEXT)


@pytest.mark.parametrize("command", THEIRS)
def test_every_option_of_theirs_is_there(command: str) -> None:
    verb, section = sections()[command]
    assert verb in build().commands
    named = {name for cells in rows(section) for name in OPTION.findall(cells[0])}
    assert {f"--{name}" for name in THEIRS[command].split()} - named == set()


@pytest.mark.parametrize("command", THEIRS)
def test_every_option_of_ours_exists(command: str) -> None:
    verb, section = sections()[command]
    ours = {option for parameter in build().commands[verb].params for option in parameter.opts}
    for cells in rows(section):
        named = set(OPTION.findall(cells[1]))
        assert named <= ours, cells
        if verb == "fit":
            assert set(WORD.findall(cells[1])) <= FIELDS, cells


def test_every_setting_of_mlip_ini_is_there() -> None:
    section = TEXT.split("\n## `mlip.ini`\n")[1].split("\n## ")[0]
    named = {name for cells in rows(section) for name in re.findall(r"`([^`]+)`", cells[0])}
    assert set(SETTINGS.split()) - named == set()


def test_every_command_of_the_first_table_is_ours() -> None:
    section = TEXT.split("\n## All commands\n")[1].split("\n## ")[0]
    verbs = set(re.findall(r"`athanor ([a-z]+)", section))
    assert verbs <= set(build().commands)
    assert {verb for verb, _ in sections().values()} <= verbs


def test_the_campaign_is_one() -> None:
    (table,) = [block.text for block in PAGE.blocks() if block.language == "toml"]
    config = CampaignConfig.of(tomllib.loads(table), where="the page")
    assert config.campaign.name == "molybdenum"


@pytest.fixture(scope="module")
def home(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page's files, in which all its commands have run."""
    mtp = reference / "mtp"
    folder = tmp_path_factory.mktemp("mlip")
    home = folder / "home"
    home.mkdir()
    names = {"train": "Mo_sub", "valid": "Mo_test", "pool": "Mo_pool", "in": "pert_1sp"}
    for name, source in names.items():
        (home / f"{name}.cfg").write_bytes((mtp / "cfgs" / f"{source}.cfg").read_bytes())
    (home / "pot.mtp").write_bytes((mtp / "pots" / "Mo_L08.mtp").read_bytes())
    (home / "state.als").write_bytes(state(mtp, home))
    before = {path.name: path.read_bytes() for path in home.iterdir()}
    PAGE.run(home, programs=folder / "bin", skip=("text", "toml"))
    # no command changed a file that was there
    assert {name: (home / name).read_bytes() for name in before} == before
    return home


def state(mtp: Path, folder: Path) -> bytes:
    """The `.als` file that the published code left, of its matrices and weights as stored."""
    stored = np.load(mtp / "grades" / "Mo_L08__train_to_pert_active.npz")
    origins = np.zeros(len(stored["A"]), dtype=int)
    origins[stored["uninit_rows"]] = -1
    texts = cfg_texts(folder, [read_cfg(folder / "train.cfg", ["Mo"])[0].atoms], ["Mo"])
    return second(
        (mtp / "pots" / "Mo_L08.mtp").read_text(),
        stored["A"],
        origins.tolist(),
        texts,
        columns=stored["invA"],
    )


def grades(path: Path) -> list[float]:
    return [float(record.features["grade"]) for record in read_cfg(path, ["Mo"])]


def test_efs_are_theirs(home: Path, reference: Path) -> None:
    published = read_cfg(reference / "mtp" / "efs" / "Mo_L08__pert_1sp.cfg", ["Mo"])
    ours = read_cfg(home / "efs.cfg", ["Mo"])
    for one, other in zip(ours, published, strict=True):
        check_labels(one, other)
    for atoms, other in zip(ase.io.read(home / "efs.extxyz", ":"), published, strict=True):
        assert other.labels is not None
        # a folder of ours evaluates as the file it came from
        per_atom = abs(atoms.get_potential_energy() - other.labels.energy) / len(atoms)
        assert per_atom < 1e-10


def check_labels(one: CfgRecord, other: CfgRecord) -> None:
    assert one.labels is not None
    assert other.labels is not None
    n_atoms = len(other.atoms)
    assert abs(one.labels.energy - other.labels.energy) < 1e-10 * n_atoms
    largest = np.abs(other.labels.forces).max()
    assert np.abs(one.labels.forces - other.labels.forces).max() < 1e-9 * largest
    assert one.labels.stress is not None
    assert other.labels.stress is not None
    size = np.abs(other.labels.stress).max()
    assert np.abs(one.labels.stress - other.labels.stress).max() < 1e-9 * size


def test_errors_are_theirs(home: Path, reference: Path) -> None:
    """What their energies and forces give by equations 8 and 9, computed here anew."""
    published = read_cfg(reference / "mtp" / "efs" / "Mo_L08__Mo_test.cfg", ["Mo"])
    known = read_cfg(home / "valid.cfg", ["Mo"])
    energy, forces = 0.0, 0.0
    for one, other in zip(published, known, strict=True):
        assert one.labels is not None
        assert other.labels is not None
        n_atoms = len(one.atoms)
        energy += ((one.labels.energy - other.labels.energy) / n_atoms) ** 2 / len(known)
        off = np.square(one.labels.forces - other.labels.forces).sum()
        forces += off / (3 * n_atoms) / len(known)
    table = json.loads((home / "errors.json").read_text())
    assert table["energy_eV_per_atom"]["rmse"] == pytest.approx(energy**0.5, rel=1e-8)
    assert table["forces_eV_per_A"]["rmse"] == pytest.approx(forces**0.5, rel=1e-8)


def loss(potential: Potential, records: list[CfgRecord]) -> float:
    """Theirs, by the default weighting (eq. 12), summed over configurations."""
    total = 0.0
    for record, found in zip(
        records, potential.predict([record.atoms for record in records]), strict=True
    ):
        known = record.labels
        assert known is not None
        assert known.stress is not None
        assert found.stress is not None
        off = record.atoms.get_volume() * (found.stress - known.stress)
        total += ((found.energy - known.energy) ** 2 + 0.001 * (off**2).sum()) / len(record.atoms)
        total += 0.01 * ((found.forces - known.forces) ** 2).sum()
    return total


def test_the_loss_is_not_larger_than_theirs(home: Path) -> None:
    records = read_cfg(home / "train.cfg", ["Mo"])
    published = loss(athanor.load(home / "pot.mtp", ["Mo"]), records)
    assert loss(athanor.load(home / "fitted"), records) <= published


def test_grades_by_their_state_are_theirs(home: Path, reference: Path) -> None:
    published = json.loads(
        (reference / "mtp" / "grades" / "Mo_L08__train_to_pert.json").read_text()
    )["grades"]
    for name in ("same.cfg", "again.cfg"):
        np.testing.assert_allclose(grades(home / name), published, rtol=1e-6, atol=1e-6)
    assert len(grades(home / "graded.cfg")) == len(published)


def test_a_state_is_taken_apart(home: Path) -> None:
    assert len(read_cfg(home / "active.cfg", ["Mo"])) == 1
    assert len(active_structures(home / "state.als", ["Mo"])) == 1
    pool = [record.atoms for record in read_cfg(home / "pool.cfg", ["Mo"])][:5]
    one = athanor.load(home / "from_state.mtp", ["Mo"]).predict(pool)
    other = athanor.load(home / "pot.mtp", ["Mo"]).predict(pool)
    assert [a.energy for a in one] == [b.energy for b in other]


def test_fewer_are_selected_and_they_are_enough(home: Path, reference: Path) -> None:
    published = json.loads((reference / "mtp" / "select" / "Mo_L08__sub_pool.json").read_text())
    chosen = read_cfg(home / "chosen.cfg", ["Mo"])
    assert 1 <= len(chosen) <= published["n_selected_from_pool"]
    assert f"selects {published['n_selected_from_pool']}, ours {len(chosen)}" in TEXT
    assert max(grades(home / "after.cfg")) <= 1.1 * (1 + 1e-5)


def test_relaxed_structures_have_neither_forces_nor_stress(home: Path) -> None:
    relaxed = read_cfg(home / "relaxed.cfg", ["Mo"])
    text = (home / "rest.cfg").read_text()
    assert len(relaxed) + text.count("BEGIN_CFG") == 10
    assert len(relaxed) >= 9
    for record in relaxed:
        assert record.features["converged"] == "True"
        assert record.labels is not None
        assert np.linalg.norm(record.labels.forces, axis=1).max() <= 0.01 * (1 + 1e-9)
        assert record.labels.stress is not None
        assert np.abs(record.labels.stress).max() <= 0.1 * GPa * (1 + 1e-9)
    watched = ase.io.read(home / "watched.extxyz", ":")
    assert len(watched) == 10
    for atoms in watched:
        assert (atoms.info["grade"] > 10) == (atoms.info["stopped_by"] == "grade")
    # worth a label, and none beyond where the relaxation would have been stopped
    candidates = ase.io.read(home / "watched.candidates.extxyz", ":")
    assert all(atoms.info["grade"] > 2.1 for atoms in candidates)


def test_distances(home: Path) -> None:
    table = json.loads((home / "mindist.json").read_text())
    records = read_cfg(home / "in.cfg", ["Mo"])
    for record, found in zip(records, table["structures"], strict=True):
        images = record.atoms.repeat([3 if axis else 1 for axis in record.atoms.pbc])
        distances = np.linalg.norm(images.positions[:, None] - images.positions, axis=2)
        np.fill_diagonal(distances, np.inf)
        assert found == pytest.approx(distances.min(), rel=1e-9)
    apart = read_cfg(home / "apart.cfg", ["Mo"])
    assert 0 < len(apart) <= 49
    assert min(float(record.features["mindist"]) for record in apart) >= 2.2
    assert all(record.labels is not None for record in apart)


def test_conversions_keep_everything(home: Path) -> None:
    train = read_cfg(home / "train.cfg", ["Mo"])
    for atoms, record in zip(ase.io.read(home / "train.extxyz", ":"), train, strict=True):
        assert record.labels is not None
        assert atoms.get_potential_energy() == record.labels.energy
        np.testing.assert_array_equal(atoms.positions, record.atoms.positions)
    few = read_cfg(home / "few.cfg", ["Mo"])
    assert [one.labels and one.labels.energy for one in few] == [
        one.labels and one.labels.energy for one in train[::10]
    ]
    given = read_cfg(home / "in.cfg", ["Mo"])
    for number, record in enumerate(given):
        written = ase.io.read(home / f"POSCAR{number}", format="vasp")
        np.testing.assert_allclose(written.cell.array, record.atoms.cell.array, atol=1e-9)
    last = ase.io.read(home / "last.lammps-data", format="lammps-data")
    assert np.abs(np.triu(last.cell.array, 1)).max() < 1e-9
    model = athanor.load(home / "pot.mtp", ["Mo"])
    last.numbers[:] = 42
    energies = [one.energy for one in model.predict([last, given[-1].atoms])]
    assert energies[0] == pytest.approx(energies[1], abs=1e-5)  # that format has few digits
