"""The verbs on files, run as a user would run them, with a Lennard-Jones potential."""

from __future__ import annotations

import json
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

import athanor
from athanor.cli import main
from athanor.cli.distances import shortest
from athanor.cli.files import open_potential, parse_species, refuse_existing
from athanor.cli.progress import duration, in_batches, progress
from athanor.data.formats import read_frames, read_structures, write_structures
from athanor.errors import ConfigError, FolderError, StructureError
from athanor.potentials.lj import LennardJones
from athanor.structure import Labels

RECIPE = '[potential]\nkind = "lj"\ncutoff = 5.5\n'


def potential() -> LennardJones:
    return LennardJones(frozenset({"Al"}), cutoff=5.5, epsilon=0.2, sigma=2.5)


def rattled(count: int, *, seed: int, spread: float = 0.08) -> list[Atoms]:
    """Shaken and strained fcc cells of 8 atoms."""
    rng = np.random.default_rng(seed)
    cells = []
    for _ in range(count):
        atoms = bulk("Al", a=4.0).repeat(2)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.normal(0, 0.02, (3, 3))), True)
        atoms.positions += rng.normal(0, spread, (len(atoms), 3))
        cells.append(atoms)
    return cells


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a potential, labelled and bare structures, and a recipe."""
    monkeypatch.chdir(tmp_path)
    model = potential()
    model.save(tmp_path / "pot")
    training, pool = rattled(6, seed=1), rattled(9, seed=2, spread=0.35)
    write_structures(tmp_path / "train.extxyz", training, labels=model.predict(training))
    write_structures(tmp_path / "bare.extxyz", training)
    write_structures(tmp_path / "three.extxyz", training[:3])
    write_structures(tmp_path / "pool.extxyz", pool)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return tmp_path


def test_evaluate_writes_every_bit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "pot", "pool.extxyz", "--out", "out.extxyz"]) == 0
    assert "9 structures evaluated, written to out.extxyz" in capsys.readouterr().out
    found = read_frames(folder / "out.extxyz")
    for frame, expected in zip(
        found, potential().predict(read_structures("pool.extxyz")), strict=True
    ):
        assert frame.labels.energy == expected.energy
        assert np.array_equal(frame.labels.forces, expected.forces)
        assert frame.labels.stress is not None
        # six numbers are kept of the nine
        np.testing.assert_allclose(frame.labels.stress, expected.stress, rtol=1e-14)
    read = ase.io.read(folder / "out.extxyz", 0)  # and ASE alone understands it
    assert read.get_potential_energy() == found[0].labels.energy


def test_errors_of_the_truth_are_zero(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["errors", "pot", "train.extxyz", "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert table["n_frames"] == 6
    for kind in ("energy_eV_per_atom", "forces_eV_per_A", "stress_eV_per_A3"):
        assert table[kind]["max"] < 1e-12
    assert main(["errors", "pot", "train.extxyz"]) == 0
    assert "forces, meV/Å" in capsys.readouterr().out


def test_errors_are_those_of_the_labels(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    structures = read_structures("bare.extxyz")
    off = LennardJones(frozenset({"Al"}), cutoff=5.5, epsilon=0.22, sigma=2.5)
    write_structures(folder / "off.extxyz", structures, labels=off.predict(structures))
    assert main(["errors", "pot", "off.extxyz", "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    # epsilon scales everything: 0.2 instead of 0.22 is 1/11 too little
    assert table["forces_eV_per_A"]["rmse_percent"] == pytest.approx(100 / 11)


def test_fit_finds_the_parameters_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["fit", "recipe.toml", "train.extxyz", "--valid", "train.extxyz", "--out", "new"]
    assert main([*line, "--seed", "3"]) == 0
    said = capsys.readouterr().out
    assert "saved in new" in said
    assert "errors, validation" in said
    fitted = athanor.load(folder / "new")
    assert isinstance(fitted, LennardJones)
    assert (fitted.epsilon, fitted.sigma) == pytest.approx((0.2, 2.5), rel=1e-5)
    (folder / "bare.toml").write_text('kind = "lj"\ncutoff = 5.5\n')
    assert main(["fit", "bare.toml", "train.extxyz", "--out", "again"]) == 0
    assert athanor.load(folder / "again") == fitted


def test_grade_and_select(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["grade", "pot", "bare.extxyz", "pool.extxyz", "--out", "graded.extxyz"]) == 0
    graded = ase.io.read(folder / "graded.extxyz", ":")
    grades = [atoms.info["grade"] for atoms in graded]
    assert len(grades) == 9
    assert max(grades) > 1.1
    assert main(["select", "pot", "train.extxyz", "pool.extxyz", "--out", "few.extxyz"]) == 0
    few = ase.io.read(folder / "few.extxyz", ":")
    chosen = [atoms.info["pool_index"] for atoms in few]
    assert 1 <= len(chosen) == len(set(chosen)) <= 2  # Lennard-Jones has two parameters
    pool = read_structures("pool.extxyz")
    for atoms, index in zip(few, chosen, strict=True):
        assert np.array_equal(atoms.positions, pool[index].positions)
    # once these are in the training set, nothing in the pool extrapolates any more
    training = [*read_structures("train.extxyz"), *(pool[index] for index in chosen)]
    write_structures(folder / "more.extxyz", training)
    assert main(["grade", "pot", "more.extxyz", "pool.extxyz", "--out", "after.extxyz"]) == 0
    after = [atoms.info["grade"] for atoms in ase.io.read(folder / "after.extxyz", ":")]
    assert max(after) <= 1.1 + 1e-9
    assert main(["select", "pot", "more.extxyz", "pool.extxyz", "--out", "none.extxyz"]) == 0
    assert (folder / "none.extxyz").read_text() == ""
    assert "0 of 9 structures selected" in capsys.readouterr().out


def test_select_keeps_to_a_budget(folder: Path) -> None:
    line = ["select", "pot", "train.extxyz", "pool.extxyz", "--out", "one.extxyz"]
    assert main([*line, "--budget", "1"]) == 0
    assert len(ase.io.read(folder / "one.extxyz", ":")) == 1


def test_relax_finds_the_minimum(folder: Path) -> None:
    line = ["relax", "pot", "three.extxyz", "--fmax", "0.001", "--cell", "--out", "relaxed.extxyz"]
    assert main([*line, "--training", "train.extxyz", "--halt", "1e9"]) == 0
    for atoms in ase.io.read(folder / "relaxed.extxyz", ":"):
        assert atoms.info["converged"]
        assert atoms.info["stopped_by"] == "converged"
        assert atoms.info["grade"] > 0
        assert np.abs(atoms.get_forces()).max() <= 0.001
        assert np.abs(atoms.get_stress()).max() < 1e-3


def test_relax_against_a_pressure_and_with_few_steps(folder: Path) -> None:
    line = ["relax", "pot", "three.extxyz", "--fmax", "0.001", "--cell"]
    assert main([*line, "--pressure-GPa", "5", "--out", "p.extxyz"]) == 0
    stress = ase.io.read(folder / "p.extxyz").get_stress(voigt=False)
    assert np.trace(stress) / 3 == pytest.approx(-5 / 160.21766, rel=0.02)
    assert main(["relax", "pot", "three.extxyz", "--steps", "1", "--out", "s.extxyz"]) == 0
    info = ase.io.read(folder / "s.extxyz").info
    assert (info["converged"], info["stopped_by"], info["steps"]) == (False, "steps", 1)


def test_relax_is_halted_by_a_grade(folder: Path) -> None:
    line = ["relax", "pot", "pool.extxyz", "--training", "train.extxyz", "--out", "h.extxyz"]
    assert main([*line, "--save", "1.01", "--halt", "1.05"]) == 0
    halted = [a.info for a in ase.io.read(folder / "h.extxyz", ":")]
    some = [info for info in halted if info["stopped_by"] == "grade"]
    assert some
    assert all(info["grade"] > 1.05 for info in some)


def test_mindist(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair = Atoms("AlNi", positions=[[0, 0, 0], [0, 0, 2.5]])
    crystal = bulk("Al", a=4.0)
    write_structures(folder / "two.extxyz", [pair, crystal, Atoms("Al")])
    assert main(["mindist", "two.extxyz", "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert table["pairs"]["Al-Ni"] == pytest.approx(2.5)
    assert table["pairs"]["Al-Al"] == pytest.approx(4 / 2**0.5)
    assert "Ni-Ni" not in table["pairs"]
    assert table["structures"] == [pytest.approx(2.5), pytest.approx(4 / 2**0.5), None]
    assert main(["mindist", "two.extxyz"]) == 0
    assert "beyond 12" in capsys.readouterr().out


def test_shortest_agrees_with_all_images() -> None:
    rng = np.random.default_rng(5)
    for _ in range(10):
        cell = rng.normal(0, 1, (3, 3)) + 5 * np.eye(3)
        atoms = Atoms("Al3Ni2", scaled_positions=rng.uniform(size=(5, 3)), cell=cell, pbc=True)
        images = atoms.repeat(3)
        home = slice(13 * 5, 14 * 5)  # the middle cell of 27
        vectors = images.positions[home][:, None] - images.positions[None]
        lengths = np.linalg.norm(vectors, axis=2)
        lengths[lengths < 1e-9] = np.inf
        symbols, others = np.array(atoms.symbols), np.array(images.symbols)
        found = shortest(atoms)
        for pair, distance in found.items():
            a, b = pair.split("-")
            expected = lengths[np.ix_(symbols == a, others == b)].min()
            assert distance == pytest.approx(expected)
        assert sorted(found) == ["Al-Al", "Al-Ni", "Ni-Ni"]


def test_convert_keeps_labels_both_ways(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "train.extxyz", "train.cfg"]) == 0
    assert main(["convert", "train.cfg", "back.extxyz", "--species", "Al"]) == 0
    for one, other in zip(read_frames("train.extxyz"), read_frames("back.extxyz"), strict=True):
        assert one.labels.energy == pytest.approx(other.labels.energy, rel=1e-14)
        np.testing.assert_allclose(one.labels.forces, other.labels.forces, atol=1e-14)
    capsys.readouterr()
    assert main(["convert", "pool.extxyz", "pool.cfg"]) == 0
    assert "written without labels: pool.extxyz, frame 0" in capsys.readouterr().err
    assert main(["convert", "train.extxyz", "train.xsf"]) == 0  # a format without labels
    assert len(read_structures("train.xsf")) == 6


def test_convert_potentials(folder: Path) -> None:
    from athanor.potentials.mtp import MtpConfig

    MtpConfig.example(seed=2).save(folder / "mtp")
    assert main(["convert", "mtp", "model.mtp"]) == 0
    assert main(["convert", "model.mtp", "again", "--species", "Al,Ni"]) == 0
    atoms = bulk("Al", a=4.0)
    one = athanor.load("model.mtp", species=["Al", "Ni"]).predict([atoms])[0]
    assert athanor.load("again").predict([atoms])[0].energy == one.energy
    write_structures("c.cfg", [atoms], species=["Al", "Ni"])
    # the order of species comes from the potential
    assert main(["evaluate", "mtp", "c.cfg", "--out", "c.extxyz"]) == 0
    line = ["evaluate", "model.mtp", "c.cfg", "--species", "Al,Ni", "--out", "d.extxyz"]
    assert main(line) == 0
    assert read_frames("d.extxyz")[0].labels.energy == one.energy


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("evaluate pot pool.extxyz --out pot", "pot exists already"),
        ("evaluate pot pool.extxyz --out no/such/out.extxyz", "there is no folder no/such"),
        ("evaluate absent pool.extxyz --out o.extxyz", "no such file or folder"),
        ("evaluate pot absent.extxyz --out o.extxyz", "absent.extxyz: cannot be read"),
        ("evaluate pot recipe.toml --out o.extxyz", "recipe.toml"),
        ("evaluate . pool.extxyz --out o.extxyz", "not the header of a saved potential"),
        ("evaluate pot nickel.extxyz --out o.extxyz", "nickel.extxyz, frame 1: the structure Ni"),
        ("grade pot nickel.extxyz pool.extxyz --out o.extxyz", "nickel.extxyz, frame 1: "),
        ("grade pot pool.extxyz nickel.extxyz --out o.extxyz", "nickel.extxyz, frame 1: "),
        ("select pot pool.extxyz nickel.extxyz --out o.extxyz", "nickel.extxyz, frame 1: "),
        ("errors pot ni.extxyz", "ni.extxyz, frame 0: the structure Ni"),
        ("relax pot nickel.extxyz --out o.extxyz", "nickel.extxyz, frame 1: "),
        ("evaluate pot pool.extxyz --out o.extxyz --species Ni", "was fitted to Al"),
        ("evaluate pot pool.extxyz --out o.extxyz --species Xx", "'Xx' is not a chemical symbol"),
        ("evaluate pot pool.extxyz --out o.extxyz --species Al,Al", "names an element twice"),
        ("errors pot bare.extxyz", "energy or forces are missing"),
        ("fit recipe.toml bare.extxyz --out o", "energy or forces are missing"),
        ("fit wrong.toml train.extxyz --out o", "unknown key 'cutof' (did you mean 'cutoff'?)"),
        ("fit train.extxyz train.extxyz --out o", "not a readable TOML file"),
        ("fit absent.toml train.extxyz --out o", "not a readable TOML file"),
        ("fit stray.toml train.extxyz --out o", "unknown 'cycel' (did you mean 'cycle'?)"),
        ("fit odd.toml train.extxyz --out o", "potential must be a section"),
        ("fit recipe.toml train.extxyz --out pot", "pot exists already"),
        ("grade pot bare.extxyz pool.extxyz --out o.extxyz --save 20", "must be smaller than halt"),
        ("grade pot bare.extxyz pool.extxyz --out o.extxyz --by mood", "by = 'mood'"),
        ("grade plain bare.extxyz pool.extxyz --out o.extxyz", "has no features"),
        ("relax pot bare.extxyz --out o.extxyz --fmax 0", "must be positive"),
        ("relax pot bare.extxyz --out o.extxyz --fmax inf", "must be positive"),
        ("relax pot bare.extxyz --out o.extxyz --cell --pressure-GPa nan", "give a number from"),
        ("relax pot bare.extxyz --out o.extxyz --cell --pressure-GPa 1e308", "give a number from"),
        ("relax pot bare.extxyz --out o.extxyz --pressure-GPa 1", "give --cell as well"),
        ("relax pot bare.extxyz --out o.extxyz --halt 3", "give --training as well"),
        ("relax pot cluster.extxyz --out o.extxyz --cell", "no cell to relax"),
        ("convert pot pot.extxyz", "pot is a potential and pot.extxyz a file of structures"),
        ("convert pot pot.mtp", "only moment tensor potentials"),
        ("convert train.extxyz train.nonsense", "cannot be written"),
        ("convert train.extxyz pool.extxyz", "pool.extxyz exists already"),
        ("mindist recipe.toml", "recipe.toml"),
    ],
)
def test_bad_input_is_one_sentence_and_harms_nothing(
    folder: Path,
    line: str,
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_structures("nickel.extxyz", [bulk("Al"), bulk("Ni")])
    write_structures(
        "ni.extxyz", [bulk("Ni")], labels=[Labels(0.0, np.zeros((1, 3)), np.zeros((3, 3)))]
    )
    write_structures("cluster.extxyz", [Atoms("Al2", positions=[[0, 0, 0], [0, 0, 2.6]])])
    (folder / "wrong.toml").write_text('kind = "lj"\ncutof = 5.5\n')
    (folder / "stray.toml").write_text(RECIPE + "[cycel]\n")
    (folder / "odd.toml").write_text("potential = 3\n")
    monkeypatch.setattr("athanor.cli.files.load", _plain_where_asked)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert main(line.split()) == 1
    _, err = capsys.readouterr()
    assert err.startswith("athanor: error: ")
    assert said in err
    assert err.count("\n") == 1
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def _plain_where_asked(path: Path, species: object = None) -> object:
    """A potential without features under the name `plain`."""

    class Plain:
        elements = frozenset({"Al"})

    return Plain() if path.name == "plain" else athanor.load(path)


def test_mtp_without_species_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "x.mtp").write_text("MTP\n")
    assert main(["evaluate", "x.mtp", "pool.extxyz", "--out", "o.extxyz"]) == 1
    err = capsys.readouterr().err
    assert "only indices" in err
    assert "Al,Ni" in err


def test_parse_species() -> None:
    assert parse_species(None) is None
    assert parse_species("Al, Ni") == ("Al", "Ni")
    with pytest.raises(ConfigError, match="--element"):
        parse_species("", option="--element")


def test_order_of_species(folder: Path) -> None:
    assert open_potential(folder / "pot", species=None).species == ("Al",)
    two = LennardJones(frozenset({"Al", "Ni"}), cutoff=5.0, epsilon=0.1, sigma=2.4)
    two.save(folder / "two")
    assert open_potential(folder / "two", species=None).species is None
    assert open_potential(folder / "two", species=("Ni", "Al")).species == ("Ni", "Al")


def test_refuse_existing_sees_links_and_walls(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FolderError, match="exists already"):
        refuse_existing(tmp_path / "dangling")
    assert refuse_existing(tmp_path / "new") == tmp_path / "new"


def test_unwritable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("athanor.cli.files.os.access", lambda *_: False)
    with pytest.raises(FolderError, match="not writable"):
        refuse_existing(tmp_path / "new")


def test_mindist_refuses_what_is_no_structure() -> None:
    with pytest.raises(StructureError, match="no atoms"):
        shortest(Atoms())


def test_batches_keep_order_and_cover_all() -> None:
    structures = [atoms.repeat((5, 5, 5)) for atoms in rattled(7, seed=9)]  # 1000 atoms each
    sizes: list[int] = []

    def count(batch: list[Atoms]) -> list[float]:
        sizes.append(len(batch))
        return [float(atoms.positions[0, 0]) for atoms in batch]

    found = in_batches(structures, count, doing="counting", source=Path("x"))
    assert found == [float(atoms.positions[0, 0]) for atoms in structures]
    assert sizes == [4, 3]
    assert in_batches([], count, doing="counting", source=Path("x")) == []


def test_progress_tells_the_expected_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    times = iter([0.0, 20.0, 21.0, 40.0])
    monkeypatch.setattr("athanor.cli.progress.time.monotonic", lambda: next(times))
    with progress("grading", total=8) as advance:
        advance(2)
        advance(1)
        advance(5)
    assert capsys.readouterr().err == "grading: 2 of 8, about 1 min 00 s left\n"


def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with progress("grading", total=2) as advance:
        advance(2)


@pytest.mark.parametrize(
    ("seconds", "text"), [(8.4, "8 s"), (125, "2 min 05 s"), (4800, "1 h 20 min")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text
