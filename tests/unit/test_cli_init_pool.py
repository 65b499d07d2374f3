"""`athanor init --pool`: what it finds in a trajectory, what it writes, what it refuses."""

from __future__ import annotations

import math
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import read, write
from distilled_cases import EACH, GROUPS, write_pool

from athanor.cli import main
from athanor.cli.pool_recipes import recipe
from athanor.cli.pool_starter import PATIENT, Sizes, pool_starter, quoted
from athanor.cli.pool_survey import Survey
from athanor.data.formats import read_structures, write_structures
from athanor.distil import DistilConfig
from athanor.errors import AthanorError, ConfigError
from athanor.oracle.ase import AseOracleConfig
from athanor.pool import Pool
from athanor.pool.file import FilePool
from athanor.structure import Labels

SILICA = Survey(
    name="quench.extxyz",
    n=1000,
    labelled=1000,
    smallest=265,
    largest=265,
    atoms=265_000,
    formulas={"SiO2": 1000},
    species=("O", "Si"),
    forces=True,
    stress=True,
    groups={"300 K": 400, "1600 K": 300, "3000 K": 300},
    closest=1.41,
    density=0.066,
    notes=(),
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_pool(tmp_path / "quench.extxyz")
    return tmp_path


@pytest.mark.parametrize("potential", ["mtp", "gap", "ani", "lj"])
def test_what_is_written_is_a_distillation(
    home: Path, potential: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--pool", "quench.extxyz", "--potential", potential, "--seed", "4"]
    assert main(["init", "aluminium.toml", *arguments]) == 0
    said = capsys.readouterr().out
    assert f"quench.extxyz: {EACH * len(GROUPS)} structures of 4 atoms, Al\n" in said
    assert "labels: energies, forces and stress of all\n" in said
    assert all(f"{' '.join(name.split())} ({EACH})" in said for name in GROUPS)
    assert "on one core about fingerprints" in said
    assert "start it with  athanor run aluminium.toml" in said
    config = DistilConfig.read("aluminium.toml")
    assert (config.campaign.name, config.campaign.seed) == ("aluminium", 4)
    assert config.example.model_dump()["kind"] == potential
    assert config.oracle is None
    assert config.compare is not None
    assert config.space is not None
    assert config.pool.model_dump()["path"] == ("quench.extxyz",)
    # what was found stands in the file too
    text = (home / "aluminium.toml").read_text(encoding="utf-8")
    assert f"# quench.extxyz: {EACH * len(GROUPS)} structures" in text


def test_every_default_that_is_written_is_one(home: Path) -> None:
    """Sections without a size of their own say what would hold without them."""
    assert main(["init", "--pool", "quench.extxyz"]) == 0
    tables = tomllib.loads((home / "campaign.toml").read_text(encoding="utf-8"))
    config = DistilConfig.of(tables)
    assert config.campaign.name == "quench"
    defaults = type(config.query)()
    assert config.query == defaults
    assert config.cycle.train_fraction == type(config.cycle)().train_fraction
    assert config.stop.judged_on == type(config.stop)().judged_on


def test_the_shortest_distance_is_the_shortest(home: Path) -> None:
    pool = FilePool(path=("quench.extxyz",)).frames(oracle=None, seed=0, workdir=home)
    found = Survey.of(pool, name="x")
    shortest = np.inf
    for atoms in pool.structures:
        distances = atoms.repeat(3).get_all_distances()
        shortest = min(shortest, distances[~np.eye(len(distances), dtype=bool)].min())
    assert found.closest == pytest.approx(shortest, rel=1e-9)
    assert found.density == pytest.approx(4 / 4.05**3, rel=1e-9)


def test_many_files_and_one_name_for_many(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = read("quench.extxyz", ":")
    for number in range(3):
        write(f"run [{number}].extxyz", frames[number::3])
    assert main(["init", "one.toml", "--pool", "run*.extxyz"]) == 0
    said = capsys.readouterr().out
    assert f"run*.extxyz: {len(frames)} structures" in said
    several = [word for number in (2, 0) for word in ("--pool", f"run [{number}].extxyz")]
    assert main(["init", "two.toml", *several]) == 0
    assert f"2 files: {2 * EACH} structures" in capsys.readouterr().out
    paths = DistilConfig.read("two.toml").pool.model_dump()["path"]
    assert paths == ("run [2].extxyz", "run [0].extxyz")


def test_strange_names(home: Path) -> None:
    strange = 'my "best" \\ é \x7f.extxyz'
    (home / "quench.extxyz").rename(home / strange)
    assert main(["init", "--pool", strange]) == 0
    config = DistilConfig.read("campaign.toml")
    assert config.pool.model_dump()["path"] == (strange,)
    assert config.campaign.name == strange.removesuffix(".extxyz")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        quoted("quench\udcff.extxyz")


def test_species_of_a_file_that_has_only_indices(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(3)
    structures = []
    for _ in range(5):
        atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
        atoms.positions += rng.normal(0, 0.1, (8, 3))
        structures.append(atoms)
    labels = [Labels(rng.normal(), rng.normal(size=(8, 3)), None) for _ in structures]
    write_structures("salt.cfg", structures, labels=labels, species=["Na", "Cl"])
    assert main(["init", "--pool", "salt.cfg"]) == 1
    assert "name them in order" in capsys.readouterr().err
    assert main(["init", "--pool", "salt.cfg", "--element", "Na,Cl"]) == 0
    said = capsys.readouterr().out
    assert "salt.cfg: 5 structures of 8 atoms, ClNa" in said
    assert "labels: energies and forces of all\n" in said
    assert DistilConfig.read("campaign.toml").pool.model_dump()["species"] == ("Na", "Cl")


def test_labels_that_are_lacking_are_bought(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write("bare.extxyz", read_structures("quench.extxyz"))
    assert main(["init", "bought.toml", "--pool", "bare.extxyz", "--oracle", "emt"]) == 0
    assert "labels: none; the oracle is asked" in capsys.readouterr().out
    config = DistilConfig.read("bought.toml")
    assert config.oracle == AseOracleConfig(calculator="emt")
    # an oracle that is not needed is left out
    assert main(["init", "own.toml", "--pool", "quench.extxyz", "--oracle", "emt"]) == 0
    assert DistilConfig.read("own.toml").oracle is None
    assert main(["init", "x.toml", "--pool", "bare.extxyz", "--oracle", "etm"]) == 1
    assert "etm" in capsys.readouterr().err


def test_energies_alone_are_for_potentials_that_take_them(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = read("quench.extxyz", ":")
    for atoms in frames:
        energy = atoms.get_potential_energy()
        atoms.calc = None
        atoms.info["energy"] = energy
    write("energies.extxyz", frames)
    assert main(["init", "--pool", "energies.extxyz"]) == 1
    err = capsys.readouterr().err
    assert "it has energies and no forces" in err
    assert not (home / "campaign.toml").exists()
    for potential in ("gap", "ani"):
        file = f"{potential}.toml"
        arguments = ["--pool", "energies.extxyz", "--potential", potential]
        assert main(["init", file, *arguments]) == 0
        assert "energies of all; no forces\n" in capsys.readouterr().out
        assert not DistilConfig.read(file).example.needs_forces


def spoilt(frames: list[Atoms], how: str) -> list[Atoms]:
    """A pool that is none."""
    if how == "one":
        return frames[:1]
    if how == "equal":
        return [frames[0]] * 5
    if how == "mixed":
        for number, atoms in enumerate(frames):
            atoms.info["level"] = "PBE" if number < 7 else "SCAN"
    if how == "bare":
        for atoms in frames:
            atoms.calc = None
    if how == "some":
        frames[5].calc = None
    if how == "energy":
        frames[3].calc.results["energy"] = math.nan
    if how == "place":
        frames[4].positions[1, 2] = math.nan
    return frames


@pytest.mark.parametrize("how", ["one", "equal", "mixed", "bare", "some", "energy", "place"])
def test_what_a_pool_refuses_is_refused_in_the_same_words(
    home: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write("spoilt.extxyz", spoilt(read("quench.extxyz", ":"), how))
    with pytest.raises(AthanorError) as refused:
        FilePool(path=("spoilt.extxyz",)).frames(oracle=None, seed=0, workdir=home)
    before = sorted(home.iterdir())
    assert main(["init", "deep/spoilt.toml", "--pool", "spoilt.extxyz"]) == 1
    out, err = capsys.readouterr()
    assert err == f"athanor: error: {' '.join(str(refused.value).split())}\n"
    assert not out
    assert sorted(home.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--pool", "absent.extxyz"], "there is no file"),
        (["--pool", "absent.extxyz", "--pool", "quench.extxyz"], "there is no file"),
        (["taken.toml", "--pool", "quench.extxyz"], "exists already"),
        (["--pool", "quench.extxyz", "--potential", "mpt"], "did you mean 'mtp'?"),
        (["--pool", "quench.extxyz", "--level", "13"], "level"),
        (["--pool", "quench.extxyz", "--level", "0"], "level"),
        (["--pool", "quench.extxyz", "--potential", "gap", "--level", "8"], "--level is of moment"),
        (["--pool", "taken.toml"], "taken.toml"),
        (["--pool", "quench.extxyz", "--element", "Al,Q"], "'Q' is not a chemical symbol"),
    ],
)
def test_bad_options(
    home: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "taken.toml").write_text("mine")
    before = sorted(home.iterdir())
    assert main(["init", *arguments]) == 1
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert sorted(home.iterdir()) == before
    assert (home / "taken.toml").read_text() == "mine"


@pytest.mark.parametrize("n", [2, 3, 9, 40, 90, 399, 1020, 2500, 10_000, 80_000])
def test_sizes_grow_with_the_pool(n: int) -> None:
    sizes = Sizes.of(replace(SILICA, n=n, atoms=265 * n))
    assert 0 < sizes.fraction <= 0.5
    assert 0 < sizes.held_out <= 0.2
    assert sizes.fraction * n <= 110
    assert sizes.fraction * n >= min(20, n / 2)
    assert sizes.held_out * n <= 550
    text = pool_starter(
        replace(SILICA, n=n),
        name="x",
        paths=["a"],
        order=None,
        potential="mtp",
        level=None,
        oracle=None,
        seed=0,
    )
    config = DistilConfig.of(tomllib.loads(text))
    assert config.cycle.fraction == sizes.fraction
    assert config.cycle.held_out == sizes.held_out


def test_fast_fingerprints_where_the_papers_take_too_long() -> None:
    assert Sizes.of(SILICA).basis == "polynomial"
    many = replace(SILICA, n=SILICA.n * math.ceil(PATIENT))
    assert Sizes.of(many).basis == "gto"


@pytest.mark.parametrize("kind", ["mtp", "gap", "ani", "lj", "hipnn"])
@pytest.mark.parametrize("closest", [None, 0.02, 0.74, 2.9, 5.5])
@pytest.mark.parametrize("density", [None, 1e-4, 0.03, 0.18])
def test_recipes_are_possible_for_any_pool(
    kind: str, closest: float | None, density: float | None
) -> None:
    survey = replace(SILICA, closest=closest, density=density)
    text = recipe(kind, survey, level=None)
    tables = {"campaign": {}, "pool": {"kind": "file", "path": "a"}}
    config = DistilConfig.of({**tables, "potential": tomllib.loads(text)})
    assert (config.space is None) == (kind == "hipnn")


def test_molecules_without_cells(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(5)
    far = [Atoms("HCl", positions=[[0, 0, 0], [0, 0, d]]) for d in rng.uniform(7, 9, 4)]
    pool = Pool(
        structures=tuple(far),
        labels=tuple(Labels(float(d), np.zeros((2, 3)), None) for d in rng.normal(size=4)),
        groups=None,
        level="",
        origins=("",) * 4,
        notes=("something was found",),
    )
    survey = Survey.of(pool, name="pairs")
    assert survey.closest is None
    assert survey.radius(10) is None
    assert survey.lines()[1:] == ["labels: energies and forces of all", "note: something was found"]


def test_long_lists_are_cut() -> None:
    groups = {f"plateau {number}": 1 for number in range(40)}
    told = replace(SILICA, groups=groups, smallest=3).lines()
    assert told[0].startswith("quench.extxyz: 1000 structures of 3 to 265 atoms")
    assert told[2].startswith("groups: 40 groups, the first plateau 0, plateau 1, ")
    assert len(told[2]) < 120
