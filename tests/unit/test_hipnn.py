"""HIP-NN as users meet it: recipe, fitted potential, files, errors."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from seal_cases import resealed

from athanor.data.dataset import Dataset
from athanor.errors import (
    AthanorError,
    ConfigError,
    FormatError,
    MissingExtraError,
    StructureError,
    UnknownElementError,
)
from athanor.potentials import HEADER, load_folder
from athanor.potentials._hipnn.extra import extra
from athanor.potentials.hipnn import HipnnConfig, HipnnPotential
from athanor.structure import Frame
from athanor.testing import structures

WEIGHTS = "weights.safetensors"


@pytest.fixture(scope="module")
def example() -> HipnnPotential:
    return HipnnConfig.example(seed=5)


def with_model(potential: HipnnPotential, **changes: object) -> HipnnPotential:
    return HipnnPotential(replace(potential.model, **changes))


# --- what is imported when ---


def test_listing_and_loading_import_neither_torch_nor_hippynn(example, tmp_path) -> None:
    example.save(tmp_path / "saved")
    code = (
        "import sys; from pathlib import Path; from athanor import potentials; "
        "potentials.kinds(); potentials.load_folder(Path(sys.argv[1])); "
        "print(*sorted({'torch', 'hippynn'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "saved")],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.split() == []


@pytest.mark.parametrize("absent", ["torch", "hippynn"])
def test_a_missing_library_names_the_extra(absent, example, tmp_path, monkeypatch) -> None:
    example.save(tmp_path / "saved")
    monkeypatch.setitem(sys.modules, absent, None)
    for action in (
        lambda: load_folder(tmp_path / "saved"),
        lambda: HipnnConfig.example(seed=0),
        lambda: HipnnConfig().fit((), (), seed=0, workdir=tmp_path / "fit"),
    ):
        with pytest.raises(MissingExtraError, match=r"pip install 'athanor\[hipnn\]'") as raised:
            action()
        assert absent in str(raised.value)
    assert not (tmp_path / "fit").exists()


def test_a_library_that_was_never_installed_is_noticed(monkeypatch) -> None:
    from athanor.potentials._hipnn import extra as module

    monkeypatch.setattr(module, "_LIBRARIES", ("no_such_library_here",))
    with pytest.raises(MissingExtraError, match="no_such_library_here"):
        module.require_extra()


def test_a_library_that_misses_its_own_needs_is_named() -> None:
    with pytest.raises(MissingExtraError, match="no_such_module_of_distutils"), extra():
        import no_such_module_of_distutils  # noqa: F401 - its absence is the test
    with pytest.raises(MissingExtraError, match="once"), extra():
        raise MissingExtraError("once", "hipnn")


# --- predictions beyond the conformance suite ---


def test_receptive_field_reaches_over_interaction_layers(example) -> None:
    """A chain: two layers see the neighbour's neighbour and no farther."""
    spacing = 0.8 * example.cutoff
    chain = Atoms("Al4", positions=[[spacing * n, 0, 0] for n in range(4)])
    before = example.features([chain])[0][0]
    for number, felt in ((2, True), (3, False)):
        moved = chain.copy()
        moved.positions[number, 1] += 0.3
        assert (not np.array_equal(example.features([moved])[0][0], before)) == felt
    assert example.receptive_field == 2 * example.cutoff


def test_energies_of_many_atoms_keep_their_digits(example) -> None:
    """Site energies are added in float64 to offsets that float32 would round to 0.01 eV."""
    atoms = structures.dense(["Al", "Ni"], np.random.default_rng(3), repeats=(2, 2, 2))
    single = with_model(
        example,
        spec=replace(example.model.spec, precision="float32"),
        weights={name: array.astype("f4") for name, array in example.model.weights.items()},
    )
    counts = np.array([(atoms.symbols == symbol).sum() for symbol in ("Al", "Ni")])
    shifted = with_model(single, offsets=single.model.offsets + 123456.7)
    (low,), (high,), (exact,) = (p.predict([atoms]) for p in (single, shifted, example))
    assert high.energy - low.energy == pytest.approx(123456.7 * counts.sum(), abs=1e-8)
    assert low.energy == pytest.approx(exact.energy, abs=1e-5)
    np.testing.assert_allclose(low.forces, exact.forces, atol=1e-5)
    assert not np.array_equal(low.forces, exact.forces)


def test_features_are_derivatives_by_the_last_layers_and_offsets(example) -> None:
    """E is linear in the weights of the heads, and in the offsets."""
    atoms = structures.dense(["Al", "Ni"], np.random.default_rng(4))
    table = example.features([atoms])[0].sum(axis=0)
    names = [name for name in example.model.weights if name.startswith("head.layers")]
    heads = [name for name in sorted(names) if name.endswith("weight")]
    rng = np.random.default_rng(9)
    steps = {name: rng.normal(size=example.model.weights[name].shape) for name in heads}
    offsets = rng.normal(size=2)
    changed = with_model(
        example,
        weights={
            name: array + steps.get(name, 0.0) for name, array in example.model.weights.items()
        },
        offsets=example.model.offsets + offsets,
    )
    step = np.concatenate([*(steps[name].ravel() for name in heads), offsets])
    (old,), (new,) = example.predict([atoms]), changed.predict([atoms])
    assert step.shape == table.shape
    assert new.energy - old.energy == pytest.approx(table @ step, rel=1e-10)


def test_prediction_leaves_torch_as_it_was(example) -> None:
    import torch

    threads, state = torch.get_num_threads(), torch.get_rng_state()
    fresh = HipnnPotential(example.model)  # its network is made by the first prediction
    torch.set_num_threads(2)
    try:
        with torch.no_grad():
            fresh.predict([structures.isolated("Al")])
            assert not torch.is_grad_enabled()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_sheet_too_thin_for_a_neighbour_list_is_a_structure_error(example) -> None:
    rng = np.random.default_rng(8)
    sheet = Atoms("Al999", rng.uniform(0, 9e3, (999, 3)), cell=[2e-6, 1e4, 1e4], pbc=True)
    with pytest.raises(StructureError, match="Al999: the cell is so thin"):
        example.predict([sheet])


def test_coincident_atoms_are_named(example) -> None:
    pair = Atoms("AlNi", positions=[[0, 0, 0], [0, 0, 5e-4]])
    with pytest.raises(StructureError, match=r"AlNi: atoms 0 and 1 are 5\.0e-04 Å apart"):
        example.predict([pair])
    with pytest.raises(UnknownElementError, match="Xe"):
        example.features([Atoms("Xe")])


# --- files ---


def saved(potential: HipnnPotential, folder: Path) -> Path:
    potential.save(folder)
    return folder


def rewrite(folder: Path, **changes: object) -> None:
    path = folder / HEADER
    header = json.loads(path.read_text())
    path.write_text(json.dumps({**header, **changes}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": 1}, "version"),
        ({"width": 0}, "width"),
        ({"offsets": [1.0]}, "1 offsets for 2 species"),
        ({"species": ["Al", "Qq"]}, "'Qq' is not a chemical symbol"),
        ({"scale": -1.0}, "scale"),
        ({"colour": "red"}, "unknown key 'colour'"),
        ({"precision": "float16"}, "precision"),
        ({"width": 10**400}, "width"),
        ({"cutoff": 1e9}, "cutoff"),
        ({"cutoff": 10**400}, "cutoff"),
        ({"cutoff": 3.3}, "soft_max = 3.4 and cutoff = 3.3 must be in rising order"),
        ({"soft_max": 4.5}, "soft_max = 4.5 and cutoff = 4 must be in rising order"),
        ({"soft_min": 3.4}, "soft_min = 3.4, soft_max = 3.4"),
        ({"sensitivities": 1}, "sensitivities"),
        ({"interactions": 9}, "interactions"),
        ({"atom_layers": 17}, "atom_layers"),
        ({"cusp_reg": 2.0}, "cusp_reg"),
        ({"scale": 1e308}, "scale"),
        ({"scale": 10**400}, "scale"),
        ({"scale": 1e-13}, "scale"),
        ({"offsets": [1.0, 10**400]}, "offsets"),
        ({"header_sha256": "0" * 64}, "not as it was written"),
    ],
)
def test_a_header_that_is_wrong_is_named(changes, words, example, tmp_path) -> None:
    folder = saved(example, tmp_path / "p")
    rewrite(folder, **changes)
    with pytest.raises(FormatError, match=words) as raised:
        HipnnConfig.load(folder)
    assert raised.value.path == folder / HEADER


def test_a_header_that_is_no_json_or_absent(example, tmp_path) -> None:
    folder = saved(example, tmp_path / "p")
    (folder / HEADER).write_text('{\n "kind": \n}')
    with pytest.raises(FormatError, match="not JSON") as raised:
        HipnnConfig.load(folder)
    assert raised.value.line == 3
    (folder / HEADER).write_text("[" * 100_000)
    with pytest.raises(FormatError, match="not the header of a hipnn potential"):
        HipnnConfig.load(folder)
    (folder / HEADER).unlink()
    with pytest.raises(FormatError, match="not the header of a hipnn potential"):
        HipnnConfig.load(folder)


def test_weights_that_are_missing_short_or_of_another_potential(example, tmp_path) -> None:
    folder = saved(example, tmp_path / "p")
    whole = (folder / WEIGHTS).read_bytes()
    other = saved(HipnnConfig.example(seed=6), tmp_path / "q")
    flipped = whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:]
    for data, words in (
        (whole[: len(whole) // 2], "its header promises; copy the folder again"),
        ((other / WEIGHTS).read_bytes(), "its header promises; copy the folder again"),
        (flipped, "its header promises; copy the folder again"),
        (None, "cannot be read"),
    ):
        (folder / WEIGHTS).unlink() if data is None else (folder / WEIGHTS).write_bytes(data)
        with pytest.raises(FormatError, match=words) as raised:
            load_folder(folder)
        assert raised.value.path == folder / WEIGHTS


def test_weights_that_are_no_safetensors(example, tmp_path) -> None:
    folder = saved(example, tmp_path / "p")
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:900])
    resealed(folder / HEADER)
    with pytest.raises(FormatError, match="not a whole safetensors file") as raised:
        load_folder(folder)
    assert raised.value.path == folder / WEIGHTS


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 7},
        {"sensitivities": 6},
        {"interactions": 3},
        {"atom_layers": 2},
        {"tensor_order": 0},
        {"species": ["Al", "Cu"]},
        {"species": ["Ni", "Al"]},
        {"cutoff": 4.1},
        {"soft_min": 1.7},
        {"cusp_reg": 0.02},
        {"scale": 1.5},
        {"offsets": [0.0, 1.0]},
        {"precision": "float32"},
    ],
)
def test_a_header_of_another_architecture_is_noticed(changes, example, tmp_path) -> None:
    """At once, though each of these could be a potential."""
    folder = saved(example, tmp_path / "p")
    rewrite(folder, **changes)
    with pytest.raises(FormatError, match="not as it was written") as raised:
        load_folder(folder)
    assert raised.value.path == folder / HEADER


@pytest.mark.parametrize("changes", [{"width": 7}, {"interactions": 3}, {"tensor_order": 0}])
def test_a_forged_header_of_another_architecture_is_noticed(changes, example, tmp_path) -> None:
    folder = saved(example, tmp_path / "p")
    rewrite(folder, **changes)
    resealed(folder / HEADER)
    with pytest.raises(ConfigError, match="not those of its header") as raised:
        load_folder(folder).predict([structures.isolated("Al")])
    assert isinstance(raised.value, AthanorError)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("order", [0, 2])
def test_every_architecture_is_saved_bit_equal(order, precision, tmp_path) -> None:
    from athanor.potentials._hipnn.network import random_model

    example = HipnnConfig.example(seed=order)
    spec = replace(example.model.spec, tensor_order=order, precision=precision, atom_layers=0)
    potential = HipnnPotential(random_model(spec, seed=11))
    loaded = load_folder(saved(potential, tmp_path / "p"))
    assert isinstance(loaded, HipnnPotential)
    assert loaded.model.spec == spec
    batch = structures.zoo(["Al", "Ni"], np.random.default_rng(order))
    for one, two in zip(potential.predict(batch), loaded.predict(batch), strict=True):
        assert one.energy == two.energy
        assert np.array_equal(one.forces, two.forces)


# --- recipe ---


@pytest.mark.parametrize("cutoff", [0.05, 0.3, 3.0])
def test_distances_of_a_fit_are_those_that_can_be_loaded(cutoff, example, tmp_path) -> None:
    """Peaks in rising order for short cutoffs, and where soft_max fell since the warm start."""
    rng = np.random.default_rng(5)
    atoms = structures.dense(["Al", "Ni"], rng)
    train = Dataset((Frame(atoms, example.predict([atoms])[0]),))
    cold = HipnnConfig(cutoff=cutoff)._spec(train, Dataset(), None)
    warm_spec = replace(cold, soft_min=0.8 * cutoff, soft_max=0.9 * cutoff)
    warm = replace(example.model, spec=warm_spec)
    kept = HipnnConfig(cutoff=cutoff)._spec(train, Dataset(), warm)
    fallen = HipnnConfig(cutoff=cutoff, soft_max=0.7 * cutoff)._spec(train, Dataset(), warm)
    assert kept.soft_min == 0.8 * cutoff
    for number, spec in enumerate((cold, kept, fallen)):
        assert 0 < spec.soft_min < spec.soft_max <= spec.cutoff
        with_model(example, spec=spec).save(tmp_path / str(number))
        assert HipnnConfig.load(tmp_path / str(number)).model.spec == spec


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"soft_max": 6.0}, "soft_max = 6 must not exceed cutoff = 5"),
        ({"soft_min": 4.5}, "soft_min = 4.5 must be below soft_max = 4.25"),
        ({"final_rate": 0.5}, "final_rate = 0.5 must not exceed learning_rate = 0.003"),
        ({"species": ["Al", "Al"]}, "twice"),
        ({"layers": 3}, "unknown key 'layers'"),
        ({"tensor_order": 3}, "tensor_order"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(keys, words) -> None:
    with pytest.raises(ConfigError, match=words):
        HipnnConfig.parse({"kind": "hipnn", **keys}, where="potential")
