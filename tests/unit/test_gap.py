"""The GAP kind: recipe, files, structures that QUIP must never see."""

from __future__ import annotations

import json
import pickle
import re
import sys

import numpy as np
import pytest
from ase import Atoms

from athanor.component import choose
from athanor.errors import (
    ConfigError,
    FitError,
    FolderError,
    FormatError,
    MissingExtraError,
    StructureError,
)
from athanor.potentials import HasVariance, PotentialConfig, load_folder
from athanor.potentials._gap.evaluation import Evaluator
from athanor.potentials._gap.examples import random_crystals
from athanor.potentials._gap.extra import gap_fit_program
from athanor.potentials._gap.model import GapModel
from athanor.potentials.gap import GapConfig, GapPotential


@pytest.fixture(scope="module")
def potential() -> GapPotential:
    return GapConfig.example(seed=3)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"cutof": 4.0}, r"unknown key 'cutof' \(did you mean 'cutoff'\?\)"),
        ({"cutoff": 0.1}, "cutoff = 0.1 is not allowed"),
        ({"transition_width": 5.0}, "transition_width = 5 must be below cutoff = 3.5"),
        ({"pair_transition_width": 7.0}, "pair_transition_width = 7 must be below pair_cutoff = 6"),
        ({"sigma_energy": 0.0}, "sigma_energy = 0.0 is not allowed"),
        ({"sparse_method": "best"}, "sparse_method = 'best' is not allowed"),
        ({"compression": "all"}, "compression = 'all' is not allowed"),
        ({"n_sparse": 0}, "n_sparse = 0 is not allowed"),
    ],
)
def test_wrong_keys_are_one_sentence(table, said) -> None:
    with pytest.raises(ConfigError, match=said):
        choose("athanor.potentials", PotentialConfig, {"kind": "gap", **table}, where="[potential]")


def test_variance_is_offered_and_small_near_the_data(potential) -> None:
    assert isinstance(potential, HasVariance)
    assert "variance" in GapConfig.provides
    seen = random_crystals(3).structures
    rng = np.random.default_rng(8)
    unlike = seen[0].copy()
    unlike.set_cell(0.85 * unlike.cell.array, scale_atoms=True)
    unlike.positions += rng.normal(0, 0.1, unlike.positions.shape)
    near, far = potential.variance([seen[0], unlike])
    assert near.shape == far.shape == (8,)
    assert (near >= 0).all()
    assert near.mean() < 0.1 * far.mean()


def test_saved_folder_is_sealed(potential, tmp_path) -> None:
    potential.save(tmp_path / "saved")
    loaded = load_folder(tmp_path / "saved")
    assert isinstance(loaded, GapPotential)
    assert loaded.model == potential.model
    assert str(tmp_path) not in loaded.model.xml
    with pytest.raises(FolderError, match="exists already"):
        potential.save(tmp_path / "saved")
    xml = tmp_path / "saved" / "gap.xml"
    whole = xml.read_bytes()
    xml.write_bytes(whole.replace(b"alpha", b"alphb", 1))
    with pytest.raises(FormatError, match=r"gap\.xml: not the weights that its header promises"):
        GapConfig.load(tmp_path / "saved")
    xml.unlink()
    with pytest.raises(FormatError, match=r"gap\.xml: cannot be read"):
        GapConfig.load(tmp_path / "saved")


def test_parameters_that_would_end_the_process_never_reach_quip(potential, tmp_path) -> None:
    half = potential.model.xml[: len(potential.model.xml) // 2]
    for number, xml in enumerate((half, "<Potential/>", "")):
        folder = tmp_path / str(number)
        GapPotential(GapModel(("Al", "Ni"), 4.5, xml)).save(folder)
        with pytest.raises(FormatError, match=r"gap\.xml: not the parameters of a GAP"):
            GapConfig.load(folder)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda text: text[:-10], "not JSON"),
        (lambda text: text.replace('"cutoff": 4.5', '"cutoff": 4.6'), "not as it was written"),
        (lambda text: text.replace('"Al"', '"Aluminium"'), "not the header of a gap potential"),
        (lambda text: json.dumps({"kind": "gap"}), "not the header of a gap potential"),
        (lambda text: "[" * 100000, "header"),
    ],
)
def test_spoilt_headers_are_refused(potential, tmp_path, spoil, said) -> None:
    potential.save(tmp_path / "saved")
    header = tmp_path / "saved" / "potential.json"
    header.write_text(spoil(header.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(FormatError, match=said):
        GapConfig.load(tmp_path / "saved")


def test_parameters_that_quip_does_not_take_are_one_error() -> None:
    with pytest.raises(FitError, match="QUIP does not take this potential"):
        Evaluator(GapModel(("Al",), 4.0, "<GAP_x><Potential/></GAP_x>"))


def test_pickled_copies_predict_alike(potential) -> None:
    atoms = random_crystals(5).structures[0]
    (expected,) = potential.predict([atoms])
    (found,) = pickle.loads(pickle.dumps(potential)).predict([atoms])
    assert found.energy == expected.energy
    assert np.array_equal(found.forces, expected.forces)


def test_what_quip_must_not_see_is_refused_before(potential) -> None:
    crushed = Atoms("Al", cell=[0.2] * 3, pbc=True)
    with pytest.raises(StructureError, match=r"neighbours within 4\.5 Å"):
        potential.predict([crushed])
    twice = Atoms("Al2", positions=[[0, 0, 0], [0, 0, 1e-5]])
    with pytest.raises(StructureError, match=r"two atoms are 1.0e-05 Å apart"):
        potential.variance([twice])


def test_momenta_and_arrays_of_others_do_not_matter(potential) -> None:
    atoms = random_crystals(6).structures[0]
    (expected,) = potential.predict([atoms])
    atoms.set_momenta(np.ones((8, 3)))
    atoms.arrays["force"] = np.full((8, 3), 7.0)
    (found,) = potential.predict([atoms])
    assert np.array_equal(found.forces, expected.forces)


def test_nothing_is_printed(potential, capfd) -> None:
    pickle.loads(pickle.dumps(potential)).predict(random_crystals(6).structures)
    assert capfd.readouterr() == ("", "")


def test_a_missing_library_names_the_extra(monkeypatch, potential) -> None:
    monkeypatch.setitem(sys.modules, "quippy", None)
    with pytest.raises(MissingExtraError, match=re.escape("pip install 'athanor[gap]'")):
        GapPotential(potential.model)
    monkeypatch.undo()
    monkeypatch.setattr("athanor.potentials._gap.extra.os.access", lambda *_: False)
    with pytest.raises(MissingExtraError, match="gap_fit"):
        gap_fit_program()
