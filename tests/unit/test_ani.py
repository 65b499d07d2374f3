"""The ANI potential: its files, its members, its features, and traps other codes fell into."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ani_cases import random_model, spec_of
from ase import Atoms
from safetensors.numpy import load, save
from seal_cases import resealed

import athanor
from athanor.cli.files import open_potential
from athanor.errors import FolderError, FormatError, StructureError, UnknownElementError
from athanor.potentials import kinds
from athanor.potentials._ani.model import AniModel, even_spec
from athanor.potentials.ani import AniConfig, AniPotential
from athanor.testing import conformance, structures

SPECIES = ("Ni", "Al")


def potential_of(seed: int, *, precision: Any = "float64", n_members: int = 3) -> AniPotential:
    rng = np.random.default_rng(seed)
    model = random_model(rng, spec_of(SPECIES), n_members=n_members)
    return AniPotential(model, precision=precision)


def zoo(seed: int) -> list[Atoms]:
    return structures.zoo(SPECIES, np.random.default_rng(seed))


def test_the_kind_is_known_and_its_example_is_small() -> None:
    assert kinds()["ani"] is AniConfig
    example = AniConfig.example(seed=3)
    assert example.elements == {"Al", "Ni"}
    assert example.cutoff == 4.5
    alone = [labels.energy for labels in example.predict(list(map(structures.isolated, SPECIES)))]
    assert np.ptp(alone) > 0
    assert np.abs(alone).max() < 10


EXACT = ("statement", "batch", "without_stress", "input_untouched", "repeatable", "save_load")
EXACT += ("process_pool", "unknown_element", "bad_structures")


@pytest.mark.parametrize("name", EXACT)
def test_float32_keeps_every_promise_that_is_none_of_rounding(name: str) -> None:
    """The suite's tolerances are float64's, in which the example is; these know no tolerance."""
    (check,) = [one for one in conformance.CHECKS if conformance.title(one) == name]
    check(conformance.Subject(AniConfig, potential_of(1, precision="float32")))


def test_float32_is_float64_but_for_rounding() -> None:
    single, double = potential_of(5, precision="float32"), potential_of(5)
    for atoms in zoo(5):
        for found, expected in zip(
            [single.predict([atoms])[0], *single.predict_each([atoms])[0]],
            [double.predict([atoms])[0], *double.predict_each([atoms])[0]],
            strict=True,
        ):
            assert abs(found.energy - expected.energy) / len(atoms) < 2e-5
            scale = max(1.0, np.abs(expected.forces).max())
            assert np.abs(found.forces - expected.forces).max() < 2e-5 * scale
            if expected.stress is not None:
                assert found.stress is not None
                assert np.abs(found.stress - expected.stress).max() < 2e-5 * scale


def test_evenly_spaced_functions_are_the_published_ones() -> None:
    spec = even_spec(
        ("Al",),
        radial_cutoff=7.0,
        angular_cutoff=5.0,
        first=1.25,
        n_radial=32,
        n_shells=8,
        n_angles=8,
    )
    assert spec.length == 96
    assert spec.shf_r[-1] == 6.8203125
    assert spec.shf_a == tuple(np.linspace(1.25, 4.53125, 8))
    assert spec.shf_z[0] == pytest.approx(0.19634954)
    assert (spec.eta_r, spec.eta_a, spec.zeta) == pytest.approx((43.9, 6.5, 69.4), rel=0.01)


def test_features_are_the_derivatives_by_the_last_layer() -> None:
    potential = potential_of(6, n_members=2)
    model = potential.model
    atoms = structures.dense(SPECIES, np.random.default_rng(6))
    table = potential.features([atoms])[0]
    column = 0
    for species, network in enumerate(model.networks):
        for k in range(network.weights[-1].shape[2] + 1):
            weight, bias = network.weights[-1].copy(), network.biases[-1].copy()
            # linear in these: any step gives the derivative
            target = weight[0, 0] if k < weight.shape[2] else bias[0]
            target[k if k < weight.shape[2] else 0] += 1.0
            changed = list(model.networks)
            changed[species] = type(network)(
                (*network.weights[:-1], weight), (*network.biases[:-1], bias)
            )
            other = AniPotential(
                AniModel(model.aev, tuple(changed), model.offsets, model.scale), precision="float64"
            )
            energies = [one.predict_each([atoms])[0][0].energy for one in (potential, other)]
            assert table[:, column].sum() == pytest.approx(energies[1] - energies[0], abs=1e-6)
            column += 1
    assert table.shape == (len(atoms), column)
    means = potential.mean_features([atoms, atoms])
    np.testing.assert_allclose(means, np.tile(table.mean(axis=0), (2, 1)), atol=1e-14)
    assert potential.mean_features([]).shape == (0, column)


def test_members_are_the_networks_one_by_one() -> None:
    potential = potential_of(7)
    assert [one.model.n_members for one in potential.members] == [1, 1, 1]
    assert potential.members[1].members == (potential.members[1],)
    atoms = zoo(7)[0]
    each = potential.predict_each([atoms])[0]
    for member, labels in zip(potential.members, each, strict=True):
        assert member.predict([atoms])[0].energy == pytest.approx(labels.energy, rel=1e-13)
    assert np.ptp([labels.energy for labels in each]) > 0.1
    mean = potential.predict([atoms])[0]
    assert mean.energy == pytest.approx(np.mean([labels.energy for labels in each]), rel=1e-13)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_round_trips_are_bit_equal(precision: str, tmp_path: Path) -> None:
    potential = potential_of(8, precision=precision)
    potential.save(tmp_path / "saved")
    loaded = athanor.load(tmp_path / "saved")
    sent = pickle.loads(pickle.dumps(potential))
    assert isinstance(loaded, AniPotential)
    for found in (loaded, sent):
        assert found.precision == precision
        assert found.model.aev == potential.model.aev
        assert found.model.scale == potential.model.scale
        assert found.model.offsets.tobytes() == potential.model.offsets.tobytes()
        for ours, theirs in zip(found.model.networks, potential.model.networks, strict=True):
            for a, b in zip(
                (*ours.weights, *ours.biases), (*theirs.weights, *theirs.biases), strict=True
            ):
                assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
        for a, b in zip(found.predict(zoo(8)), potential.predict(zoo(8)), strict=True):
            assert a.energy == b.energy
            assert a.forces.tobytes() == b.forces.tobytes()
    loaded.save(tmp_path / "again")
    for name in ("potential.json", "weights.safetensors"):
        one, two = (tmp_path / folder / name for folder in ("saved", "again"))
        assert one.read_bytes() == two.read_bytes()
    with pytest.raises(FolderError, match="exists already"):
        potential.save(tmp_path / "saved")


def test_the_order_of_species_is_the_files(tmp_path: Path) -> None:
    potential_of(8).save(tmp_path / "saved")
    assert open_potential(tmp_path / "saved", species=None).species == SPECIES


def edited(folder: Path, **changes: object) -> Path:
    path = folder / "potential.json"
    header = json.loads(path.read_text())
    for key, value in changes.items():
        table, _, inner = key.partition("__")
        if inner:
            header[table][inner] = value
        elif value is ...:
            del header[key]
        else:
            header[key] = value
    path.write_text(json.dumps(header))
    return path


def reweighted(folder: Path, change: Callable[[dict[str, np.ndarray]], object]) -> Path:
    path = folder / "weights.safetensors"
    arrays = {key: array.copy() for key, array in load(path.read_bytes()).items()}
    change(arrays)
    path.write_bytes(save({key: np.ascontiguousarray(array) for key, array in arrays.items()}))
    return resealed(path)


def spoiled(folder: Path, key: str) -> Path:
    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays[key].flat[-1] = np.nan

    return reweighted(folder, change)


def cut(path: Path, size: int) -> Path:
    path.write_bytes(path.read_bytes()[:size])
    return path


def gone(path: Path) -> Path:
    path.unlink()
    return path


W = "Al.0.weight"
HEADERS: dict[str, tuple[dict[str, object], str]] = {
    "version": ({"version": 1}, "version is 1, this athanor reads 2"),
    "precision": ({"precision": "float16"}, "precision is 'float16'"),
    "no precision": ({"precision": ...}, "lacks precision"),
    "device": ({"device": "tpu"}, "device is 'tpu', expected cpu or auto"),
    "device of another machine": ({"device": "cuda"}, "device is 'cuda', expected cpu or auto"),
    "no layers": ({"layers": ..., "scale": ...}, "lacks scale, layers"),
    "alpha": ({"celu_alpha": 1.0}, "celu_alpha is 1.0, only 0.1"),
    "scale text": ({"scale": "1"}, "scale is '1'"),
    "scale NaN": ({"scale": np.nan}, "scale is nan"),
    "scale negative": ({"scale": -1.0}, "scale is -1.0"),
    "species text": ({"species": "Al"}, "list of species"),
    "no species": ({"species": []}, "list of species"),
    "species unknown": ({"species": ["Ni", "Xx"]}, "'Xx' is not a chemical symbol"),
    "species twice": ({"species": ["Ni", "Ni"]}, "twice"),
    "aev is no table": ({"aev": [1.0]}, "table aev"),
    "cutoff text": ({"aev__radial_cutoff": "7"}, "aev.radial_cutoff is '7'"),
    "cutoff true": ({"aev__angular_cutoff": True}, "aev.angular_cutoff is True"),
    "cutoff vast": ({"aev__radial_cutoff": 1e9}, "radial cutoff is"),
    "shifts are none": ({"aev__shf_r": []}, "at least one finite number"),
    "shifts are text": ({"aev__shf_z": ["a"]}, "aev.shf_z is .* expected a list of finite numbers"),
    "zeta": ({"aev__zeta": 0.0}, "zeta is 0.0"),
    "many shifts": ({"aev__shf_r": [1.0] * 60_000}, "has 120045 components, at most 100000"),
    "members zero": ({"n_members": 0}, "n_members is 0"),
    "members text": ({"n_members": "3"}, "n_members is '3'"),
    "members true": ({"n_members": True}, "n_members is True"),
    "layers of others": ({"layers": {"Al": [1]}}, "one list for each species"),
    "layers end": ({"layers__Al": [4, 2]}, "sizes that end with 1"),
    "layers empty": ({"layers__Al": []}, "sizes that end with 1"),
    "layers text": ({"layers__Al": [4, "1"]}, "sizes that end with 1"),
}
FILES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "other members": (
        lambda f: resealed(edited(f, n_members=4)).with_name("weights.safetensors"),
        r"expected float64 \(4, 2\)",
    ),
    "other layers": (
        lambda f: resealed(edited(f, layers__Al=[4, 4, 4, 1])).with_name("weights.safetensors"),
        "missing or superfluous",
    ),
    "no header": (lambda f: cut(f / "potential.json", 0), "not the header"),
    "half a header": (lambda f: cut(f / "potential.json", 80), "not the header"),
    "no weights": (
        lambda f: (f / "weights.safetensors").rename(f / "x") and f / "weights.safetensors",
        "cannot be read",
    ),
    "empty weights": (lambda f: cut(f / "weights.safetensors", 0), "its header promises"),
    "half the weights": (
        lambda f: resealed(cut(f / "weights.safetensors", 900)),
        "not a whole safetensors",
    ),
    "a byte short": (
        lambda f: cut(f / "weights.safetensors", (f / "weights.safetensors").stat().st_size - 1),
        "not the weights that its header promises",
    ),
    "an array missing": (lambda f: reweighted(f, lambda a: a.pop(W)), "'Al.0.weight' is missing"),
    "an array more": (
        lambda f: reweighted(f, lambda a: a.update(more=np.zeros(1))),
        "'more' is missing or superfluous",
    ),
    "wrong shape": (
        lambda f: reweighted(f, lambda a: a.update({W: a[W][:, :, :-1]})),
        "Al.0.weight is float32 .* expected float32",
    ),
    "wrong type": (
        lambda f: reweighted(f, lambda a: a.update({W: a[W].astype(np.float64)})),
        "Al.0.weight is float64",
    ),
    "float32 offsets": (
        lambda f: reweighted(f, lambda a: a.update(offsets=a["offsets"].astype(np.float32))),
        "offsets is float32 .* expected float64",
    ),
    "weights NaN": (lambda f: spoiled(f, W), "Al.0.weight holds numbers that are not finite"),
    "bias NaN": (lambda f: spoiled(f, "Ni.2.bias"), "Ni.2.bias holds numbers"),
    "offsets NaN": (lambda f: spoiled(f, "offsets"), "offsets holds numbers"),
}
BREAKS = FILES | {
    name: ((lambda f, c=changes: edited(f, **c)), message)
    for name, (changes, message) in HEADERS.items()
}


@pytest.mark.parametrize("case", BREAKS)
def test_what_is_broken_is_said_in_one_sentence(case: str, tmp_path: Path) -> None:
    spoil, message = BREAKS[case]
    potential_of(9).save(tmp_path / "saved")
    culprit = spoil(tmp_path / "saved")
    with pytest.raises(FormatError, match=message) as caught:
        athanor.load(tmp_path / "saved")
    assert caught.value.path == culprit
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000])
def test_a_header_that_is_no_json_is_named(text: str, tmp_path: Path) -> None:
    potential_of(9).save(tmp_path / "saved")
    (tmp_path / "saved" / "potential.json").write_text(text)
    with pytest.raises(FormatError, match="not the header of an ani potential"):
        AniConfig.load(tmp_path / "saved")
    with pytest.raises(FormatError, match="not the header of a saved potential"):
        athanor.load(tmp_path / "saved")


def test_a_network_without_hidden_layer_is_refused_by_name(tmp_path: Path) -> None:
    potential_of(9).save(tmp_path / "saved")
    edited(tmp_path / "saved", layers={"Al": [1], "Ni": [1]})

    def flat(arrays: dict[str, np.ndarray]) -> None:
        length = arrays[W].shape[2]
        for key in list(arrays):
            if key != "offsets":
                del arrays[key]
        for symbol in SPECIES:
            arrays[f"{symbol}.0.weight"] = np.ones((3, 1, length), np.float32)
            arrays[f"{symbol}.0.bias"] = np.ones((3, 1), np.float32)

    reweighted(tmp_path / "saved", flat)
    with pytest.raises(FormatError, match="kernel cannot evaluate it"):
        athanor.load(tmp_path / "saved")


def test_random_damage_is_a_format_error_or_harmless(tmp_path: Path) -> None:
    potential_of(9).save(tmp_path / "saved")
    rng = np.random.default_rng(9)
    refused = 0
    for _ in range(200):
        path = tmp_path / "saved" / str(rng.choice(["potential.json", "weights.safetensors"]))
        content = path.read_bytes()
        bad = bytearray(content)
        # the front, where the structure of both files is
        at = int(rng.integers(min(len(content), 1500)))
        bad[at] = int(rng.integers(256))
        path.write_bytes(bytes(bad) if rng.random() < 0.7 else content[:at])
        try:
            athanor.load(tmp_path / "saved")
        except FormatError:
            refused += 1
        path.write_bytes(content)
    assert refused > 120


def test_loading_and_predicting_need_no_torch(tmp_path: Path) -> None:
    potential_of(9).save(tmp_path / "saved")
    code = (
        "import sys, athanor, ase\n"
        f"found = athanor.load({str(tmp_path / 'saved')!r})\n"
        "found.predict([ase.Atoms('Al2', positions=[[0, 0, 0], [0, 0, 2.5]])])\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_structures_that_cannot_be_evaluated_are_named() -> None:
    potential = potential_of(1)
    with pytest.raises(UnknownElementError, match="Xe"):
        potential.predict([Atoms("AlXe", positions=[[0, 0, 0], [0, 0, 3]])])
    with pytest.raises(StructureError, match=r"Al2: atoms \d and \d coincide"):
        potential.predict([Atoms("Al2", positions=np.zeros((2, 3)))])
    with pytest.raises(StructureError, match="no atoms"):
        potential.features([Atoms()])
